"""Pooling and upsampling, one tap of the window at a time over all windows at once."""

from __future__ import annotations

import math
from functools import reduce
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np

from ..views import cropped, inside, volume, windows
from .conv import conv_dw

if TYPE_CHECKING:
    from ...shapes import ConvPlan, PoolPlan
    from ...shapes_upsample import UpsamplePlan


def _frame(plan: PoolPlan, fill: float, dtype: np.dtype) -> np.ndarray:
    """An array of `fill`, (N, C, D, H, W), with room for x, its padding and what the windows overhang."""
    axes = zip(plan.out_size, plan.stride, plan.size, plan.pad_before, plan.in_size)
    size = (max((o - 1) * s + k, before + n) for o, s, k, before, n in axes)
    return np.full((plan.batch, plan.channels, *size), fill, dtype)


def _view(frame: np.ndarray, plan: PoolPlan) -> np.ndarray:
    return windows(frame, plan.out_size, plan.size, plan.stride)


def _padded(x: np.ndarray, plan: PoolPlan, fill: float) -> np.ndarray:
    frame = _frame(plan, fill, x.dtype)
    inside(frame, plan)[...] = volume(x, plan.layout, plan.in_size)
    return frame


def _first_real_tap(plan: PoolPlan) -> np.ndarray:
    """The number of the first tap that is not padding, (OD, OH, OW)."""
    firsts = []
    for axis, (o, s, before) in enumerate(zip(plan.out_size, plan.stride, plan.pad_before)):
        firsts.append(np.maximum(before - s * np.arange(o), 0) * math.prod(plan.size[axis + 1 :]))
    return reduce(np.add.outer, firsts)


def _divisor(plan: PoolPlan, dtype: np.dtype) -> np.ndarray:
    """How many cells each mean is over, (OD, OH, OW): the real ones, or those of the padded input."""
    counts = []
    axes = zip(plan.out_size, plan.stride, plan.size, plan.in_size, plan.pad_before, plan.pad_after)
    for o, s, k, n, before, after in axes:
        low, high = (0, before + n + after) if plan.count_include_pad else (before, before + n)
        start = s * np.arange(o)
        counts.append(np.minimum(start + k, high) - np.maximum(start, low))
    return reduce(np.multiply.outer, counts).astype(dtype)


def maxpool_fwd(
    x: np.ndarray, plan: PoolPlan, want_index: bool = True
) -> tuple[np.ndarray, np.ndarray | None]:
    """y[n, c, i] = max_k x[n, c, i·stride + k − pad], and the number of the tap k that won.

    A NaN wins, the first of several; of equal values the first. Taps are numbered row-major in the window.
    """
    seen = _view(_padded(x, plan, -np.inf), plan)
    y = np.full(plan.y_shape, -np.inf, x.dtype)
    y5 = volume(y, plan.layout, plan.out_size)
    if not want_index:
        for tap in np.ndindex(plan.size):
            np.maximum(y5, seen[(..., *tap)], out=y5)
        return y, None

    index = np.empty(plan.y_shape, np.uint8 if math.prod(plan.size) <= 256 else np.int32)
    index5 = volume(index, plan.layout, plan.out_size)
    index5[...] = _first_real_tap(plan)
    for number, tap in enumerate(np.ndindex(plan.size)):
        value = seen[(..., *tap)]
        wins = ~(value <= y5) & ~np.isnan(y5)  # larger, or the first NaN
        np.copyto(y5, value, where=wins)
        np.copyto(index5, number, where=wins, casting="unsafe")
    return y, index


