"""The way back through a convolution whose output is pooled for its maxima: most of its gradient is zero."""

from __future__ import annotations

from typing import Any, NamedTuple

from ..shapes import ACTIVATIONS
from ._affine import AffineCall, Gradients, bias_gradient, weight_gradient
from ._arrays import Array, canonical, gradient, restored
from ._pooling import PoolContext


class PooledContext(NamedTuple):
    """What the way back needs of the two: the convolution's call, where the maxima were, and the maxima.

    The map of all outputs is not among it.
    """

    call: AffineCall
    pool: PoolContext
    y: Array


def goes_through_maxima(activation: str) -> bool:
    """Whether an activation's slope at the maxima can be said from its output there."""
    return ACTIVATIONS[activation] != "x"


def pooled_backward(
    dy: Any, ctx: PooledContext, needs: tuple[str, ...], *, dw_out: Array | None = None
) -> Gradients:
    """Return the gradients (dx, dw, db) of the convolution, dy being that of the maxima y.

    With g = dy · activation'(y), dz is g where the maxima were and 0 elsewhere: db = Σ g, and dw needs no dz.
    """
    call, (pool, index) = ctx.call, (ctx.pool.call, ctx.pool.index)
    ops, plan = call.ops, call.plan
    g = gradient(pool.op, dy, pool.y_shape, call.dtype)
    if ACTIVATIONS[call.activation]:
        (y,) = canonical((ctx.y,), call.dtype)
        g = ops.act_bwd(g, y, call.activation, call.alpha)
    dx = dw = db = None
    if "x" in needs:
        dz = ops.maxpool_bwd(g, index, pool.plan)
        dx = restored(ops.conv_dx(dz, call.w, None, plan), call.dtype)
        if "w" in needs:
            dw = weight_gradient(call, dw_out, ops.conv_dw, dz, call.x, plan)
    elif "w" in needs:
        dw = weight_gradient(call, dw_out, ops.conv_dw_pooled, g, index, call.x, plan, pool.plan)
    if "b" in needs:
        db = bias_gradient(g, call, plan.layout)
    return dx, dw, db
