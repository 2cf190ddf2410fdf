"""Losses: how far a prediction is from its target, and the gradient with respect to the prediction.

Every loss takes ``reduction="mean"``, "sum" or "none" (one loss an element, or a row for
`softmax_cross_entropy`). Sums run in float64 whatever the dtype. Targets have no gradient.

Losses element by element take a `mask` as well, of x's shape or one that is broadcast to it: of booleans,
where False marks what was not observed, or of weights. What has no weight counts for nothing, be it NaN, and
the mean is over the weights.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..checks import number
from ._arrays import Array
from ._losses import LossContext, backward, forward

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
    "log_cosh",
    "log_cosh_backward",
    "log_cosh_forward",
    "mean_absolute_error",
    "mean_absolute_error_backward",
    "mean_absolute_error_forward",
    "mean_squared_error",
    "mean_squared_error_backward",
    "mean_squared_error_forward",
    "poisson",
    "poisson_backward",
    "poisson_forward",
    "squared_hinge",
    "squared_hinge_backward",
    "squared_hinge_forward",
]


def binary_cross_entropy(
    x: ArrayLike,
    target: ArrayLike,
    *,
    from_logits: bool = False,
    mask: ArrayLike | None = None,
    reduction: str = "mean",
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
    mask : array of bool or floats, broadcast to x's shape, optional
        What counts, or how much.
    reduction : "mean", "sum" or "none"
        Over all elements; the mean of none that counts is NaN.

    Returns
    -------
    scalar, or array of x's shape with ``reduction="none"``

    Raises
    ------
    ValueError
        If the shapes differ, a weight is negative, or there is no such reduction.
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
    return binary_cross_entropy_forward(x, target, from_logits=from_logits, mask=mask, reduction=reduction)[0]


def binary_cross_entropy_forward(
    x: ArrayLike,
    target: ArrayLike,
    *,
    from_logits: bool = False,
    mask: ArrayLike | None = None,
    reduction: str = "mean",
) -> tuple[Array, LossContext]:
    """Return what `binary_cross_entropy` returns, and the ctx that `binary_cross_entropy_backward` takes."""
    kind = "binary_cross_entropy_logits" if from_logits else "binary_cross_entropy"
    return forward("binary_cross_entropy", x, target, mask, reduction, kind)


def binary_cross_entropy_backward(dloss: ArrayLike, ctx: LossContext) -> Array:
    """Return dx: (p - t) / (p·(1 - p)), or p - t from logits, times dloss."""
    return backward("binary_cross_entropy", dloss, ctx)


def mean_squared_error(
    x: ArrayLike, target: ArrayLike, *, mask: ArrayLike | None = None, reduction: str = "mean"
) -> Array:
    """Return (x - t)².

    The shapes, the mask, the reductions and the errors are those of `binary_cross_entropy`.

    Examples
    --------
    >>> import numpy as np
    >>> import fastdl.functional as F
    >>> F.mean_squared_error(np.array([1.0, 4.0]), np.array([1.0, 2.0]))
    np.float64(2.0)
    """
    return mean_squared_error_forward(x, target, mask=mask, reduction=reduction)[0]


def mean_squared_error_forward(
    x: ArrayLike, target: ArrayLike, *, mask: ArrayLike | None = None, reduction: str = "mean"
) -> tuple[Array, LossContext]:
    """Return what `mean_squared_error` returns, and the ctx that `mean_squared_error_backward` takes."""
    return forward("mean_squared_error", x, target, mask, reduction)


def mean_squared_error_backward(dloss: ArrayLike, ctx: LossContext) -> Array:
    """Return dx = 2·(x - t), times dloss."""
    return backward("mean_squared_error", dloss, ctx)


def mean_absolute_error(
    x: ArrayLike, target: ArrayLike, *, mask: ArrayLike | None = None, reduction: str = "mean"
) -> Array:
    """Return |x - t|.

    The shapes, the mask, the reductions and the errors are those of `binary_cross_entropy`.

    Examples
    --------
    >>> import numpy as np
    >>> import fastdl.functional as F
    >>> F.mean_absolute_error(np.array([1.0, 4.0]), np.array([1.0, 2.0]))
    np.float64(1.0)
    """
    return mean_absolute_error_forward(x, target, mask=mask, reduction=reduction)[0]


def mean_absolute_error_forward(
    x: ArrayLike, target: ArrayLike, *, mask: ArrayLike | None = None, reduction: str = "mean"
) -> tuple[Array, LossContext]:
    """Return what `mean_absolute_error` returns, and the ctx that `mean_absolute_error_backward` takes."""
    return forward("mean_absolute_error", x, target, mask, reduction)


def mean_absolute_error_backward(dloss: ArrayLike, ctx: LossContext) -> Array:
    """Return dx = sign(x - t), which is 0 where they are equal, times dloss."""
    return backward("mean_absolute_error", dloss, ctx)


def huber(
    x: ArrayLike,
    target: ArrayLike,
    *,
    delta: float = 1.0,
    mask: ArrayLike | None = None,
    reduction: str = "mean",
) -> Array:
    """Return (x - t)² / 2 where |x - t| ≤ delta, else delta·(|x - t| - delta / 2).

    A squared error that outliers do not dominate. The errors are those of `binary_cross_entropy`.

    Parameters
    ----------
    x, target : arrays of floats of one shape
    delta : float
        Where the parabola turns into a line.
    mask : array of bool or floats, broadcast to x's shape, optional
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
    return huber_forward(x, target, delta=delta, mask=mask, reduction=reduction)[0]


