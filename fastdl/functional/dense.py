"""The dense layer's product: every input feature times every output's weight."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from ..checks import ActivationLike
from ..shapes import LinearPlan, linear_plan
from ._affine import (
    ALL_ARGUMENTS,
    ARGUMENTS,
    AffineCall,
    AffineContext,
    Gradients,
    activation_of,
    check_scale,
    gradient_of_sum,
    output_and_ctx,
    weight_gradient,
)
from ._arrays import Array, canonical, engine, floats, restored, shaped

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike

__all__ = [
    "linear",
    "linear_backward",
    "linear_forward",
]


def linear(
    x: ArrayLike,
    w: ArrayLike,
    b: ArrayLike | None = None,
    *,
    activation: ActivationLike = None,
    scale: ArrayLike | None = None,
) -> Array:
    """Return y = activation(scale · (x·w) + b).

    Parameters
    ----------
    x : (..., I) array of floats
        Inputs, with any number of leading axes.
    w : (I, O) array of floats
        Weights, as Keras has them; a PyTorch weight is the transpose.
    b : (O,) array of floats, optional
        Bias.
    activation : str or (str, float), optional
        Applied to the sum in the same pass: "relu", "leaky_relu", "elu", "selu", "sigmoid", "tanh",
        "softplus", "gelu", "gelu_tanh" or "silu". The alpha of "leaky_relu" and "elu" is Keras's, 0.2 and 1,
        unless it is given with the name: ``("leaky_relu", 0.1)``.
    scale : (O,) array of floats, optional
        Multiplies each output before b is added: with it, a batch normalisation whose statistics are known
        is part of the product. `linear_forward` has none.

    Returns
    -------
    (..., O) array
        float32 from float32, float64 from float64; float16 is computed in float32.

    Raises
    ------
    ValueError
        If the shapes do not fit or there is no such activation.
    TypeError
        If an argument does not hold floats.

    Examples
    --------
    >>> import numpy as np
    >>> import fastdl.functional as F
    >>> F.linear(np.array([[1.0, 2.0]]), np.array([[1.0, 0.0, -1.0], [0.0, 1.0, -1.0]]), activation="relu")
    array([[1., 2., 0.]])
    """
    kind, alpha = activation_of("linear", activation)
    x, w, b, scale, plan, dtype = _checked(x, w, b, scale)
    y = engine().gemm(x, w, b, kind, alpha, scale=scale)
    return restored(shaped(y, plan.y_shape), dtype)


def linear_forward(
    x: ArrayLike, w: ArrayLike, b: ArrayLike | None = None, *, activation: ActivationLike = None
) -> tuple[Array, AffineContext]:
    """Return what `linear` returns, and the ctx that `linear_backward` takes.

    The ctx holds x, w and y themselves: they must not be written to before the backward.
    """
    kind, alpha = activation_of("linear", activation)
    x, w, b, _, plan, dtype = _checked(x, w, b, None)
    ops = engine()
    call = AffineCall("linear", ops, plan, dtype, plan.y_shape, x, w, b, kind, alpha)
    return output_and_ctx(call, partial(ops.gemm, x, w, b))


def linear_backward(
    dy: ArrayLike, ctx: AffineContext, needs: tuple[str, ...] = ARGUMENTS, *, dw_out: Array | None = None
) -> Gradients:
    """Return the gradients (dx, dw, db), with dz = dy · activation'.

    dx = dz·wᵀ, dw = xᵀ·dz, db = Σ dz over the rows.

    Parameters
    ----------
    dy : (..., O) array of floats
        Gradient with respect to y.
    ctx : AffineContext
        From `linear_forward`; it may be used any number of times.
    needs : tuple of str
        The gradients that are wanted, out of "x", "w", "b"; the others are None.
    dw_out : (I, O) array of floats, optional
        Where dw is written, and then returned: C-contiguous, and of the dtype of x and w.

    Examples
    --------
    >>> import numpy as np
    >>> import fastdl.functional as F
    >>> y, ctx = F.linear_forward(np.array([[1.0, 2.0]]), np.array([[3.0], [4.0]]))
    >>> F.linear_backward(np.array([[1.0]]), ctx, needs=("x", "w"))
    (array([[3., 4.]]), array([[1.],
           [2.]]), None)
    """
    dz = gradient_of_sum("linear", dy, ctx, needs)
    call, plan = ctx.call, ctx.call.plan
    dz = shaped(dz, (plan.rows, plan.out_features))
    dx = dw = db = None
    if "x" in needs:
        dx = restored(shaped(call.ops.gemm(dz, call.w, trans_b=True), plan.x_shape), call.dtype)
    if "w" in needs:
        dw = weight_gradient(call, dw_out, call.ops.gemm, call.x, dz, trans_a=True)
    if "b" in needs and call.b is not None:
        db = restored(call.ops.bias_grad(dz, plan.rows, plan.out_features, 1), call.dtype)
    return dx, dw, db


def _checked(
    x: Any, w: Any, b: Any, scale: Any
) -> tuple[Array, Array, Array | None, Array | None, LinearPlan, np.dtype[Any]]:
    """Return x as a matrix, w, b and scale, all canonical, the plan, and the dtype of the result."""
    (x, w, b, scale), dtype, ready = floats("linear", ALL_ARGUMENTS, x, w, b, scale)
    plan = linear_plan("linear", x.shape, w.shape, None if b is None else b.shape)
    if scale is not None:
        check_scale("linear", scale, plan.out_features)
    if not ready:
        x, w, b, scale = canonical((x, w, b, scale), dtype)
    if x.ndim != 2:
        x = x.reshape(plan.rows, plan.in_features)
    return x, w, b, scale, plan, dtype
