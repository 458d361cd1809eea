"""Instance normalisation, ReLU and average pooling as one function, and its two derivatives.

Notation, for one channel of one clip: ``z`` the image that comes in, ``m`` its mean, ``r`` one over
its standard deviation, ``n = (z - m) r`` the normalised image, ``y = w n + b``, ``E[.]`` the mean
over the image. What comes out is ``p = pool(max(y, floor))``, where a floor of minus infinity
leaves the ReLU out and a window of one point the pooling. In ``dy`` both are already undone.

Every derivative is a sum of a few images times one number per image. Here they are written in
torch, image by image; on a processor with few cores ``_kernels.py`` does the same while the image
is in the cache.
"""

from math import inf
from typing import NamedTuple

import torch
import torch.nn.functional as F


class After(NamedTuple):
    """What follows the normalisation; linear wherever it can be differentiated."""

    relu: bool = False
    pool: tuple[int, int] = (1, 1)

    @property
    def floor(self):
        """What no value is under."""
        return 0.0 if self.relu else -inf

    def push(self, image, y):
        """Apply it to `image`, with the zeros that it makes of `y`."""
        if self.relu:
            image = torch.where(y > 0, image, 0)
        return image if self.pool == (1, 1) else F.avg_pool2d(image, self.pool)

    def pull_back(self, dp, y):
        """Return the derivative by ``y``."""
        if self.pool != (1, 1):
            dp = _unpool(dp, y, self.pool, self.pool, (0, 0), False, True, None)
        return torch.where(y > 0, dp, 0) if self.relu else dp


_unpool = torch.ops.aten.avg_pool2d_backward


def normalize(z, weight, bias, eps, after):
    """Return ``p``, ``m`` and ``r``; the latter two have the shape ``(n_clips, n_channels)``."""
    if _fits_processor(z):
        return _normalize_on_processor(z, weight, bias, eps, after)
    mean = _mean(z)
    rstd = torch.rsqrt(_mean((z - mean[..., None, None]).square_()) + eps)
    y = _affine(z, weight, bias, mean, rstd)
    return after.push(y, y), mean, rstd


def normalize_backward(dp, z, weight, bias, mean, rstd, after):
    """Return ``dz = w r (dy - E[dy] - n E[dy n])``, ``E[dy]`` and ``E[dy n]``."""
    if _fits_processor(z):
        return _backward_on_processor(dp, z, weight, bias, mean, rstd, after)
    dy = after.pull_back(dp, _affine(z, weight, bias, mean, rstd))
    dy_mean = _mean(dy)
    dy_n = (_mean(dy * z) - dy_mean * mean) * rstd
    scale = weight * rstd
    along = -scale * dy_n * rstd
    return _sum(-scale * dy_mean - along * mean, (scale, dy), (along, z)), dy_mean, dy_n


def normalize_double_backward(u, p, q, dp, z, weight, bias, mean, rstd, dy_mean, dy_n, after):
    """Return what ``<u, dz> + <p, dw> + <q, db>`` changes by with ``dp``, ``z`` and ``w``.

    ``dw`` and ``db`` are the sums of ``dy n`` and ``dy`` over all images. The third is given per
    clip, over the size of an image and over ``r``: it is ``E[u dz] / (w r)``.
    """
    if _fits_processor(z):
        return _double_backward_on_processor(
            u, p, q, dp, z, weight, bias, mean, rstd, dy_mean, dy_n, after
        )
    y = _affine(z, weight, bias, mean, rstd)
    dy = after.pull_back(dp, y)
    scale = weight * rstd
    u_mean = _mean(u)
    u_n = (_mean(u * z) - u_mean * mean) * rstd  # E[u n]
    inner = _mean(u * dy) - u_mean * dy_mean - u_n * dy_n

    by_n = (p - scale * u_n) * rstd
    grad_dy = _sum(q - scale * u_mean - by_n * mean, (scale, u), (by_n, z))

    # By n, the scalar changes as c_u u + c_dy dy; by r, as w times `inner`.
    c_u, c_dy = -scale * dy_n, p - scale * u_n
    e_mean = c_u * u_mean + c_dy * dy_mean
    e_n = c_u * u_n + c_dy * dy_n
    by_z = -(rstd**2) * (e_n + scale * inner)
    grad_z = _sum(-rstd * e_mean - by_z * mean, (rstd * c_u, u), (rstd * c_dy, dy), (by_z, z))
    return after.push(grad_dy, y), grad_z, inner


def _affine(z, weight, bias, mean, rstd):
    """Return ``y``."""
    scale = weight * rstd
    return _sum(bias - scale * mean, (scale, z))


def _mean(image):
    """Return ``E[image]``."""
    return image.mean((2, 3))


def _sum(constant, first, *rest):
    """Return a constant plus images times one number each."""
    number, image = first
    total = torch.addcmul(constant[..., None, None], number[..., None, None], image)
    for number, image in rest:
        total.addcmul_(number[..., None, None], image)
    return total


# ------------------------------------------------------------------------------------------
# On a processor
# ------------------------------------------------------------------------------------------

_MOST_THREADS = 4  # the compiled loops use one; with more at hand, torch's parallel ones win


def _fits_processor(z):
    return z.device.type == "cpu" and torch.get_num_threads() <= _MOST_THREADS


def _normalize_on_processor(z, weight, bias, eps, after):
    from sklearn_ddfad.networks import _kernels

    z = _channels_last(z)
    image = [size // step for size, step in zip(z.shape[2:], after.pool, strict=True)]
    p = _channels_last(z.new_empty(*z.shape[:2], *image))
    mean, rstd = z.new_empty(z.shape[:2]), z.new_empty(z.shape[:2])
    arrays = [_array(tensor) for tensor in (z, weight, bias, p, mean, rstd)]
    eps, floor = (arrays[0].dtype.type(number) for number in (eps, after.floor))
    _kernels.normalize(*arrays[:3], eps, floor, *after.pool, *arrays[3:])
    return p, mean, rstd


def _backward_on_processor(dp, z, weight, bias, mean, rstd, after):
    from sklearn_ddfad.networks import _kernels

    dp, z = _channels_last(dp), _channels_last(z)
    out = torch.empty_like(z), torch.empty_like(mean), torch.empty_like(mean)
    arrays = [_array(tensor) for tensor in (dp, z, weight, bias, mean, rstd)]
    floor = arrays[0].dtype.type(after.floor)
    _kernels.normalize_backward(*arrays, floor, *after.pool, *map(_array, out))
    return out


def _double_backward_on_processor(u, p, q, dp, z, *rest):
    from sklearn_ddfad.networks import _kernels

    *statistics, after = rest
    u, dp, z = _channels_last(u), _channels_last(dp), _channels_last(z)
    out = torch.empty_like(dp), torch.empty_like(z), torch.empty_like(statistics[2])
    arrays = [_array(tensor) for tensor in (u, p, q, dp, z, *statistics)]
    floor = arrays[0].dtype.type(after.floor)
    _kernels.normalize_double_backward(*arrays, floor, *after.pool, *map(_array, out))
    return out


def _channels_last(image):
    return image.contiguous(memory_format=torch.channels_last)


def _array(tensor):
    """Return a tensor as a contiguous array, an image with its channels last."""
    tensor = tensor.detach()
    return (tensor.permute(0, 2, 3, 1) if tensor.ndim == 4 else tensor.contiguous()).numpy()
