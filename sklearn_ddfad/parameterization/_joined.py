"""Several sets as one, each kept as it was, and some clips of a set."""

from copy import copy
from dataclasses import dataclass

import numpy as np
import torch
from sklearn.utils.metaestimators import available_if

from sklearn_ddfad.parameterization._base import (
    BaseDecoder,
    beneath,
    decoder_from_record,
    record_of,
    under,
)


def joined(stored):
    """Return the numbers and the decoder of several sets as one.

    Parameters
    ----------
    stored : sequence of (dict of ndarray, BaseDecoder)
        Those of each set; some may be joined already.
    """
    sets = [one for numbers, decoder in stored for one in _sets_of(numbers, decoder)]
    if len(sets) == 1:
        return sets[0]
    numbers, decoders = zip(*sets, strict=True)
    return _numbered(numbers), JoinedDecoder([*decoders])


def some_of(numbers, decoder, indices):
    """Return the numbers and the decoder of the clips of a set that some `indices` name."""
    kept, first = [], 0
    for part, each in _sets_of(numbers, decoder):
        rows, of_a_row = each.apart(part)
        n_clips = len(next(iter(rows.values())))
        own = indices[(first <= indices) & (indices < first + n_clips)] - first
        if len(own) == n_clips:
            kept.append((part, each))
        elif len(own):
            fewer = copy(of_a_row)
            fewer.clips_per_class = fewer.clips_per_class * len(own) // n_clips
            kept.append(({name: array[own] for name, array in rows.items()}, fewer))
        first += n_clips
    return joined(kept)


def _sets_of(numbers, decoder):
    if isinstance(decoder, JoinedDecoder):
        return decoder.sets(numbers)
    return [(numbers, decoder)]


def _numbered(parts):
    """Return the arrays of several sets, by names that begin with the number of their set."""
    return {k: v for i, part in enumerate(parts) for k, v in under(f"{i}.", part).items()}


def _all_are_sounds(decoder):
    return all(hasattr(part, "sounds") for part in decoder.decoders)


@dataclass
class JoinedDecoder(BaseDecoder):
    """The clips of several sets, one after another, each decoded from numbers of its own.

    The numbers of the second set, say, are those whose names begin with ``1.``.
    """

    decoders: list  # of BaseDecoder

    def sets(self, numbers):
        """Return the numbers and the decoder of each set."""
        return [(beneath(f"{i}.", numbers), each) for i, each in enumerate(self.decoders)]

    def decode(self, numbers):
        """Return the clips of all sets."""
        return torch.cat([decoder.decode(part) for part, decoder in self.sets(numbers)])

    @available_if(_all_are_sounds)
    def sounds(self, numbers):
        """Return the waveforms of all sets, where all are kept as sound."""
        return np.concatenate([decoder.sounds(part) for part, decoder in self.sets(numbers)])

    @property
    def extractor(self):
        """How sets that are kept as sound are heard; others have none."""
        return self.decoders[0].extractor

    def record(self):
        """Return what each decoder needs."""
        records, arrays = zip(*map(record_of, self.decoders), strict=True)
        return {"decoders": [*records]}, _numbered(arrays)

    @classmethod
    def from_record(cls, record, arrays):
        """Return the decoder that :meth:`record` described."""
        parts = enumerate(record["decoders"])
        return cls([decoder_from_record(one, beneath(f"{i}.", arrays)) for i, one in parts])
