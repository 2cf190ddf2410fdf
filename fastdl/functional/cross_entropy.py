"""The loss of classification: softmax and cross-entropy in one, which is simpler and exacter than both."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..backends import Ops
from ..checks import Shape, one_of, same_shape
from ..shapes import REDUCTIONS
from ._arrays import Array, as_array, canonical, check_ctx, engine, floats, one_float, restored
from .loss import reduced, weights

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

__all__ = [
    "softmax_cross_entropy",
    "softmax_cross_entropy_backward",
    "softmax_cross_entropy_forward",
]


@dataclass(frozen=True, slots=True)
class CrossEntropyContext:
    """What the gradient needs: the probabilities, and the target itself."""

    op: str
    ops: Ops
    dtype: np.dtype[Any]
    reduction: str
    x_shape: Shape
    probs: Array
    target: Array


def softmax_cross_entropy(x: ArrayLike, target: ArrayLike, *, reduction: str = "mean") -> Array:
    """Return -Σ t·log softmax(x), the sum over the classes; -log softmax(x)[t] for a label t.

    Parameters
    ----------
    x : (..., K) array of floats
        One score a class, any numbers ("logits").
    target : (...) array of integers, or (..., K) array
        Labels from 0 to K - 1, or a distribution over the classes a row, such as one-hot.
    reduction : "mean", "sum" or "none"
        Over the rows.

    Returns
    -------
    scalar, or (...) array with ``reduction="none"``

    Raises
    ------
    ValueError
        If the shapes do not fit, a label is no class, or there is no such reduction.
    TypeError
        If x does not hold floats, or labels are not integers.

    Examples
    --------
    >>> import numpy as np
    >>> import fastdl.functional as F
    >>> x = np.array([[0.0, 0.0], [1000.0, 0.0]])
    >>> F.softmax_cross_entropy(x, np.array([0, 1]), reduction="none").round(4)
    array([6.931e-01, 1.000e+03])
    """
    return softmax_cross_entropy_forward(x, target, reduction=reduction)[0]


def softmax_cross_entropy_forward(
    x: ArrayLike, target: ArrayLike, *, reduction: str = "mean"
) -> tuple[Array, CrossEntropyContext]:
    """Return what `softmax_cross_entropy` returns, and the ctx of `softmax_cross_entropy_backward`."""
    op = "softmax_cross_entropy"
    one_of(op, "reduction", reduction, REDUCTIONS)
    x, target, dtype = _checked(op, x, target)
    classes = x.shape[-1]
    rows = math.prod(x.shape[:-1])
    ops = engine()
    target = target.reshape((rows,) if target.ndim < x.ndim else (rows, classes))
    losses, probs = ops.softmax_xent_fwd(x.reshape(rows, classes), target)
    loss = reduced(losses.reshape(x.shape[:-1]), reduction, dtype)
    return loss, CrossEntropyContext(op, ops, dtype, reduction, x.shape, probs, target)


def softmax_cross_entropy_backward(dloss: ArrayLike, ctx: CrossEntropyContext) -> Array:
    """Return dx = softmax(x) - t, times dloss; a label stands for its one-hot row."""
    check_ctx("softmax_cross_entropy", ctx)
    leading = ctx.x_shape[:-1]
    share = weights("softmax_cross_entropy", dloss, ctx.reduction, leading, ctx.probs.dtype)
    scale = np.empty(leading, ctx.probs.dtype)
    scale[...] = share
    dx = ctx.ops.softmax_xent_bwd(ctx.probs, ctx.target, scale.reshape(-1))
    return restored(dx.reshape(ctx.x_shape), ctx.dtype)


def _checked(op: str, x: Any, target: Any) -> tuple[Array, Array, np.dtype[Any]]:
    """Return x and the target, canonical, and the dtype of the loss."""
    x, target = as_array(op, "x", x), as_array(op, "target", target)
    if not x.ndim or not x.shape[-1]:
        raise ValueError(f"{op}: x must be (..., classes) with at least one class; got shape {x.shape}")
    if target.ndim == x.ndim - 1:
        same_shape(op, "target", target.shape, x.shape[:-1], "x without its classes")
        x, dtype = one_float(op, x)
        return x, _labels(op, target, x.shape[-1]), dtype
    same_shape(op, "target", target.shape, x.shape, "x, or x without its classes")
    if target.dtype.kind in "iub":  # one-hot
        x, dtype = one_float(op, x)
        return x, np.array(target, x.dtype, order="C"), dtype
    (x, target), dtype, ready = floats(op, "x target", x, target)
    if not ready:
        x, target = canonical((x, target), dtype)
    return x, target, dtype


def _labels(op: str, target: Array, classes: int) -> Array:
    if target.dtype.kind not in "iu":
        raise TypeError(f"{op}: target must hold integers when it is one label a row; got {target.dtype}")
    if target.size and (target.min() < 0 or target.max() >= classes):
        outside = (target < 0) | (target >= classes)
        where = tuple(int(i) for i in np.argwhere(outside)[0])
        raise ValueError(
            f"{op}: target has label {target[where]} at {where}; with x of {classes} classes "
            f"labels are 0 to {classes - 1}"
        )
    return canonical((target,), np.dtype(np.int64))[0]
