"""Patches, their sums and largest values, bit for bit what teaching code computes with slices and loops.

Only elements move here, and sums begin at 0.0 and go over the taps of the kernel in ascending order, row by
row: so does every col2im in the field, whether it adds slices or scatters with ``np.add.at``.
"""

from __future__ import annotations

import math
from typing import Any, TypeAlias

import numpy as np
from numpy.lib.stride_tricks import as_strided

import fastdl.functional as F

__all__ = [
    "argmax_pool",
    "argmax_pool_backward",
    "images_from_columns",
    "images_from_rows",
    "patch_columns",
    "patch_rows",
]

Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]
Pads: TypeAlias = tuple[tuple[int, int], tuple[int, int]]


def patch_rows(x: Array, size: tuple[int, int], stride: int = 1, pads: Pads = ((0, 0), (0, 0))) -> Array:
    """Return the patches of x as rows.

    Parameters
    ----------
    x : (N, C, H, W) array of float32 or float64
        Images.
    size : 2 ints
        Of a patch, KH and KW.
    stride : int
        Step between two patches.
    pads : 2 (before, after) pairs
        Zeros around x.

    Returns
    -------
    (N·OH·OW, C·KH·KW) array
        C-contiguous, of x's dtype.

    Examples
    --------
    >>> patch_rows(np.arange(6.0).reshape(1, 1, 2, 3), (2, 2))
    array([[0., 1., 3., 4.],
           [1., 2., 4., 5.]])
    """
    return F.im2col(x, size, stride=stride, padding=pads)


def images_from_rows(
    rows: Array,
    x_shape: tuple[int, int, int, int],
    size: tuple[int, int],
    stride: int = 1,
    pads: Pads = ((0, 0), (0, 0)),
) -> Array:
    """Return the (N, C, H, W) sums of what `patch_rows` took apart, C-contiguous."""
    return F.col2im(rows, x_shape, size, stride=stride, padding=pads)


def patch_columns(
    x: Array,
    size: tuple[int, int],
    stride: int = 1,
    pads: Pads = ((0, 0), (0, 0)),
    *,
    batch_last: bool = False,
) -> Array:
    """Return the patches of x as columns.

    Parameters
    ----------
    x : (N, C, H, W) array of any dtype
        Images.
    size, stride, pads
        As in `patch_rows`.
    batch_last : bool
        Whether n runs fastest along the columns and not slowest.

    Returns
    -------
    (C·KH·KW, N·OH·OW) array, or (C·KH·KW, OH·OW·N) with ``batch_last=True``
        C-contiguous, of x's dtype.

    Examples
    --------
    >>> patch_columns(np.arange(6.0).reshape(1, 1, 2, 3), (2, 2))
    array([[0., 1.],
           [1., 2.],
           [3., 4.],
           [4., 5.]])
    """
    n, channels, height, width = x.shape
    (top, bottom), (left, right) = pads
    cells = (top + height + bottom, left + width + right)
    shape = (channels, *cells, n) if batch_last else (channels, n, *cells)
    axes = (3, 0, 1, 2) if batch_last else (1, 0, 2, 3)
    if batch_last or pads != ((0, 0), (0, 0)):
        padded = np.zeros(shape, x.dtype)
        padded.transpose(axes)[:, :, top : top + height, left : left + width] = x
    else:
        padded = x.transpose(1, 0, 2, 3)
    image = padded.transpose(axes)
    oh, ow = _windows(cells, size, stride)
    of_n, of_c, of_h, of_w = image.strides
    if batch_last:
        sizes = (channels, *size, oh, ow, n)
        strides = (of_c, of_h, of_w, stride * of_h, stride * of_w, of_n)
    else:
        sizes = (channels, *size, n, oh, ow)
        strides = (of_c, of_h, of_w, of_n, stride * of_h, stride * of_w)
    columns = as_strided(image, sizes, strides, writeable=False).copy()
    return columns.reshape(channels * size[0] * size[1], n * oh * ow)


def images_from_columns(
    columns: Array,
    x_shape: tuple[int, int, int, int],
    size: tuple[int, int],
    stride: int = 1,
    pads: Pads = ((0, 0), (0, 0)),
    *,
    batch_last: bool = False,
) -> Array:
    """Return the (N, C, H, W) sums of what `patch_columns` took apart.

    With pads the result is a slice of a larger array; with `batch_last`, n runs fastest in its memory.
    """
    n, channels, height, width = x_shape
    (top, bottom), (left, right) = pads
    cells = (top + height + bottom, left + width + right)
    oh, ow = _windows(cells, size, stride)
    if batch_last:
        taps = columns.reshape(channels, *size, oh, ow, n)
        planes = np.zeros((channels, *cells, n), columns.dtype)
        image = planes.transpose(3, 0, 1, 2)
    else:
        taps = columns.reshape(channels, *size, n, oh, ow)
        image = np.zeros((n, channels, *cells), columns.dtype)
        planes = image.transpose(1, 2, 3, 0)
        taps = taps.transpose(0, 1, 2, 4, 5, 3)
    rows, columns_ = stride * oh, stride * ow
    for plane, of_plane in zip(planes, taps):  # one channel at a time stays in the cache
        for ky in range(size[0]):
            for kx in range(size[1]):
                plane[ky : ky + rows : stride, kx : kx + columns_ : stride] += of_plane[ky, kx]
    return image[:, :, top : top + height, left : left + width]


def argmax_pool(x: Array, size: tuple[int, int], stride: int) -> tuple[Array, Array, Any]:
    """Return the largest value of each window, and which it was.

    Parameters
    ----------
    x : (N, C, H, W) array of float32 or float64
        Images.
    size, stride
        As in `patch_rows`.

    Returns
    -------
    y : (N, C, OH, OW) array
        A NaN wins. Of 0.0 and -0.0 it is the first; NumPy's reductions say the one or the other, by length.
    index : (N, C, OH, OW) array of uint8 or int32
        The first of the largest values, as np.argmax counts them in the window, row by row.
    ctx : object
        For `argmax_pool_backward`.
    """
    y, ctx = F.max_pool2d_forward(x, size, stride=stride)
    assert ctx.index is not None
    return y, ctx.index, ctx


def argmax_pool_backward(dy: Array, ctx: Any) -> Array:
    """Return the (N, C, H, W) zeros to which each dy has been added where its largest value was."""
    plan, taps = ctx.plan, math.prod(ctx.plan.size)
    if all(size <= step for size, step in zip(plan.size, plan.stride)):
        return F.max_pool2d_backward(dy, ctx)
    rows = np.zeros((dy.size, taps), dy.dtype)  # windows share cells, and the order of their sums counts
    rows[np.arange(dy.size), ctx.index.reshape(-1)] = dy.reshape(-1)
    n, channels, *cells = ctx.plan.x_shape
    image = F.col2im(rows, (n * channels, 1, *cells), plan.size[-2:], stride=plan.stride[-2:])
    return image.reshape(ctx.plan.x_shape)


def _windows(cells: tuple[int, int], size: tuple[int, int], stride: int) -> tuple[int, int]:
    """Return how many windows fit, OH and OW."""
    return (cells[0] - size[0]) // stride + 1, (cells[1] - size[1]) // stride + 1
