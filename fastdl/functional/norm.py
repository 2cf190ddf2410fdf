"""Normalisation: shift and scale so that a set of values has mean 0 and variance 1, then gamma and beta.

The four differ in what a set is: a channel of the whole batch, the features of one row, a channel of one
sample, or some channels of one sample. The variance is biased throughout, the mean of squares. gamma and
beta may be None, for no scaling and no shift.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..checks import ActivationLike, Ints
from ..shapes_norm import batch_norm_plan, group_norm_plan, layer_norm_plan, normalised_axes
from ._affine import activation_of
from ._arrays import Array, canonical, floats
from ._norm import ARGUMENTS, Gradients, NormContext, gradients_of_norm, normalised, shape_of

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

__all__ = [
    "batch_norm",
    "batch_norm_backward",
    "batch_norm_forward",
    "group_norm",
    "group_norm_backward",
    "group_norm_forward",
    "instance_norm",
    "instance_norm_backward",
    "instance_norm_forward",
    "layer_norm",
    "layer_norm_backward",
    "layer_norm_forward",
]


def batch_norm(
    x: ArrayLike,
    gamma: ArrayLike | None,
    beta: ArrayLike | None,
    running_mean: ArrayLike | None,
    running_var: ArrayLike | None,
    *,
    training: bool,
    eps: float = 1e-5,
    axis: int = 1,
    activation: ActivationLike = None,
) -> Array:
    """Return y = activation((x - mean) / sqrt(var + eps) · gamma + beta), with one mean a channel.

    Parameters
    ----------
    x : array of floats, with C channels on `axis`
    gamma, beta : (C,) array of floats, or None
    running_mean, running_var : (C,) array of floats
        Used when not `training`, and never changed. In training the batch's own are used, which the ctx
        of `batch_norm_forward` holds, and these may be None.
    training : bool
    eps : float
    axis : int
        Where the channels are.
    activation : str or (str, float), optional
        Applied in the same pass, as in `linear`.

    Returns
    -------
    array of x's shape
        float32 from float32, float64 from float64; float16 is computed in float32.

    Raises
    ------
    ValueError
        If a shape does not fit, or in training a channel has one value alone.
    TypeError
        If an argument does not hold floats.

    References
    ----------
    Ioffe and Szegedy, "Batch Normalization", 2015.

    Examples
    --------
    >>> import numpy as np
    >>> import fastdl.functional as F
    >>> x = np.array([[1.0, 10.0], [3.0, 30.0]])
    >>> F.batch_norm(x, None, None, None, None, training=True, eps=0.0)
    array([[-1., -1.],
           [ 1.,  1.]])
    >>> F.batch_norm(x, None, np.ones(2), np.zeros(2), np.ones(2), training=False, eps=0.0)
    array([[ 2., 11.],
           [ 4., 31.]])
    """
    running = (running_mean, running_var)
    return _batch_norm(x, gamma, beta, *running, training, eps, axis, activation, keep=False)[0]


def batch_norm_forward(
    x: ArrayLike,
    gamma: ArrayLike | None,
    beta: ArrayLike | None,
    running_mean: ArrayLike | None,
    running_var: ArrayLike | None,
    *,
    training: bool,
    eps: float = 1e-5,
    axis: int = 1,
    activation: ActivationLike = None,
) -> tuple[Array, NormContext]:
    """Return what `batch_norm` returns, and the ctx that `batch_norm_backward` takes.

    In training ``ctx.mean`` and ``ctx.var``, both (C,), are the statistics of the batch, var the biased one.
    """
    running = (running_mean, running_var)
    return _batch_norm(x, gamma, beta, *running, training, eps, axis, activation, keep=True)


def batch_norm_backward(dy: ArrayLike, ctx: NormContext, needs: tuple[str, ...] = ARGUMENTS) -> Gradients:
    """Return the gradients (dx, dgamma, dbeta); those not in `needs`, and of what was None, are None.

    With dz = dy · activation', x̂ = (x - mean) · s, s = 1 / sqrt(var + eps) and sums over a channel:
    dgamma = Σ dz·x̂, dbeta = Σ dz; in training dx = s · gamma · (dz - dbeta / n - x̂ · dgamma / n), n being the
    number of values of a channel, and else dx = s · gamma · dz.

    Parameters
    ----------
    dy : array of floats, of y's shape
    ctx : NormContext
        From `batch_norm_forward`; it may be used any number of times.
    needs : tuple of str
        The gradients that are wanted, out of "x", "gamma", "beta".

    Examples
    --------
    >>> import numpy as np
    >>> import fastdl.functional as F
    >>> x = np.array([[1.0], [3.0]])
    >>> y, ctx = F.batch_norm_forward(x, np.ones(1), np.zeros(1), None, None, training=True, eps=0.0)
    >>> ctx.mean, ctx.var
    (array([2.]), array([1.]))
    >>> F.batch_norm_backward(np.array([[1.0], [2.0]]), ctx, needs=("gamma", "beta"))
    (None, array([1.]), array([3.]))
    """
    return gradients_of_norm("batch_norm", dy, ctx, needs)


def layer_norm(
    x: ArrayLike, gamma: ArrayLike | None, beta: ArrayLike | None, *, axis: Ints = -1, eps: float = 1e-5
) -> Array:
    """Return y = (x - mean) / sqrt(var + eps) · gamma + beta, each row having a mean of its own.

    Parameters
    ----------
    x : array of floats
    gamma, beta : array of floats, or None
        Of the shape that x has along `axis`.
    axis : int or tuple of int
        What is one row: usually the last axis, or several trailing ones.
    eps : float

    Returns
    -------
    array of x's shape

    Raises
    ------
    ValueError
        If x has no such axis, or a shape does not fit.
    TypeError
        If an argument does not hold floats.

    References
    ----------
    Ba, Kiros and Hinton, "Layer Normalization", 2016.

    Examples
    --------
    >>> import numpy as np
    >>> import fastdl.functional as F
    >>> F.layer_norm(np.array([[1.0, 3.0], [10.0, 30.0]]), np.array([1.0, 2.0]), None, eps=0.0)
    array([[-1.,  2.],
           [-1.,  2.]])
    """
    return _layer_norm(x, gamma, beta, axis, eps, keep=False)[0]


def layer_norm_forward(
    x: ArrayLike, gamma: ArrayLike | None, beta: ArrayLike | None, *, axis: Ints = -1, eps: float = 1e-5
) -> tuple[Array, NormContext]:
    """Return what `layer_norm` returns, and the ctx that `layer_norm_backward` takes."""
    return _layer_norm(x, gamma, beta, axis, eps, keep=True)


def layer_norm_backward(dy: ArrayLike, ctx: NormContext, needs: tuple[str, ...] = ARGUMENTS) -> Gradients:
    """Return the gradients (dx, dgamma, dbeta); those not in `needs`, and of what was None, are None.

    dgamma = Σ dy·x̂ and dbeta = Σ dy over the rows; dx = s · (g - mean(g) - x̂ · mean(g·x̂)) with g = gamma·dy,
    means over a row, and x̂ and s as in `batch_norm_backward`.
    """
    return gradients_of_norm("layer_norm", dy, ctx, needs)


def instance_norm(
    x: ArrayLike, gamma: ArrayLike | None, beta: ArrayLike | None, *, eps: float = 1e-5, layout: str = "NCHW"
) -> Array:
    """Return y = (x - mean) / sqrt(var + eps) · gamma + beta, with one mean a sample and channel.

    Parameters
    ----------
    x : (N, C, ...) array of floats, or (N, ..., C) with ``layout="NHWC"``
    gamma, beta : (C,) array of floats, or None
    eps : float
    layout : "NCHW" or "NHWC"
        Where the channels are.

    Returns
    -------
    array of x's shape

    Raises
    ------
    ValueError
        If a shape does not fit.
    TypeError
        If an argument does not hold floats.

    References
    ----------
    Ulyanov, Vedaldi and Lempitsky, "Instance Normalization", 2016.

    Examples
    --------
    >>> import numpy as np
    >>> import fastdl.functional as F
    >>> F.instance_norm(np.array([[[1.0, 3.0], [10.0, 30.0]]]), None, None, eps=0.0)
    array([[[-1.,  1.],
            [-1.,  1.]]])
    """
    return _group_norm("instance_norm", x, gamma, beta, None, eps, layout, keep=False)[0]


def instance_norm_forward(
    x: ArrayLike, gamma: ArrayLike | None, beta: ArrayLike | None, *, eps: float = 1e-5, layout: str = "NCHW"
) -> tuple[Array, NormContext]:
    """Return what `instance_norm` returns, and the ctx that `instance_norm_backward` takes."""
    return _group_norm("instance_norm", x, gamma, beta, None, eps, layout, keep=True)


def instance_norm_backward(dy: ArrayLike, ctx: NormContext, needs: tuple[str, ...] = ARGUMENTS) -> Gradients:
    """Return (dx, dgamma, dbeta) as `layer_norm_backward` does, means being over a sample's channel."""
    return gradients_of_norm("instance_norm", dy, ctx, needs)


