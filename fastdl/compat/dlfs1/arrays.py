"""Which arrays the replacements take, and in which dtype they answer."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np

from ..tier import Unserved, settings

__all__ = ["Array", "computing", "floats", "image_stack", "matrix", "same_dtype", "sizes"]

Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]

FLOAT32, FLOAT64 = np.dtype(np.float32), np.dtype(np.float64)


def floats(x: Any) -> Array:
    """Return x, a plain array of float32 or float64.

    Raises
    ------
    Unserved
        If it is anything else.
    """
    if type(x) is np.ndarray:
        dtype = x.dtype
        if dtype is FLOAT64 or dtype is FLOAT32 or dtype in (FLOAT32, FLOAT64):
            return x
    raise Unserved(f"not an array of float32 or float64: {type(x).__name__}")


def matrix(x: Any) -> Array:
    """Return x, a plain two-dimensional array of floats."""
    x = floats(x)
    if x.ndim != 2:
        raise Unserved(f"not a matrix: {x.ndim} axes")
    return x


def image_stack(x: Any, dtype: np.dtype[Any]) -> Array:
    """Return x, a plain (N, C, H, W) array of floats or integers, none of them empty, in a dtype."""
    if type(x) is not np.ndarray or x.ndim != 4 or x.dtype.kind not in "fiub" or not x.size:
        raise Unserved("not an (N, C, H, W) array of numbers")
    if x.dtype.itemsize == 2 and x.dtype.kind == "f" or x.dtype.itemsize > 8:
        raise Unserved(f"of {x.dtype}")
    return x.astype(dtype, copy=False)


def computing(dtype: np.dtype[Any] = FLOAT64) -> np.dtype[Any]:
    """Return the dtype to compute in what the original computes in `dtype`."""
    return dtype if settings.dtype is None else settings.dtype


def same_dtype(*arrays: Array) -> list[Array]:
    """Return arrays of floats in the one dtype that the original's product has, or in the narrower allowed one."""
    dtype = FLOAT64 if any(array.dtype == FLOAT64 for array in arrays) else FLOAT32
    return [array.astype(computing(dtype), copy=False) for array in arrays]


def sizes(*values: Any) -> tuple[int, ...]:
    """Return whole numbers of at least 0, of Python's or NumPy's integers."""
    if not all(isinstance(value, int | np.integer) and value >= 0 for value in values):
        raise Unserved(f"not whole numbers: {values}")
    return tuple(int(value) for value in values)
