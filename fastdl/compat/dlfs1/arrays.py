"""In which dtype the replacements compute, and the arrays they share."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..inputs import FLOAT32, FLOAT64, Array, plain
from ..tier import Unserved, settings

__all__ = [
    "FLOAT32",
    "FLOAT64",
    "Array",
    "computing",
    "floats",
    "image_stack",
    "matrix",
    "same_dtype",
    "sizes",
]


def floats(x: Any) -> Array:
    """Return x, a plain array of float32 or float64."""
    return plain(x, kinds="f")


def matrix(x: Any) -> Array:
    """Return x, a plain two-dimensional array of floats."""
    return plain(x, 2, "f")


def image_stack(x: Any, dtype: np.dtype[Any]) -> Array:
    """Return x, a plain (N, C, H, W) array of numbers, none of them empty, in a dtype."""
    x = plain(x, 4)
    if not x.size:
        raise Unserved("no images")
    return x.astype(dtype, copy=False)


def computing(dtype: np.dtype[Any] = FLOAT64) -> np.dtype[Any]:
    """Return the dtype to compute in what the original computes in `dtype`."""
    return dtype if settings.dtype is None else settings.dtype


def same_dtype(*arrays: Array) -> list[Array]:
    """Return arrays of floats in the dtype of their product, or in the narrower one that was allowed."""
    dtype = FLOAT64 if any(array.dtype == FLOAT64 for array in arrays) else FLOAT32
    return [array.astype(computing(dtype), copy=False) for array in arrays]


def sizes(*values: Any) -> tuple[int, ...]:
    """Return whole numbers of at least 0, of Python's or NumPy's integers."""
    if not all(isinstance(value, int | np.integer) and value >= 0 for value in values):
        raise Unserved(f"not whole numbers: {values}")
    return tuple(int(value) for value in values)
