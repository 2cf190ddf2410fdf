"""A plan's arrays seen with named axes: one loop nest then serves both layouts and 1-d, 2-d and 3-d.

All but `cropped` return views: writing to the result writes to the argument, which must be C-contiguous.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.lib.stride_tricks import as_strided

if TYPE_CHECKING:
    from ..shapes import ConvPlan, PoolPlan


def volume(x: np.ndarray, layout: str, size: tuple[int, ...]) -> np.ndarray:
    """View x, (N, C, ...) or (N, ..., C), as (N, C, \\*size); size is (D, H, W), upsampling (H, W)."""
    if layout == "NCHW":
        return x.reshape(x.shape[0], x.shape[1], *size)
    return np.moveaxis(x.reshape(x.shape[0], *size, x.shape[-1]), -1, 1)


def filters(w: np.ndarray, plan: ConvPlan) -> np.ndarray:
    """View w, OIHW-like or HWIO-like, as (O, I/groups, KD, KH, KW)."""
    if plan.layout == "NCHW":
        return w.reshape(w.shape[0], w.shape[1], *plan.kernel)
    return w.reshape(*plan.kernel, w.shape[-2], w.shape[-1]).transpose(4, 3, 0, 1, 2)


def columns(cols: np.ndarray, plan: ConvPlan) -> np.ndarray:
    """View the im2col matrix (N·OD·OH·OW, C·KD·KH·KW) as (N, OD, OH, OW, C, KD, KH, KW)."""
    positions = (plan.batch, *plan.out_size)
    if plan.layout == "NCHW":
        return cols.reshape(*positions, plan.in_channels, *plan.kernel)
    return np.moveaxis(cols.reshape(*positions, *plan.kernel, plan.in_channels), -1, 4)


def inside(frame: np.ndarray, plan: ConvPlan | PoolPlan) -> np.ndarray:
    """View the part of a padded x (N, C, D, H, W) that is no padding."""
    (d, h, w), (depth, height, width) = plan.pad_before, plan.in_size
    return frame[:, :, d : d + depth, h : h + height, w : w + width]


def cropped(frame: np.ndarray, plan: ConvPlan | PoolPlan) -> np.ndarray:
    """Copy x out of its frame, in the layout and the shape of the person's call."""
    x = np.empty(plan.x_shape, frame.dtype)
    volume(x, plan.layout, plan.in_size)[...] = inside(frame, plan)
    return x


def windows(
    x: np.ndarray,
    out_size: tuple[int, ...],
    kernel: tuple[int, ...],
    stride: tuple[int, ...],
    dilation: tuple[int, ...] = (1, 1, 1),
) -> np.ndarray:
    """View an already padded x (N, C, D, H, W) as (N, C, OD, OH, OW, KD, KH, KW).

    Windows that overlap share memory; those of one tap never do, so adding to ``[..., kd, kh, kw]`` is safe.
    """
    batch, channel, *space = x.strides
    steps = [step * s for step, s in zip(space, stride)] + [step * d for step, d in zip(space, dilation)]
    return as_strided(x, (*x.shape[:2], *out_size, *kernel), (batch, channel, *steps))
