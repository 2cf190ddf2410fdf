"""Losses: how far a prediction is from its target, and the gradient with respect to the prediction.

Every loss takes ``reduction="mean"``, "sum" or "none" (one loss an element, or a row for
`softmax_cross_entropy`). Sums run in float64 whatever the dtype. Targets have no gradient.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..backends import Ops
from ..checks import Shape, number, one_of, real, same_shape
from ..shapes import REDUCTIONS
from ._arrays import Array, canonical, check_ctx, engine, floats, gradient, restored

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

__all__ = [
    "binary_cross_entropy",
    "binary_cross_entropy_backward",
    "binary_cross_entropy_forward",
    "hinge",
    "hinge_backward",
    "hinge_forward",
    "huber",
    "huber_backward",
    "huber_forward",
    "kl_divergence",
    "kl_divergence_backward",
    "kl_divergence_forward",
    "mean_absolute_error",
    "mean_absolute_error_backward",
    "mean_absolute_error_forward",
    "mean_squared_error",
    "mean_squared_error_backward",
    "mean_squared_error_forward",
]


@dataclass(frozen=True, slots=True)
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


def binary_cross_entropy(
    x: ArrayLike, target: ArrayLike, *, from_logits: bool = False, reduction: str = "mean"
) -> Array:
    """Return -(t·log p + (1 - t)·log(1 - p)).

    Parameters
    ----------
    x : array of floats
        Probabilities p, held 1e-7 away from 0 and 1 as Keras does; with `from_logits` any numbers z,
        for p = sigmoid(z), and then nothing is lost to rounding however large they are.
    target : array of floats of x's shape
        t, in [0, 1].
    from_logits : bool
        What x is.
    reduction : "mean", "sum" or "none"
        Over all elements.

    Returns
    -------
    scalar, or array of x's shape with ``reduction="none"``

    Raises
    ------
    ValueError
        If the shapes differ or there is no such reduction.
    TypeError
        If an array does not hold floats.

    Examples
    --------
    >>> import numpy as np
    >>> import fastdl.functional as F
    >>> z, t = np.array([-1000.0, 0.0]), np.array([1.0, 0.0])
    >>> F.binary_cross_entropy(z, t, from_logits=True, reduction="none").round(3)
    array([1.00e+03, 6.93e-01])
    """
    return binary_cross_entropy_forward(x, target, from_logits=from_logits, reduction=reduction)[0]


def binary_cross_entropy_forward(
    x: ArrayLike, target: ArrayLike, *, from_logits: bool = False, reduction: str = "mean"
) -> tuple[Array, LossContext]:
    """Return what `binary_cross_entropy` returns, and the ctx that `binary_cross_entropy_backward` takes."""
    kind = "binary_cross_entropy_logits" if from_logits else "binary_cross_entropy"
    return _forward("binary_cross_entropy", x, target, reduction, kind)


def binary_cross_entropy_backward(dloss: ArrayLike, ctx: LossContext) -> Array:
    """Return dx: (p - t) / (p·(1 - p)), or p - t from logits, times dloss."""
    return _backward("binary_cross_entropy", dloss, ctx)


def mean_squared_error(x: ArrayLike, target: ArrayLike, *, reduction: str = "mean") -> Array:
    """Return (x - t)².

    The shapes, the reductions and the errors are those of `binary_cross_entropy`.

    Examples
    --------
    >>> import numpy as np
    >>> import fastdl.functional as F
    >>> F.mean_squared_error(np.array([1.0, 4.0]), np.array([1.0, 2.0]))
    np.float64(2.0)
    """
    return mean_squared_error_forward(x, target, reduction=reduction)[0]


def mean_squared_error_forward(
    x: ArrayLike, target: ArrayLike, *, reduction: str = "mean"
) -> tuple[Array, LossContext]:
    """Return what `mean_squared_error` returns, and the ctx that `mean_squared_error_backward` takes."""
    return _forward("mean_squared_error", x, target, reduction)


def mean_squared_error_backward(dloss: ArrayLike, ctx: LossContext) -> Array:
    """Return dx = 2·(x - t), times dloss."""
    return _backward("mean_squared_error", dloss, ctx)


def mean_absolute_error(x: ArrayLike, target: ArrayLike, *, reduction: str = "mean") -> Array:
    """Return |x - t|.

    The shapes, the reductions and the errors are those of `binary_cross_entropy`.

    Examples
    --------
    >>> import numpy as np
    >>> import fastdl.functional as F
    >>> F.mean_absolute_error(np.array([1.0, 4.0]), np.array([1.0, 2.0]))
    np.float64(1.0)
    """
    return mean_absolute_error_forward(x, target, reduction=reduction)[0]


def mean_absolute_error_forward(
    x: ArrayLike, target: ArrayLike, *, reduction: str = "mean"
) -> tuple[Array, LossContext]:
    """Return what `mean_absolute_error` returns, and the ctx that `mean_absolute_error_backward` takes."""
    return _forward("mean_absolute_error", x, target, reduction)


def mean_absolute_error_backward(dloss: ArrayLike, ctx: LossContext) -> Array:
    """Return dx = sign(x - t), which is 0 where they are equal, times dloss."""
    return _backward("mean_absolute_error", dloss, ctx)


def huber(x: ArrayLike, target: ArrayLike, *, delta: float = 1.0, reduction: str = "mean") -> Array:
    """Return (x - t)² / 2 where |x - t| ≤ delta, else delta·(|x - t| - delta / 2).

    A squared error that outliers do not dominate. The errors are those of `binary_cross_entropy`.

    Parameters
    ----------
    x, target : arrays of floats of one shape
    delta : float
        Where the parabola turns into a line.
    reduction : "mean", "sum" or "none"

    References
    ----------
    Huber, "Robust Estimation of a Location Parameter", 1964.

    Examples
    --------
    >>> import numpy as np
    >>> import fastdl.functional as F
    >>> F.huber(np.array([0.5, 3.0]), np.zeros(2), reduction="none")
    array([0.125, 2.5  ])
    """
    return huber_forward(x, target, delta=delta, reduction=reduction)[0]


def huber_forward(
    x: ArrayLike, target: ArrayLike, *, delta: float = 1.0, reduction: str = "mean"
) -> tuple[Array, LossContext]:
    """Return what `huber` returns, and the ctx that `huber_backward` takes."""
    return _forward("huber", x, target, reduction, param=number("huber", "delta", delta))


def huber_backward(dloss: ArrayLike, ctx: LossContext) -> Array:
    """Return dx = x - t, cut off at ±delta, times dloss."""
    return _backward("huber", dloss, ctx)


def hinge(x: ArrayLike, target: ArrayLike, *, reduction: str = "mean") -> Array:
    """Return max(0, 1 - t·x), for targets t of -1 and 1.

    The shapes, the reductions and the errors are those of `binary_cross_entropy`.

    Examples
    --------
    >>> import numpy as np
    >>> import fastdl.functional as F
    >>> F.hinge(np.array([0.5, -2.0]), np.array([1.0, 1.0]), reduction="none")
    array([0.5, 3. ])
    """
    return hinge_forward(x, target, reduction=reduction)[0]


def hinge_forward(x: ArrayLike, target: ArrayLike, *, reduction: str = "mean") -> tuple[Array, LossContext]:
    """Return what `hinge` returns, and the ctx that `hinge_backward` takes."""
    return _forward("hinge", x, target, reduction)


def hinge_backward(dloss: ArrayLike, ctx: LossContext) -> Array:
    """Return dx = -t where t·x < 1, else 0, times dloss."""
    return _backward("hinge", dloss, ctx)


def kl_divergence(x: ArrayLike, target: ArrayLike, *, reduction: str = "mean") -> Array:
    """Return t·log(t / x), for probabilities t and x held between 1e-7 and 1 as Keras does.

    Summed over the outcomes it is the divergence of x from t. The shapes, the reductions and the errors
    are those of `binary_cross_entropy`.

    Examples
    --------
    >>> import numpy as np
    >>> import fastdl.functional as F
    >>> t, x = np.array([0.5, 0.5]), np.array([0.25, 0.75])
    >>> F.kl_divergence(x, t, reduction="sum").round(4)
    np.float64(0.1438)
    """
    return kl_divergence_forward(x, target, reduction=reduction)[0]


def kl_divergence_forward(
    x: ArrayLike, target: ArrayLike, *, reduction: str = "mean"
) -> tuple[Array, LossContext]:
    """Return what `kl_divergence` returns, and the ctx that `kl_divergence_backward` takes."""
    return _forward("kl_divergence", x, target, reduction)


def kl_divergence_backward(dloss: ArrayLike, ctx: LossContext) -> Array:
    """Return dx = -t / x, and 0 where x was held, times dloss."""
    return _backward("kl_divergence", dloss, ctx)


def _forward(
    op: str, x: Any, target: Any, reduction: str, kind: str = "", param: float = 0.0
) -> tuple[Array, LossContext]:
    one_of(op, "reduction", reduction, REDUCTIONS)
    (x, target), dtype, ready = floats(op, "x target", x, target)
    same_shape(op, "target", target.shape, x.shape, "x")
    if not ready:
        x, target = canonical((x, target), dtype)
    ops = engine()
    kind = kind or op
    losses = ops.loss_fwd(x, target, kind, param)
    return reduced(losses, reduction, dtype), LossContext(op, ops, dtype, reduction, kind, param, x, target)


def _backward(op: str, dloss: ArrayLike, ctx: LossContext) -> Array:
    check_ctx(op, ctx)
    dx = ctx.ops.loss_bwd(ctx.x, ctx.target, ctx.kind, ctx.param)
    dx *= weights(op, dloss, ctx.reduction, dx.shape, dx.dtype)
    return restored(dx, ctx.dtype)


def reduced(losses: Array, reduction: str, dtype: np.dtype[Any]) -> Array:
    """Return the losses, their sum or their mean, in the dtype of the arguments."""
    if reduction == "none":
        return restored(losses, dtype)
    total = losses.sum(dtype=np.float64)
    if reduction == "mean":
        total = total / losses.size if losses.size else math.nan
    return dtype.type(total)


def weights(op: str, dloss: Any, reduction: str, shape: Shape, dtype: np.dtype[Any]) -> Array:
    """Return how much each loss, of that shape, counts in what `dloss` is the gradient of."""
    if np.ndim(dloss) == 0:
        share = real(f"{op}_backward", "dloss", dloss)
        if reduction == "mean":
            share /= max(math.prod(shape), 1)
        return np.asarray(share, dtype)
    if reduction != "none":
        raise ValueError(
            f"{op}_backward: dloss must be a number, because the reduction was {reduction!r}; "
            f"got shape {np.shape(dloss)}"
        )
    return gradient(op, dloss, shape, dtype, name="dloss", of="the losses")
