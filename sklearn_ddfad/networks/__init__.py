"""Networks that read features: modules only, no training.

Each is built as ``Network(input_shape, n_classes, **options)`` and offers ``embed``, what its last
layer sees.
"""

import torch
from torch import nn

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
    "check_logits",
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

    Raises
    ------
    ValueError
        If there is no such network, or it does not read clips of this shape.
    TypeError
        If `network` is built already.

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
    if isinstance(network, nn.Module):
        msg = (
            f"expected a network to build, got a {type(network).__name__} that is built already; "
            "give its class, or a function (input_shape, n_classes) that returns one."
        )
        raise TypeError(msg)
    return network(tuple(input_shape), n_classes)


@torch.no_grad()
def check_logits(module, input_shape, n_classes):
    """Refuse a network that does not give a logit for each class, and return it otherwise."""
    was_training, weight = module.training, next(module.parameters(), torch.empty(0))
    try:
        logits = module.eval()(torch.zeros(1, *input_shape, device=weight.device))
    except (RuntimeError, ValueError) as error:
        msg = f"{type(module).__name__} does not read clips of shape {input_shape}: {error}"
        raise ValueError(msg) from error
    module.train(was_training)
    got = tuple(logits.shape) if torch.is_tensor(logits) else type(logits).__name__
    if got != (1, n_classes):
        msg = (
            f"{type(module).__name__} gives {got} for a clip of {n_classes} classes; it must give "
            f"logits of shape (1, {n_classes})."
        )
        raise ValueError(msg)
    return module


def embed(module, X):
    """Return what the last layer of a network sees of a batch, shape ``(n_clips, n_features)``."""
    if not hasattr(module, "embed"):
        msg = (
            f"{type(module).__name__} has no method embed(X); give it one that returns what its "
            "last layer sees, shape (n_clips, n_features)."
        )
        raise ValueError(msg)
    return module.embed(X)
