"""The multilayer perceptron, for features without an image's axes."""

from itertools import pairwise
from math import prod

from torch import nn


class MLP(nn.Module):
    """Linear layers with ReLU between them, on the flattened features of a clip.

    Parameters
    ----------
    input_shape : tuple of int
        Shape of one clip's features.
    n_classes : int
        Number of classes, that is, of logits.
    depth : int, default=2
        Hidden layers.
    width : int, default=128
        Units of each hidden layer.

    Examples
    --------
    >>> import torch
    >>> from sklearn_ddfad import MLP
    >>> MLP((30,), n_classes=4)(torch.zeros(2, 30)).shape
    torch.Size([2, 4])
    """

    def __init__(self, input_shape, n_classes, *, depth=2, width=128):
        super().__init__()
        sizes = [prod(input_shape)] + [width] * depth
        layers: list[nn.Module] = [nn.Flatten()]
        for n_in, n_out in pairwise(sizes):
            layers += [nn.Linear(n_in, n_out), nn.ReLU()]
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Linear(sizes[-1], n_classes)

    def embed(self, X):
        """Return the output of the last hidden layer, shape ``(n_clips, width)``."""
        return self.features(X)

    def forward(self, X):
        """Return the logits, shape ``(n_clips, n_classes)``."""
        return self.classifier(self.embed(X))
