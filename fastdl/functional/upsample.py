"""Enlargement of images by whole factors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..checks import Ints
from ..shapes_upsample import UpsamplePlan, upsample_plan
from ._arrays import Array, LinearMapContext, canonical, check_ctx, engine, floats, gradient, restored

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike

__all__ = [
    "upsample2d",
    "upsample2d_backward",
    "upsample2d_forward",
]


def upsample2d(x: ArrayLike, scale: Ints, mode: str = "nearest", *, layout: str = "NCHW") -> Array:
    """Return x enlarged by `scale` along its two spatial axes.

    Parameters
    ----------
    x : (N, C, H, W) array of floats, or (N, H, W, C) with ``layout="NHWC"``
        Images.
    scale : int or 2 ints
        Factors of height and width.
    mode : "nearest" or "bilinear"
        Repeat each cell, or interpolate between cell centres. Beyond the outermost centres bilinear
        repeats their values, as Keras does and PyTorch with ``align_corners=False``.
    layout : "NCHW" or "NHWC"
        Where the channels are.

    Returns
    -------
    (N, C, scale·H, scale·W) array, or (N, scale·H, scale·W, C) with ``layout="NHWC"``

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
    >>> x = np.array([[[[0.0, 4.0]]]])
    >>> F.upsample2d(x, (1, 2))
    array([[[[0., 0., 4., 4.]]]])
    >>> F.upsample2d(x, (1, 2), "bilinear")
    array([[[[0., 1., 3., 4.]]]])
    """
    x, plan, dtype = _checked(x, scale, mode, layout)
    return restored(engine().upsample_fwd(x, plan), dtype)


def upsample2d_forward(
    x: ArrayLike, scale: Ints, mode: str = "nearest", *, layout: str = "NCHW"
) -> tuple[Array, LinearMapContext]:
    """Return what `upsample2d` returns, and the ctx that `upsample2d_backward` takes."""
    x, plan, dtype = _checked(x, scale, mode, layout)
    ops = engine()
    return restored(ops.upsample_fwd(x, plan), dtype), LinearMapContext("upsample2d", ops, plan, dtype)


def upsample2d_backward(dy: ArrayLike, ctx: LinearMapContext) -> Array:
    """Return dx: each dy goes to the cells it was made from, with the weights they had in it."""
    check_ctx("upsample2d", ctx)
    dy = gradient("upsample2d", dy, ctx.plan.y_shape, ctx.dtype)
    return restored(ctx.ops.upsample_bwd(dy, ctx.plan), ctx.dtype)


def _checked(x: Any, scale: Ints, mode: str, layout: str) -> tuple[Array, UpsamplePlan, np.dtype[Any]]:
    (x,), dtype, ready = floats("upsample2d", "x", x)
    plan = upsample_plan("upsample2d", x.shape, scale, mode=mode, layout=layout)
    if not ready:
        (x,) = canonical((x,), dtype)
    return x, plan, dtype
