"""Images as matrices of their patches, and back: how teaching code writes a convolution.

fastdl's own convolution needs no such matrix, which is KH·KW times as large as the image.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..checks import Ints, Padding, Shape, same_shape
from ..shapes import columns_shape, im2col_plan
from ._arrays import Array, LinearMapContext, canonical, check_ctx, engine, floats, gradient, restored

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

__all__ = [
    "col2im",
    "col2im_backward",
    "col2im_forward",
    "im2col",
    "im2col_backward",
    "im2col_forward",
]


def im2col(
    x: ArrayLike,
    size: Ints,
    *,
    stride: Ints = 1,
    padding: Padding = 0,
    dilation: Ints = 1,
    layout: str = "NCHW",
) -> Array:
    """Return the patches of images as the rows of a matrix.

    Parameters
    ----------
    x : (N, C, H, W) array of floats, or (N, H, W, C) with ``layout="NHWC"``
        Images.
    size : int or 2 ints
        Height and width of a patch, KH and KW.
    stride, padding, dilation, layout
        As in `conv2d`.

    Returns
    -------
    (N·OH·OW, C·KH·KW) array, or (N·OH·OW, KH·KW·C) with ``layout="NHWC"``
        One row a patch; ``im2col(x, size) @ w.reshape(O, -1).T`` is the convolution of x with w.

    Raises
    ------
    ValueError
        If the patch does not fit, or an argument has a value it cannot have.
    TypeError
        If x does not hold floats.

    Examples
    --------
    >>> import numpy as np
    >>> import fastdl.functional as F
    >>> F.im2col(np.arange(6.0).reshape(1, 1, 2, 3), 2)
    array([[0., 1., 3., 4.],
           [1., 2., 4., 5.]])
    """
    return im2col_forward(x, size, stride=stride, padding=padding, dilation=dilation, layout=layout)[0]


def im2col_forward(
    x: ArrayLike,
    size: Ints,
    *,
    stride: Ints = 1,
    padding: Padding = 0,
    dilation: Ints = 1,
    layout: str = "NCHW",
) -> tuple[Array, LinearMapContext]:
    """Return what `im2col` returns, and the ctx that `im2col_backward` takes."""
    (image,), dtype, ready = floats("im2col", "x", x)
    plan = im2col_plan(
        "im2col", image.shape, size, stride=stride, padding=padding, dilation=dilation, layout=layout
    )
    if not ready:
        (image,) = canonical((image,), dtype)
    ops = engine()
    return restored(ops.im2col(image, plan), dtype), LinearMapContext("im2col", ops, plan, dtype)


def im2col_backward(dy: ArrayLike, ctx: LinearMapContext) -> Array:
    """Return dx: the sum over the patches that hold a cell, which is `col2im` of dy."""
    check_ctx("im2col", ctx)
    dy = gradient("im2col", dy, columns_shape(ctx.plan), ctx.dtype)
    return restored(ctx.ops.col2im(dy, ctx.plan), ctx.dtype)


def col2im(
    cols: ArrayLike,
    x_shape: Shape,
    size: Ints,
    *,
    stride: Ints = 1,
    padding: Padding = 0,
    dilation: Ints = 1,
    layout: str = "NCHW",
) -> Array:
    """Return images in which every patch has been added at its place: the adjoint of `im2col`.

    Parameters
    ----------
    cols : (N·OH·OW, C·KH·KW) array of floats, or (N·OH·OW, KH·KW·C) with ``layout="NHWC"``
        One row a patch.
    x_shape : 4 ints
        Shape of the images.
    size, stride, padding, dilation, layout
        As in `im2col`.

    Raises
    ------
    ValueError
        If cols is not what `im2col` returns for images of that shape.
    TypeError
        If cols does not hold floats.

    Examples
    --------
    Cells that lie in two patches come back twice.

    >>> import numpy as np
    >>> import fastdl.functional as F
    >>> x = np.ones((1, 1, 2, 3))
    >>> F.col2im(F.im2col(x, 2), x.shape, 2)
    array([[[[1., 2., 1.],
             [1., 2., 1.]]]])
    """
    return col2im_forward(
        cols, x_shape, size, stride=stride, padding=padding, dilation=dilation, layout=layout
    )[0]


def col2im_forward(
    cols: ArrayLike,
    x_shape: Shape,
    size: Ints,
    *,
    stride: Ints = 1,
    padding: Padding = 0,
    dilation: Ints = 1,
    layout: str = "NCHW",
) -> tuple[Array, LinearMapContext]:
    """Return what `col2im` returns, and the ctx that `col2im_backward` takes."""
    (patches,), dtype, ready = floats("col2im", "cols", cols)
    plan = im2col_plan(
        "col2im", x_shape, size, stride=stride, padding=padding, dilation=dilation, layout=layout
    )
    same_shape("col2im", "cols", patches.shape, columns_shape(plan), f"the patches of images {x_shape}")
    if not ready:
        (patches,) = canonical((patches,), dtype)
    ops = engine()
    return restored(ops.col2im(patches, plan), dtype), LinearMapContext("col2im", ops, plan, dtype)


def col2im_backward(dy: ArrayLike, ctx: LinearMapContext) -> Array:
    """Return dcols, which is `im2col` of dy."""
    check_ctx("col2im", ctx)
    dy = gradient("col2im", dy, ctx.plan.x_shape, ctx.dtype)
    return restored(ctx.ops.im2col(dy, ctx.plan), ctx.dtype)
