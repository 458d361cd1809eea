"""The ConvNet of the dataset-distillation papers: blocks of convolution, norm, activation, pool."""

from sklearn_ddfad.networks._blocks import ImageNetwork, block, halved, planes_and_image


class ConvNet(ImageNetwork):
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
        normalisation with one channel in a group), unless pooling has left no more than four
        points of it, whose mean after ReLU would come out alike for all clips: then all channels
        of the clip together, as ``"layer"`` does. ``"group"`` takes four groups.
    pooling : {"avg", "max", "none"}, default="avg"
        2 x 2 pooling at the end of each block.
    activation : {"relu", "leaky_relu", "sigmoid", "silu"}, default="relu"
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
        if depth < 1:
            msg = f"depth={depth} must be at least 1."
            raise ValueError(msg)
        n_in, image = planes_and_image(input_shape)
        layers = []
        for _ in range(depth):
            layers += block(
                n_in,
                width,
                image,
                normalization=normalization,
                activation=activation,
                pooling=pooling,
            )
            n_in = width
            image = image if pooling == "none" else halved(image)
        super().__init__(layers, width * image[0] * image[1], n_classes)
