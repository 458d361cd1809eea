"""The Time-Frequency Enhancer: a learned mask in front of a network."""

from itertools import pairwise
from numbers import Integral

from sklearn.utils import check_scalar
from torch import nn

from sklearn_ddfad import networks
from sklearn_ddfad.networks._blocks import keep_size_of_signal, planes_and_image

_N_MASKS = 32  # between two blocks


class TimeFrequencyEnhancer(nn.Module):
    """Weigh frames and coefficients of a clip by what its own means over the other axis say.

    The Time-Frequency Enhancer (TFE) [1]_ multiplies the features of a clip by a mask between 0 and
    1, of its size and for all its planes: the outer product of a weight for each frame and a weight
    for each coefficient (Eq. 1 and 2). A block takes the mean over frequency, and by itself the
    mean over time, and makes the weights of it by convolutions along what is left, ReLU between
    them, and a sigmoid. Of several blocks each gives 32 masks to the next, which takes the means of
    the clip (of that of its planes) under each of them; the last gives the one that counts:
    ``Block(1, 32)``, ``Block(32, 32)``, ..., ``Block(32, 1)``.

    It can be differentiated as often as one likes, clips do not see each other, and their length
    is free.

    Parameters
    ----------
    n_blocks : int, default=4
        Blocks; 1, 2 and 4 in the paper.
    n_planes : int, default=1
        Planes of a clip.
    n_convolutions : int, default=2
        Convolutions of a path, of which a block has two.
    hidden_size : int, default=16
        Channels between them.
    kernel_size : int, default=3
        Points that a convolution sees, an odd number.

    See Also
    --------
    EnhancedNetwork : The enhancer and a network behind it.

    Notes
    -----
    The paper leaves open how many convolutions there are, their size, the channels of TFE(4), and
    what becomes of a clip between two blocks. Two convolutions are those of the time-frequency
    attention [2]_ that it builds on, and cost little. With ``n_convolutions=4`` and
    ``hidden_size=32`` the numbers of parameters, 12,866, 37,698 and 87,362, together with those of
    an EfficientNetV2-B2 for 35 classes round to the 8.75, 8.77 and 8.82 million that it prints for
    one, two and four blocks; which does not prove that its layers are these.

    References
    ----------
    .. [1] H. Xing et al., "Enhancing spectrogram for audio classification using time-frequency
       enhancer".
    .. [2] Q. Zhang, Q. Song, Z. Ni, A. Nicolson, H. Li, "Time-frequency attention for monaural
       speech enhancement", ICASSP, 2022.

    Examples
    --------
    >>> import torch
    >>> from sklearn_ddfad import TimeFrequencyEnhancer
    >>> enhancer = TimeFrequencyEnhancer(n_blocks=2)
    >>> X = torch.rand(5, 1, 128, 100)
    >>> enhancer(X).shape, enhancer.masks(X).shape
    (torch.Size([5, 1, 128, 100]), torch.Size([5, 128, 100]))
    >>> enhancer.n_parameters
    6466
    """

    def __init__(self, n_blocks=4, *, n_planes=1, n_convolutions=2, hidden_size=16, kernel_size=3):
        super().__init__()
        check_scalar(n_blocks, "n_blocks", Integral, min_val=1)
        check_scalar(n_planes, "n_planes", Integral, min_val=1)
        check_scalar(n_convolutions, "n_convolutions", Integral, min_val=1)
        check_scalar(hidden_size, "hidden_size", Integral, min_val=1)
        if kernel_size < 1 or kernel_size % 2 == 0:
            msg = f"kernel_size={kernel_size} must be odd, so that it has a middle."
            raise ValueError(msg)
        channels = [n_planes] + [_N_MASKS] * (n_blocks - 1) + [1]
        self.blocks = nn.ModuleList(
            _EnhancerBlock([n_in] + [hidden_size] * (n_convolutions - 1) + [n_out], kernel_size)
            for n_in, n_out in pairwise(channels)
        )
        keep_size_of_signal(self)

    @property
    def n_parameters(self):
        """Number of learned parameters."""
        return sum(parameter.numel() for parameter in self.parameters())

    def weights(self, X):
        """Return what a clip's frames and its coefficients are multiplied by.

        Parameters
        ----------
        X : tensor of shape (n_clips, n_planes, n_coefficients, n_frames)
            The clips.

        Returns
        -------
        of_frames : tensor of shape (n_clips, n_frames)
        of_coefficients : tensor of shape (n_clips, n_coefficients)
        """
        first, *others = self.blocks
        of_frames, of_coefficients = first(X.mean(dim=2), X.mean(dim=3))
        X = X.mean(dim=1)
        n_coefficients, n_frames = X.shape[1:]
        for block in others:
            # The means over either axis of X times each mask, which need not be formed for that.
            along_time = of_frames * (of_coefficients @ X) / n_coefficients
            along_frequency = of_coefficients * (of_frames @ X.mT) / n_frames
            of_frames, of_coefficients = block(along_time, along_frequency)
        return of_frames[:, 0], of_coefficients[:, 0]

    def masks(self, X):
        """Return the mask of each clip, shape ``(n_clips, n_coefficients, n_frames)``: Eq. 1."""
        of_frames, of_coefficients = self.weights(X)
        return of_coefficients[:, :, None] @ of_frames[:, None, :]

    def forward(self, X):
        """Return the clips times their masks: Eq. 2."""
        return X * self.masks(X)[:, None]