def group_norm(
    x: ArrayLike,
    gamma: ArrayLike | None,
    beta: ArrayLike | None,
    groups: int,
    *,
    eps: float = 1e-5,
    layout: str = "NCHW",
) -> Array:
    """Return y = (x - mean) / sqrt(var + eps) · gamma + beta, with one mean a sample and group of channels.

    Parameters
    ----------
    x, gamma, beta, eps, layout
        As in `instance_norm`.
    groups : int
        Into how many groups of neighbours the channels are divided.

    Returns
    -------
    array of x's shape

    Raises
    ------
    ValueError
        If a shape does not fit, or groups does not divide the channels.
    TypeError
        If an argument does not hold floats.

    References
    ----------
    Wu and He, "Group Normalization", 2018.

    Examples
    --------
    >>> import numpy as np
    >>> import fastdl.functional as F
    >>> F.group_norm(np.array([[1.0, 3.0, 10.0, 30.0]]), None, None, 2, eps=0.0)
    array([[-1.,  1., -1.,  1.]])
    """
    return _group_norm("group_norm", x, gamma, beta, groups, eps, layout, keep=False)[0]


def group_norm_forward(
    x: ArrayLike,
    gamma: ArrayLike | None,
    beta: ArrayLike | None,
    groups: int,
    *,
    eps: float = 1e-5,
    layout: str = "NCHW",
) -> tuple[Array, NormContext]:
    """Return what `group_norm` returns, and the ctx that `group_norm_backward` takes."""
    return _group_norm("group_norm", x, gamma, beta, groups, eps, layout, keep=True)


