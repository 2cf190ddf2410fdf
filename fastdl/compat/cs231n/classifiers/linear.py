"""What the losses of linear classifiers share: one product there, one back, and the regularisation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ....functional._arrays import engine
from ...products import gemm
from ..arrays import Array, answer, floats, labels

__all__ = ["entropies_and_gradient", "hinges_and_gradient", "regularised"]

Loss = Callable[[Array, Array], tuple[Array, Array]]


def regularised(W: Any, X: Any, y: Any, reg: Any, loss: Loss) -> tuple[Any, Array]:
    """Return the mean of `loss` over the rows of X·W plus reg · ΣW², and the gradient of W."""
    weights, rows = floats(W, X)
    count = len(rows)
    target = labels(y, count, weights.shape[1])
    losses, dscores = loss(gemm(rows, weights), target)
    dW = gemm(rows, dscores, trans_a=True)
    dW /= count
    dW += (2 * reg) * weights
    return losses.sum() / count + reg * np.sum(weights * weights), answer(dW, W, X)


def hinges_and_gradient(scores: Array, y: Array) -> tuple[Array, Array]:
    """Return Σ max(0, scores[j] - scores[y] + 1), j ≠ y, of each row, and the gradient of their sum."""
    rows = np.arange(len(scores))
    scores -= (scores[rows, y] - 1)[:, None]
    above = scores > 0
    above[rows, y] = False
    gradient = above.astype(scores.dtype)
    gradient[rows, y] = -above.sum(axis=1)
    return np.sum(scores, axis=1, where=above), gradient


def entropies_and_gradient(scores: Array, y: Array) -> tuple[Array, Array]:
    """Return -log softmax(scores)[y] of each row, and the gradient of their sum."""
    ops = engine()
    losses, probs = ops.softmax_xent_fwd(scores, y)
    return losses, ops.softmax_xent_bwd(probs, y, np.ones(len(scores), scores.dtype))