def huber_forward(
    x: ArrayLike,
    target: ArrayLike,
    *,
    delta: float = 1.0,
    mask: ArrayLike | None = None,
    reduction: str = "mean",
) -> tuple[Array, LossContext]:
    """Return what `huber` returns, and the ctx that `huber_backward` takes."""
    return forward("huber", x, target, mask, reduction, param=number("huber", "delta", delta))


def huber_backward(dloss: ArrayLike, ctx: LossContext) -> Array:
    """Return dx = x - t, cut off at ±delta, times dloss."""
    return backward("huber", dloss, ctx)


def hinge(
    x: ArrayLike, target: ArrayLike, *, mask: ArrayLike | None = None, reduction: str = "mean"
) -> Array:
    """Return max(0, 1 - t·x), for targets t of -1 and 1.

    The shapes, the mask, the reductions and the errors are those of `binary_cross_entropy`.

    Examples
    --------
    >>> import numpy as np
    >>> import fastdl.functional as F
    >>> F.hinge(np.array([0.5, -2.0]), np.array([1.0, 1.0]), reduction="none")
    array([0.5, 3. ])
    """
    return hinge_forward(x, target, mask=mask, reduction=reduction)[0]


def hinge_forward(
    x: ArrayLike, target: ArrayLike, *, mask: ArrayLike | None = None, reduction: str = "mean"
) -> tuple[Array, LossContext]:
    """Return what `hinge` returns, and the ctx that `hinge_backward` takes."""
    return forward("hinge", x, target, mask, reduction)


def hinge_backward(dloss: ArrayLike, ctx: LossContext) -> Array:
    """Return dx = -t where t·x < 1, else 0, times dloss."""
    return backward("hinge", dloss, ctx)


def kl_divergence(
    x: ArrayLike, target: ArrayLike, *, mask: ArrayLike | None = None, reduction: str = "mean"
) -> Array:
    """Return t·log(t / x), for probabilities t and x held between 1e-7 and 1 as Keras does.

    Summed over the outcomes it is the divergence of x from t. The shapes, the mask, the reductions and the
    errors are those of `binary_cross_entropy`.

    Examples
    --------
    >>> import numpy as np
    >>> import fastdl.functional as F
    >>> t, x = np.array([0.5, 0.5]), np.array([0.25, 0.75])
    >>> F.kl_divergence(x, t, reduction="sum").round(4)
    np.float64(0.1438)
    """
    return kl_divergence_forward(x, target, mask=mask, reduction=reduction)[0]