def group_norm_backward(dy: ArrayLike, ctx: NormContext, needs: tuple[str, ...] = ARGUMENTS) -> Gradients:
    """Return (dx, dgamma, dbeta) as `layer_norm_backward` does, means being over a sample's group."""
    return gradients_of_norm("group_norm", dy, ctx, needs)


def _batch_norm(
    x: Any,
    gamma: Any,
    beta: Any,
    mean: Any,
    var: Any,
    training: bool,
    eps: float,
    axis: int,
    activation: ActivationLike,
    keep: bool,
) -> tuple[Array, Any]:
    op = "batch_norm"
    kind, alpha = activation_of(op, activation)
    if training:
        arrays, dtype, ready = floats(op, "x (gamma) (beta)", x, gamma, beta)
        arrays = (*arrays, None, None)
    else:
        names = "x (gamma) (beta) (running_mean) (running_var)"
        arrays, dtype, ready = floats(op, names, x, gamma, beta, mean, var)
    plan = batch_norm_plan(op, *map(shape_of, arrays), bool(training), eps, axis)
    if not ready:
        arrays = canonical(arrays, dtype)
    return normalised(op, plan, dtype, arrays, (), kind, alpha, keep=keep)


def _layer_norm(x: Any, gamma: Any, beta: Any, axis: Ints, eps: float, keep: bool) -> tuple[Array, Any]:
    op = "layer_norm"
    (x, gamma, beta), dtype, ready = floats(op, "x (gamma) (beta)", x, gamma, beta)
    axes = normalised_axes(op, axis, x.shape)
    moved: tuple[int, ...] = () if axes[0] == x.ndim - len(axes) else axes
    if moved:
        x, ready = np.moveaxis(x, moved, range(-len(axes), 0)), False
    plan = layer_norm_plan(op, x.shape, shape_of(gamma), shape_of(beta), len(axes), eps)
    arrays = (x, gamma, beta, None, None)
    return normalised(op, plan, dtype, arrays if ready else canonical(arrays, dtype), moved, keep=keep)


def _group_norm(
    op: str, x: Any, gamma: Any, beta: Any, groups: int | None, eps: float, layout: str, keep: bool
) -> tuple[Array, Any]:
    (x, gamma, beta), dtype, ready = floats(op, "x (gamma) (beta)", x, gamma, beta)
    arrays = (x, gamma, beta, None, None)
    plan = group_norm_plan(op, x.shape, shape_of(gamma), shape_of(beta), groups, eps, layout)
    return normalised(op, plan, dtype, arrays if ready else canonical(arrays, dtype), keep=keep)
