"""Pooling and upsampling, one window at a time.

A padded cell is no cell here: it never wins a maximum and adds nothing to a mean.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import product
from typing import TYPE_CHECKING

import numpy as np

from ..views import volume
from .conv import conv_dw

if TYPE_CHECKING:
    from ...shapes import ConvPlan, PoolPlan
    from ...shapes_upsample import UpsamplePlan

Index = tuple[int, ...]


def _window(out: Sequence[int], plan: PoolPlan) -> Iterator[tuple[int, Index]]:
    """Yield (tap number, (d, h, w)) of the real cells, never the padded ones, under the window at `out`."""
    for number, tap in enumerate(np.ndindex(plan.size)):
        at = tuple(i * s - p + k for i, s, p, k in zip(out, plan.stride, plan.pad_before, tap))
        if all(0 <= i < n for i, n in zip(at, plan.in_size)):
            yield number, at


def _divisor(out: Sequence[int], plan: PoolPlan) -> int:
    """How many cells a mean at `out` is over: the real ones, or those of the padded input."""
    if not plan.count_include_pad:
        return sum(1 for _ in _window(out, plan))
    axes = zip(out, plan.stride, plan.size, plan.in_size, plan.pad_before, plan.pad_after)
    return math.prod(min(i * s + k, before + n + after) - i * s for i, s, k, n, before, after in axes)


def maxpool_fwd(
    x: np.ndarray, plan: PoolPlan, want_index: bool = True
) -> tuple[np.ndarray, np.ndarray | None]:
    """y[n, c, i] = max_k x[n, c, i·stride + k − pad], and the number of the tap k that won.

    A NaN wins, the first of several; of equal values the first. Taps are numbered row-major in the window.
    """
    y = np.zeros(plan.y_shape, x.dtype)
    index = np.zeros(plan.y_shape, np.uint8 if math.prod(plan.size) <= 256 else np.int32)
    x5 = volume(x, plan.layout, plan.in_size)
    y5, index5 = volume(y, plan.layout, plan.out_size), volume(index, plan.layout, plan.out_size)
    for n, c, *out in np.ndindex(y5.shape):
        here = (n, c, *out)
        unset = True
        for number, at in _window(out, plan):
            value = x5[(n, c, *at)]
            if unset or value > y5[here] or (np.isnan(value) and not np.isnan(y5[here])):
                y5[here], index5[here], unset = value, number, False
    return y, index if want_index else None


def maxpool_gated(x: np.ndarray, plan: PoolPlan) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What `maxpool_fwd` returns, and closed[n, c, i] = x[n, c, i] <= 0."""
    y, index = maxpool_fwd(x, plan)
    assert index is not None
    return y, index, x <= 0


def maxpool_bwd(dy: np.ndarray, index: np.ndarray, plan: PoolPlan) -> np.ndarray:
    """dx[n, c, i·stride + index[n, c, i] − pad] += dy[n, c, i]."""
    dx = np.zeros(plan.x_shape, dy.dtype)
    dx5 = volume(dx, plan.layout, plan.in_size)
    dy5, index5 = volume(dy, plan.layout, plan.out_size), volume(index, plan.layout, plan.out_size)
    for n, c, *out in np.ndindex(dy5.shape):
        winner = dict(_window(out, plan))[int(index5[(n, c, *out)])]
        dx5[(n, c, *winner)] += dy5[(n, c, *out)]
    return dx


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
    dx = np.zeros(plan.x_shape, dy.dtype)
    x5, dx5 = (volume(array, plan.layout, plan.in_size) for array in (x, dx))
    y5, dy5 = (volume(array, plan.layout, plan.out_size) for array in (y, dy))
    for n, c, *out in np.ndindex(y5.shape):
        here = (n, c, *out)
        cells = [(n, c, *at) for _, at in _window(out, plan)]
        hits = [cell for cell in cells if x5[cell] == y5[here]]
        for cell in cells:
            dx5[cell] = np.divide(dy5[here] if cell in hits else 0, len(hits), dtype=dy.dtype)
    return dx


def avgpool_fwd(x: np.ndarray, plan: PoolPlan) -> np.ndarray:
    """y[n, c, i] = Σ_k x[n, c, i·stride + k − pad] / number of cells."""
    y = np.zeros(plan.y_shape, x.dtype)
    x5, y5 = volume(x, plan.layout, plan.in_size), volume(y, plan.layout, plan.out_size)
    for n, c, *out in np.ndindex(y5.shape):
        for _, at in _window(out, plan):
            y5[(n, c, *out)] += x5[(n, c, *at)]
        y5[(n, c, *out)] /= _divisor(out, plan)
    return y


def avgpool_bwd(dy: np.ndarray, plan: PoolPlan) -> np.ndarray:
    """dx[n, c, i·stride + k − pad] += dy[n, c, i] / number of cells."""
    dx = np.zeros(plan.x_shape, dy.dtype)
    dx5, dy5 = volume(dx, plan.layout, plan.in_size), volume(dy, plan.layout, plan.out_size)
    for n, c, *out in np.ndindex(dy5.shape):
        for _, at in _window(out, plan):
            dx5[(n, c, *at)] += dy5[(n, c, *out)] / _divisor(out, plan)
    return dx


def _blend(plan: UpsamplePlan) -> Iterator[tuple[Index, Index, float]]:
    """Yield ((h, w) in x, (h, w) in y, weight): y sums one pixel (nearest) or up to four (bilinear)."""

    def sources(i: int, scale: int, n: int) -> list[tuple[int, float]]:
        if plan.mode == "nearest":
            return [(i // scale, 1.0)]
        centre = min(max((i + 0.5) / scale - 0.5, 0.0), n - 1.0)
        below, above = math.floor(centre), math.ceil(centre)
        return [(below, 1.0)] if below == above else [(below, above - centre), (above, centre - below)]

    (height, width), (scale_h, scale_w) = plan.in_size, plan.scale
    for oh, ow in np.ndindex(height * scale_h, width * scale_w):
        rows, cols = sources(oh, scale_h, height), sources(ow, scale_w, width)
        for (h, weight_h), (w, weight_w) in product(rows, cols):
            yield (h, w), (oh, ow), weight_h * weight_w


def upsample_fwd(x: np.ndarray, plan: UpsamplePlan) -> np.ndarray:
    """y[n, c, i] = Σ weight·x[n, c, source of i]; bilinear has half-pixel centres, clamped at the border."""
    y = np.zeros(plan.y_shape, x.dtype)
    out_size = tuple(n * s for n, s in zip(plan.in_size, plan.scale))
    x4, y4 = volume(x, plan.layout, plan.in_size), volume(y, plan.layout, out_size)
    for n, c in np.ndindex(plan.batch, plan.channels):
        for source, out, weight in _blend(plan):
            y4[(n, c, *out)] += weight * x4[(n, c, *source)]
    return y


def upsample_bwd(dy: np.ndarray, plan: UpsamplePlan) -> np.ndarray:
    """dx[n, c, source of i] += weight·dy[n, c, i]."""
    dx = np.zeros(plan.x_shape, dy.dtype)
    out_size = tuple(n * s for n, s in zip(plan.in_size, plan.scale))
    dx4, dy4 = volume(dx, plan.layout, plan.in_size), volume(dy, plan.layout, out_size)
    for n, c in np.ndindex(plan.batch, plan.channels):
        for source, out, weight in _blend(plan):
            dx4[(n, c, *source)] += weight * dy4[(n, c, *out)]
    return dx
