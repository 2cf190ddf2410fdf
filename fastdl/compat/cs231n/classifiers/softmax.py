"""The cross-entropy of a linear classifier."""

from __future__ import annotations

from typing import Any

from ..arrays import Array
from .linear import entropies_and_gradient, regularised

__all__ = ["softmax_loss_naive", "softmax_loss_vectorized"]


def softmax_loss_naive(W: Any, X: Any, y: Any, reg: Any) -> tuple[Any, Array]:
    """Return the mean of -log softmax(X·W)[y] plus reg · ΣW², and the gradient of W.

    Parameters
    ----------
    W : (D, C) array
    X : (N, D) array
    y : (N,) array of integers
        The class of each row.
    reg : float
    """
    return regularised(W, X, y, reg, entropies_and_gradient)


softmax_loss_vectorized = softmax_loss_naive
