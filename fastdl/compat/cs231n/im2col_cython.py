"""In place of the extension that the course has its students compile: images as columns, and back.

Data is moved and added in the extension's own order, so that the bits are the same. Filters that are not
square come out right here, where the extension mixes up its rows.
"""

from __future__ import annotations

from typing import Any

import numpy as np

# Not relative: the module is also loaded as a part of the student's package.
from fastdl.compat.columns import to_columns, windows
from fastdl.compat.cs231n.arrays import Array
from fastdl.compat.cs231n.windows import add_windows

__all__ = ["col2im_6d_cython", "col2im_cython", "im2col_cython"]


def im2col_cython(x: Any, field_height: int, field_width: int, padding: int, stride: int) -> Array:
    """Return the patches of x (N, C, H, W) as columns: (C·FH·FW, OH·OW·N), the image's number last."""
    _checked("x", x, 4)
    how = windows(x.shape[2:], (field_height, field_width), (padding,) * 4, stride)
    return to_columns(x.transpose(1, 2, 3, 0), how)


def col2im_cython(
    cols: Any,
    N: int,
    C: int,
    H: int,
    W: int,
    field_height: int,
    field_width: int,
    padding: int,
    stride: int,
) -> Array:
    """Return images (N, C, H, W) in which each column of `im2col_cython` has been added at its place."""
    _checked("cols", cols, 2)
    high = _windows(H, field_height, padding, stride)
    wide = _windows(W, field_width, padding, stride)
    parts = cols.reshape(C, field_height, field_width, high, wide, N).transpose(1, 2, 5, 0, 3, 4)
    return _summed(parts, (N, C, H, W), padding, stride)


def col2im_6d_cython(
    cols: Any, N: int, C: int, H: int, W: int, HH: int, WW: int, pad: int, stride: int
) -> Array:
    """Return images (N, C, H, W) in which patches (C, HH, WW, N, OH, OW) have been added at their places."""
    _checked("cols", cols, 6)
    high, wide = _windows(H, HH, pad, stride), _windows(W, WW, pad, stride)
    if cols.shape != (C, HH, WW, N, high, wide):
        raise ValueError(f"cols must have shape {(C, HH, WW, N, high, wide)}; got {cols.shape}")
    return _summed(cols.transpose(1, 2, 3, 0, 4, 5), (N, C, H, W), pad, stride)


def _summed(parts: Array, shape: tuple[int, int, int, int], pad: int, stride: int) -> Array:
    count, channels, height, width = shape
    frame = np.zeros((count, channels, height + 2 * pad, width + 2 * pad), parts.dtype)
    add_windows(parts, frame, stride)
    return frame[:, :, pad : pad + height, pad : pad + width] if pad > 0 else frame


def _windows(size: int, field: int, pad: int, stride: int) -> int:
    return (size + 2 * pad - field) // stride + 1


def _checked(name: str, array: Any, ndim: int) -> None:
    """Refuse what the extension's types refuse."""
    if not isinstance(array, np.ndarray):
        raise TypeError(f"{name} must be an array; got {type(array).__name__}")
    if array.ndim != ndim or array.dtype not in (np.float32, np.float64):
        raise ValueError(
            f"{name} must be of float32 or float64 and {ndim} axes; got {array.dtype}, {array.shape}"
        )
