"""The cepstra alone: the differences are worked out."""

from dataclasses import dataclass

import numpy as np
import torch

from sklearn_ddfad.feature_extraction import halved_difference
from sklearn_ddfad.parameterization._base import Decoder, Parameterization

_EXACT = 1e-3  # standard deviations by which planes may miss what follows from the first one
_LOOKED_AT = 1000  # clips from which it is told how planes follow from one another


class Static(Parameterization):
    """The cepstra alone, of which the differences follow: three clips for the storage of one.

    Of the three planes of :class:`~sklearn_ddfad.FDMFCC` the first is kept; Eq. 1 and 2 of the
    DDFAD paper [1]_ give the others. The planes of a distilled clip then belong together, as those
    of a recording do, and it can be heard as it is. How the planes are standardised is told from
    the clips that the distiller is fitted on, exactly.

    References
    ----------
    .. [1] W. Jiang et al., "DDFAD: Dataset distillation framework for audio data", 2024,
       section 3.2.

    Examples
    --------
    >>> from sklearn_ddfad import FDMFCC, DistributionDistiller, Static
    >>> from sklearn_ddfad.datasets import make_audio_classification
    >>> clips, labels = make_audio_classification(60, random_state=0)
    >>> X = FDMFCC(duration=0.5).fit_transform(clips)
    >>> distiller = DistributionDistiller(1, parameterization=Static(), max_iter=2, random_state=0)
    >>> distiller.fit(X, labels).transform().shape  # three a class
    torch.Size([30, 3, 16, 41])
    >>> distiller.distilled_.n_stored == 10 * 3 * 16 * 41  # the numbers of one
    True
    """

    def plan(self, X, codes, cpc):
        """Return a decoder that works out the differences."""
        if len(X.shape) != 4 or X.shape[1] != 3:
            msg = (
                "Static() keeps the first of the three planes of FDMFCC(), the features are of "
                f"shape {X.shape[1:]}; use FDMFCC(layout='planes'), or Direct()."
            )
            raise ValueError(msg)
        looked_at = np.linspace(0, len(X) - 1, min(len(X), _LOOKED_AT)).astype(int)
        return StaticDecoder(3 * cpc, *_affine(X[looked_at]))


def _affine(X):
    """Return, for planes 2 and 3 and each coefficient, gain and offset by which they follow."""
    gains, offsets = np.empty((2, 2, X.shape[2], 1), np.float32)
    for plane in (1, 2):
        ours = _differences(torch.from_numpy(X[:, 0]).double(), plane).numpy()
        theirs = X[:, plane].astype(np.float64)
        axes = {"axis": (0, 2), "keepdims": True}
        centred = ours - ours.mean(**axes)
        moved = np.square(centred).sum(**axes)
        gain = (centred * theirs).sum(**axes) / np.where(moved > 0, moved, 1)
        offset = theirs.mean(**axes) - gain * ours.mean(**axes)
        missed = np.abs(gain * ours + offset - theirs).max()
        if missed > _EXACT:
            msg = (
                f"Static() works out plane {plane + 1} from the first, and for these features it "
                f"is off by {missed:.3g}; use it on those of FDMFCC(), in float32, or use Direct()."
            )
            raise ValueError(msg)
        gains[plane - 1], offsets[plane - 1] = gain[0], offset[0]
    return gains, offsets


def _differences(plane, order):
    """Return Eq. 1 (`order` 1) or Eq. 2 (2) of a plane ``(n_clips, n_mfcc, n_frames)``."""
    return plane if order == 0 else halved_difference(_differences(plane, order - 1))


@dataclass
class StaticDecoder(Decoder):
    """Planes 2 and 3 follow from plane 1, as standardised."""

    clips_per_class: int
    gains: np.ndarray  # (2, n_mfcc, 1)
    offsets: np.ndarray

    def encode(self, clips, codes):
        """Return the first plane."""
        return {"cepstra": np.ascontiguousarray(clips[:, 0])}

    def decode(self, numbers):
        """Return all three planes."""
        cepstra = numbers["cepstra"]
        gains, offsets = cepstra.new_tensor(self.gains), cepstra.new_tensor(self.offsets)
        delta, delta_2 = (gains[i] * _differences(cepstra, i + 1) + offsets[i] for i in (0, 1))
        return torch.stack([cepstra, delta, delta_2], dim=1)

    def record(self):
        """Return number of clips, gains and offsets."""
        arrays = {"gains": self.gains, "offsets": self.offsets}
        return {"clips_per_class": self.clips_per_class}, arrays
