"""What the trainers of the book call between two steps: remove_duplicate, and the batches of RnnlmTrainer."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..tier import Unserved
from .arrays import Array, plain

__all__ = ["RnnlmTrainer", "remove_duplicate"]

_PIECE = 1 << 14  # elements of a gradient that others are added to while they stay in the cache


def remove_duplicate(params: list[Array], grads: list[Array]) -> tuple[list[Array], list[Array]]:
    """Return the parameters without those that are there twice, and the gradients, theirs added up in place.

    Twice are the same array, and a matrix and another that equals its transpose.
    """
    plain(*params, *grads)
    left = list(range(len(params)))
    kept, sums = [], []
    while left:
        i, *others = left
        same = {j: how for j in others if (how := _same(params[i], params[j]))}
        _add(grads[i], [grads[j] if how == "itself" else grads[j].T for j, how in same.items()])
        left = [j for j in others if j not in same]
        kept.append(params[i])
        sums.append(grads[i])
    return kept, sums


def _same(a: Array, b: Array) -> str | None:
    if a is b:
        return "itself"
    if a.ndim != 2 or b.shape != a.shape[::-1] or not a.size:
        return None
    # Most that differ do so in their first row.
    return "transposed" if np.array_equal(a[:, 0], b[0]) and np.array_equal(a.T, b) else None


def _add(total: Array, terms: list[Array]) -> None:
    """Add arrays to the first, one after the other at each element."""
    if len(terms) < 2 or not all(
        term.flags.c_contiguous and term.shape == total.shape for term in (total, *terms)
    ):
        for term in terms:
            total += term
        return
    flat, others = total.reshape(-1), [term.reshape(-1) for term in terms]
    for start in range(0, flat.size, _PIECE):
        piece = flat[start : start + _PIECE]
        for other in others:
            piece += other[start : start + _PIECE]


class RnnlmTrainer:
    """The part of the book's trainer of language models that makes its batches.

    Parameters
    ----------
    model, optimizer
    """

    def __init__(self, model: Any, optimizer: Any) -> None:
        self.model = model
        self.optimizer = optimizer
        self.time_idx: Any = None
        self.ppl_list: Any = None
        self.eval_interval: Any = None
        self.current_epoch = 0

    def get_batch(self, x: Array, t: Array, batch_size: int, time_size: int) -> tuple[Array, Array]:
        """Return the next (batch_size, time_size) of words x and of labels t, as int32.

        Row i begins i / batch_size of the way into x; `time_idx` moves on.
        """
        plain(x, t)
        if x.ndim != 1 or t.ndim != 1 or x.dtype.kind not in "iu" or t.dtype.kind not in "iu" or not len(x):
            raise Unserved("not two rows of numbers of words")
        if batch_size < 1 or len(t) < len(x):
            raise Unserved("no batch")
        jump = len(x) // batch_size
        at = np.arange(batch_size)[:, None] * jump + np.arange(time_size) + self.time_idx
        at %= len(x)
        batch = x[at].astype(np.intc), t[at].astype(np.intc)
        self.time_idx += time_size
        return batch
