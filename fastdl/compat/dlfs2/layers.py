"""The layers that know no time: Affine, SoftmaxWithLoss, Embedding and their like."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..tier import Unserved, recall, remember
from .arrays import Array, column_sums, plain, product, product_into, row_numbers, set_rows, working
from .functions import cross_entropy_error, softmax

__all__ = [
    "GPU",
    "Affine",
    "Dropout",
    "Embedding",
    "MatMul",
    "Sigmoid",
    "SigmoidWithLoss",
    "Softmax",
    "SoftmaxWithLoss",
    "cross_entropy_error",
    "np",
    "softmax",
]

GPU = False


class MatMul:
    """x·W.

    Parameters
    ----------
    W : (D, M) array
    """

    def __init__(self, W: Array) -> None:
        self.params = [W]
        self.grads = [np.zeros_like(W)]
        self.x: Any = None

    def forward(self, x: Array) -> Array:
        """Return (N, M) of x (N, D)."""
        self.x = x
        return np.dot(x, self.params[0])

    def backward(self, dout: Array) -> Array:
        """Return dx (N, D)."""
        self.grads[0][...] = np.dot(self.x.T, dout)
        return np.dot(dout, self.params[0].T)


class Affine:
    """x·W + b.

    Parameters
    ----------
    W, b : (D, M) and (M,) arrays
    """

    def __init__(self, W: Array, b: Array) -> None:
        self.params = [W, b]
        self.grads = [np.zeros_like(W), np.zeros_like(b)]
        self.x: Any = None

    def forward(self, x: Array) -> Array:
        """Return (N, M) of x (N, D)."""
        W, b = self.params
        dtype = working(x, W, b)
        if x.ndim != 2 or W.ndim != 2 or x.shape[1] != W.shape[0] or b.shape != W.shape[1:] or not x.size:
            raise Unserved("not (N, D), (D, M) and (M,)")
        out = product(x, W, b, dtype)
        self.x = x
        return out

    def backward(self, dout: Array) -> Array:
        """Return dx (N, D)."""
        x, (W, _) = self.x, self.params
        dtype = working(dout, x, W)
        if dout.shape != (len(x), W.shape[1]):
            raise Unserved("not the shape that went out")
        dx = product(dout, W.T, None, dtype)
        product_into(self.grads[0], x.T, dout, dtype)
        self.grads[1][...] = column_sums(dout, dtype)
        return dx


class Softmax:
    """Softmax along the last axis of a matrix."""

    def __init__(self) -> None:
        self.params: list[Array] = []
        self.grads: list[Array] = []
        self.out: Any = None

    def forward(self, x: Array) -> Array:
        """Return the softmax of x (N, M)."""
        self.out = softmax(x)
        return self.out

    def backward(self, dout: Array) -> Array:
        """Return dx (N, M)."""
        dx = self.out * dout
        dx -= self.out * np.sum(dx, axis=1, keepdims=True)
        return dx


class SoftmaxWithLoss:
    """The mean cross-entropy of the softmax of x (N, M)."""

    def __init__(self) -> None:
        self.params: list[Array] = []
        self.grads: list[Array] = []
        self.y: Any = None
        self.t: Any = None

    def forward(self, x: Array, t: Array) -> Any:
        """Return the loss of scores x (N, M) and labels t, (N,) or one-hot (N, M)."""
        plain(x, t)
        if x.ndim != 2:
            raise Unserved("not a matrix")
        y = softmax(x)
        if t.size == y.size:
            t = t.argmax(axis=1)
        loss = cross_entropy_error(y, t)
        self.y, self.t = y, t
        return loss

    def backward(self, dout: Any = 1) -> Array:
        """Return dx (N, M)."""
        rows = self.t.shape[0]
        if not isinstance(dout, (int, float, np.number)):
            raise Unserved("not one number")
        dx = self.y * self.y.dtype.type(dout / rows)
        dx[np.arange(rows), self.t] -= dout / rows
        return dx


class Sigmoid:
    """1 / (1 + exp(-x))."""

    def __init__(self) -> None:
        self.params: list[Array] = []
        self.grads: list[Array] = []
        self.out: Any = None

    def forward(self, x: Array) -> Array:
        """Return the sigmoid of x, of any shape."""
        self.out = 1 / (1 + np.exp(-x))
        return self.out

    def backward(self, dout: Array) -> Array:
        """Return dx."""
        return dout * (1.0 - self.out) * self.out


class SigmoidWithLoss:
    """The mean cross-entropy of a sigmoid with labels 0 and 1."""

    def __init__(self) -> None:
        self.params: list[Array] = []
        self.grads: list[Array] = []
        self.loss: Any = None
        self.y: Any = None
        self.t: Any = None

    def forward(self, x: Array, t: Array) -> Any:
        """Return the loss of scores x (N,) and labels t (N,)."""
        plain(x, t)
        if x.ndim != 1 or t.shape != x.shape or t.dtype.kind not in "iu":
            raise Unserved("not two vectors, of scores and of labels")
        y = 1 / (1 + np.exp(-x))
        wrong = t != 1
        if wrong.any() and (t[wrong] != 0).any():
            raise Unserved("labels other than 0 and 1")
        # The book looks labels up in (1 - y, y): what stands there is the same element.
        chance = np.where(wrong, 1 - y, y)
        loss = -np.sum(np.log(chance + 1e-7)) / len(y)
        self.t, self.y, self.loss = t, y, loss
        return loss

    def backward(self, dout: Any = 1) -> Array:
        """Return dx (N,)."""
        return (self.y - self.t) * dout / self.t.shape[0]


class Dropout:
    """Dropout that does not scale while training: it scales when it does not drop.

    Parameters
    ----------
    dropout_ratio : float
    """

    def __init__(self, dropout_ratio: float = 0.5) -> None:
        self.params: list[Array] = []
        self.grads: list[Array] = []
        self.dropout_ratio = dropout_ratio
        self.mask: Any = None

    def forward(self, x: Array, train_flg: bool = True) -> Array:
        """Return x with some elements 0; the noise is NumPy's global stream."""
        if not train_flg:
            return x * (1.0 - self.dropout_ratio)
        self.mask = np.random.rand(*x.shape) > self.dropout_ratio  # noqa: NPY002
        return x * self.mask

    def backward(self, dout: Array) -> Array:
        """Return dx."""
        return dout * self.mask


class Embedding:
    """Rows of W by their numbers.

    Parameters
    ----------
    W : (V, D) array
    """

    def __init__(self, W: Array) -> None:
        self.params = [W]
        self.grads = [np.zeros_like(W)]
        self.idx: Any = None

    def forward(self, idx: Array) -> Array:
        """Return (N, D) of numbers of rows (N,)."""
        (W,) = self.params
        plain(idx, W)
        if idx.ndim != 1 or W.ndim != 2:
            raise Unserved("not (N,) and (V, D)")
        ids = row_numbers(idx, len(W))
        out = W[ids]
        self.idx = idx
        remember(self, ids)
        return out

    def backward(self, dout: Array) -> None:
        """Write the gradient of W: rows that were not taken are 0."""
        ids, (dW,) = recall(self), self.grads
        if type(dout) is not np.ndarray or dout.shape != (len(ids), dW.shape[1]):
            raise Unserved("not the shape that went out")
        set_rows(dW, ids, dout)