def kl_divergence_forward(
    x: ArrayLike, target: ArrayLike, *, mask: ArrayLike | None = None, reduction: str = "mean"
) -> tuple[Array, LossContext]:
    """Return what `kl_divergence` returns, and the ctx that `kl_divergence_backward` takes."""
    return forward("kl_divergence", x, target, mask, reduction)


def kl_divergence_backward(dloss: ArrayLike, ctx: LossContext) -> Array:
    """Return dx = -t / x, and 0 where x was held, times dloss."""
    return backward("kl_divergence", dloss, ctx)


def log_cosh(
    x: ArrayLike, target: ArrayLike, *, mask: ArrayLike | None = None, reduction: str = "mean"
) -> Array:
    """Return log(cosh(x - t)): about (x - t)² / 2 near 0, and |x - t| - log 2 far from it.

    The shapes, the mask, the reductions and the errors are those of `binary_cross_entropy`.

    Examples
    --------
    >>> import numpy as np
    >>> import fastdl.functional as F
    >>> F.log_cosh(np.array([1.0, 100.0]), np.zeros(2), reduction="none").round(3)
    array([ 0.434, 99.307])
    """
    return log_cosh_forward(x, target, mask=mask, reduction=reduction)[0]


def log_cosh_forward(
    x: ArrayLike, target: ArrayLike, *, mask: ArrayLike | None = None, reduction: str = "mean"
) -> tuple[Array, LossContext]:
    """Return what `log_cosh` returns, and the ctx that `log_cosh_backward` takes."""
    return forward("log_cosh", x, target, mask, reduction)


def log_cosh_backward(dloss: ArrayLike, ctx: LossContext) -> Array:
    """Return dx = tanh(x - t), times dloss."""
    return backward("log_cosh", dloss, ctx)


def squared_hinge(
    x: ArrayLike, target: ArrayLike, *, mask: ArrayLike | None = None, reduction: str = "mean"
) -> Array:
    """Return max(0, 1 - t·x)², for targets t of -1 and 1.

    The shapes, the mask, the reductions and the errors are those of `binary_cross_entropy`.

    Examples
    --------
    >>> import numpy as np
    >>> import fastdl.functional as F
    >>> F.squared_hinge(np.array([0.5, -2.0]), np.array([1.0, 1.0]), reduction="none")
    array([0.25, 9.  ])
    """
    return squared_hinge_forward(x, target, mask=mask, reduction=reduction)[0]


def squared_hinge_forward(
    x: ArrayLike, target: ArrayLike, *, mask: ArrayLike | None = None, reduction: str = "mean"
) -> tuple[Array, LossContext]:
    """Return what `squared_hinge` returns, and the ctx that `squared_hinge_backward` takes."""
    return forward("squared_hinge", x, target, mask, reduction)


def squared_hinge_backward(dloss: ArrayLike, ctx: LossContext) -> Array:
    """Return dx = -2·t·max(0, 1 - t·x), times dloss."""
    return backward("squared_hinge", dloss, ctx)


def poisson(
    x: ArrayLike, target: ArrayLike, *, mask: ArrayLike | None = None, reduction: str = "mean"
) -> Array:
    """Return x - t·log(x + 1e-7), for counts t and the means x > 0 that are predicted for them.

    Up to a constant it is -log of the probability of t. The shapes, the mask, the reductions and the errors
    are those of `binary_cross_entropy`.

    Examples
    --------
    >>> import numpy as np
    >>> import fastdl.functional as F
    >>> F.poisson(np.array([2.0, 3.0]), np.array([3.0, 3.0]), reduction="none").round(3)
    array([-0.079, -0.296])
    """
    return poisson_forward(x, target, mask=mask, reduction=reduction)[0]


def poisson_forward(
    x: ArrayLike, target: ArrayLike, *, mask: ArrayLike | None = None, reduction: str = "mean"
) -> tuple[Array, LossContext]:
    """Return what `poisson` returns, and the ctx that `poisson_backward` takes."""
    return forward("poisson", x, target, mask, reduction)


def poisson_backward(dloss: ArrayLike, ctx: LossContext) -> Array:
    """Return dx = 1 - t / (x + 1e-7), times dloss."""
    return backward("poisson", dloss, ctx)
