"""Dropout: a random part of the elements is set to 0."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..backends import Ops
from ..checks import number
from ._arrays import Array, check_ctx, engine, gradient, one_float, restored

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

__all__ = [
    "dropout",
    "dropout_backward",
    "dropout_forward",
]


@dataclass(slots=True)
class DropoutContext:
    """What `dropout_backward` needs: which elements were kept."""

    op: str
    ops: Ops
    dtype: np.dtype[Any]
    rate: float
    mask: Array


def dropout(x: ArrayLike, rate: float, *, rng: np.random.Generator) -> Array:
    """Return x with each element set to 0 with probability `rate`, the others divided by 1 - rate.

    Because of the division the expected value is x, and inference needs no dropout at all.

    Parameters
    ----------
    x : array of floats, of any shape
    rate : float
        Probability of 0, in [0, 1).
    rng : numpy.random.Generator
        Where the randomness comes from; the same state gives the same result on every engine.

    Raises
    ------
    ValueError
        If rate is not in [0, 1).
    TypeError
        If x does not hold floats or rng is not a Generator.

    References
    ----------
    Srivastava and others, "Dropout: A Simple Way to Prevent Neural Networks from Overfitting", 2014.

    Examples
    --------
    >>> import numpy as np
    >>> import fastdl.functional as F
    >>> F.dropout(np.ones(6), 0.5, rng=np.random.default_rng(0))
    array([2., 2., 2., 0., 0., 0.])
    """
    return dropout_forward(x, rate, rng=rng)[0]


def dropout_forward(x: ArrayLike, rate: float, *, rng: np.random.Generator) -> tuple[Array, DropoutContext]:
    """Return what `dropout` returns, and the ctx that `dropout_backward` takes."""
    x, dtype = one_float("dropout", x)
    rate = number("dropout", "rate", rate, below=1.0)
    if not isinstance(rng, np.random.Generator):
        raise TypeError(f"dropout: rng must be a numpy.random.Generator; got {rng!r}")
    noise = np.asarray(rng.random(x.shape, dtype=np.float32))
    ops = engine()
    y, mask = ops.dropout_fwd(x, noise, rate)
    return restored(y, dtype), DropoutContext("dropout", ops, dtype, rate, mask)


def dropout_backward(dy: ArrayLike, ctx: DropoutContext) -> Array:
    """Return dx = dy / (1 - rate) where x was kept, else 0."""
    check_ctx("dropout", ctx)
    dy = gradient("dropout", dy, ctx.mask.shape, ctx.dtype)
    return restored(ctx.ops.dropout_bwd(dy, ctx.mask, ctx.rate), ctx.dtype)
