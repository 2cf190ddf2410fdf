"""Convolutions and poolings: what the naive layers, the fast ones and the exact tier share."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...functional._arrays import engine
from ...shapes import ConvPlan, PoolPlan, conv_plan, pool_plan
from ..tier import Unserved
from .arrays import Array, floats

__all__ = [
    "add_windows",
    "convolution",
    "convolution_gradients",
    "first_gradient",
    "largest",
    "no_ties",
    "pooling",
    "shared_gradient",
]


def _planned(x: Any, w: Any, conv_param: Any) -> ConvPlan:
    """Check the sizes of a convolution; windows that do not tile the image are left to their author."""
    stride, pad = int(conv_param["stride"]), int(conv_param["pad"])
    plan = conv_plan("convolution", x.shape, w.shape, None, 2, stride, pad)
    if any((size + 2 * pad - tap) % stride for size, tap in zip(x.shape[2:], w.shape[2:])):
        raise Unserved("windows that do not tile the image")
    return plan


def convolution(x: Any, w: Any, b: Any, conv_param: Any) -> Array:
    """Return the convolution of x (N, C, H, W) with w (F, C, HH, WW), plus b (F,)."""
    image, kernel, bias = floats(x, w, b)
    plan = _planned(image, kernel, conv_param)
    if bias.shape != (plan.out_channels,):
        raise Unserved("a bias that is not one number a filter")
    out: Array = engine().conv_fwd(image, kernel, bias, plan)
    return out


def convolution_gradients(dout: Any, x: Any, w: Any, conv_param: Any) -> tuple[Array, Array, Array]:
    """Return the gradients (dx, dw, db) of `convolution`."""
    dz, image, kernel = floats(dout, x, w)
    plan = _planned(image, kernel, conv_param)
    if dz.shape != plan.y_shape:
        raise Unserved("a gradient of another shape than the output")
    ops = engine()
    count, channels, *size = plan.y_shape
    db = ops.bias_grad(dz, count, channels, size[0] * size[1])
    return ops.conv_dx(dz, kernel, None, plan), ops.conv_dw(dz, image, plan), db


def pooling(x: Any, pool_param: Any) -> PoolPlan:
    """Check the sizes of a pooling of x (N, C, H, W); the windows must tile it, overlapping or not."""
    size = int(pool_param["pool_height"]), int(pool_param["pool_width"])
    stride = int(pool_param["stride"])
    plan = pool_plan("pooling", x.shape, size, 2, stride)
    if any((length - window) % stride for length, window in zip(x.shape[2:], size)):
        raise Unserved("windows that do not tile the image")
    return plan


def largest(x: Array, plan: PoolPlan) -> Array:
    """Return the largest value of each window."""
    out: Array = engine().maxpool_fwd(x, plan, want_index=False)[0]
    return out


def first_gradient(dout: Array, x: Array, plan: PoolPlan) -> Array:
    """Return the gradient of `largest`, all of which goes to the first of equals."""
    ops = engine()
    dx: Array = ops.maxpool_bwd(dout, ops.maxpool_fwd(x, plan)[1], plan)
    return dx


def no_ties(x: Array, dout: Array, plan: PoolPlan) -> Array:
    """Return the gradient of `largest`, where no window has two largest values: else it would be a choice."""
    ops = engine()
    out, index = ops.maxpool_fwd(x, plan)
    (_, high, wide), (_, down, right) = plan.size, plan.stride
    hits = sum(
        int(np.count_nonzero(tap == out))
        for tap in (_tap(x, i, j, down, right, out.shape) for i in range(high) for j in range(wide))
    )
    if hits != out.size:
        raise Unserved("two largest values in one window, or NaN")
    dx: Array = ops.maxpool_bwd(dout, index, plan)
    return dx


def _tap(x: Array, i: int, j: int, down: int, right: int, shape: tuple[int, ...]) -> Array:
    """Return the view of x that all windows have at (i, j)."""
    return x[:, :, i : i + down * shape[2] : down, j : j + right * shape[3] : right]


def shared_gradient(dout: Array, x: Array, out: Array, plan: PoolPlan) -> Array:
    """Return the gradient of `largest`, windows tiling x: equals share it equally.

    Where a largest value is NaN nothing equals it, and the gradient is 0 / 0, with NumPy's warning, as it is
    in the course's code.
    """
    dx: Array = engine().maxpool_share(dout, x, out, plan)
    (_, high, wide), zero = plan.size, np.zeros((), x.dtype)
    if np.isnan(dx[:, :, ::high, ::wide].min(initial=0)):
        np.divide(zero, zero)
    return dx


def add_windows(parts: Any, image: Array, stride: int) -> None:
    """Add to image (N, C, H, W), in order, parts[i][j] (N, C, OH, OW): what its windows hold at (i, j)."""
    for i, row in enumerate(parts):
        for j, part in enumerate(row):
            target = _tap(image, i, j, stride, stride, part.shape)
            target += part
