"""The formulas of ``InstanceNorm`` in two passes over each image, compiled for the processor.

The same as in ``_normalization.py``, where the notation is. An array has the shape
``(n_clips, height, width, n_channels)``: the innermost loops run over channels, and a clip's image
stays in the cache from one pass to the next. Points at the border that are in no window have loops
of their own, and what a window sums up is summed up window by window: both are several times faster
than to ask each point. numba compiles a function when it is first called and keeps it on disk,
where there is a folder it may write to.
"""

from typing import Any

import numpy as np
from numba import njit


def _compiled(function) -> Any:
    options: Any = {"nogil": True, "error_model": "numpy", "fastmath": {"contract", "nsz"}}
    try:
        return njit(cache=True, **options)(function)
    except RuntimeError:  # no such folder
        return njit(**options)(function)


@_compiled
def normalize(z, weight, bias, eps, floor, ph, pw, p, mean, rstd):
    """Write to `p`, `mean` and `rstd`."""
    n_clips, height, width, n_channels = z.shape
    size, share = z.dtype.type(height * width), z.dtype.type(1 / (ph * pw))
    scale, shift = np.empty_like(weight), np.empty_like(weight)
    total, squares = np.empty_like(weight), np.empty_like(weight)
    for i in range(n_clips):
        total[:] = 0
        squares[:] = 0
        for a in range(height):
            for b in range(width):
                x = z[i, a, b]
                for k in range(n_channels):
                    total[k] += x[k]
        total /= size
        for a in range(height):
            for b in range(width):
                x = z[i, a, b]
                for k in range(n_channels):
                    squares[k] += (x[k] - total[k]) ** 2
        for k in range(n_channels):
            r = 1 / np.sqrt(squares[k] / size + eps)
            mean[i, k] = total[k]
            rstd[i, k] = r
            scale[k] = weight[k] * r
            shift[k] = bias[k] - scale[k] * total[k]
        for a in range(p.shape[1]):
            for b in range(p.shape[2]):
                out = p[i, a, b]
                for s in range(ph):
                    for t in range(pw):
                        x = z[i, a * ph + s, b * pw + t]
                        if s + t == 0:
                            for k in range(n_channels):
                                out[k] = share * max(scale[k] * x[k] + shift[k], floor)
                        else:
                            for k in range(n_channels):
                                out[k] += share * max(scale[k] * x[k] + shift[k], floor)


