"""``common.util``: images as matrices of their patches, and back; both in float64."""

from __future__ import annotations

from typing import Any

from ..movement import images_from_rows, patch_rows
from ..tier import Unserved
from .arrays import FLOAT64, Array, floats, image_stack, sizes

__all__ = ["col2im", "im2col"]


def im2col(input_data: Any, filter_h: int, filter_w: int, stride: int = 1, pad: int = 0) -> Array:
    """Return the (N·OH·OW, C·filter_h·filter_w) patches of (N, C, H, W) images."""
    high, wide, step, around = sizes(filter_h, filter_w, stride, pad)
    x = image_stack(input_data, FLOAT64)
    return patch_rows(x, (high, wide), step, ((around, around), (around, around)))


def col2im(col: Any, input_shape: Any, filter_h: int, filter_w: int, stride: int = 1, pad: int = 0) -> Array:
    """Return the (N, C, H, W) images in which each row of col has been added at its place."""
    high, wide, step, around = sizes(filter_h, filter_w, stride, pad)
    n, channels, height, width = sizes(*input_shape)
    rows = floats(col).astype(FLOAT64, copy=False)
    out_h, out_w = ((edge + 2 * around - size) // step + 1 for edge, size in ((height, high), (width, wide)))
    if rows.size != n * out_h * out_w * channels * high * wide or not rows.size:
        raise Unserved(f"col has {rows.size} elements")
    rows = rows.reshape(n * out_h * out_w, channels * high * wide)
    pads = ((around, around), (around, around))
    return images_from_rows(rows, (n, channels, height, width), (high, wide), step, pads)
