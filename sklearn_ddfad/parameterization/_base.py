"""What a parameterisation is, and the plainest of them."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from math import prod
from typing import Any, ClassVar

import numpy as np
import torch
from sklearn.base import BaseEstimator

from sklearn_ddfad._validation import below


class BaseDecoder(ABC):
    """From numbers to clips, differentiably.

    ``record()`` gives it as plain types and arrays, from which :func:`decoder_from_record` makes
    it again.
    """

    @abstractmethod
    def decode(self, numbers):
        """Return the clips, ``(n_clips, ...)``, of numbers: tensors, by name."""

    def apart(self, numbers):
        """Return numbers that have a row for each clip, and the decoder of these.

        Where clips share theirs, as spectra do, they are worked out as far as it takes.
        """
        return numbers, self

    def record(self):
        """Return what decodes, as ``(record, arrays)``: plain JSON types, and NumPy arrays."""
        return {}, {}

    @classmethod
    def from_record(cls, record, arrays):
        """Return the decoder that :meth:`record` described."""
        return cls(**record, **arrays)


class Decoder(BaseDecoder):
    """From numbers to clips, and from clips to the numbers nearest to them: a distiller's."""

    clips_per_class: int
    rates: ClassVar[dict[str, float]] = {}  # of learning, by name, where a unit is not a deviation

    @abstractmethod
    def encode(self, clips, codes):
        """Return ``{name: float32 array}``: numbers whose clips are near to given ones."""


def decoded(decoder, numbers):
    """Return the clips of numbers as a float32 array."""
    with torch.no_grad():
        tensors = {name: torch.from_numpy(array) for name, array in numbers.items()}
        return decoder.decode(tensors).numpy()


class Parameterization(BaseEstimator, ABC):
    """What the learned numbers of a distilled set are."""

    @abstractmethod
    def plan(self, X, codes, cpc):
        """Return the :class:`Decoder` for the budget of ``cpc`` clips a class.

        Parameters
        ----------
        X : Rows of shape (n_clips, ...)
            The real clips.
        codes : ndarray of shape (n_clips,)
            Their class indices.
        cpc : int
            Clips a class, as features, that the budget is for.

        Raises
        ------
        ValueError
            Before any work, if such clips cannot be kept so, or the budget is too small.
        """


def under(prefix, arrays):
    """Return arrays by names that have a prefix."""
    return {prefix + name: np.ascontiguousarray(array) for name, array in arrays.items()}


def beneath(prefix, arrays):
    """Return those of some arrays whose names have a prefix, without it."""
    return {k.removeprefix(prefix): v for k, v in arrays.items() if k.startswith(prefix)}


def record_of(decoder):
    """Return a decoder as ``(record, arrays)``: plain JSON types, and NumPy arrays."""
    record, arrays = decoder.record()
    return {"class": type(decoder).__name__, "parameters": record}, arrays


def decoder_from_record(record: dict[str, Any], arrays):
    """Return the decoder that :func:`record_of` described."""
    kinds = {kind.__name__: kind for kind in below(BaseDecoder)}
    if record["class"] not in kinds:
        msg = f"decoder {record['class']!r} is unknown; this version has {sorted(kinds)}."
        raise ValueError(msg)
    return kinds[record["class"]].from_record(record["parameters"], arrays)


def budget(X, codes, cpc):
    """Return how many numbers there may be: those of ``cpc`` clips of each class."""
    return cpc * (int(codes.max()) + 1) * prod(X.shape[1:])


class Direct(Parameterization):
    """The features themselves: each distilled clip takes the storage of one clip's features.

    Examples
    --------
    >>> from sklearn_ddfad import Direct, TrajectoryDistiller
    >>> TrajectoryDistiller(cpc=10, parameterization=Direct())
    TrajectoryDistiller(parameterization=Direct())
    """

    def plan(self, X, codes, cpc):
        """Return a decoder that changes nothing."""
        return DirectDecoder(cpc)


@dataclass
class DirectDecoder(Decoder):
    """Clips are kept as they are."""

    clips_per_class: int

    def encode(self, clips, codes):
        """Return the clips."""
        return {"clips": clips}

    def decode(self, numbers):
        """Return the clips."""
        return numbers["clips"]

    def record(self):
        """Return how many there are."""
        return {"clips_per_class": self.clips_per_class}, {}
