"""What the published code does, kept as the thing to compare with: plain and honest.

Eq. 3 by automatic differentiation of all student steps at once (``create_graph=True``), parameters
as a list of tensors, torch's own layers. Written from the papers' formulas.
"""

import torch
import torch.nn.functional as F
from torch import nn
from torch.func import functional_call


def convnet(input_shape, n_classes, width=32, depth=3):
    """The ConvNet of the papers out of torch's own layers."""
    channels, height, breadth = input_shape
    layers = []
    for _ in range(depth):
        layers += [
            nn.Conv2d(channels, width, 3, padding=1),
            nn.GroupNorm(width, width),
            nn.ReLU(),
            nn.AvgPool2d(2),
        ]
        channels, height, breadth = width, height // 2, breadth // 2
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(width * height * breadth, n_classes))


class Augmented(nn.Module):
    """A network that sees each batch augmented, by draws of its own."""

    def __init__(self, module, augmentation, seed=0):
        super().__init__()
        self.module, self.augmentation = module, augmentation
        self.generator = torch.Generator().manual_seed(seed)

    def forward(self, X):
        draw = self.augmentation.draw(X.shape, self.generator)
        return self.module(self.augmentation(X, draw))


def outer_gradient(module, start, target, clips, labels, alpha, batches):
    """Return Eq. 3 and its gradient by clips and step size, all steps in one graph.

    ``start`` and ``target`` are lists of parameter tensors, ``batches`` a list of index tensors.
    """
    clips = clips.detach().requires_grad_()
    alpha = alpha.detach().requires_grad_()
    names = [name for name, _ in module.named_parameters()]
    theta = [value.detach().requires_grad_() for value in start]
    for indices in batches:
        logits = functional_call(module, dict(zip(names, theta, strict=True)), (clips[indices],))
        loss = F.cross_entropy(logits, labels[indices])
        gradients = torch.autograd.grad(loss, theta, create_graph=True)
        theta = [t - alpha * g for t, g in zip(theta, gradients, strict=True)]
    missing = sum((t - s).square().sum() for t, s in zip(theta, target, strict=True))
    went = sum((t - s).square().sum() for t, s in zip(start, target, strict=True))
    loss = missing / went
    return loss.detach(), *torch.autograd.grad(loss, (clips, alpha))


def train_expert(module, X, y, *, n_epochs, learning_rate, batch_size):
    """Train by torch's own loop and optimiser; return the parameters after each epoch."""
    optimizer = torch.optim.SGD(module.parameters(), lr=learning_rate)
    trajectory = [[p.detach().clone() for p in module.parameters()]]
    for _ in range(n_epochs):
        for indices in torch.randperm(len(X)).split(batch_size):
            optimizer.zero_grad()
            F.cross_entropy(module(X[indices]), y[indices]).backward()
            optimizer.step()
        trajectory.append([p.detach().clone() for p in module.parameters()])
    return trajectory
