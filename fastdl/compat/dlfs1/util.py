"""``common.util``: images as matrices of their patches, and back; both in float64.

The results lie in memory as the originals' do, which decides how a product or a sum of them is computed, and
with that their last bits.
"""

from __future__ import annotations

from typing import Any

import numpy as np

import fastdl.functional as F

from ..columns import to_columns, windows
from ..tier import Unserved
from .arrays import FLOAT64, Array, floats, image_stack, sizes

__all__ = ["col2im", "im2col"]


def im2col(input_data: Any, filter_h: int, filter_w: int, stride: int = 1, pad: int = 0) -> Array:
    """Return the (N·OH·OW, C·filter_h·filter_w) patches of (N, C, H, W) images."""
    high, wide, step, around = sizes(filter_h, filter_w, stride, pad)
    images = image_stack(input_data, FLOAT64)
    if images.shape[0] == 1:
        how = windows(images.shape[2:], (high, wide), (around,) * 4, step)
        return to_columns(images.transpose(1, 2, 3, 0), how).T
    return F.im2col(images, (high, wide), stride=step, padding=around)


def col2im(col: Any, input_shape: Any, filter_h: int, filter_w: int, stride: int = 1, pad: int = 0) -> Array:
    """Return the (N, C, H, W) images in which each row of col has been added at its place."""
    n, channels, height, width, high, wide, step, around = sizes(
        *input_shape, filter_h, filter_w, stride, pad
    )
    down, across = height + 2 * around - high, width + 2 * around - wide
    rows = n * (down // step + 1) * (across // step + 1)
    if min(down, across) < 0 or floats(col).size != rows * channels * high * wide or not col.size:
        raise Unserved(f"a col of {col.shape} for images {tuple(input_shape)}")
    taps = col.reshape(rows, channels * high * wide).astype(FLOAT64, copy=False)
    shape = (n, channels, down + high + step - 1, across + wide + step - 1)
    if down % step == across % step == 0:
        image = F.col2im(taps, shape, (high, wide), stride=step)
    else:
        image = np.zeros(shape)
        inside = (n, channels, down + high, across + wide)
        image[:, :, : inside[2], : inside[3]] = F.col2im(taps, inside, (high, wide), stride=step)
    return image[:, :, around : height + around, around : width + around]
