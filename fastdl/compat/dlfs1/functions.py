"""``common.functions``: activations and losses of arrays of any shape, over the last axis."""

from __future__ import annotations

from typing import Any

import numpy as np

import fastdl.functional as F

from ..tier import Unserved, narrow
from .arrays import Array, floats

__all__ = [
    "cross_entropy_error",
    "identity_function",
    "np",
    "relu",
    "relu_grad",
    "sigmoid",
    "sigmoid_grad",
    "softmax",
    "softmax_loss",
    "step_function",
    "sum_squared_error",
]


def identity_function(x: Any) -> Any:
    """Return x itself."""
    return x


def step_function(x: Any) -> Any:
    """Return 1 where x > 0, else 0."""
    return (np.asarray(x) > 0).astype(int)


def sigmoid(x: Any) -> Array:
    """Return 1 / (1 + exp(-x)).

    Where exp overflows, the original says so in a warning; such an x is not served.
    """
    y = F.sigmoid(narrow(floats(x)))
    if y.size and y.min() < np.finfo(y.dtype).tiny:
        raise Unserved("exp overflows")
    return y


def sigmoid_grad(x: Any) -> Array:
    """Return the slope of `sigmoid`."""
    y = sigmoid(x)
    return y * (1 - y)


def relu(x: Any) -> Array:
    """Return max(x, 0)."""
    return F.relu(narrow(floats(x)))


def relu_grad(x: Any) -> Array:
    """Return 1 where x >= 0, else 0, in x's dtype."""
    x = floats(x)
    return (x >= 0).astype(x.dtype)


def softmax(x: Any) -> Array:
    """Return exp(x) / Σ exp(x), the sum over the last axis."""
    x = narrow(floats(x))
    if not x.ndim or not x.size:
        raise Unserved("no classes")
    return F.softmax(x)


def sum_squared_error(y: Any, t: Any) -> Any:
    """Return half the sum of the squares of y - t."""
    difference = (y - t).ravel()
    return 0.5 * np.dot(difference, difference)


def cross_entropy_error(y: Any, t: Any) -> Any:
    """Return the mean of -log(y[t] + 1e-7) over the rows of y.

    Parameters
    ----------
    y : (N, K) or (K,) array of floats
        Probabilities.
    t : (N,) or () array of integers, or array of y's shape
        Labels, or one-hot rows; t is taken for one-hot if it has as many elements as y.
    """
    y = floats(y)
    if type(t) is not np.ndarray or y.ndim not in (1, 2) or not y.size:
        raise Unserved("not probabilities and an array of labels")
    if y.ndim == 1:
        y, t = y.reshape(1, y.size), t.reshape(1, t.size)
    chosen = y[np.arange(y.shape[0]), labels_of(t, y)]
    chosen += 1e-7
    return -np.log(chosen, out=chosen).sum() / y.shape[0]


def softmax_loss(X: Any, t: Any) -> Any:
    """Return the `cross_entropy_error` of `softmax`."""
    return cross_entropy_error(softmax(X), t)


def labels_of(t: Array, y: Array) -> Array:
    """Return (N,) labels from labels or from one-hot rows, for (N, K) probabilities."""
    if t.size == y.size and t.ndim == 2:
        return t.argmax(axis=1)
    if t.size == y.shape[0] == 1:
        t = t.reshape(1)
    if t.shape != y.shape[:1] or t.dtype.kind not in "iu":
        raise Unserved(f"labels of shape {t.shape}, for {y.shape}")
    return t
