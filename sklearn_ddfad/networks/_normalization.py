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
            image = torch.where(y <= 0, 0, image)  # NaN stays NaN
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
        out = _image_like(z, after.pool), z.new_empty(z.shape[:2]), z.new_empty(z.shape[:2])
        return _compiled("normalize", (z, weight, bias, z.new_tensor(eps)), after, out)
    mean = _mean(z)
    rstd = torch.rsqrt(_mean((z - mean[..., None, None]).square_()) + eps)
    y = _affine(z, weight, bias, mean, rstd)
    return after.push(y, y), mean, rstd


def normalize_backward(dp, z, weight, bias, mean, rstd, after):
    """Return ``dz = w r (dy - E[dy] - n E[dy n])``, ``E[dy]`` and ``E[dy n]``."""
    if _fits_processor(z):
        out = _image_like(z), torch.empty_like(mean), torch.empty_like(mean)
        return _compiled("normalize_backward", (dp, z, weight, bias, mean, rstd), after, out)
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
        given = (u, p, q, dp, z, weight, bias, mean, rstd, dy_mean, dy_n)
        out = _image_like(dp), _image_like(z), torch.empty_like(mean)
        return _compiled("normalize_double_backward", given, after, out)
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
    is_real = type(z) is torch.Tensor  # while a module is exported, it is not
    return is_real and z.device.type == "cpu" and torch.get_num_threads() <= _MOST_THREADS


def _compiled(name, given, after, out):
    """Run the compiled loop called `name`, which writes to `out`; return that."""
    from sklearn_ddfad.networks import _kernels  # numba is slow to import, and not for a GPU

    given = [_array(value) for value in given]
    floor = given[0].dtype.type(after.floor)
    getattr(_kernels, name)(*given, floor, *after.pool, *map(_array, out))
    return out


def _array(tensor):
    """Return a tensor as a contiguous array, an image with its channels last, or as a number."""
    tensor = tensor.detach()
    if tensor.ndim < 4:
        return tensor.contiguous().numpy()[()]
    return tensor.contiguous(memory_format=torch.channels_last).permute(0, 2, 3, 1).numpy()


def _image_like(z, pool=(1, 1)):
    """Return an image with the channels of `z` last, smaller by a pooling, to be written to."""
    height, width = (size // step for size, step in zip(z.shape[2:], pool, strict=True))
    return z.new_empty(len(z), height, width, z.shape[1]).permute(0, 3, 1, 2)
