"""EfficientNetV2, sizes B0 to B2: a small network of many thin layers."""

from math import ceil
from numbers import Integral

import torch.nn.functional as F
from sklearn.utils import check_scalar
from torch import nn

from sklearn_ddfad.networks._blocks import ImageNetwork, _named, block, planes_and_image
from sklearn_ddfad.networks._layers import Conv2d

_SIZES = {"b0": (1.0, 1.0), "b1": (1.0, 1.1), "b2": (1.1, 1.2)}  # factors of channels and blocks
_STEM, _HEAD = 32, 1280  # channels of the first and of the last convolution
_STAGES = (  # whether fused, by how much blocks expand, channels, blocks, whether halved
    (True, 1, 16, 1, False),
    (True, 4, 32, 2, True),
    (True, 4, 48, 2, True),
    (False, 4, 96, 3, True),
    (False, 6, 112, 5, False),
    (False, 6, 192, 8, True),
)
_NORMALIZATIONS = ["batch", "group", "layer"]
_LEAST = 4  # points of an axis that halving may leave
_SQUEEZED = 4  # times fewer channels than a block is given


class EfficientNetV2(ImageNetwork):
    """A convolution, six stages of inverted bottlenecks, the mean over the image, a linear layer.

    EfficientNetV2-B0, B1 or B2 [1]_, the backbone of TFE-ENV2 [2]_. A block widens its input,
    convolves it and narrows it again, with a shortcut around all of it. In the first three stages
    one 3 x 3 convolution both widens and convolves (*fused MBConv*). In the others the convolution
    is of each channel by itself, and *squeeze and excitation* weighs the channels by what the means
    over the image say. Layers, channels and numbers of parameters are those published: 7,139,704
    (B0), 8,141,052 (B1) and 10,096,086 (B2) with three planes and 1000 classes. An image is padded
    alike on both sides, where the original pads the end of an even axis only.

    The published network halves the image five times. Here an axis is halved for as long as that
    leaves four points of it: images of at least 97 x 97 points are read as published, and of
    smaller ones, an FD-MFCC of 16 coefficients for instance, something is left to take the mean of.

    Parameters
    ----------
    input_shape : tuple of 3 int
        ``(n_planes, n_coefficients, n_frames)`` of one clip.
    n_classes : int
        Number of classes, that is, of logits.
    size : {"b0", "b1", "b2"}, default="b0"
        B1 has more blocks, B2 more blocks and more channels.
    width : int, default=32
        Channels of the first convolution of B0, all others in proportion, in multiples of eight; 32
        as published. Fewer make a network for a processor.
    normalization : {"batch", "group", "layer"}, default="batch"
        As in :class:`ConvNet`. ``"batch"`` is as published and learns fastest, but has running
        statistics, so that experts and students of a distiller need one of the others; with these,
        convolutions have a bias. After instance normalisation all clips would have the same mean
        over the image, which is all that is kept in the end.
    dropout : float, default=0.0
        Share of what the last layer sees that is left out of each clip in training; 0.2 as
        published.
    stochastic_depth : float, default=0.0
        Chance of a clip in training to take the shortcut only, at the last block; it grows from
        zero at the first; 0.2 as published. Both are for classifiers: what distills a set goes over
        its steps twice and would draw otherwise the second time.

    References
    ----------
    .. [1] M. Tan, Q. V. Le, "EfficientNetV2: Smaller models and faster training", ICML, 2021.
       B0 to B2 are in the code that goes with it.
    .. [2] H. Xing et al., "Enhancing spectrogram for audio classification using time-frequency
       enhancer".

    Examples
    --------
    >>> import torch
    >>> from sklearn_ddfad import EfficientNetV2
    >>> network = EfficientNetV2((1, 128, 100), n_classes=10, width=8)
    >>> network(torch.zeros(2, 1, 128, 100)).shape
    torch.Size([2, 10])
    """

    def __init__(
        self,
        input_shape,
        n_classes,
        *,
        size="b0",
        width=_STEM,
        normalization="batch",
        dropout=0.0,
        stochastic_depth=0.0,
    ):
        if normalization not in _NORMALIZATIONS:
            msg = (
                f"normalization={normalization!r} is not for EfficientNetV2; use one of "
                f"{_NORMALIZATIONS}."
            )
            raise ValueError(msg)
        check_scalar(width, "width", Integral, min_val=1)
        wider, deeper = _named("size", size, _SIZES)
        stages = [
            (fused, expansion, _channels(n_out, wider, width), ceil(deeper * n_blocks), is_halved)
            for fused, expansion, n_out, n_blocks, is_halved in _STAGES
        ]
        n_in, image = planes_and_image(input_shape)
        has_bias = normalization != "batch"  # which would take it away again
        options = {"normalization": normalization, "activation": "silu", "bias": has_bias}
        stride, image = _halving(image)
        n_out = _channels(_STEM, wider, width)
        layers = [*block(n_in, n_out, image, stride=stride, **options)]
        n_all, n_before = sum(stage[3] for stage in stages), 0
        for fused, expansion, n_channels, n_blocks, is_halved in stages:
            for is_first in [True] + [False] * (n_blocks - 1):
                n_in, n_out = n_out, n_channels
                before = image
                stride, image = _halving(image) if is_first and is_halved else (1, image)
                build = _fused_bottleneck if fused else _bottleneck
                branch = build(n_in, n_out, expansion, stride, before, image, options)
                if n_in == n_out and image == before:
                    branch = [_Residual(branch, stochastic_depth * n_before / n_all)]
                layers += branch
                n_before += 1
        n_features = _channels(_HEAD, wider, width)
        layers += block(n_out, n_features, image, kernel_size=1, **options)
        layers.append(nn.AdaptiveAvgPool2d(1))
        if dropout:
            layers.append(nn.Dropout(dropout))
        super().__init__(layers, n_features, n_classes)


