"""Layers that are cheap to differentiate twice, as matching trajectories does at every step.

They compute what torch's own layers compute; only the second derivative is written out. That of
torch's convolution goes through transposed copies with kernels as large as the image; here it is
three plain convolutions. That of its group normalisation costs more than the convolutions; here
every derivative is a sum of a few images times one number per image.
"""

from itertools import product

import torch
from torch import nn
from torch.autograd import Function
from torch.autograd.function import once_differentiable
from torch.nn.modules.utils import _pair

from sklearn_ddfad.networks._normalization import (
    After,
    normalize,
    normalize_backward,
    normalize_double_backward,
)


class Conv2d(nn.Conv2d):
    """Two-dimensional convolution, as ``torch.nn.Conv2d`` without dilation."""

    def forward(self, x):
        geometry = self.stride, self.padding, self.dilation, self.groups
        y = _Convolve.apply(x, self.weight, geometry)
        return y if self.bias is None else y + self.bias[:, None, None]


class _Convolve(Function):
    """``y = x * W``."""

    @staticmethod
    def forward(ctx, x, weight, geometry):
        ctx.save_for_backward(x, weight)
        ctx.geometry = geometry
        return torch.conv2d(x, weight, None, *geometry)

    @staticmethod
    def backward(ctx, dy):
        x, weight = ctx.saved_tensors
        dx, dw = _ConvolveBackward.apply(dy, x, weight, ctx.geometry, _input_is_asked_for(ctx))
        return dx, dw, None


class _ConvolveBackward(Function):
    """``(dx, dW)``, linear in ``dy`` and in ``W`` or ``x``: its derivatives are convolutions."""

    @staticmethod
    def forward(ctx, dy, x, weight, geometry, needs_dx):
        ctx.save_for_backward(dy, x, weight)
        ctx.geometry = geometry
        ctx.set_materialize_grads(False)
        return _convolution_backward(dy, x, weight, geometry, needs_dx)

    @staticmethod
    @once_differentiable
    def backward(ctx, u, v):
        dy, x, weight = ctx.saved_tensors
        v = torch.zeros_like(weight) if v is None else v
        grad_dy = torch.conv2d(x, v, None, *ctx.geometry)
        # <u, dx(dy, W)> + <v, dW(dy, x)>: by x it is dx(dy, v), by W it is dW(dy, u).
        if u is None:
            grad_x, grad_w = _convolution_backward(dy, x, v, ctx.geometry, needs_dw=False)
        else:
            grad_dy += torch.conv2d(u, weight, None, *ctx.geometry)
            grad_x, grad_w = _convolution_backward(dy, u, v, ctx.geometry)
        return grad_dy, grad_x, grad_w, None, None


def _convolution_backward(dy, x, weight, geometry, needs_dx=True, needs_dw=True):
    """Return the derivatives of a convolution by its input and its weight, or None."""
    stride, padding, dilation, groups = geometry
    few_planes = x.shape[1] <= _FEW_PLANES and groups == 1
    by_products = needs_dx and few_planes and x.device.type == "cpu"
    mask = (needs_dx and not by_products, needs_dw, False)
    dx = dw = None
    if any(mask):
        dx, dw, _ = torch.ops.aten.convolution_backward(
            dy, x, weight, None, stride, padding, dilation, False, (0, 0), groups, mask
        )
    if by_products:
        dx = _few_planes_backward(dy, x.shape, weight, geometry)
    return dx, dw


_FEW_PLANES = 4  # of an input: too few to fill a vector of the processor in a convolution


def _few_planes_backward(dy, shape, weight, geometry):
    """Return the derivative by an input of few planes: matrix products, then shifted sums."""
    (n, planes, height, width), (stride, padding, *_) = shape, geometry
    kernel, image = weight.shape[2:], dy.shape[2:]
    shares = weight.flatten(1).T @ dy.flatten(2)
    shares = shares.view(n, planes, *kernel, *image)
    padded = dy.new_zeros(n, planes, height + 2 * padding[0], width + 2 * padding[1])
    for i, j in product(*map(range, kernel)):
        rows = slice(i, i + stride[0] * image[0], stride[0])
        columns = slice(j, j + stride[1] * image[1], stride[1])
        padded[:, :, rows, columns] += shares[:, :, i, j]
    return padded[:, :, padding[0] :, padding[1] :][:, :, :height, :width]


def _input_is_asked_for(ctx):
    """Tell whether the derivative by the first input is wanted by the pass that is running.

    ``needs_input_grad`` only says whether it ever could be. The first layer's is not wanted while
    the gradient by the parameters is taken, and costs as much as a layer does.
    """
    node = ctx.next_functions[0][0]
    if node is None:
        return False
    try:
        return torch._C._will_engine_execute_node(node)  # torch's own, as checkpointing uses it
    except RuntimeError:  # a leaf: not told
        return True


class InstanceNorm(nn.Module):
    """Bring each channel of each clip to mean 0 and variance 1, then scale and shift it.

    The same function as ``torch.nn.GroupNorm(n_channels, n_channels)``, and, where asked for, the
    ReLU and the average pooling that follow it in a block: in one layer they need a third of the
    memory traffic, for nothing of the image's size has to be kept but what came in.
    """

    def __init__(self, n_channels, eps=1e-5, *, after=None):
        super().__init__()
        self.eps, self.after = eps, after or After()
        self.weight = nn.Parameter(torch.ones(n_channels))
        self.bias = nn.Parameter(torch.zeros(n_channels))

    def forward(self, z):
        return _Normalize.apply(z, self.weight, self.bias, self.eps, self.after)


def together(norm, activation, pooling):
    """Return three layers as one where that is cheaper, else as they are."""
    if not isinstance(norm, InstanceNorm) or not isinstance(activation, nn.ReLU):
        return norm, activation, pooling
    if not isinstance(pooling, nn.AvgPool2d):
        norm.after = After(relu=True)
        return norm, pooling
    norm.after = After(relu=True, pool=_pair(pooling.kernel_size))
    return (norm,)


class _Normalize(Function):
    """``p`` of ``_normalization.py``, where the formulas are."""

    @staticmethod
    def forward(ctx, z, weight, bias, eps, after):
        p, mean, rstd = normalize(z, weight, bias, eps, after)
        ctx.save_for_backward(z, weight, bias, mean, rstd)
        ctx.after = after
        return p

    @staticmethod
    def backward(ctx, dp):
        return *_NormalizeBackward.apply(dp, *ctx.saved_tensors, ctx.after), None, None


class _NormalizeBackward(Function):
    """``dz``, and the sums over all images for the weight and the bias.

    ``mean`` and ``rstd`` are handed in to be reused; their share in the derivative by ``z`` is
    part of the formulas.
    """

    @staticmethod
    def forward(ctx, dp, z, weight, bias, mean, rstd, after):
        dz, dy_mean, dy_n = normalize_backward(dp, z, weight, bias, mean, rstd, after)
        ctx.save_for_backward(dp, z, weight, bias, mean, rstd, dy_mean, dy_n)
        ctx.after, size = after, z.shape[2] * z.shape[3]
        return dz, size * dy_n.sum(0), size * dy_mean.sum(0)

    @staticmethod
    @once_differentiable
    def backward(ctx, u, p, q):
        z, rstd = ctx.saved_tensors[1], ctx.saved_tensors[5]
        seen = (*ctx.saved_tensors, ctx.after)
        grad_dp, grad_z, inner = normalize_double_backward(u, p, q, *seen)
        grad_weight = z.shape[2] * z.shape[3] * (rstd * inner).sum(0)
        return grad_dp, grad_z, grad_weight, None, None, None, None
