"""Layers that are cheap to differentiate twice, as matching trajectories does at every step.

They compute what torch's own layers compute; only the second derivative is written out. That of
torch's convolution goes through transposed copies with kernels as large as the image; here it is
three plain convolutions. That of its group normalisation costs more than the convolutions; here
every derivative is a sum of a few images times one number per image.
"""

import torch
from torch import nn
from torch.autograd import Function
from torch.autograd.function import once_differentiable


class Conv2d(nn.Conv2d):
    """Two-dimensional convolution, as ``torch.nn.Conv2d`` with one group and no dilation."""

    def forward(self, x):
        y = _Convolve.apply(x, self.weight, self.stride, self.padding)
        return y if self.bias is None else y + _per_channel(self.bias)


class _Convolve(Function):
    """``y = x * W``."""

    @staticmethod
    def forward(ctx, x, weight, stride, padding):
        ctx.save_for_backward(x, weight)
        ctx.geometry = stride, padding
        return torch.conv2d(x, weight, None, stride, padding)

    @staticmethod
    def backward(ctx, dy):
        x, weight = ctx.saved_tensors
        dx, dw = _ConvolveBackward.apply(dy, x, weight, ctx.geometry, _input_is_asked_for(ctx))
        return dx, dw, None, None


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
    stride, padding = geometry
    mask = (needs_dx, needs_dw, False)
    dx, dw, _ = torch.ops.aten.convolution_backward(
        dy, x, weight, None, stride, padding, (1, 1), False, (0, 0), 1, mask
    )
    return dx, dw


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

    The same function as ``torch.nn.GroupNorm(n_channels, n_channels)``. Notation, for one channel
    of one clip: ``m`` its mean, ``r`` one over its standard deviation, ``n = (x - m) r`` the
    normalised image, ``E[.]`` the mean over the image.
    """

    def __init__(self, n_channels, eps=1e-5):
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(n_channels))
        self.bias = nn.Parameter(torch.zeros(n_channels))

    def forward(self, x):
        return _Normalize.apply(x, self.weight, self.bias, self.eps)


class _Normalize(Function):
    """``y = w n + b``."""

    @staticmethod
    def forward(ctx, x, weight, bias, eps):
        mean = x.mean((2, 3), keepdim=True)
        centred = x - mean
        rstd = torch.rsqrt(_mean_product(centred, centred) + eps)
        ctx.save_for_backward(x, weight, mean, rstd)
        scale = _per_channel(weight) * rstd
        return torch.addcmul(_per_channel(bias) - scale * mean, scale, x)

    @staticmethod
    def backward(ctx, dy):
        x, weight, mean, rstd = ctx.saved_tensors
        return *_NormalizeBackward.apply(dy, x, weight, mean, rstd), None


class _NormalizeBackward(Function):
    """``dx = w r (dy - E[dy] - n E[dy n])``, and the sums over all images for ``w`` and ``b``.

    ``mean`` and ``rstd`` are handed in to be reused; their share in the derivative by ``x`` is
    part of the formulas below.
    """

    @staticmethod
    def forward(ctx, dy, x, weight, mean, rstd):
        dy_mean = dy.mean((2, 3), keepdim=True)
        dy_n = (_mean_product(dy, x) - dy_mean * mean) * rstd  # E[dy n]
        ctx.save_for_backward(dy, x, weight, mean, rstd, dy_mean, dy_n)
        scale = _per_channel(weight) * rstd
        along_n = -scale * dy_n * rstd
        dx = torch.addcmul(-scale * dy_mean - along_n * mean, scale, dy).addcmul_(along_n, x)
        size = x.shape[2] * x.shape[3]
        return dx, size * dy_n.sum((0, 2, 3)), size * dy_mean.sum((0, 2, 3))

    @staticmethod
    @once_differentiable
    def backward(ctx, u, p, q):
        dy, x, weight, mean, rstd, dy_mean, dy_n = ctx.saved_tensors
        p, q, w = _per_channel(p), _per_channel(q), _per_channel(weight)
        scale = w * rstd
        u_mean = u.mean((2, 3), keepdim=True)
        u_n = (_mean_product(u, x) - u_mean * mean) * rstd  # E[u n]
        inner = _mean_product(u, dy) - u_mean * dy_mean - u_n * dy_n  # E[u dx] / (w r)

        by_n = (p - scale * u_n) * rstd
        grad_dy = torch.addcmul(q - scale * u_mean - by_n * mean, scale, u).addcmul_(by_n, x)

        # By n, the scalar changes as c_u u + c_dy dy; by r, as w times `inner`.
        c_u, c_dy = -scale * dy_n, p - scale * u_n
        e_mean = c_u * u_mean + c_dy * dy_mean
        e_n = c_u * u_n + c_dy * dy_n
        by_x = -(rstd**2) * (e_n + scale * inner)
        grad_x = torch.addcmul(-rstd * e_mean - by_x * mean, rstd * c_u, u)
        grad_x.addcmul_(rstd * c_dy, dy).addcmul_(by_x, x)

        size = x.shape[2] * x.shape[3]
        return grad_dy, grad_x, size * (rstd * inner).sum((0, 2, 3)), None, None


def _mean_product(a, b):
    """Return ``E[a b]`` of each channel of each clip, shape ``(n_clips, n_channels, 1, 1)``."""
    return (a * b).mean((2, 3), keepdim=True)


def _per_channel(vector):
    return vector.view(1, -1, 1, 1)
