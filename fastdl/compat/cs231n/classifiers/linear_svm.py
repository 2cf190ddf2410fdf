"""The hinge loss of a linear classifier."""

from __future__ import annotations

from typing import Any

from ..arrays import Array
from .linear import hinges_and_gradient, regularised

__all__ = ["svm_loss_naive", "svm_loss_vectorized"]


def svm_loss_naive(W: Any, X: Any, y: Any, reg: Any) -> tuple[Any, Array]:
    """Return the mean of Σ max(0, X·W[j] - X·W[y] + 1) plus reg · ΣW², and the gradient of W.

    Parameters
    ----------
    W : (D, C) array
    X : (N, D) array
    y : (N,) array of integers
        The class of each row.
    reg : float
    """
    return regularised(W, X, y, reg, hinges_and_gradient)


svm_loss_vectorized = svm_loss_naive
