"""What convolutional networks are built of: convolution, normalisation, activation, pooling."""

from collections.abc import Callable
from functools import partial
from math import prod

import torch
from torch import nn

from sklearn_ddfad.networks._layers import Conv2d, InstanceNorm, together

_ACTIVATIONS = {"relu": nn.ReLU, "leaky_relu": nn.LeakyReLU, "sigmoid": nn.Sigmoid, "silu": nn.SiLU}
_POOLINGS = {"avg": nn.AvgPool2d, "max": nn.MaxPool2d, "none": nn.Identity}
_NORMALIZATIONS: dict[str, Callable[[int], nn.Module]] = {
    "instance": InstanceNorm,
    "batch": nn.BatchNorm2d,
    "layer": partial(nn.GroupNorm, 1),
    "group": partial(nn.GroupNorm, 4),
    "none": nn.Identity,
}
_FEW_POINTS = 4


class ImageNetwork(nn.Module):
    """Layers that read feature images, and a linear layer on what they give, flattened."""

    def __init__(self, features, n_features, n_classes):
        super().__init__()
        self.features = nn.Sequential(*features)
        self.classifier = nn.Linear(n_features, n_classes)

    def embed(self, X):
        """Return what the last layer sees, shape ``(n_clips, n_features)``."""
        return self.features(channels_last(X)).flatten(start_dim=1)

    def forward(self, X):
        """Return the logits, shape ``(n_clips, n_classes)``, of feature images ``X``."""
        return self.classifier(self.embed(X))


def channels_last(X):
    """Return images with their channels last in memory, as all layers then keep them.

    Pooling is several times faster so, and batch normalisation too. A single channel is given the
    strides of a last axis, too: its own do not say where it is, and torch would take it for first.
    """
    if X.shape[1] == 1:
        return X.contiguous()[:, 0, :, :, None].movedim(-1, 1)
    return X.contiguous(memory_format=torch.channels_last)


def block(
    n_in,
    n_out,
    image,
    *,
    normalization,
    activation="relu",
    pooling="none",
    kernel_size=3,
    stride=1,
    groups=1,
    bias=None,
):
    """Return the layers of a block: convolution, normalisation, activation, pooling.

    Parameters
    ----------
    n_in, n_out : int
        Channels.
    image : tuple of 2 int
        Size of what the convolution gives.
    normalization, activation, pooling : str
        What is what; None is no activation.
    kernel_size, stride, groups : int
        Of the convolution; strides may differ by axis.
    bias : bool or None
        Whether the convolution has one; None: unless instance normalisation takes it away again.
    """
    norm = _normalization(normalization, n_out, image)
    bias = not isinstance(norm, InstanceNorm) if bias is None else bias
    padding = kernel_size // 2
    conv = Conv2d(n_in, n_out, kernel_size, stride, padding, groups=groups, bias=bias)
    after = _named("activation", activation, _ACTIVATIONS)() if activation else nn.Identity()
    return conv, *together(norm, after, _pooling(pooling, image))


def planes_and_image(input_shape):
    """Return how many planes clips have, and the size of each; refuse what are no images."""
    if len(input_shape) != 3:
        msg = (
            f"clips of shape {tuple(input_shape)} are no feature images, (n_planes, "
            "n_coefficients, n_frames), which convolutions read; extract them with "
            "layout='planes', or use 'mlp'."
        )
        raise ValueError(msg)
    n_planes, *image = input_shape
    return n_planes, image


def halved(image):
    """Return the size of an image after 2 x 2 pooling, which leaves an axis of length one alone."""
    return tuple(max(size // 2, 1) for size in image)


def keep_size_of_signal(network):
    """Start convolutions such that what passes them and ReLU keeps its size [1]_.

    Where nothing normalises it, it would otherwise be gone after a few layers.

    .. [1] K. He et al., "Delving deep into rectifiers", ICCV, 2015.
    """
    for module in network.modules():
        if isinstance(module, Conv2d | nn.Conv1d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def _normalization(name, n_channels, image):
    """Return the normalisation layer called `name` for `n_channels` images of a size."""
    layer = _named("normalization", name, _NORMALIZATIONS)
    if name == "instance" and prod(image) <= _FEW_POINTS:
        return _NORMALIZATIONS["layer"](n_channels)
    return layer(n_channels)


def _pooling(name, image):
    """Return 2 x 2 pooling that leaves an axis of length one alone."""
    window = tuple(min(size, 2) for size in image)
    return _named("pooling", name, _POOLINGS)(window)


def _named(parameter, name, choices):
    """Return the choice called `name`, or say what there is."""
    if name not in choices:
        msg = f"{parameter}={name!r} is unknown; use one of {sorted(choices)}."
        raise ValueError(msg)
    return choices[name]
