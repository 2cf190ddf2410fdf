"""Convolution as matrix products with columns of input windows, a block of bounded size at a time.

A column holds the window of one output position; its rows are (channel, tap). With W the filters, a block is
y = W·columns, dW += dy·columnsᵀ or dx += scatter(Wᵀ·dy); a group is one matrix of a stack.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from ..views import columns, cropped, filters, inside, volume, windows
from .pointwise import act_fwd

if TYPE_CHECKING:
    from ...shapes import ConvPlan

BLOCK_BYTES = 4 << 20
"""What the columns of one block may take."""

Block = tuple[slice, slice, slice, slice, slice]

CONV_ALGORITHMS = ("im2col",)


def conv_algorithm(primitive: str, plan: ConvPlan, dtype: np.dtype) -> str:
    return "im2col"


def _blocks(plan: ConvPlan, itemsize: int) -> Iterator[Block]:
    """Yield slices of (N, channels, OD, OH, OW) that cover the output: some images, or rows of one image."""
    image = plan.in_channels * math.prod(plan.kernel) * math.prod(plan.out_size) * itemsize
    images = max(1, BLOCK_BYTES // max(1, image))
    longest = max(range(3), key=plan.out_size.__getitem__)
    length = plan.out_size[longest]
    rows = min(length, max(1, length * BLOCK_BYTES // max(1, image)))
    for first in range(0, plan.batch, images):
        for row in range(0, length, rows):
            space = [slice(None)] * 3
            space[longest] = slice(row, row + rows)
            yield slice(first, first + images), slice(None), space[0], space[1], space[2]


def _frame(plan: ConvPlan, dtype: np.dtype) -> np.ndarray:
    """Zeros of the shape of the padded x, (N, C, D, H, W)."""
    size = (before + n + after for before, n, after in zip(plan.pad_before, plan.in_size, plan.pad_after))
    return np.zeros((plan.batch, plan.in_channels, *size), dtype)


def _padded(x: np.ndarray, plan: ConvPlan) -> np.ndarray:
    x5 = volume(x, plan.layout, plan.in_size)
    if not any(plan.pad_before + plan.pad_after):
        return x5
    frame = _frame(plan, x.dtype)
    inside(frame, plan)[...] = x5
    return frame


def _view(x5: np.ndarray, plan: ConvPlan) -> np.ndarray:
    return windows(x5, plan.out_size, plan.kernel, plan.stride, plan.dilation)


def _columns(seen: np.ndarray, groups: int) -> np.ndarray:
    """Copy windows (n, C, OD, OH, OW, KD, KH, KW) to (groups, C/groups·taps, n·positions)."""
    n, channels, *sizes = seen.shape
    rows, positions = channels // groups * math.prod(sizes[3:]), n * math.prod(sizes[:3])
    return seen.transpose(1, 5, 6, 7, 0, 2, 3, 4).reshape(groups, rows, positions)


def _matrix(y5: np.ndarray, groups: int) -> np.ndarray:
    """Copy y (n, O, OD, OH, OW) to (groups, O/groups, n·positions)."""
    n, channels, *size = y5.shape
    return y5.swapaxes(0, 1).reshape(groups, channels // groups, n * math.prod(size))


def _stacked(w: np.ndarray, plan: ConvPlan) -> np.ndarray:
    """The filters as (groups, O/groups, C/groups·taps)."""
    rows = plan.in_channels // plan.groups * math.prod(plan.kernel)
    return filters(w, plan).reshape(plan.groups, plan.out_channels // plan.groups, rows)


def _finish(
    y: np.ndarray,
    y5: np.ndarray,
    b: np.ndarray | None,
    activation: str,
    alpha: float,
    scale: np.ndarray | None,
) -> np.ndarray:
    if scale is not None:
        y5 *= scale.reshape(-1, 1, 1, 1)
    if b is not None:
        y5 += b.reshape(-1, 1, 1, 1)
    return y if activation == "linear" else act_fwd(y, activation, alpha)


def conv_fwd(
    x: np.ndarray,
    w: np.ndarray,
    b: np.ndarray | None,
    plan: ConvPlan,
    activation: str = "linear",
    alpha: float = 0.0,
    scale: np.ndarray | None = None,
) -> np.ndarray:
    """y[n, o, i] = act(scale[o]·Σ_(c, k) x[n, c, i·stride + k·dilation − pad]·w[o, c, k] + b[o])."""
    y = np.empty(plan.y_shape, x.dtype)
    seen, stacked, y5 = (
        _view(_padded(x, plan), plan),
        _stacked(w, plan),
        volume(y, plan.layout, plan.out_size),
    )
    for block in _blocks(plan, x.itemsize):
        out = y5[block]
        n, channels, *size = out.shape
        out[...] = (stacked @ _columns(seen[block], plan.groups)).reshape(channels, n, *size).swapaxes(0, 1)
    return _finish(y, y5, b, activation, alpha, scale)


def conv_dx(
    dy: np.ndarray,
    w: np.ndarray,
    b: np.ndarray | None,
    plan: ConvPlan,
    activation: str = "linear",
    alpha: float = 0.0,
    scale: np.ndarray | None = None,
) -> np.ndarray:
    """dx[n, c, i·stride + k·dilation − pad] += dy[n, o, i]·w[o, c, k].

    Run forward it is the transposed convolution, which also has scale and b (in_channels,) and an activation.
    """
    frame = _frame(plan, dy.dtype)
    seen, stacked, dy5 = _view(frame, plan), _stacked(w, plan), volume(dy, plan.layout, plan.out_size)
    for block in _blocks(plan, dy.itemsize):
        target = seen[block]
        n, channels, *sizes = target.shape
        parts = stacked.swapaxes(1, 2) @ _matrix(dy5[block], plan.groups)
        parts = parts.reshape(channels, *plan.kernel, n, *sizes[:3])
        for tap in np.ndindex(plan.kernel):
            target[(..., *tap)] += parts[(slice(None), *tap)].swapaxes(0, 1)
    dx = cropped(frame, plan)
    return _finish(dx, volume(dx, plan.layout, plan.in_size), b, activation, alpha, scale)


def conv_dw(dy: np.ndarray, x: np.ndarray, plan: ConvPlan, out: np.ndarray | None = None) -> np.ndarray:
    """dw[o, c, k] = Σ_(n, i) dy[n, o, i]·x[n, c, i·stride + k·dilation − pad]."""
    dw = np.empty(plan.w_shape, dy.dtype) if out is None else out
    dw[...] = 0
    seen, dy5, dw5 = _view(_padded(x, plan), plan), volume(dy, plan.layout, plan.out_size), filters(dw, plan)
    for block in _blocks(plan, x.itemsize):
        part = _matrix(dy5[block], plan.groups) @ _columns(seen[block], plan.groups).swapaxes(1, 2)
        dw5 += part.reshape(dw5.shape)
    return dw


def im2col(x: np.ndarray, plan: ConvPlan) -> np.ndarray:
    """cols[(n, i), (c, k)] = x[n, c, i·stride + k·dilation − pad]; columns in the order (k, c) for NHWC."""
    rows = plan.batch * math.prod(plan.out_size)
    cols = np.empty((rows, plan.in_channels * math.prod(plan.kernel)), x.dtype)
    columns(cols, plan)[...] = np.moveaxis(_view(_padded(x, plan), plan), 1, 4)
    return cols


def col2im(cols: np.ndarray, plan: ConvPlan) -> np.ndarray:
    """x[n, c, i·stride + k·dilation − pad] += cols[(n, i), (c, k)]: the transpose of `im2col`."""
    frame = _frame(plan, cols.dtype)
    seen, parts = _view(frame, plan), np.moveaxis(columns(cols, plan), 4, 1)
    for tap in np.ndindex(plan.kernel):
        seen[(..., *tap)] += parts[(..., *tap)]
    return cropped(frame, plan)
