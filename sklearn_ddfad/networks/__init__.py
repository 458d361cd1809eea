"""Networks that read features: modules only, no training.

Each is built as ``Network(input_shape, n_classes, **options)`` and offers ``embed``, what its last
layer sees.
"""

from sklearn_ddfad.networks._convnet import ConvNet
from sklearn_ddfad.networks._efficientnet import EfficientNetV2
from sklearn_ddfad.networks._enhancer import EnhancedNetwork, TimeFrequencyEnhancer
from sklearn_ddfad.networks._mlp import MLP
from sklearn_ddfad.networks._resnet import ResNet18
from sklearn_ddfad.networks._vgg import VGG11

__all__ = [
    "MLP",
    "VGG11",
    "ConvNet",
    "EfficientNetV2",
    "EnhancedNetwork",
    "ResNet18",
    "TimeFrequencyEnhancer",
    "embed",
    "make_network",
]

NETWORKS = {
    "convnet": ConvNet,
    "efficientnetv2": EfficientNetV2,
    "mlp": MLP,
    "resnet18": ResNet18,
    "vgg11": VGG11,
}


def make_network(network, input_shape, n_classes):
    """Return a new network for clips of `input_shape`.

    Parameters
    ----------
    network : {"auto", "convnet", "efficientnetv2", "mlp", "resnet18", "vgg11"} or callable
        ``"auto"`` is a ConvNet for feature images and an MLP for rows; a callable, such as a
        module class, is called as ``network(input_shape, n_classes)``.
    input_shape : tuple of int
        Shape of one clip's features.
    n_classes : int
        Number of classes.

    Returns
    -------
    module : torch.nn.Module

    Examples
    --------
    >>> from sklearn_ddfad.networks import make_network
    >>> type(make_network("auto", (3, 16, 53), 10)).__name__
    'ConvNet'
    """
    if network == "auto":
        network = "convnet" if len(input_shape) == 3 else "mlp"
    if isinstance(network, str):
        if network not in NETWORKS:
            msg = f"network={network!r} is unknown; use 'auto', {sorted(NETWORKS)} or a class."
            raise ValueError(msg)
        network = NETWORKS[network]
    return network(tuple(input_shape), n_classes)


def embed(module, X):
    """Return what the last layer of a network sees of a batch, shape ``(n_clips, n_features)``."""
    if not hasattr(module, "embed"):
        msg = (
            f"{type(module).__name__} has no method embed(X); give it one that returns what its "
            "last layer sees, shape (n_clips, n_features)."
        )
        raise ValueError(msg)
    return module.embed(X)
