"""Images as matrices of their patches: what the course's pooling falls back on.

The columns are those of `im2col_cython`: one row a channel and tap, positions first and images last.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..tier import Unserved
from .arrays import Array
from .im2col_cython import col2im_cython, im2col_cython

__all__ = ["col2im_indices", "get_im2col_indices", "im2col_indices"]


def get_im2col_indices(
    x_shape: Any, field_height: int, field_width: int, padding: int = 1, stride: int = 1
) -> tuple[Array, Array, Array]:
    """Return the indices of channel (C·FH·FW, 1), row and column (C·FH·FW, OH·OW) that the patches have."""
    _, channels, height, width = x_shape
    high, wide = (
        (size + 2 * padding - field) // stride + 1
        for size, field in ((height, field_height), (width, field_width))
    )
    k, i, j = (axis.reshape(-1, 1) for axis in np.indices((channels, field_height, field_width)))
    down, right = (stride * axis.reshape(1, -1) for axis in np.indices((high, wide)))
    return k, i + down, j + right


def im2col_indices(x: Any, field_height: int, field_width: int, padding: int = 1, stride: int = 1) -> Array:
    """Return the patches of x (N, C, H, W) as columns: (C·FH·FW, OH·OW·N)."""
    _tiled(x.shape, field_height, field_width, padding, stride)
    return im2col_cython(x, field_height, field_width, padding, stride)


def col2im_indices(
    cols: Any, x_shape: Any, field_height: int = 3, field_width: int = 3, padding: int = 1, stride: int = 1
) -> Array:
    """Return images of `x_shape` in which each column has been added at its place."""
    _tiled(x_shape, field_height, field_width, padding, stride)
    N, C, H, W = x_shape
    return col2im_cython(cols, N, C, H, W, field_height, field_width, padding, stride)


def _tiled(shape: Any, field_height: int, field_width: int, padding: int, stride: int) -> None:
    """Leave to its author what the course's assertions refuse."""
    for size, field in zip(shape[2:], (field_height, field_width)):
        if (size + 2 * padding - field) % stride:
            raise Unserved("windows that do not tile the image")
