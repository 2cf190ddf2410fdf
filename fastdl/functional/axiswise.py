"""Operations that tell one axis from the others: softmax along it, a learned slope for each entry of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..backends import Ops
from ..checks import wanted
from ..shapes import AxisPlan, axis_plan
from ._arrays import Array, canonical, check_ctx, engine, floats, gradient, one_float, restored

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

__all__ = [
    "log_softmax",
    "log_softmax_backward",
    "log_softmax_forward",
    "prelu",
    "prelu_backward",
    "prelu_forward",
    "softmax",
    "softmax_backward",
    "softmax_forward",
]

PRELU_ARGUMENTS = ("x", "alpha")


@dataclass(slots=True)
class SoftmaxContext:
    """What the gradient needs: y itself, not a copy."""

    op: str
    ops: Ops
    plan: AxisPlan
    dtype: np.dtype[Any]
    y: Array


@dataclass(slots=True)
class PreluContext:
    """What `prelu_backward` needs: x and the slopes themselves, not copies."""

    op: str
    ops: Ops
    plan: AxisPlan
    dtype: np.dtype[Any]
    x: Array
    alpha: Array


def softmax(x: ArrayLike, axis: int = -1) -> Array:
    """Return exp(x) / Σ exp(x), the sum along `axis`, without overflow.

    Parameters
    ----------
    x : array of floats, with at least one axis
    axis : int
        The axis along which the results sum to 1.

    Raises
    ------
    ValueError
        If x has no such axis.
    TypeError
        If x does not hold floats.

    Examples
    --------
    >>> import numpy as np
    >>> import fastdl.functional as F
    >>> F.softmax(np.array([[0.0, 0.0], [1000.0, 0.0]]))
    array([[0.5, 0.5],
           [1. , 0. ]])
    """
    return _softmax("softmax", x, axis)


def softmax_forward(x: ArrayLike, axis: int = -1) -> tuple[Array, SoftmaxContext]:
    """Return what `softmax` returns, and the ctx that `softmax_backward` takes."""
    return _softmax_and_ctx("softmax", x, axis)


def softmax_backward(dy: ArrayLike, ctx: SoftmaxContext) -> Array:
    """Return dx = y·(dy - Σ dy·y)."""
    return _softmax_gradient("softmax", dy, ctx)


def log_softmax(x: ArrayLike, axis: int = -1) -> Array:
    """Return x - log Σ exp(x), the sum along `axis`: the logarithm of `softmax`, without its rounding.

    Arguments and errors are those of `softmax`.

    Examples
    --------
    >>> import numpy as np
    >>> import fastdl.functional as F
    >>> F.log_softmax(np.array([1000.0, 0.0]))
    array([    0., -1000.])
    """
    return _softmax("log_softmax", x, axis)


def log_softmax_forward(x: ArrayLike, axis: int = -1) -> tuple[Array, SoftmaxContext]:
    """Return what `log_softmax` returns, and the ctx that `log_softmax_backward` takes."""
    return _softmax_and_ctx("log_softmax", x, axis)


def log_softmax_backward(dy: ArrayLike, ctx: SoftmaxContext) -> Array:
    """Return dx = dy - exp(y)·Σ dy."""
    return _softmax_gradient("log_softmax", dy, ctx)


def prelu(x: ArrayLike, alpha: ArrayLike, axis: int = 1) -> Array:
    """Return x where x > 0, else alpha·x, with one alpha a channel.

    Parameters
    ----------
    x : array of floats, with C channels on `axis`
    alpha : (C,) array of floats
        The slopes on the negative side.
    axis : int
        Where the channels are.

    Raises
    ------
    ValueError
        If x has no such axis, or alpha not one entry a channel.
    TypeError
        If an array does not hold floats.

    References
    ----------
    He, Zhang, Ren and Sun, "Delving Deep into Rectifiers", 2015.

    Examples
    --------
    >>> import numpy as np
    >>> import fastdl.functional as F
    >>> F.prelu(np.array([[-1.0, -1.0], [2.0, -2.0]]), np.array([0.5, 0.25]))
    array([[-0.5 , -0.25],
           [ 2.  , -0.5 ]])
    """
    x, alpha, plan, dtype = _prelu_checked(x, alpha, axis)
    return restored(engine().prelu_fwd(x, alpha, *plan.split), dtype)


def prelu_forward(x: ArrayLike, alpha: ArrayLike, axis: int = 1) -> tuple[Array, PreluContext]:
    """Return what `prelu` returns, and the ctx that `prelu_backward` takes."""
    x, alpha, plan, dtype = _prelu_checked(x, alpha, axis)
    ops = engine()
    y = restored(ops.prelu_fwd(x, alpha, *plan.split), dtype)
    return y, PreluContext("prelu", ops, plan, dtype, x, alpha)


def prelu_backward(
    dy: ArrayLike, ctx: PreluContext, needs: tuple[str, ...] = PRELU_ARGUMENTS
) -> tuple[Array | None, Array | None]:
    """Return the gradients (dx, dalpha); those not named in `needs` are None.

    dx = dy where x > 0, else alpha·dy; dalpha = Σ dy·min(x, 0) over everything but the channels.
    """
    check_ctx("prelu", ctx)
    wanted("prelu_backward", needs, PRELU_ARGUMENTS)
    dy = gradient("prelu", dy, ctx.plan.shape, ctx.dtype)
    dx, dalpha = ctx.ops.prelu_bwd(dy, ctx.x, ctx.alpha, *ctx.plan.split)
    return (
        restored(dx, ctx.dtype) if "x" in needs else None,
        restored(dalpha, ctx.dtype) if "alpha" in needs else None,
    )


def _softmax(op: str, x: ArrayLike, axis: int) -> Array:
    x, dtype = one_float(op, x)
    outer, n, inner = axis_plan(op, x.shape, axis).split
    return restored(engine().softmax_fwd(x, outer, n, inner, op == "log_softmax"), dtype)


def _softmax_and_ctx(op: str, x: ArrayLike, axis: int) -> tuple[Array, SoftmaxContext]:
    x, dtype = one_float(op, x)
    plan = axis_plan(op, x.shape, axis)
    ops = engine()
    y = ops.softmax_fwd(x, *plan.split, log=op == "log_softmax")
    return restored(y, dtype), SoftmaxContext(op, ops, plan, dtype, y)


def _softmax_gradient(op: str, dy: ArrayLike, ctx: SoftmaxContext) -> Array:
    check_ctx(op, ctx)
    dy = gradient(op, dy, ctx.plan.shape, ctx.dtype)
    return restored(ctx.ops.softmax_bwd(dy, ctx.y, *ctx.plan.split, log=op == "log_softmax"), ctx.dtype)


def _prelu_checked(x: Any, alpha: Any, axis: int) -> tuple[Array, Array, AxisPlan, np.dtype[Any]]:
    (x, alpha), dtype, ready = floats("prelu", "x alpha", x, alpha)
    plan = axis_plan("prelu", x.shape, axis)
    if alpha.shape != (plan.size,):
        raise ValueError(
            f"prelu: alpha must have shape ({plan.size},), one entry a channel "
            f"(axis {axis} of {x.shape}); got {alpha.shape}"
        )
    if not ready:
        x, alpha = canonical((x, alpha), dtype)
    return x, alpha, plan, dtype
