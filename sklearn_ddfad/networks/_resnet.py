"""ResNet18 of the dataset-distillation papers: residual blocks behind a small stem."""

from torch import nn

from sklearn_ddfad.networks._blocks import (
    ImageNetwork,
    block,
    keep_size_of_signal,
    planes_and_image,
)

_BLOCKS = ((1, 1), (1, 1), (2, 2), (2, 1), (4, 2), (4, 1), (8, 2), (8, 1))  # widths, stride


class ResNet18(ImageNetwork):
    """A convolution, eight residual blocks of two, the mean over the image, a linear layer.

    The ResNet18 [1]_ for small images that DC, DSA, DM and MTT [2]_ have: a 3 x 3 stem without
    pooling, and instance normalisation in place of batch normalisation, whose running statistics
    cannot be matched. Stages are halved by convolutions of stride 2, which round up, so that
    feature images of any size can be read; no maximum is taken anywhere, so that each number of a
    clip has a part in the gradient.

    Parameters
    ----------
    input_shape : tuple of 3 int
        ``(n_planes, n_coefficients, n_frames)`` of one clip.
    n_classes : int
        Number of classes, that is, of logits.
    width : int, default=64
        Channels of the first stage, an eighth of those of the last; 64 in the papers.
    normalization : {"instance", "batch", "layer", "group", "none"}, default="instance"
        As in :class:`ConvNet`. Without any, the convolutions start as in [3]_, and smaller at the
        end of each residual branch, so that the sum over all blocks keeps its size, too.

    References
    ----------
    .. [1] K. He, X. Zhang, S. Ren, J. Sun, "Deep residual learning for image recognition",
       CVPR, 2016.
    .. [2] B. Zhao, K. R. Mopuri, H. Bilen, "Dataset condensation with gradient matching",
       ICLR, 2021.
    .. [3] K. He, X. Zhang, S. Ren, J. Sun, "Delving deep into rectifiers", ICCV, 2015.

    Examples
    --------
    >>> import torch
    >>> from sklearn_ddfad import ResNet18
    >>> network = ResNet18((3, 40, 35), n_classes=10, width=8)
    >>> network(torch.zeros(2, 3, 40, 35)).shape
    torch.Size([2, 10])
    """

    def __init__(self, input_shape, n_classes, *, width=64, normalization="instance"):
        n_planes, image = planes_and_image(input_shape)
        layers = [*block(n_planes, width, image, normalization=normalization)]
        n_in = width
        for factor, stride in _BLOCKS:
            image = [-(-size // stride) for size in image]
            layers.append(_Residual(n_in, factor * width, image, stride, normalization))
            n_in = factor * width
        super().__init__([*layers, nn.AdaptiveAvgPool2d(1)], n_in, n_classes)
        if normalization == "none":
            keep_size_of_signal(self)
            for residual in layers[-len(_BLOCKS) :]:
                residual.shrink_branch(len(_BLOCKS) ** -0.5)


class _Residual(nn.Module):
    """Two convolutions and a shortcut around them: ``relu(branch(x) + shortcut(x))``."""

    def __init__(self, n_in, n_out, image, stride, normalization):
        super().__init__()
        first = block(n_in, n_out, image, stride=stride, normalization=normalization)
        second = block(n_out, n_out, image, activation=None, normalization=normalization)
        self.branch = nn.Sequential(*first, *second)
        self.shortcut = nn.Sequential()
        if n_in != n_out:
            # Every second point first: a strided point convolution itself can crash oneDNN.
            self.shortcut.append(nn.AvgPool2d(1, stride))
            self.shortcut.extend(
                block(
                    n_in,
                    n_out,
                    image,
                    kernel_size=1,
                    activation=None,
                    normalization=normalization,
                )
            )

    def shrink_branch(self, factor):
        """Multiply the last convolution of the branch by `factor`."""
        *_, last = (layer for layer in self.branch if isinstance(layer, nn.Conv2d))
        last.weight.data.mul_(factor)

    def forward(self, x):
        return (self.branch(x) + self.shortcut(x)).relu()
