"""Differentiable augmentation of feature images, the draw passed as a value.

A draw is made first, by a seeded generator; applying it is a pure, differentiable function. Two
batches that get the same draw are changed alike (Siamese augmentation [1]_), and a draw that is
kept can be applied again when a step is differentiated.

.. [1] B. Zhao, H. Bilen, "Dataset condensation with differentiable Siamese augmentation",
   ICML, 2021.
.. [2] H. Zhang et al., "mixup: Beyond empirical risk minimization", ICLR, 2018.
"""

from numbers import Real
from typing import NamedTuple

import torch
from sklearn.utils import check_scalar


class Draw(NamedTuple):
    """What was drawn for a batch: one number, or one row, for each clip."""

    gain: torch.Tensor  # (n,) added to the first coefficient
    shift: torch.Tensor  # (n,) frames, positive is later
    time_mask: torch.Tensor  # (n, n_frames) 0 where masked, else 1
    frequency_mask: torch.Tensor  # (n, n_coefficients) likewise
    noise: torch.Tensor  # (n, n_planes, n_coefficients, n_frames) added; (n, 1, 1, 1) if it is none


class Augmentation:
    """Time shift, time mask, frequency mask, gain and noise, drawn for each clip.

    The masks are those of SpecAugment [1]_, one of each kind. Made for standardised features of
    shape ``(n_clips, n_planes, n_coefficients, n_frames)``: what a mask takes away becomes 0, the
    mean. A shift repeats the border frame it moves away from, as a clip padded with silence would.

    Parameters
    ----------
    time_shift : float in [0, 1], default=0.1
        Largest shift, in either direction, as a fraction of the frames.
    time_mask : float in [0, 1], default=0.2
        Longest masked stretch, as a fraction of the frames.
    frequency_mask : float in [0, 1], default=0.2
        Widest masked band, as a fraction of the coefficients.
    gain : float >= 0, default=0.1
        Standard deviation of what is added to the first coefficient of the first plane: there
        a gain in dB is an offset, in standardised units.
    noise : float >= 0, default=0.0
        Most noise there is: each number gets one between 0 and the level of its clip, which lies
        between 0 and `noise`, all evenly distributed [2]_.
    roll : bool, default=False
        Whether frames that a shift moves out come in again at the other end.

    References
    ----------
    .. [1] D. S. Park et al., "SpecAugment: A simple data augmentation method for automatic speech
       recognition", Interspeech, 2019.
    .. [2] Y. Gong, Y.-A. Chung, J. Glass, "AST: Audio spectrogram transformer", Interspeech, 2021,
       and its code.

    Examples
    --------
    >>> import torch
    >>> from sklearn_ddfad import Augmentation
    >>> augmentation = Augmentation(time_shift=0.2)
    >>> draw = augmentation.draw((1, 1, 2, 5), torch.Generator().manual_seed(0))
    >>> augmentation(torch.arange(10.0).reshape(1, 1, 2, 5), draw).shape
    torch.Size([1, 1, 2, 5])
    """

    def __init__(
        self,
        *,
        time_shift=0.1,
        time_mask=0.2,
        frequency_mask=0.2,
        gain=0.1,
        noise=0.0,
        roll=False,
    ):
        check_scalar(time_shift, "time_shift", Real, min_val=0, max_val=1)
        check_scalar(time_mask, "time_mask", Real, min_val=0, max_val=1)
        check_scalar(frequency_mask, "frequency_mask", Real, min_val=0, max_val=1)
        check_scalar(gain, "gain", Real, min_val=0)
        check_scalar(noise, "noise", Real, min_val=0)
        self.time_shift = time_shift
        self.time_mask = time_mask
        self.frequency_mask = frequency_mask
        self.gain = gain
        self.noise = noise
        self.roll = roll

    def __repr__(self):
        values = ", ".join(f"{name}={value}" for name, value in vars(self).items())
        return f"Augmentation({values})"

    def draw(self, shape, generator):
        """Draw for a batch of `shape`; the draw lives on the CPU until it is applied."""
        n, _, n_coefficients, n_frames = shape
        limit = int(self.time_shift * n_frames)
        return Draw(
            gain=self.gain * torch.randn(n, generator=generator),
            shift=torch.randint(-limit, limit + 1, (n,), generator=generator),
            time_mask=_stretches(n, n_frames, self.time_mask, generator),
            frequency_mask=_stretches(n, n_coefficients, self.frequency_mask, generator),
            noise=self._draw_noise(shape, generator),
        )

    def _draw_noise(self, shape, generator):
        if not self.noise:  # nothing is drawn then, so that other draws stay what they are
            return torch.zeros(shape[0], 1, 1, 1)
        level = self.noise * torch.rand(shape[0], 1, 1, 1, generator=generator)
        return level * torch.rand(*shape, generator=generator)

    def __call__(self, X, draw):
        """Apply a draw to a batch `X`; affine in `X`, so its gradient is exact and cheap."""
        draw = Draw(*(value.to(X.device, non_blocking=True) for value in draw))
        if self.time_shift:
            X = shift_frames(X, draw.shift, roll=self.roll)
        if self.gain:
            first = X.new_zeros(1, *X.shape[1:3], 1)
            first[:, 0, 0] = 1
            X = X + draw.gain.to(X.dtype)[:, None, None, None] * first
        if self.time_mask or self.frequency_mask:
            mask = draw.frequency_mask[:, :, None] * draw.time_mask[:, None, :]
            X = X * mask[:, None].to(X.dtype)
        if self.noise:
            X = X + draw.noise.to(X.dtype)
        return X


