"""Column matrices in which the image runs fastest, as cs231n, numpy-ml and ML-From-Scratch arrange them.

A row is one channel and one tap of the kernel, a column one position and one image. Only data moves here, and
sums are taken tap by tap in the order of the rows: the result has the bits of an indexed gather and scatter.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.lib.stride_tricks import as_strided

from .inputs import Array
from .tier import Unserved

__all__ = ["Windows", "from_columns", "to_columns", "windows"]


class Windows(NamedTuple):
    """How a kernel slides over images: all sizes, with pads as (top, bottom, left, right)."""

    kernel: tuple[int, int]
    pads: tuple[int, int, int, int]
    stride: int
    step: int  # between two taps; 1 means neighbours
    padded: tuple[int, int]
    out: tuple[int, int]


def windows(
    size: tuple[int, int],
    kernel: tuple[int, int],
    pads: tuple[int, int, int, int],
    stride: int,
    step: int = 1,
) -> Windows:
    """Return how a kernel slides over images of a size.

    Raises
    ------
    Unserved
        If it does not fit, or a number is not what it should be.
    """
    numbers = (*size, *kernel, *pads, stride, step)
    if not all(isinstance(number, (int, np.integer)) for number in numbers) or min(pads) < 0:
        raise Unserved(f"a geometry of {numbers}")
    if min(*kernel, stride, step) < 1:
        raise Unserved(f"a kernel of {kernel} in steps of {stride}")
    padded = (size[0] + pads[0] + pads[1], size[1] + pads[2] + pads[3])
    out = tuple((p - (k - 1) * step - 1) // stride + 1 for p, k in zip(padded, kernel))
    if min(out) < 1:
        raise Unserved(f"a kernel of {kernel} does not fit images of {size}")
    return Windows(kernel, pads, stride, step, padded, (out[0], out[1]))


def to_columns(image: Array, how: Windows) -> Array:
    """Return the column matrix of images.

    Parameters
    ----------
    image : (C, H, W, N) array, in any memory order
    how : Windows

    Returns
    -------
    (C·KH·KW, OH·OW·N) array, C-contiguous
    """
    channels, height, width, batch = image.shape
    top, _, left, _ = how.pads
    padded = np.zeros((channels, *how.padded, batch), image.dtype)
    padded[:, top : top + height, left : left + width] = image
    down, right = padded.strides[1:3]
    taps, places = (down * how.step, right * how.step), (down * how.stride, right * how.stride)
    steps = (padded.strides[0], *taps, *places, padded.strides[3])
    shape = (channels, *how.kernel, *how.out, batch)
    columns = np.empty(shape, image.dtype)
    columns[...] = as_strided(padded, shape, steps, writeable=False)
    return columns.reshape(channels * how.kernel[0] * how.kernel[1], -1)


def from_columns(columns: Array, channels: int, batch: int, how: Windows) -> Array:
    """Return the padded images in which every column has been added at its place, in float64.

    Parameters
    ----------
    columns : (C·KH·KW, OH·OW·N) array
    channels, batch : int
    how : Windows

    Returns
    -------
    (N, C, H + pads, W + pads) array of float64, C-contiguous
    """
    taps = columns.reshape(channels, *how.kernel, *how.out, batch)
    total = np.zeros((channels, *how.padded, batch))
    (rows, cols), stride, step = how.out, how.stride, how.step
    for plane, of_plane in zip(total, taps):  # one channel at a time stays in the cache
        for p in range(how.kernel[0]):
            down = slice(p * step, p * step + (rows - 1) * stride + 1, stride)
            for q in range(how.kernel[1]):
                plane[down, q * step : q * step + (cols - 1) * stride + 1 : stride] += of_plane[p, q]
    return total.transpose(3, 0, 1, 2).copy()
