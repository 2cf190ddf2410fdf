"""sigmoid, relu, softmax and cross_entropy_error as the book defines them."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..tier import Unserved, narrow
from .arrays import Array, engine, plain, ready

__all__ = ["cross_entropy_error", "relu", "sigmoid", "softmax"]

_SMALL = 256  # elements, up to which NumPy's calls are as quick as a kernel's


def sigmoid(x: Array) -> Array:
    """Return 1 / (1 + exp(-x))."""
    return 1 / (1 + np.exp(-x))


def relu(x: Array) -> Array:
    """Return max(0, x)."""
    return np.maximum(0, x)


def softmax(x: Array) -> Array:
    """Return exp(x) over its sum along the last axis, of a vector or of the rows of a matrix.

    An array of any other number of axes comes back as it is: so does the book's.
    """
    plain(x)
    if x.dtype.kind not in "iufb" or x.dtype.itemsize == 2 or x.ndim in (1, 2) and not x.size:
        raise Unserved(f"{x.dtype} of shape {x.shape}")
    if x.ndim not in (1, 2):
        return x
    x = narrow(x)
    if x.size <= _SMALL:
        y = np.exp(x - x.max(axis=-1, keepdims=True))
        y /= y.sum(axis=-1, keepdims=True)
        return y
    x = ready(x, x.dtype)
    columns = x.shape[-1]
    y = engine().softmax_fwd(x, x.size // columns, columns, 1)
    return y


def softmax_in_place(scores: Array) -> Array:
    """Return the softmax of the rows of a C-contiguous matrix of floats, written over them."""
    y: Array = engine().softmax_fwd(scores, *scores.shape, 1, out=scores)
    return y


def cross_entropy_error(y: Array, t: Array) -> Any:
    """Return the mean of -log(y + 1e-7) at the labels t, class numbers or one-hot."""
    if y.ndim == 1:
        y, t = y.reshape(1, -1), t.reshape(1, -1)
    if t.size == y.size:
        t = t.argmax(axis=1)
    rows = y.shape[0]
    return -np.sum(np.log(y[np.arange(rows), t] + 1e-7)) / rows