@_compiled
def normalize_backward(dp, z, weight, bias, mean, rstd, floor, ph, pw, dz, dy_mean, dy_n):
    """Write to `dz`, `dy_mean` and `dy_n`."""
    n_clips, height, width, n_channels = z.shape
    size, share = z.dtype.type(height * width), z.dtype.type(1 / (ph * pw))
    zero = z.dtype.type(0)
    scale, shift = np.empty_like(weight), np.empty_like(weight)
    along, constant = np.empty_like(weight), np.empty_like(weight)
    e, e_n = np.empty_like(weight), np.empty_like(weight)
    pooled_h, pooled_w = dp.shape[1] * ph, dp.shape[2] * pw
    for i in range(n_clips):
        e[:] = 0
        e_n[:] = 0
        for k in range(n_channels):
            scale[k] = weight[k] * rstd[i, k]
            shift[k] = bias[k] - scale[k] * mean[i, k]
        for a in range(pooled_h):
            for b in range(pooled_w):
                x = z[i, a, b]
                g = dp[i, a // ph, b // pw]
                for k in range(n_channels):
                    dy = g[k] if scale[k] * x[k] + shift[k] > floor else zero
                    e[k] += dy
                    e_n[k] += dy * x[k]
        for k in range(n_channels):
            r = rstd[i, k]
            e[k] *= share / size
            e_n[k] = (e_n[k] * (share / size) - e[k] * mean[i, k]) * r
            dy_mean[i, k] = e[k]
            dy_n[i, k] = e_n[k]
            along[k] = -scale[k] * e_n[k] * r
            constant[k] = -scale[k] * e[k] - along[k] * mean[i, k]
        for a in range(pooled_h):
            for b in range(pooled_w):
                x = z[i, a, b]
                out = dz[i, a, b]
                g = dp[i, a // ph, b // pw]
                for k in range(n_channels):
                    dy = g[k] if scale[k] * x[k] + shift[k] > floor else zero
                    out[k] = constant[k] + along[k] * x[k] + share * scale[k] * dy
        for a in range(height):
            for b in range(pooled_w if a < pooled_h else 0, width):
                x = z[i, a, b]
                out = dz[i, a, b]
                for k in range(n_channels):
                    out[k] = constant[k] + along[k] * x[k]


@_compiled
def normalize_double_backward(
    u, by_weight, by_bias, dp, z, weight, bias, mean, rstd, dy_mean, dy_n, floor, ph, pw,
    grad_dp, grad_z, inner
):  # fmt: skip
    """Write to `grad_dp`, `grad_z` and `inner`."""
    n_clips, height, width, n_channels = z.shape
    size, share = z.dtype.type(height * width), z.dtype.type(1 / (ph * pw))
    zero = z.dtype.type(0)
    scale, shift = np.empty_like(weight), np.empty_like(weight)
    u_sum, u_z, u_dy = np.empty_like(weight), np.empty_like(weight), np.empty_like(weight)
    y_constant, y_by_z = np.empty_like(weight), np.empty_like(weight)
    z_constant, z_by_z = np.empty_like(weight), np.empty_like(weight)
    z_by_u, z_by_dy = np.empty_like(weight), np.empty_like(weight)
    pooled_h, pooled_w = dp.shape[1] * ph, dp.shape[2] * pw
    for i in range(n_clips):
        u_sum[:] = 0
        u_z[:] = 0
        u_dy[:] = 0
        for k in range(n_channels):
            scale[k] = weight[k] * rstd[i, k]
            shift[k] = bias[k] - scale[k] * mean[i, k]
        for a in range(pooled_h):
            for b in range(pooled_w):
                x = z[i, a, b]
                v = u[i, a, b]
                g = dp[i, a // ph, b // pw]
                for k in range(n_channels):
                    u_sum[k] += v[k]
                    u_z[k] += v[k] * x[k]
                for k in range(n_channels):
                    dy = g[k] if scale[k] * x[k] + shift[k] > floor else zero
                    u_dy[k] += v[k] * dy
        for a in range(height):
            for b in range(pooled_w if a < pooled_h else 0, width):
                x = z[i, a, b]
                v = u[i, a, b]
                for k in range(n_channels):
                    u_sum[k] += v[k]
                    u_z[k] += v[k] * x[k]
        for k in range(n_channels):
            m, r, w = mean[i, k], rstd[i, k], scale[k]
            u_mean = u_sum[k] / size
            u_n = (u_z[k] / size - u_mean * m) * r
            inner[i, k] = u_dy[k] * (share / size) - u_mean * dy_mean[i, k] - u_n * dy_n[i, k]
            c_u, c_dy = -w * dy_n[i, k], by_weight[k] - w * u_n
            e_mean = c_u * u_mean + c_dy * dy_mean[i, k]
            e_n = c_u * u_n + c_dy * dy_n[i, k]
            y_by_z[k] = c_dy * r
            y_constant[k] = by_bias[k] - w * u_mean - y_by_z[k] * m
            z_by_z[k] = -(r**2) * (e_n + w * inner[i, k])
            z_constant[k] = -r * e_mean - z_by_z[k] * m
            z_by_u[k] = r * c_u
            z_by_dy[k] = r * c_dy * share
        grad_dp[i] = 0
        for a in range(dp.shape[1]):
            for b in range(dp.shape[2]):
                g = dp[i, a, b]
                grad_g = grad_dp[i, a, b]
                for s in range(ph):
                    for t in range(pw):
                        x = z[i, a * ph + s, b * pw + t]
                        v = u[i, a * ph + s, b * pw + t]
                        out = grad_z[i, a * ph + s, b * pw + t]
                        for k in range(n_channels):
                            dy = g[k] if scale[k] * x[k] + shift[k] > floor else zero
                            out[k] = z_by_dy[k] * dy
                        for k in range(n_channels):
                            out[k] += z_constant[k] + z_by_z[k] * x[k] + z_by_u[k] * v[k]
                        for k in range(n_channels):
                            grad_dy = y_constant[k] + scale[k] * v[k] + y_by_z[k] * x[k]
                            passes = scale[k] * x[k] + shift[k] > floor
                            grad_g[k] += share * grad_dy if passes else zero
        for a in range(height):
            for b in range(pooled_w if a < pooled_h else 0, width):
                x = z[i, a, b]
                v = u[i, a, b]
                out = grad_z[i, a, b]
                for k in range(n_channels):
                    out[k] = z_constant[k] + z_by_z[k] * x[k] + z_by_u[k] * v[k]
