"""Matrix products as `np.dot` has them, by whichever of NumPy and fastdl is quicker."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..products import gemm
from ..tier import Unserved
from .arrays import Array, same_dtype

__all__ = ["biased_product", "product"]

FEW = 1 << 18
"""Multiplications below which np.dot is quicker: it has less to do around the product."""


def product(a: Array, b: Array, *, trans_a: bool = False, trans_b: bool = False) -> Array:
    """Return a·b for matrices of floats, each transposed first if that is asked for."""
    a, b = same_dtype(a, b)
    if a.size * b.shape[0 if trans_b else 1] < FEW:
        return np.asarray(np.dot(a.T if trans_a else a, b.T if trans_b else b))
    return gemm(np.ascontiguousarray(a), np.ascontiguousarray(b), trans_a=trans_a, trans_b=trans_b)


def biased_product(x: Array, w: Array, b: Any) -> Array:
    """Return x·w + b, in the dtype that the sum has."""
    if type(b) is not np.ndarray or b.ndim != 1:
        raise Unserved("a bias that is no vector")
    x, w, b = same_dtype(x, w, b)
    y = product(x, w)
    if b.shape[0] != y.shape[1]:
        raise Unserved(f"a bias of {b.shape[0]} for {y.shape[1]} outputs")
    y += b
    return y
