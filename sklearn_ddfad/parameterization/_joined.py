"""Several sets as one, each kept as it was."""

from dataclasses import dataclass

import numpy as np
import torch
from sklearn.utils.metaestimators import available_if

from sklearn_ddfad.parameterization._base import Decoder, decoder_from_record, record_of


def joined(stored):
    """Return the numbers and the decoder of several sets as one.

    Parameters
    ----------
    stored : sequence of (dict of ndarray, Decoder)
        Those of each set; some may be joined already.
    """
    sets = [one for numbers, decoder in stored for one in _sets_of(numbers, decoder)]
    numbers = {
        f"{i}.{name}": array for i, (one, _) in enumerate(sets) for name, array in one.items()
    }
    return numbers, JoinedDecoder([decoder for _, decoder in sets])


def _sets_of(numbers, decoder):
    if isinstance(decoder, JoinedDecoder):
        return zip(decoder.parts(numbers), decoder.decoders, strict=True)
    return [(numbers, decoder)]


def _all_are_sounds(decoder):
    return all(hasattr(part, "sounds") for part in decoder.decoders)


@dataclass
class JoinedDecoder(Decoder):
    """The clips of several sets, one after another, each decoded from numbers of its own.

    The numbers of the second set, say, are those whose names begin with ``1.``.
    """

    decoders: list  # of Decoder

    def parts(self, numbers):
        """Return the numbers of each set."""
        parts: list = [{} for _ in self.decoders]
        for name, array in numbers.items():
            i, _, own_name = name.partition(".")
            parts[int(i)][own_name] = array
        return parts

    def decode(self, numbers):
        """Return the clips of all sets."""
        parts = zip(self.decoders, self.parts(numbers), strict=True)
        return torch.cat([decoder.decode(part) for decoder, part in parts])

    @available_if(_all_are_sounds)
    def sounds(self, numbers):
        """Return the waveforms of all sets, where all are kept as sound."""
        parts = zip(self.decoders, self.parts(numbers), strict=True)
        return np.concatenate([decoder.sounds(part) for decoder, part in parts])

    @property
    def extractor(self):
        """How sets that are kept as sound are heard; others have none."""
        return self.decoders[0].extractor

    def record(self):
        """Return what each decoder needs."""
        records, arrays = zip(*map(record_of, self.decoders), strict=True)
        named = {f"{i}.{k}": array for i, one in enumerate(arrays) for k, array in one.items()}
        return {"decoders": list(records)}, named

    @classmethod
    def from_record(cls, record, arrays):
        """Return the decoder that :meth:`record` described."""
        parts = cls(record["decoders"]).parts(arrays)
        return cls([*map(decoder_from_record, record["decoders"], parts)])
