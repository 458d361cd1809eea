"""VGG11 of the dataset-distillation papers: eight convolutions, five poolings, a linear layer."""

from sklearn_ddfad.networks._blocks import (
    ImageNetwork,
    block,
    halved,
    keep_size_of_signal,
    planes_and_image,
)

_STAGES = ((1,), (2,), (4, 4), (8, 8), (8, 8))  # channels of each convolution, in widths


class VGG11(ImageNetwork):
    """Five stages of 3 x 3 convolutions, each halved by pooling, then a linear layer.

    Configuration A of [1]_ as DC, DSA, DM and MTT [2]_ have it: one linear layer instead of three,
    and instance normalisation, without which matching its trajectories is known to diverge.

    Pooling takes averages, where [1]_ takes maxima: then each number of a clip has a part in the
    gradient, not one in four, and an instance-normalised network learns faster. It stops at an axis
    of length one, so that feature images of any size can be read.

    Parameters
    ----------
    input_shape : tuple of 3 int
        ``(n_planes, n_coefficients, n_frames)`` of one clip.
    n_classes : int
        Number of classes, that is, of logits.
    width : int, default=64
        Channels of the first convolution, an eighth of those of the last; 64 in the papers.
    normalization : {"instance", "batch", "layer", "group", "none"}, default="instance"
        As in :class:`ConvNet`. Without any, the convolutions start as in [3]_: training is then
        slow at first, but finite.

    References
    ----------
    .. [1] K. Simonyan, A. Zisserman, "Very deep convolutional networks for large-scale image
       recognition", ICLR, 2015.
    .. [2] B. Zhao, K. R. Mopuri, H. Bilen, "Dataset condensation with gradient matching",
       ICLR, 2021.
    .. [3] K. He, X. Zhang, S. Ren, J. Sun, "Delving deep into rectifiers", ICCV, 2015.

    Examples
    --------
    >>> import torch
    >>> from sklearn_ddfad import VGG11
    >>> network = VGG11((3, 40, 35), n_classes=10, width=8)
    >>> network(torch.zeros(2, 3, 40, 35)).shape
    torch.Size([2, 10])
    """

    def __init__(self, input_shape, n_classes, *, width=64, normalization="instance"):
        n_in, image = planes_and_image(input_shape)
        layers = []
        for stage in _STAGES:
            poolings = ["none"] * (len(stage) - 1) + ["avg"]
            for factor, pooling in zip(stage, poolings, strict=True):
                n_out = factor * width
                layers += block(n_in, n_out, image, normalization=normalization, pooling=pooling)
                n_in = n_out
            image = halved(image)
        super().__init__(layers, n_in * image[0] * image[1], n_classes)
        if normalization == "none":
            keep_size_of_signal(self)
