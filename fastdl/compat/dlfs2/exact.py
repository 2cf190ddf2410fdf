"""Layers with the book's own bits: NumPy's operations on the same numbers, with fewer passes over memory.

Of large tables of words most of the time goes to writing arrays that are read once. Here they are written in
place, or some rows at a time, so that they stay in the cache. Each element, each sum of a row and each
product is computed as it is in the book.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..inputs import in_order
from ..tier import Unserved, recall, remember
from . import layers, time_layers
from .arrays import FLOAT32, FLOAT64, Array, engine, plain, ready, set_rows

__all__ = ["Embedding", "TimeAffine", "TimeEmbedding", "TimeSoftmaxWithLoss", "softmax"]

_ELEMENTS = 1 << 16  # of the rows that are worked on at a time
_WIDE = 1 << 10  # columns, from which rows are worth taking apart
_COUNTED = 1 << 24  # up to which float32 has every whole number


def softmax(x: Array) -> Array:
    """Return exp(x) over its sum, for each row of a wide matrix."""
    plain(x)
    if x.ndim != 2 or x.shape[1] < _WIDE or x.dtype not in (FLOAT32, FLOAT64) or not x.flags.c_contiguous:
        raise Unserved("not a wide matrix of floats")
    y = np.empty_like(x)
    step = max(1, _ELEMENTS // x.shape[1])
    for start in range(0, len(x), step):
        rows, part = x[start : start + step], y[start : start + step]
        np.subtract(rows, rows.max(axis=1, keepdims=True), out=part)
        np.exp(part, out=part)
        part /= part.sum(axis=1, keepdims=True)
    return y


class Embedding(layers.Embedding):
    """Rows of W by their numbers.

    Parameters
    ----------
    W : (V, D) array
    """

    def forward(self, idx: Array) -> Array:
        """Return (N, D) of numbers of rows (N,)."""
        in_order()
        return layers.Embedding.forward(self, idx)

    def backward(self, dout: Array) -> None:
        """Write the gradient of W: rows that were not taken are 0."""
        ids, (grad,) = recall(self), self.grads
        if dout.dtype == grad.dtype:
            set_rows(grad, ids, dout)
        else:  # each sum is rounded to the gradient's type once more
            grad.fill(0)
            np.add.at(grad, ids, dout)


class TimeEmbedding(time_layers.TimeEmbedding):
    """Rows of W by their numbers.

    Parameters
    ----------
    W : (V, D) array
    """

    def forward(self, xs: Array) -> Array:
        """Return (N, T, D) of numbers of words (N, T)."""
        in_order()
        out = time_layers.TimeEmbedding.forward(self, xs)
        remember(self, recall(self).reshape(xs.shape))
        return out

    def backward(self, dout: Array) -> None:
        """Write the gradient of W: of each word first the sum of each step, then that of the steps."""
        ids, (grad,) = recall(self), self.grads
        steps, size = ids.shape[1], len(grad)
        if dout.dtype != grad.dtype:
            parts = np.zeros((steps, *grad.shape), grad.dtype)
            for t in range(steps):
                np.add.at(parts[t], ids[:, t], dout[:, t])
            grad[...] = parts[0]
            for part in parts[1:]:
                grad += part
            return
        at_step = (ids + np.arange(steps) * size).T.reshape(-1)
        found, place = np.unique(at_step, return_inverse=True)
        terms = ready(dout.transpose(1, 0, 2), grad.dtype).reshape(len(at_step), -1)
        ops = engine()
        sums = ops.scatter_add(terms, place, len(found))
        words, place = np.unique(found % size, return_inverse=True)
        sums = ops.scatter_add(sums, place, len(words))
        grad.fill(0)
        grad[words] = sums


class TimeAffine(time_layers.TimeAffine):
    """x·W + b at each step.

    Parameters
    ----------
    W, b : (D, M) and (M,) arrays
    """

    def forward(self, x: Array) -> Array:
        """Return (N, T, M) of x (N, T, D)."""
        W, b = self.params
        plain(x, W, b)
        if x.ndim != 3 or not x.dtype == W.dtype == b.dtype or b.shape != W.shape[1:] or not x.size:
            raise Unserved("not (N, T, D), (D, M) and (M,) of one type")
        out = np.dot(x.reshape(-1, x.shape[2]), W)
        out += b
        self.x = x
        return out.reshape(*x.shape[:2], -1)

    def backward(self, dout: Array) -> Array:
        """Return dx (N, T, D)."""
        x, (W, _), (dW, db) = self.x, self.params, self.grads
        assert x is not None
        terms, rows = dout.reshape(-1, W.shape[1]), x.reshape(-1, x.shape[2])
        dx = np.dot(terms, W.T).reshape(x.shape)
        if dW.flags.c_contiguous and terms.dtype == rows.dtype == dW.dtype:
            np.dot(rows.T, terms, out=dW)
        else:
            dW[...] = np.dot(rows.T, terms)
        db[...] = np.sum(terms, axis=0)
        return dx


class TimeSoftmaxWithLoss(time_layers.TimeSoftmaxWithLoss):
    """Softmax and cross-entropy, the mean over all steps whose label is not `ignore_label`."""

    def forward(self, xs: Array, ts: Array) -> Any:
        """Return the loss of scores (N, T, V) and labels, (N, T) or one-hot (N, T, V)."""
        return time_layers.sequence_loss(self, xs, ts, softmax)

    def backward(self, dout: Any = 1) -> Array:
        """Return the gradient of the scores: as in the book's, it takes the softmax's place in `cache`."""
        ts, ys, mask, shape = self.cache
        count = mask.sum()
        if type(dout) not in (int, float) or dout != 1 or not 0 < count <= _COUNTED:
            raise Unserved("another gradient than 1")
        ys[np.arange(len(ts)), ts] -= 1
        # In float32 this quotient rounds as the book's does, which is found in float64.
        ys /= ys.dtype.type(count)
        if not mask.all():
            ys *= mask[:, np.newaxis]
        return ys.reshape(shape)
