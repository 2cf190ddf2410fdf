"""Pooling in windows, over one, two and three axes.

A padded cell never wins a maximum. NaN wins over everything, and of equal maxima the first one counts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..checks import Ints, Padding
from ._arrays import Array
from ._pooling import (
    PoolContext,
    average,
    average_and_ctx,
    gradient_of_pool,
    maximum,
    maximum_and_ctx,
    window,
)

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

__all__ = [
    "avg_pool1d",
    "avg_pool1d_backward",
    "avg_pool1d_forward",
    "avg_pool2d",
    "avg_pool2d_backward",
    "avg_pool2d_forward",
    "avg_pool3d",
    "avg_pool3d_backward",
    "avg_pool3d_forward",
    "max_pool1d",
    "max_pool1d_backward",
    "max_pool1d_forward",
    "max_pool2d",
    "max_pool2d_backward",
    "max_pool2d_forward",
    "max_pool3d",
    "max_pool3d_backward",
    "max_pool3d_forward",
]


def max_pool2d(
    x: ArrayLike,
    size: Ints,
    *,
    stride: Ints | None = None,
    padding: Padding = 0,
    ceil_mode: bool = False,
    layout: str = "NCHW",
) -> Array:
    """Return the largest value of each window, over two axes.

    Parameters
    ----------
    x : (N, C, H, W) array of floats, or (N, H, W, C) with ``layout="NHWC"``
        Images.
    size : int or 2 ints
        Height and width of the window.
    stride : int or 2 ints, optional
        Step between two windows; without it they lie side by side.
    padding : int, 2 ints, 2 (before, after) pairs, "valid" or "same"
        Cells around x, fewer than the window has; a maximum never comes from one. "valid" is none;
        "same" gives ceil(H / stride) windows, by TensorFlow's rule with the odd cell at the end.
    ceil_mode : bool
        Let a last window overhang the end, if it begins inside x or the padding before it.
    layout : "NCHW" or "NHWC"
        Where the channels are.

    Returns
    -------
    (N, C, OH, OW) array, or (N, OH, OW, C) with ``layout="NHWC"``
        OH = (H + pads - size) // stride + 1, rounded up instead of down with `ceil_mode`.

    Raises
    ------
    ValueError
        If x has other axes, or an argument has a value it cannot have.
    TypeError
        If x does not hold floats.

    Examples
    --------
    >>> import numpy as np
    >>> import fastdl.functional as F
    >>> F.max_pool2d(np.arange(16.0).reshape(1, 1, 4, 4), 2)[0, 0]
    array([[ 5.,  7.],
           [13., 15.]])
    """
    return maximum(*window("max_pool2d", 2, x, size, stride, padding, ceil_mode, layout))


def max_pool2d_forward(
    x: ArrayLike,
    size: Ints,
    *,
    stride: Ints | None = None,
    padding: Padding = 0,
    ceil_mode: bool = False,
    layout: str = "NCHW",
) -> tuple[Array, PoolContext]:
    """Return what `max_pool2d` returns, and the ctx that `max_pool2d_backward` takes."""
    return maximum_and_ctx(
        "max_pool2d", *window("max_pool2d", 2, x, size, stride, padding, ceil_mode, layout)
    )


def max_pool2d_backward(dy: ArrayLike, ctx: PoolContext) -> Array:
    """Return dx: each dy is added to the cell its maximum came from, the first one of equals."""
    return gradient_of_pool("max_pool2d", dy, ctx)


def max_pool1d(
    x: ArrayLike,
    size: Ints,
    *,
    stride: Ints | None = None,
    padding: Padding = 0,
    ceil_mode: bool = False,
    layout: str = "NCHW",
) -> Array:
    """Return the largest value of each window, over one axis.

    x is (N, C, W), or (N, W, C) with ``layout="NHWC"``; the other arguments are those of `max_pool2d`.

    Examples
    --------
    >>> import numpy as np
    >>> import fastdl.functional as F
    >>> F.max_pool1d(np.array([[[1.0, 3.0, 2.0, 0.0]]]), 2)
    array([[[3., 2.]]])
    """
    return maximum(*window("max_pool1d", 1, x, size, stride, padding, ceil_mode, layout))


def max_pool1d_forward(
    x: ArrayLike,
    size: Ints,
    *,
    stride: Ints | None = None,
    padding: Padding = 0,
    ceil_mode: bool = False,
    layout: str = "NCHW",
) -> tuple[Array, PoolContext]:
    """Return what `max_pool1d` returns, and the ctx that `max_pool1d_backward` takes."""
    return maximum_and_ctx(
        "max_pool1d", *window("max_pool1d", 1, x, size, stride, padding, ceil_mode, layout)
    )


def max_pool1d_backward(dy: ArrayLike, ctx: PoolContext) -> Array:
    """Return dx; see `max_pool2d_backward`."""
    return gradient_of_pool("max_pool1d", dy, ctx)


def max_pool3d(
    x: ArrayLike,
    size: Ints,
    *,
    stride: Ints | None = None,
    padding: Padding = 0,
    ceil_mode: bool = False,
    layout: str = "NCHW",
) -> Array:
    """Return the largest value of each window, over three axes.

    x is (N, C, D, H, W), or (N, D, H, W, C) with "NHWC"; the other arguments are those of `max_pool2d`.

    Examples
    --------
    >>> import numpy as np
    >>> import fastdl.functional as F
    >>> F.max_pool3d(np.arange(8.0).reshape(1, 1, 2, 2, 2), 2).ravel()
    array([7.])
    """
    return maximum(*window("max_pool3d", 3, x, size, stride, padding, ceil_mode, layout))


def max_pool3d_forward(
    x: ArrayLike,
    size: Ints,
    *,
    stride: Ints | None = None,
    padding: Padding = 0,
    ceil_mode: bool = False,
    layout: str = "NCHW",
) -> tuple[Array, PoolContext]:
    """Return what `max_pool3d` returns, and the ctx that `max_pool3d_backward` takes."""
    return maximum_and_ctx(
        "max_pool3d", *window("max_pool3d", 3, x, size, stride, padding, ceil_mode, layout)
    )


def max_pool3d_backward(dy: ArrayLike, ctx: PoolContext) -> Array:
    """Return dx; see `max_pool2d_backward`."""
    return gradient_of_pool("max_pool3d", dy, ctx)


def avg_pool2d(
    x: ArrayLike,
    size: Ints,
    *,
    stride: Ints | None = None,
    padding: Padding = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = False,
    layout: str = "NCHW",
) -> Array:
    """Return the mean of each window, over two axes.

    Parameters
    ----------
    x, size, stride, padding, ceil_mode, layout
        As in `max_pool2d`.
    count_include_pad : bool
        Count padded cells, which are 0, in the mean; without it only the cells of x count. Cells beyond
        the padding, under a window that overhangs, never count.

    Returns
    -------
    (N, C, OH, OW) array, or (N, OH, OW, C) with ``layout="NHWC"``

    Examples
    --------
    >>> import numpy as np
    >>> import fastdl.functional as F
    >>> x = np.ones((1, 1, 2, 2))
    >>> F.avg_pool2d(x, 2, padding=1)[0, 0]
    array([[1., 1.],
           [1., 1.]])
    >>> F.avg_pool2d(x, 2, padding=1, count_include_pad=True)[0, 0]
    array([[0.25, 0.25],
           [0.25, 0.25]])
    """
    return average(*window("avg_pool2d", 2, x, size, stride, padding, ceil_mode, layout, count_include_pad))


def avg_pool2d_forward(
    x: ArrayLike,
    size: Ints,
    *,
    stride: Ints | None = None,
    padding: Padding = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = False,
    layout: str = "NCHW",
) -> tuple[Array, PoolContext]:
    """Return what `avg_pool2d` returns, and the ctx that `avg_pool2d_backward` takes."""
    return average_and_ctx(
        "avg_pool2d", *window("avg_pool2d", 2, x, size, stride, padding, ceil_mode, layout, count_include_pad)
    )


def avg_pool2d_backward(dy: ArrayLike, ctx: PoolContext) -> Array:
    """Return dx: each dy is spread over its window in equal parts."""
    return gradient_of_pool("avg_pool2d", dy, ctx)


def avg_pool1d(
    x: ArrayLike,
    size: Ints,
    *,
    stride: Ints | None = None,
    padding: Padding = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = False,
    layout: str = "NCHW",
) -> Array:
    """Return the mean of each window, over one axis.

    x is (N, C, W), or (N, W, C) with ``layout="NHWC"``; the other arguments are those of `avg_pool2d`.

    Examples
    --------
    >>> import numpy as np
    >>> import fastdl.functional as F
    >>> F.avg_pool1d(np.array([[[1.0, 3.0, 2.0, 0.0]]]), 2)
    array([[[2., 1.]]])
    """
    return average(*window("avg_pool1d", 1, x, size, stride, padding, ceil_mode, layout, count_include_pad))


def avg_pool1d_forward(
    x: ArrayLike,
    size: Ints,
    *,
    stride: Ints | None = None,
    padding: Padding = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = False,
    layout: str = "NCHW",
) -> tuple[Array, PoolContext]:
    """Return what `avg_pool1d` returns, and the ctx that `avg_pool1d_backward` takes."""
    return average_and_ctx(
        "avg_pool1d", *window("avg_pool1d", 1, x, size, stride, padding, ceil_mode, layout, count_include_pad)
    )


def avg_pool1d_backward(dy: ArrayLike, ctx: PoolContext) -> Array:
    """Return dx; see `avg_pool2d_backward`."""
    return gradient_of_pool("avg_pool1d", dy, ctx)


def avg_pool3d(
    x: ArrayLike,
    size: Ints,
    *,
    stride: Ints | None = None,
    padding: Padding = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = False,
    layout: str = "NCHW",
) -> Array:
    """Return the mean of each window, over three axes.

    x is (N, C, D, H, W), or (N, D, H, W, C) with "NHWC"; the other arguments are those of `avg_pool2d`.

    Examples
    --------
    >>> import numpy as np
    >>> import fastdl.functional as F
    >>> F.avg_pool3d(np.arange(8.0).reshape(1, 1, 2, 2, 2), 2).ravel()
    array([3.5])
    """
    return average(*window("avg_pool3d", 3, x, size, stride, padding, ceil_mode, layout, count_include_pad))


def avg_pool3d_forward(
    x: ArrayLike,
    size: Ints,
    *,
    stride: Ints | None = None,
    padding: Padding = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = False,
    layout: str = "NCHW",
) -> tuple[Array, PoolContext]:
    """Return what `avg_pool3d` returns, and the ctx that `avg_pool3d_backward` takes."""
    return average_and_ctx(
        "avg_pool3d", *window("avg_pool3d", 3, x, size, stride, padding, ceil_mode, layout, count_include_pad)
    )


def avg_pool3d_backward(dy: ArrayLike, ctx: PoolContext) -> Array:
    """Return dx; see `avg_pool2d_backward`."""
    return gradient_of_pool("avg_pool3d", dy, ctx)
