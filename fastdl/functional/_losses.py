"""What the losses element by element share: the check, the mask, the reduction and the way back."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..backends import Ops
from ..checks import Shape, one_of, real, same_shape
from ..shapes import REDUCTIONS
from ._arrays import Array, as_array, canonical, check_ctx, engine, floats, gradient, restored

if TYPE_CHECKING:
    from numpy.typing import ArrayLike


@dataclass(slots=True)
class LossContext:
    """What the gradient needs: the prediction and the target themselves, not copies."""

    op: str
    ops: Ops
    dtype: np.dtype[Any]
    reduction: str
    kind: str
    param: float
    x: Array
    target: Array
    mask: Array | None
    counted: float


def forward(
    op: str, x: Any, target: Any, mask: Any, reduction: str, kind: str = "", param: float = 0.0
) -> tuple[Array, LossContext]:
    """Return a loss and the ctx of its backward; `kind` is the primitive's where that is not `op`."""
    one_of(op, "reduction", reduction, REDUCTIONS)
    (x, target), dtype, ready = floats(op, "x target", x, target)
    same_shape(op, "target", target.shape, x.shape, "x")
    if not ready:
        x, target = canonical((x, target), dtype)
    ops, kind = engine(), kind or op
    counted: float = x.size
    if mask is None and reduction != "none":
        loss = reduced(ops.loss_sum(x, target, kind, param), reduction, dtype, counted)
        return loss, LossContext(op, ops, dtype, reduction, kind, param, x, target, mask, counted)
    losses = ops.loss_fwd(x, target, kind, param)
    if mask is not None:
        mask = _weights_of(op, mask, x)
        losses = np.where(mask != 0, losses * mask, 0)  # what does not count may be NaN
        counted = float(mask.sum(dtype=np.float64))
    if reduction == "none":
        loss = restored(losses, dtype)
    else:
        loss = reduced(ops.loss_sum(losses, None, kind), reduction, dtype, counted)
    return loss, LossContext(op, ops, dtype, reduction, kind, param, x, target, mask, counted)


def backward(op: str, dloss: ArrayLike, ctx: LossContext) -> Array:
    """Return dx."""
    check_ctx(op, ctx)
    dx = ctx.ops.loss_bwd(ctx.x, ctx.target, ctx.kind, ctx.param)
    dx *= weights(op, dloss, ctx.reduction, dx.shape, dx.dtype, ctx.counted)
    if ctx.mask is not None:
        dx = np.where(ctx.mask != 0, dx * ctx.mask, 0)
    return restored(dx, ctx.dtype)


def _weights_of(op: str, mask: Any, x: Array) -> Array:
    """Return the mask as weights, in x's dtype and shape."""
    mask = as_array(op, "mask", mask)
    if mask.dtype.kind not in "bf":
        raise TypeError(f"{op}: mask must hold booleans or floats; got {mask.dtype}")
    try:
        mask = np.broadcast_to(mask, x.shape).astype(x.dtype)
    except ValueError:
        raise ValueError(f"{op}: mask must fit x's shape, {x.shape}; got {mask.shape}") from None
    if not (mask >= 0).all():
        raise ValueError(f"{op}: mask must hold weights of 0 or more; got {mask.min()}")
    return mask


def reduced(total: float, reduction: str, dtype: np.dtype[Any], counted: float) -> Any:
    """Return the sum of the losses, or their mean over what counts, in the dtype of the arguments."""
    if reduction == "mean":
        total = total / counted if counted else math.nan
    return dtype.type(total)


def weights(op: str, dloss: Any, reduction: str, shape: Shape, dtype: np.dtype[Any], counted: float) -> Array:
    """Return how much each loss, of that shape, counts in what `dloss` is the gradient of."""
    if np.ndim(dloss) == 0:
        share = real(f"{op}_backward", "dloss", dloss)
        if reduction == "mean":
            share /= counted or 1
        return np.asarray(share, dtype)
    if reduction != "none":
        raise ValueError(
            f"{op}_backward: dloss must be a number, because the reduction was {reduction!r}; "
            f"got shape {np.shape(dloss)}"
        )
    return gradient(op, dloss, shape, dtype, name="dloss", of="the losses")