class _EnhancerBlock(nn.Module):
    """From means over frequency to weights of frames, from means over time to the others."""

    def __init__(self, channels, kernel_size):
        super().__init__()
        self.of_frames, self.of_coefficients = (_path(channels, kernel_size) for _ in range(2))

    def forward(self, along_time, along_frequency):
        return self.of_frames(along_time), self.of_coefficients(along_frequency)


def _path(channels, kernel_size):
    """Return convolutions along one axis that keep its length, ReLU between, a sigmoid behind."""
    layers: list[nn.Module] = []
    for n_in, n_out in pairwise(channels):
        layers += [nn.Conv1d(n_in, n_out, kernel_size, padding=kernel_size // 2), nn.ReLU()]
    return nn.Sequential(*layers[:-1], nn.Sigmoid())


class EnhancedNetwork(nn.Module):
    """A network that sees clips through a :class:`TimeFrequencyEnhancer`, trained with it.

    With the default backbone TFE-ENV2 [1]_.

    Parameters
    ----------
    input_shape : tuple of 3 int
        ``(n_planes, n_coefficients, n_frames)`` of one clip.
    n_classes : int
        Number of classes, that is, of logits.
    backbone : str or callable, default="efficientnetv2"
        The network behind the enhancer, as ``network=`` of a distiller: a name, a module class or a
        callable ``(input_shape, n_classes) -> torch.nn.Module``.
    n_blocks : int, default=4
        As in :class:`TimeFrequencyEnhancer`.
    **options : dict
        Passed to it, too: ``n_convolutions``, ``hidden_size``, ``kernel_size``.

    Attributes
    ----------
    enhancer : TimeFrequencyEnhancer
        What makes the masks.
    backbone : torch.nn.Module
        What tells the classes.

    References
    ----------
    .. [1] H. Xing et al., "Enhancing spectrogram for audio classification using time-frequency
       enhancer".

    Examples
    --------
    It is called like any other network, so it is one for whatever takes a network:

    >>> from functools import partial
    >>> import torch
    >>> from sklearn_ddfad import EnhancedNetwork, network_classifier
    >>> enhanced = partial(EnhancedNetwork, backbone="convnet", n_blocks=2)
    >>> enhanced((3, 16, 53), 10)(torch.zeros(2, 3, 16, 53)).shape
    torch.Size([2, 10])
    >>> classifier = network_classifier(enhanced)
    """

    def __init__(self, input_shape, n_classes, *, backbone="efficientnetv2", n_blocks=4, **options):
        super().__init__()
        n_planes, _ = planes_and_image(input_shape)
        self.enhancer = TimeFrequencyEnhancer(n_blocks, n_planes=n_planes, **options)
        self.backbone = networks.make_network(backbone, input_shape, n_classes)

    def embed(self, X):
        """Return what the last layer of the backbone sees, shape ``(n_clips, n_features)``."""
        return networks.embed(self.backbone, self.enhancer(X))

    def forward(self, X):
        """Return the logits, shape ``(n_clips, n_classes)``, of feature images ``X``."""
        return self.backbone(self.enhancer(X))
