"""`mlfromscratch.deep_learning.activation_functions`: those with exponentials, and ReLU."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

import fastdl.functional as F

from ..inputs import Array, plain
from ..tier import Unserved, narrow

__all__ = ["ReLU", "Sigmoid", "Softmax", "TanH"]


class ReLU:
    """x where x >= 0, else 0; also in place of what is not a number."""

    def __call__(self, x: Any) -> Array:
        x = plain(x, None, "f")
        if x.size == 0 or np.isnan(x.min()):
            raise Unserved("values that are not numbers")
        return F.relu(narrow(x))

    def gradient(self, x: Any) -> Array:
        """Return 1 where x >= 0, else 0, as integers."""
        return (plain(x) >= 0).astype(np.int_)


class Sigmoid:
    """1 / (1 + exp(-x))."""

    def __call__(self, x: Any) -> Array:
        return F.sigmoid(_without_overflow(x, 1))

    def gradient(self, x: Any) -> Array:
        """Return the derivative at x."""
        y = F.sigmoid(_without_overflow(x, 1))
        rest = 1 - y
        return np.multiply(y, rest, out=rest)


class TanH:
    """The hyperbolic tangent."""

    def __call__(self, x: Any) -> Array:
        return F.tanh(_without_overflow(x, 2))

    def gradient(self, x: Any) -> Array:
        """Return the derivative at x."""
        y = F.tanh(_without_overflow(x, 2))
        y *= y
        return np.subtract(1, y, out=y)


class Softmax:
    """Softmax over the last axis."""

    def __call__(self, x: Any) -> Array:
        return F.softmax(narrow(_finite(x)))

    def gradient(self, x: Any) -> Array:
        """Return p · (1 - p), the diagonal of the derivative."""
        p = F.softmax(narrow(_finite(x)))
        rest = 1 - p
        return np.multiply(p, rest, out=rest)


def _finite(x: Any) -> Array:
    x = plain(x, None, "f")
    if x.size == 0 or x.ndim == 0 or not np.isfinite(x.sum()):
        raise Unserved("values that are not finite")
    return x


def _without_overflow(x: Any, factor: int) -> Array:
    """Return x, for which exp(-factor · x) gives no warning."""
    x = plain(x, None, "f")
    if x.size == 0 or float(x.min()) * factor < -math.log(np.finfo(x.dtype).max):
        raise Unserved("an exponential that overflows")
    return narrow(x)
