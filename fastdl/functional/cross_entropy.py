"""The loss of classification: softmax and cross-entropy in one, which is simpler and exacter than both."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..backends import Ops
from ..checks import MAX_ARGUMENT, Shape, integer, number, one_of, same_shape
from ..shapes import REDUCTIONS
from ._arrays import Array, as_array, canonical, check_ctx, engine, floats, one_float, restored, shaped
from ._losses import reduced, weights

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

__all__ = [
    "softmax_cross_entropy",
    "softmax_cross_entropy_backward",
    "softmax_cross_entropy_forward",
]


@dataclass(slots=True)
class CrossEntropyContext:
    """What the gradient needs: the probabilities, and the target itself."""

    op: str
    ops: Ops
    dtype: np.dtype[Any]
    reduction: str
    x_shape: Shape
    probs: Array
    target: Array
    smoothing: float
    counted: int


def softmax_cross_entropy(
    x: ArrayLike,
    target: ArrayLike,
    *,
    ignore_index: int | None = None,
    label_smoothing: float = 0.0,
    reduction: str = "mean",
) -> Array:
    """Return -Σ t·log softmax(x), the sum over the classes; -log softmax(x)[t] for a label t.

    Parameters
    ----------
    x : (..., K) array of floats
        One score a class, any numbers ("logits").
    target : (...) array of integers, or (..., K) array
        Labels from 0 to K - 1, or a distribution over the classes a row, such as one-hot.
    ignore_index : int, optional
        A label, of whatever size, whose rows count for nothing: their loss and gradient are 0, and the mean
        is over the others.
    label_smoothing : float
        In [0, 1]: the part of each target that is shared out evenly among all classes.
    reduction : "mean", "sum" or "none"
        Over the rows.

    Returns
    -------
    scalar, or (...) array with ``reduction="none"``
        The mean of no rows is NaN.

    Raises
    ------
    ValueError
        If the shapes do not fit, a label is no class, there is no such reduction, or `ignore_index` is given
        and the target is not of labels.
    TypeError
        If x does not hold floats, or labels are not integers.

    References
    ----------
    Szegedy and others, "Rethinking the Inception Architecture for Computer Vision", 2016, for the smoothing.

    Examples
    --------
    >>> import numpy as np
    >>> import fastdl.functional as F
    >>> x = np.array([[0.0, 0.0], [1000.0, 0.0]])
    >>> F.softmax_cross_entropy(x, np.array([0, 1]), reduction="none").round(4)
    array([6.931e-01, 1.000e+03])
    """
    return _loss_and_ctx(x, target, ignore_index, label_smoothing, reduction, keep=False)[0]


def softmax_cross_entropy_forward(
    x: ArrayLike,
    target: ArrayLike,
    *,
    ignore_index: int | None = None,
    label_smoothing: float = 0.0,
    reduction: str = "mean",
) -> tuple[Array, CrossEntropyContext]:
    """Return what `softmax_cross_entropy` returns, and the ctx of `softmax_cross_entropy_backward`."""
    return _loss_and_ctx(x, target, ignore_index, label_smoothing, reduction, keep=True)


def _loss_and_ctx(
    x: Any, target: Any, ignore_index: int | None, label_smoothing: float, reduction: str, keep: bool
) -> tuple[Array, Any]:
    """Return the loss, and its ctx, None if that is not kept."""
    op = "softmax_cross_entropy"
    one_of(op, "reduction", reduction, REDUCTIONS)
    smoothing = number(op, "label_smoothing", label_smoothing)
    if smoothing > 1:
        raise ValueError(f"{op}: label_smoothing must be at most 1; got {label_smoothing!r}")
    scores, t, dtype = _checked(op, x, target, ignore_index)
    *leading, classes = scores.shape
    rows = counted = math.prod(leading)
    if t.ndim == scores.ndim and smoothing:
        t, smoothing = t * (1 - smoothing) + smoothing / classes, 0.0
    elif ignore_index is not None:
        counted = int(np.count_nonzero(t >= 0))
    t = shaped(t, (rows,) if t.ndim < scores.ndim else (rows, classes))
    ops = engine()
    losses, probs = ops.softmax_xent_fwd(shaped(scores, (rows, classes)), t, smoothing, keep)
    if reduction == "none":
        loss = restored(losses.reshape(leading), dtype)
    else:
        loss = reduced(ops.loss_sum(losses, None, op), reduction, dtype, counted)
    if not keep:
        return loss, None
    return loss, CrossEntropyContext(op, ops, dtype, reduction, scores.shape, probs, t, smoothing, counted)


def softmax_cross_entropy_backward(dloss: ArrayLike, ctx: CrossEntropyContext) -> Array:
    """Return dx = softmax(x) - t, times dloss; a label stands for its one-hot row, or the smoothed one."""
    check_ctx("softmax_cross_entropy", ctx)
    leading = ctx.x_shape[:-1]
    share = weights("softmax_cross_entropy", dloss, ctx.reduction, leading, ctx.probs.dtype, ctx.counted)
    scale = np.empty(leading, ctx.probs.dtype)
    scale[...] = share
    dx = ctx.ops.softmax_xent_bwd(ctx.probs, ctx.target, scale.reshape(-1), ctx.smoothing)
    return restored(dx.reshape(ctx.x_shape), ctx.dtype)


def _checked(op: str, x: Any, target: Any, ignored: int | None) -> tuple[Array, Array, np.dtype[Any]]:
    """Return x and the target, canonical, and the dtype of the loss."""
    x, target = as_array(op, "x", x), as_array(op, "target", target)
    if not x.ndim or not x.shape[-1]:
        raise ValueError(f"{op}: x must be (..., classes) with at least one class; got shape {x.shape}")
    if target.ndim == x.ndim - 1:
        same_shape(op, "target", target.shape, x.shape[:-1], "x without its classes")
        x, dtype = one_float(op, x)
        return x, _labels(op, target, x.shape[-1], ignored), dtype
    if ignored is not None:
        raise ValueError(f"{op}: ignore_index goes with labels; target is a distribution, {target.shape}")
    same_shape(op, "target", target.shape, x.shape, "x, or x without its classes")
    if target.dtype.kind in "iub":  # one-hot
        x, dtype = one_float(op, x)
        return x, np.array(target, x.dtype, order="C"), dtype
    (x, target), dtype, ready = floats(op, "x target", x, target)
    if not ready:
        x, target = canonical((x, target), dtype)
    return x, target, dtype


def _labels(op: str, target: Array, classes: int, ignored: int | None) -> Array:
    """Return the labels, a copy as int64, with -1 for the one that is ignored.

    What was checked must be what a kernel reads: a label that is no class would be an address outside x.
    """
    if target.dtype.kind not in "iu":
        raise TypeError(f"{op}: target must hold integers when it is one label a row; got {target.dtype}")
    labels = np.array(target, np.int64, order="C")
    checked = labels
    if ignored is not None:
        skipped = target == integer(op, "ignore_index", ignored, minimum=-MAX_ARGUMENT)
        labels[skipped] = -1
        checked = labels[~skipped]
    first = engine().outside(checked.reshape(-1), classes)
    if first >= 0:
        counts = np.flatnonzero(~skipped)[first] if ignored is not None else first
        where = tuple(int(i) for i in np.unravel_index(counts, target.shape))
        raise ValueError(
            f"{op}: target has label {target[where]} at {where}; with x of {classes} classes "
            f"labels are 0 to {classes - 1}"
        )
    return labels
