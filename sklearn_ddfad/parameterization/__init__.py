"""What the learned numbers of a distilled set are, and how clips follow from them.

All parameterisations have one budget: as many numbers as ``cpc`` clips of each class have as
features. As many clips are decoded from them as fit. A new one is a class that plans, given real
clips and the budget, a :class:`Decoder`.
"""

from sklearn_ddfad.parameterization._base import (
    BaseDecoder,
    Decoder,
    Direct,
    DirectDecoder,
    Parameterization,
    beneath,
    decoded,
    decoder_from_record,
    record_of,
    under,
)
from sklearn_ddfad.parameterization._joined import joined, some_of
from sklearn_ddfad.parameterization._spectral import Spectral
from sklearn_ddfad.parameterization._static import Static
from sklearn_ddfad.parameterization._waveform import Waveform

__all__ = [
    "BaseDecoder",
    "Decoder",
    "Direct",
    "DirectDecoder",
    "Parameterization",
    "Spectral",
    "Static",
    "Waveform",
    "beneath",
    "decoded",
    "decoder_from_record",
    "joined",
    "record_of",
    "some_of",
    "under",
]