class NoAugmentation:
    """What leaves every batch as it is."""

    def __repr__(self):
        return "NoAugmentation()"

    def draw(self, shape, generator):
        """Return nothing, having drawn nothing."""
        return None

    def __call__(self, X, draw):
        """Return `X` itself."""
        return X


def resolve_augmentation(augmentation, input_shape):
    """Return what ``augmentation=`` stands for; ``"auto"`` augments feature images only."""
    if augmentation is None or (augmentation == "auto" and len(input_shape) != 3):
        return NoAugmentation()
    if augmentation == "auto":
        return Augmentation()
    if isinstance(augmentation, Augmentation) and len(input_shape) != 3:
        msg = (
            f"{augmentation} is for feature images, the clips are of shape {input_shape}; use None."
        )
        raise ValueError(msg)
    if hasattr(augmentation, "draw") and callable(augmentation):
        return augmentation
    msg = f"augmentation={augmentation!r} must be 'auto', None or an Augmentation."
    raise ValueError(msg)


def shift_frames(X, shift, *, roll=False):
    """Move each clip of ``X`` by its own number of frames; repeat the border frame, or roll."""
    n_frames = X.shape[-1]
    source = torch.arange(n_frames, device=X.device) - shift[:, None]
    source = source.remainder(n_frames) if roll else source.clamp(0, n_frames - 1)
    return X.gather(-1, source[:, None, None, :].expand(X.shape))


def _stretches(n, length, fraction, generator):
    """Return ``(n, length)`` ones with a stretch of zeros, at most `fraction` long, in each row."""
    longest = int(fraction * length)
    width = torch.randint(0, longest + 1, (n, 1), generator=generator)
    start = (torch.rand(n, 1, generator=generator) * (length - width + 1)).floor()
    position = torch.arange(length)
    return ((position < start) | (position >= start + width)).float()


# ------------------------------------------------------------------------------------------
# Two clips in one
# ------------------------------------------------------------------------------------------


class Mixture(NamedTuple):
    """What was drawn to mix the clips of a batch with each other [2]_."""

    partner: torch.Tensor  # (n,) the other clip of each
    weight: torch.Tensor  # (n,) of the clip itself, 1 where it stays alone


def draw_mixture(n, share, generator):
    """Draw which clips of `n` are mixed, a `share` of them, with which others, and how.

    The weight of a clip follows Beta(10, 10), as for the AST: the median of 19 even draws.
    """
    weight = torch.rand(n, 19, generator=generator).median(dim=1).values
    alone = torch.rand(n, generator=generator) >= share
    return Mixture(torch.randperm(n, generator=generator), weight.masked_fill(alone, 1))


def mix(values, mixture):
    """Return what a mixture makes of clips, or of their labels as probabilities."""
    partner, weight = (drawn.to(values.device) for drawn in mixture)
    weight = weight.to(values.dtype).view(-1, *[1] * (values.ndim - 1))
    return weight * values + (1 - weight) * values[partner]
