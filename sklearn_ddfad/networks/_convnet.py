"""The ConvNet of the dataset-distillation papers: blocks of convolution, norm, activation, pool."""

from functools import partial
from math import prod

import torch
from torch import nn

from sklearn_ddfad.networks._layers import Conv2d, InstanceNorm

_ACTIVATIONS = {"relu": nn.ReLU, "leaky_relu": nn.LeakyReLU, "sigmoid": nn.Sigmoid}
_POOLINGS = {"avg": nn.AvgPool2d, "max": nn.MaxPool2d, "none": nn.Identity}
_NORMALIZATIONS = {
    "instance": InstanceNorm,
    "batch": nn.BatchNorm2d,
    "layer": partial(nn.GroupNorm, 1),
    "group": partial(nn.GroupNorm, 4),
    "none": nn.Identity,
}


class ConvNet(nn.Module):
    """Blocks of 3 x 3 convolution, normalisation, activation and pooling, then a linear layer.

    The network of DC, DSA, DM and MTT [1]_, which the DDFAD paper calls "multiple
    Conv-ReLU-AvgPooling blocks" (section 4.1.1). Pooling halves each axis and stops at an axis
    of length one, so that feature images of any size, odd ones too, can be read.

    A convolution that instance normalisation follows has no bias: whatever it were, the mean that
    is subtracted would take it away.

    Parameters
    ----------
    input_shape : tuple of 3 int
        ``(n_planes, n_coefficients, n_frames)`` of one clip.
    n_classes : int
        Number of classes, that is, of logits.
    depth : int, default=3
        Number of blocks.
    width : int, default=32
        Channels of each block; 128 in the papers.
    normalization : {"instance", "batch", "layer", "group", "none"}, default="instance"
        ``"instance"`` normalises each channel of each clip over its own image (group
        normalisation with one channel in a group), unless pooling has left no more than two
        points of it, which would come out alike for all clips; ``"group"`` takes four groups.
    pooling : {"avg", "max", "none"}, default="avg"
        2 x 2 pooling at the end of each block.
    activation : {"relu", "leaky_relu", "sigmoid"}, default="relu"
        Non-linearity of each block.

    References
    ----------
    .. [1] B. Zhao, K. R. Mopuri, H. Bilen, "Dataset condensation with gradient matching",
       ICLR, 2021.

    Examples
    --------
    >>> import torch
    >>> from sklearn_ddfad import ConvNet
    >>> network = ConvNet((3, 40, 35), n_classes=10)
    >>> network(torch.zeros(2, 3, 40, 35)).shape
    torch.Size([2, 10])
    """

    def __init__(
        self,
        input_shape,
        n_classes,
        *,
        depth=3,
        width=32,
        normalization="instance",
        pooling="avg",
        activation="relu",
    ):
        super().__init__()
        if depth < 1:
            msg = f"depth={depth} must be at least 1."
            raise ValueError(msg)
        n_planes, *image = input_shape
        blocks: list[nn.Module] = []
        for channels in [n_planes] + [width] * (depth - 1):
            norm = _normalization(normalization, width, image)
            blocks += [
                Conv2d(channels, width, 3, padding=1, bias=not isinstance(norm, InstanceNorm)),
                norm,
                _named("activation", activation, _ACTIVATIONS)(),
                _pooling(pooling, image),
            ]
            if pooling != "none":
                image = [max(size // 2, 1) for size in image]
        self.features = nn.Sequential(*blocks)
        self.classifier = nn.Linear(width * image[0] * image[1], n_classes)

    def embed(self, X):
        """Return the flattened output of the last block, shape ``(n_clips, n_features)``."""
        X = X.contiguous(memory_format=torch.channels_last)  # pooling is several times faster
        return self.features(X).flatten(start_dim=1)

    def forward(self, X):
        """Return the logits, shape ``(n_clips, n_classes)``, of feature images ``X``."""
        return self.classifier(self.embed(X))


def _normalization(name, width, image):
    """Return the normalisation layer called `name` for `width` channels of a size."""
    layer = _named("normalization", name, _NORMALIZATIONS)
    if name == "instance" and prod(image) <= 2:
        return nn.Identity()
    return layer(width)


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
