"""Convolution as one list of products x[i]·w[j] -> y[k].

`_products` enumerates the list once; forward and both gradients each add up a different one of the three.
Padding is made of real zeros, multiplied like any other pixel: 0·Inf and 0·NaN are NaN there too.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from ..views import columns, cropped, filters, inside, volume
from .pointwise import act_fwd

if TYPE_CHECKING:
    from ...shapes import ConvPlan

Index = tuple[int, ...]

CONV_ALGORITHMS = ("direct",)


def conv_algorithm(primitive: str, plan: ConvPlan, dtype: np.dtype) -> str:
    """Say by which of `shapes.CONV_ALGORITHMS` "conv_fwd", "conv_dx" or "conv_dw" computes plan."""
    return "direct"


def _products(plan: ConvPlan) -> Iterator[tuple[Index, Index, Index]]:
    """Yield the indices of every product: in the padded x (N, C, D, H, W), w (O, I, KD, KH, KW) and y."""
    group_in = plan.in_channels // plan.groups
    group_out = plan.out_channels // plan.groups
    for n, o in np.ndindex(plan.batch, plan.out_channels):
        first = o // group_out * group_in
        for out in np.ndindex(plan.out_size):
            for c, *tap in np.ndindex(group_in, *plan.kernel):
                at = [i * s + k * d for i, s, k, d in zip(out, plan.stride, tap, plan.dilation)]
                yield (n, first + c, *at), (o, c, *tap), (n, o, *out)


def _frame(plan: ConvPlan, dtype: np.dtype) -> np.ndarray:
    """Zeros of the shape of the padded x: (N, C, D, H, W)."""
    size = (before + n + after for before, n, after in zip(plan.pad_before, plan.in_size, plan.pad_after))
    return np.zeros((plan.batch, plan.in_channels, *size), dtype)


def _padded(x: np.ndarray, plan: ConvPlan) -> np.ndarray:
    """A copy of x as (N, C, D, H, W) inside its frame of zeros."""
    frame = _frame(plan, x.dtype)
    inside(frame, plan)[...] = volume(x, plan.layout, plan.in_size)
    return frame


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
    y = np.zeros(plan.y_shape, x.dtype)
    x5, w5, y5 = _padded(x, plan), filters(w, plan), volume(y, plan.layout, plan.out_size)
    for at_x, at_w, at_y in _products(plan):
        y5[at_y] += x5[at_x] * w5[at_w]
    if scale is not None:
        y5 *= scale.reshape(-1, 1, 1, 1)
    if b is not None:
        y5 += b.reshape(-1, 1, 1, 1)
    return act_fwd(y, activation, alpha)


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
    dx5 = _frame(plan, dy.dtype)
    w5, dy5 = filters(w, plan), volume(dy, plan.layout, plan.out_size)
    for at_x, at_w, at_y in _products(plan):
        dx5[at_x] += dy5[at_y] * w5[at_w]
    if scale is not None:
        dx5 *= scale.reshape(-1, 1, 1, 1)
    if b is not None:
        dx5 += b.reshape(-1, 1, 1, 1)
    return act_fwd(cropped(dx5, plan), activation, alpha)


def conv_dw(dy: np.ndarray, x: np.ndarray, plan: ConvPlan, out: np.ndarray | None = None) -> np.ndarray:
    """dw[o, c, k] = Σ_(n, i) dy[n, o, i]·x[n, c, i·stride + k·dilation − pad]."""
    dw = np.empty(plan.w_shape, dy.dtype) if out is None else out
    dw[...] = 0
    x5, dw5, dy5 = _padded(x, plan), filters(dw, plan), volume(dy, plan.layout, plan.out_size)
    for at_x, at_w, at_y in _products(plan):
        dw5[at_w] += dy5[at_y] * x5[at_x]
    return dw


def im2col(x: np.ndarray, plan: ConvPlan) -> np.ndarray:
    """cols[(n, i), (c, k)] = x[n, c, i·stride + k·dilation − pad]; columns in the order (k, c) for NHWC."""
    rows = plan.batch * math.prod(plan.out_size)
    cols = np.zeros((rows, plan.in_channels * math.prod(plan.kernel)), x.dtype)
    x5, cols8 = _padded(x, plan), columns(cols, plan)
    for at_x, (_, *at_w), (n, _, *out) in _products(plan):
        cols8[(n, *out, *at_w)] = x5[at_x]
    return cols


def col2im(cols: np.ndarray, plan: ConvPlan) -> np.ndarray:
    """x[n, c, i·stride + k·dilation − pad] += cols[(n, i), (c, k)]: the transpose of `im2col`."""
    x5 = _frame(plan, cols.dtype)
    cols8 = columns(cols, plan)
    for at_x, (_, *at_w), (n, _, *out) in _products(plan):
        x5[at_x] += cols8[(n, *out, *at_w)]
    return cropped(x5, plan)
