"""Functions of one number, applied to every element of an array of any shape.

All of them pass NaN on. Those whose derivative is a function of y save y and not x, so that x may go.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..backends import Ops
from ..checks import number
from ..shapes import ACTIVATIONS
from ._arrays import Array, check_ctx, engine, gradient, one_float, restored

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

__all__ = [
    "elu",
    "elu_backward",
    "elu_forward",
    "gelu",
    "gelu_backward",
    "gelu_forward",
    "leaky_relu",
    "leaky_relu_backward",
    "leaky_relu_forward",
    "relu",
    "relu_backward",
    "relu_forward",
    "selu",
    "selu_backward",
    "selu_forward",
    "sigmoid",
    "sigmoid_backward",
    "sigmoid_forward",
    "silu",
    "silu_backward",
    "silu_forward",
    "softplus",
    "softplus_backward",
    "softplus_forward",
    "tanh",
    "tanh_backward",
    "tanh_forward",
]


@dataclass(slots=True)
class ActivationContext:
    """What the derivative of an activation needs: its y or its x, not a copy of it."""

    op: str
    ops: Ops
    dtype: np.dtype[Any]
    kind: str
    alpha: float
    saved: Array


def relu(x: ArrayLike) -> Array:
    """Return max(x, 0), and NaN where x is NaN.

    Parameters
    ----------
    x : array of floats, of any shape

    Returns
    -------
    array of x's shape and dtype

    Raises
    ------
    TypeError
        If x does not hold floats.

    Examples
    --------
    >>> import numpy as np
    >>> import fastdl.functional as F
    >>> F.relu(np.array([-1.0, 0.0, 2.0]))
    array([0., 0., 2.])
    """
    return _output("relu", x, "relu")


def relu_forward(x: ArrayLike) -> tuple[Array, ActivationContext]:
    """Return what `relu` returns, and the ctx that `relu_backward` takes."""
    return _output_and_ctx("relu", x, "relu")


def relu_backward(dy: ArrayLike, ctx: ActivationContext) -> Array:
    """Return dx = dy where x > 0, else 0."""
    return _gradient("relu", dy, ctx)


def leaky_relu(x: ArrayLike, alpha: float = 0.2) -> Array:
    """Return x where x > 0, else alpha·x.

    Parameters
    ----------
    x : array of floats, of any shape
    alpha : float
        The slope on the negative side, at least 0. The default is Keras's; PyTorch's is 0.01.

    References
    ----------
    Maas, Hannun and Ng, "Rectifier Nonlinearities Improve Neural Network Acoustic Models", 2013.

    Examples
    --------
    >>> import numpy as np
    >>> import fastdl.functional as F
    >>> F.leaky_relu(np.array([-1.0, 2.0]), alpha=0.5)
    array([-0.5,  2. ])
    """
    return _output("leaky_relu", x, "leaky_relu", alpha)


def leaky_relu_forward(x: ArrayLike, alpha: float = 0.2) -> tuple[Array, ActivationContext]:
    """Return what `leaky_relu` returns, and the ctx that `leaky_relu_backward` takes."""
    return _output_and_ctx("leaky_relu", x, "leaky_relu", alpha)


def leaky_relu_backward(dy: ArrayLike, ctx: ActivationContext) -> Array:
    """Return dx = dy where x > 0, else alpha·dy."""
    return _gradient("leaky_relu", dy, ctx)


def elu(x: ArrayLike, alpha: float = 1.0) -> Array:
    """Return x where x > 0, else alpha·(exp(x) - 1).

    Parameters
    ----------
    x : array of floats, of any shape
    alpha : float
        The value that y tends to on the negative side, with the sign turned; at least 0.

    References
    ----------
    Clevert, Unterthiner and Hochreiter, "Fast and Accurate Deep Network Learning by Exponential Linear
    Units", 2015.

    Examples
    --------
    >>> import numpy as np
    >>> import fastdl.functional as F
    >>> F.elu(np.array([-np.inf, 2.0]))
    array([-1.,  2.])
    """
    return _output("elu", x, "elu", alpha)


def elu_forward(x: ArrayLike, alpha: float = 1.0) -> tuple[Array, ActivationContext]:
    """Return what `elu` returns, and the ctx that `elu_backward` takes."""
    return _output_and_ctx("elu", x, "elu", alpha)


def elu_backward(dy: ArrayLike, ctx: ActivationContext) -> Array:
    """Return dx = dy where x > 0, else dy·(y + alpha)."""
    return _gradient("elu", dy, ctx)


def selu(x: ArrayLike) -> Array:
    """Return λ·x where x > 0, else λ·α·(exp(x) - 1), with λ = 1.0507... and α = 1.6732...

    With these two constants a normalised input stays normalised from layer to layer.

    References
    ----------
    Klambauer, Unterthiner, Mayr and Hochreiter, "Self-Normalizing Neural Networks", 2017.

    Examples
    --------
    >>> import numpy as np
    >>> import fastdl.functional as F
    >>> F.selu(np.array([-1.0, 1.0])).round(4)
    array([-1.1113,  1.0507])
    """
    return _output("selu", x, "selu")


def selu_forward(x: ArrayLike) -> tuple[Array, ActivationContext]:
    """Return what `selu` returns, and the ctx that `selu_backward` takes."""
    return _output_and_ctx("selu", x, "selu")


def selu_backward(dy: ArrayLike, ctx: ActivationContext) -> Array:
    """Return dx = dy·λ where x > 0, else dy·(y + λ·α)."""
    return _gradient("selu", dy, ctx)


def sigmoid(x: ArrayLike) -> Array:
    """Return 1 / (1 + exp(-x)), without overflow.

    Examples
    --------
    >>> import numpy as np
    >>> import fastdl.functional as F
    >>> F.sigmoid(np.array([-1000.0, 0.0, 1000.0]))
    array([0. , 0.5, 1. ])
    """
    return _output("sigmoid", x, "sigmoid")


def sigmoid_forward(x: ArrayLike) -> tuple[Array, ActivationContext]:
    """Return what `sigmoid` returns, and the ctx that `sigmoid_backward` takes."""
    return _output_and_ctx("sigmoid", x, "sigmoid")


def sigmoid_backward(dy: ArrayLike, ctx: ActivationContext) -> Array:
    """Return dx = dy·y·(1 - y)."""
    return _gradient("sigmoid", dy, ctx)


def tanh(x: ArrayLike) -> Array:
    """Return the hyperbolic tangent of x.

    Examples
    --------
    >>> import numpy as np
    >>> import fastdl.functional as F
    >>> F.tanh(np.array([0.0, 1000.0]))
    array([0., 1.])
    """
    return _output("tanh", x, "tanh")


def tanh_forward(x: ArrayLike) -> tuple[Array, ActivationContext]:
    """Return what `tanh` returns, and the ctx that `tanh_backward` takes."""
    return _output_and_ctx("tanh", x, "tanh")


def tanh_backward(dy: ArrayLike, ctx: ActivationContext) -> Array:
    """Return dx = dy·(1 - y²)."""
    return _gradient("tanh", dy, ctx)


def softplus(x: ArrayLike) -> Array:
    """Return log(1 + exp(x)), without overflow: a smooth relu.

    Examples
    --------
    >>> import numpy as np
    >>> import fastdl.functional as F
    >>> F.softplus(np.array([0.0, 1000.0])).round(3)
    array([6.93e-01, 1.00e+03])
    """
    return _output("softplus", x, "softplus")


def softplus_forward(x: ArrayLike) -> tuple[Array, ActivationContext]:
    """Return what `softplus` returns, and the ctx that `softplus_backward` takes."""
    return _output_and_ctx("softplus", x, "softplus")


def softplus_backward(dy: ArrayLike, ctx: ActivationContext) -> Array:
    """Return dx = dy·sigmoid(x) = dy·(1 - exp(-y))."""
    return _gradient("softplus", dy, ctx)


def gelu(x: ArrayLike, approximate: bool = False) -> Array:
    """Return x·Φ(x), where Φ is the distribution function of the standard normal.

    Parameters
    ----------
    x : array of floats, of any shape
    approximate : bool
        Replace Φ(x) by (1 + tanh(√(2/π)·(x + 0.044715·x³))) / 2, as GPT-2 does.

    References
    ----------
    Hendrycks and Gimpel, "Gaussian Error Linear Units", 2016.

    Examples
    --------
    >>> import numpy as np
    >>> import fastdl.functional as F
    >>> F.gelu(np.array([-1.0, 0.0, 1.0])).round(4)
    array([-0.1587,  0.    ,  0.8413])
    """
    return _output("gelu", x, "gelu_tanh" if approximate else "gelu")


def gelu_forward(x: ArrayLike, approximate: bool = False) -> tuple[Array, ActivationContext]:
    """Return what `gelu` returns, and the ctx that `gelu_backward` takes."""
    return _output_and_ctx("gelu", x, "gelu_tanh" if approximate else "gelu")


def gelu_backward(dy: ArrayLike, ctx: ActivationContext) -> Array:
    """Return dx = dy·(Φ(x) + x·φ(x)), where φ is the density of the standard normal."""
    return _gradient("gelu", dy, ctx)


def silu(x: ArrayLike) -> Array:
    """Return x·sigmoid(x), also called swish.

    References
    ----------
    Elfwing, Uchibe and Doya, "Sigmoid-Weighted Linear Units for Neural Network Function Approximation
    in Reinforcement Learning", 2017.

    Examples
    --------
    >>> import numpy as np
    >>> import fastdl.functional as F
    >>> F.silu(np.array([-1.0, 0.0, 1.0])).round(4)
    array([-0.2689,  0.    ,  0.7311])
    """
    return _output("silu", x, "silu")


def silu_forward(x: ArrayLike) -> tuple[Array, ActivationContext]:
    """Return what `silu` returns, and the ctx that `silu_backward` takes."""
    return _output_and_ctx("silu", x, "silu")


def silu_backward(dy: ArrayLike, ctx: ActivationContext) -> Array:
    """Return dx = dy·σ·(1 + x·(1 - σ)), where σ = sigmoid(x)."""
    return _gradient("silu", dy, ctx)


def _output(op: str, x: ArrayLike, kind: str, alpha: float = 0.0) -> Array:
    x, dtype = one_float(op, x)
    return restored(engine().act_fwd(x, kind, number(op, "alpha", alpha)), dtype)


def _output_and_ctx(op: str, x: ArrayLike, kind: str, alpha: float = 0.0) -> tuple[Array, ActivationContext]:
    x, dtype = one_float(op, x)
    alpha = number(op, "alpha", alpha)
    ops = engine()
    y = ops.act_fwd(x, kind, alpha)
    saved = x if ACTIVATIONS[kind] == "x" else y
    return restored(y, dtype), ActivationContext(op, ops, dtype, kind, alpha, saved)


def _gradient(op: str, dy: ArrayLike, ctx: ActivationContext) -> Array:
    check_ctx(op, ctx)
    dy = gradient(op, dy, ctx.saved.shape, ctx.dtype)
    return restored(ctx.ops.act_bwd(dy, ctx.saved, ctx.kind, ctx.alpha), ctx.dtype)