def maxpool_gated(x: np.ndarray, plan: PoolPlan) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What `maxpool_fwd` returns, and closed[n, c, i] = x[n, c, i] <= 0."""
    y, index = maxpool_fwd(x, plan)
    assert index is not None
    return y, index, x <= 0


def maxpool_bwd(dy: np.ndarray, index: np.ndarray, plan: PoolPlan) -> np.ndarray:
    """dx[n, c, i·stride + index[n, c, i] − pad] += dy[n, c, i]."""
    frame = _frame(plan, 0.0, dy.dtype)
    seen = _view(frame, plan)
    dy5, index5 = volume(dy, plan.layout, plan.out_size), volume(index, plan.layout, plan.out_size)
    for number, tap in enumerate(np.ndindex(plan.size)):
        target = seen[(..., *tap)]
        np.add(target, dy5, out=target, where=index5 == number)
    return cropped(frame, plan)


def conv_dw_pooled(
    dy: np.ndarray,
    index: np.ndarray,
    x: np.ndarray,
    plan: ConvPlan,
    pool: PoolPlan,
    out: np.ndarray | None = None,
) -> np.ndarray:
    """What `conv_dw` makes of `maxpool_bwd`: dw of a convolution whose output is pooled."""
    return conv_dw(maxpool_bwd(dy, index, pool), x, plan, out)


def maxpool_share(dy: np.ndarray, x: np.ndarray, y: np.ndarray, plan: PoolPlan) -> np.ndarray:
    """dx[n, c, i·stride + k] = (dy[n, c, i] where x is y[n, c, i] there else 0) / how many of the window are.

    The windows tile x. Nothing is equal to NaN: 0 / 0 then.
    """
    dx = np.empty(plan.x_shape, dy.dtype)
    seen, to = (_view(volume(array, plan.layout, plan.in_size), plan) for array in (x, dx))
    y5, dy5 = volume(y, plan.layout, plan.out_size), volume(dy, plan.layout, plan.out_size)
    hits = [(tap, seen[(..., *tap)] == y5) for tap in np.ndindex(plan.size)]
    count = np.zeros(y5.shape, dy.dtype)
    for _, hit in hits:
        count += hit
    with np.errstate(invalid="ignore", divide="ignore"):
        share, none = dy5 / count, np.zeros((), dy.dtype) / count
    for tap, hit in hits:
        to[(..., *tap)] = np.where(hit, share, none)
    return dx


def avgpool_fwd(x: np.ndarray, plan: PoolPlan) -> np.ndarray:
    """y[n, c, i] = Σ_k x[n, c, i·stride + k − pad] / number of cells."""
    seen = _view(_padded(x, plan, 0.0), plan)
    y = np.zeros(plan.y_shape, x.dtype)
    y5 = volume(y, plan.layout, plan.out_size)
    for tap in np.ndindex(plan.size):
        y5 += seen[(..., *tap)]
    y5 /= _divisor(plan, x.dtype)
    return y


def avgpool_bwd(dy: np.ndarray, plan: PoolPlan) -> np.ndarray:
    """dx[n, c, i·stride + k − pad] += dy[n, c, i] / number of cells."""
    frame = _frame(plan, 0.0, dy.dtype)
    seen = _view(frame, plan)
    share = volume(dy, plan.layout, plan.out_size) / _divisor(plan, dy.dtype)
    for tap in np.ndindex(plan.size):
        seen[(..., *tap)] += share
    return cropped(frame, plan)


def _sources(n: int, scale: int, mode: str) -> list[tuple[np.ndarray, np.ndarray]]:
    """Along one axis of n pixels: the arrays (index of a source pixel, its weight), each n·scale long.

    Where both sources of a bilinear pixel are the same one, each has half the weight: no weight is ever zero,
    so an Inf stays an Inf.
    """
    i = np.arange(n * scale)
    if mode == "nearest":
        return [(i // scale, np.ones(n * scale))]
    centre = np.clip((i + 0.5) / scale - 0.5, 0, n - 1)
    below, above = np.floor(centre).astype(int), np.ceil(centre).astype(int)
    fraction = np.where(below == above, 0.5, centre - below)
    return [(below, 1 - fraction), (above, fraction)]


def upsample_fwd(x: np.ndarray, plan: UpsamplePlan) -> np.ndarray:
    """y[n, c, i] = Σ weight·x[n, c, source of i]; bilinear has half-pixel centres, clamped at the border."""
    (height, width), (scale_h, scale_w) = plan.in_size, plan.scale
    y = np.zeros(plan.y_shape, x.dtype)
    x4, y4 = volume(x, plan.layout, plan.in_size), volume(y, plan.layout, (height * scale_h, width * scale_w))
    rows, cols = _sources(height, scale_h, plan.mode), _sources(width, scale_w, plan.mode)
    for (h, weight_h), (w, weight_w) in product(rows, cols):
        y4 += x4[:, :, h[:, None], w] * np.outer(weight_h, weight_w).astype(x.dtype)
    return y


def upsample_bwd(dy: np.ndarray, plan: UpsamplePlan) -> np.ndarray:
    """dx[n, c, source of i] += weight·dy[n, c, i]."""
    (height, width), (scale_h, scale_w) = plan.in_size, plan.scale
    dx = np.zeros(plan.x_shape, dy.dtype)
    dx4 = volume(dx, plan.layout, plan.in_size)
    dy4 = volume(dy, plan.layout, (height * scale_h, width * scale_w))
    rows, cols = _sources(height, scale_h, plan.mode), _sources(width, scale_w, plan.mode)
    for (h, weight_h), (w, weight_w) in product(rows, cols):
        part = dy4 * np.outer(weight_h, weight_w).astype(dy.dtype)
        target: Any = np.s_[:, :, h[:, None], w]
        np.add.at(dx4, target, part)
    return dx
