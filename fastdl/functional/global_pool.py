"""Pooling in one window as large as the image: (N, C, *spatial) becomes (N, C).

The rules for NaN and for equal maxima are those of `pool`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ._arrays import Array
from ._pooling import (
    PoolContext,
    average,
    average_and_ctx,
    global_window,
    gradient_of_pool,
    maximum,
    maximum_and_ctx,
)

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

__all__ = [
    "global_avg_pool1d",
    "global_avg_pool1d_backward",
    "global_avg_pool1d_forward",
    "global_avg_pool2d",
    "global_avg_pool2d_backward",
    "global_avg_pool2d_forward",
    "global_avg_pool3d",
    "global_avg_pool3d_backward",
    "global_avg_pool3d_forward",
    "global_max_pool1d",
    "global_max_pool1d_backward",
    "global_max_pool1d_forward",
    "global_max_pool2d",
    "global_max_pool2d_backward",
    "global_max_pool2d_forward",
    "global_max_pool3d",
    "global_max_pool3d_backward",
    "global_max_pool3d_forward",
]


def global_max_pool2d(x: ArrayLike, *, layout: str = "NCHW") -> Array:
    """Return the largest value of each channel, over two axes.

    Parameters
    ----------
    x : (N, C, H, W) array of floats, or (N, H, W, C) with ``layout="NHWC"``
        Images.
    layout : "NCHW" or "NHWC"
        Where the channels are.

    Returns
    -------
    (N, C) array

    Raises
    ------
    ValueError
        If x has other axes, or no cells.
    TypeError
        If x does not hold floats.

    Examples
    --------
    >>> import numpy as np
    >>> import fastdl.functional as F
    >>> F.global_max_pool2d(np.arange(8.0).reshape(1, 2, 2, 2))
    array([[3., 7.]])
    """
    return maximum(*global_window("global_max_pool2d", 2, x, layout))


def global_max_pool2d_forward(x: ArrayLike, *, layout: str = "NCHW") -> tuple[Array, PoolContext]:
    """Return what `global_max_pool2d` returns, and the ctx that `global_max_pool2d_backward` takes."""
    return maximum_and_ctx("global_max_pool2d", *global_window("global_max_pool2d", 2, x, layout))


def global_max_pool2d_backward(dy: ArrayLike, ctx: PoolContext) -> Array:
    """Return dx: each dy, (N, C), goes to the cell its maximum came from, the first one of equals."""
    return gradient_of_pool("global_max_pool2d", dy, ctx)


def global_max_pool1d(x: ArrayLike, *, layout: str = "NCHW") -> Array:
    """Return the largest value of each channel; x is (N, C, W), or (N, W, C) with ``layout="NHWC"``.

    Examples
    --------
    >>> import numpy as np
    >>> import fastdl.functional as F
    >>> F.global_max_pool1d(np.array([[[1.0, 3.0, 2.0]]]))
    array([[3.]])
    """
    return maximum(*global_window("global_max_pool1d", 1, x, layout))


def global_max_pool1d_forward(x: ArrayLike, *, layout: str = "NCHW") -> tuple[Array, PoolContext]:
    """Return what `global_max_pool1d` returns, and the ctx that `global_max_pool1d_backward` takes."""
    return maximum_and_ctx("global_max_pool1d", *global_window("global_max_pool1d", 1, x, layout))


def global_max_pool1d_backward(dy: ArrayLike, ctx: PoolContext) -> Array:
    """Return dx; see `global_max_pool2d_backward`."""
    return gradient_of_pool("global_max_pool1d", dy, ctx)


def global_max_pool3d(x: ArrayLike, *, layout: str = "NCHW") -> Array:
    """Return the largest value of each channel; x is (N, C, D, H, W), or (N, D, H, W, C) with "NHWC".

    Examples
    --------
    >>> import numpy as np
    >>> import fastdl.functional as F
    >>> F.global_max_pool3d(np.arange(8.0).reshape(1, 1, 2, 2, 2))
    array([[7.]])
    """
    return maximum(*global_window("global_max_pool3d", 3, x, layout))


def global_max_pool3d_forward(x: ArrayLike, *, layout: str = "NCHW") -> tuple[Array, PoolContext]:
    """Return what `global_max_pool3d` returns, and the ctx that `global_max_pool3d_backward` takes."""
    return maximum_and_ctx("global_max_pool3d", *global_window("global_max_pool3d", 3, x, layout))


def global_max_pool3d_backward(dy: ArrayLike, ctx: PoolContext) -> Array:
    """Return dx; see `global_max_pool2d_backward`."""
    return gradient_of_pool("global_max_pool3d", dy, ctx)


def global_avg_pool2d(x: ArrayLike, *, layout: str = "NCHW") -> Array:
    """Return the mean of each channel, over two axes.

    Parameters
    ----------
    x : (N, C, H, W) array of floats, or (N, H, W, C) with ``layout="NHWC"``
        Images.
    layout : "NCHW" or "NHWC"
        Where the channels are.

    Returns
    -------
    (N, C) array

    Raises
    ------
    ValueError
        If x has other axes, or no cells.
    TypeError
        If x does not hold floats.

    Examples
    --------
    >>> import numpy as np
    >>> import fastdl.functional as F
    >>> F.global_avg_pool2d(np.arange(8.0).reshape(1, 2, 2, 2))
    array([[1.5, 5.5]])
    """
    return average(*global_window("global_avg_pool2d", 2, x, layout))


def global_avg_pool2d_forward(x: ArrayLike, *, layout: str = "NCHW") -> tuple[Array, PoolContext]:
    """Return what `global_avg_pool2d` returns, and the ctx that `global_avg_pool2d_backward` takes."""
    return average_and_ctx("global_avg_pool2d", *global_window("global_avg_pool2d", 2, x, layout))


def global_avg_pool2d_backward(dy: ArrayLike, ctx: PoolContext) -> Array:
    """Return dx: each dy, (N, C), is spread over the image in equal parts."""
    return gradient_of_pool("global_avg_pool2d", dy, ctx)


def global_avg_pool1d(x: ArrayLike, *, layout: str = "NCHW") -> Array:
    """Return the mean of each channel; x is (N, C, W), or (N, W, C) with ``layout="NHWC"``.

    Examples
    --------
    >>> import numpy as np
    >>> import fastdl.functional as F
    >>> F.global_avg_pool1d(np.array([[[1.0, 3.0, 2.0]]]))
    array([[2.]])
    """
    return average(*global_window("global_avg_pool1d", 1, x, layout))


def global_avg_pool1d_forward(x: ArrayLike, *, layout: str = "NCHW") -> tuple[Array, PoolContext]:
    """Return what `global_avg_pool1d` returns, and the ctx that `global_avg_pool1d_backward` takes."""
    return average_and_ctx("global_avg_pool1d", *global_window("global_avg_pool1d", 1, x, layout))


def global_avg_pool1d_backward(dy: ArrayLike, ctx: PoolContext) -> Array:
    """Return dx; see `global_avg_pool2d_backward`."""
    return gradient_of_pool("global_avg_pool1d", dy, ctx)


def global_avg_pool3d(x: ArrayLike, *, layout: str = "NCHW") -> Array:
    """Return the mean of each channel; x is (N, C, D, H, W), or (N, D, H, W, C) with "NHWC".

    Examples
    --------
    >>> import numpy as np
    >>> import fastdl.functional as F
    >>> F.global_avg_pool3d(np.arange(8.0).reshape(1, 1, 2, 2, 2))
    array([[3.5]])
    """
    return average(*global_window("global_avg_pool3d", 3, x, layout))


def global_avg_pool3d_forward(x: ArrayLike, *, layout: str = "NCHW") -> tuple[Array, PoolContext]:
    """Return what `global_avg_pool3d` returns, and the ctx that `global_avg_pool3d_backward` takes."""
    return average_and_ctx("global_avg_pool3d", *global_window("global_avg_pool3d", 3, x, layout))


def global_avg_pool3d_backward(dy: ArrayLike, ctx: PoolContext) -> Array:
    """Return dx; see `global_avg_pool2d_backward`."""
    return gradient_of_pool("global_avg_pool3d", dy, ctx)