def _channels(published, factor, width):
    """Return a number of channels in proportion to `width`, the nearest multiple of eight."""
    return max(8, int(published * factor * width / _STEM + 4) // 8 * 8)


def _halving(image):
    """Return the strides that halve the axes of which enough is left, and the image then."""
    stride = tuple(2 if (size + 1) // 2 >= _LEAST else 1 for size in image)
    return stride, tuple(-(-size // step) for size, step in zip(image, stride, strict=True))


def _fused_bottleneck(n_in, n_out, expansion, stride, before, image, options):
    """Return the layers of a fused MBConv block, but for its shortcut."""
    if expansion == 1:
        return block(n_in, n_out, image, stride=stride, **options)
    n_wide = expansion * n_in
    return [
        *block(n_in, n_wide, image, stride=stride, **options),
        *_narrow(n_wide, n_out, image, options),
    ]


def _bottleneck(n_in, n_out, expansion, stride, before, image, options):
    """Return the layers of an MBConv block, but for its shortcut."""
    n_wide = expansion * n_in
    return [
        *block(n_in, n_wide, before, kernel_size=1, **options),
        *block(n_wide, n_wide, image, stride=stride, groups=n_wide, **options),
        _SqueezeExcitation(n_wide, n_in // _SQUEEZED),
        *_narrow(n_wide, n_out, image, options),
    ]


def _narrow(n_wide, n_out, image, options):
    return block(n_wide, n_out, image, kernel_size=1, **(options | {"activation": None}))


class _SqueezeExcitation(nn.Module):
    """Weigh the channels of a clip, between 0 and 1, by what their means over the image say."""

    def __init__(self, n_channels, n_squeezed):
        super().__init__()
        self.weigh = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            Conv2d(n_channels, n_squeezed, 1),
            nn.SiLU(),
            Conv2d(n_squeezed, n_channels, 1),
            nn.Sigmoid(),
        )

    def forward(self, x):
        return x * self.weigh(x)


class _Residual(nn.Module):
    """A branch and a shortcut around it, which some clips take alone in training [1]_.

    .. [1] G. Huang et al., "Deep networks with stochastic depth", ECCV, 2016.
    """

    def __init__(self, branch, left_out):
        super().__init__()
        self.branch = nn.Sequential(*branch)
        self.left_out = left_out

    def forward(self, x):
        y = self.branch(x)
        if self.left_out:
            y = y * F.dropout(y.new_ones(len(y), 1, 1, 1), self.left_out, self.training)
        return x + y
