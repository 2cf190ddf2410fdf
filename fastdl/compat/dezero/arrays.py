"""What DeZero's functions on arrays share: which arrays are served, and sizes."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np

from ...functional._arrays import engine
from ..inputs import FLOATS, Array
from ..tier import Unserved

__all__ = ["Array", "Pair", "common_dtype", "engine", "only_floats", "pair"]

Pair: TypeAlias = tuple[int, int]


def pair(value: Any) -> Pair:
    """Return two sizes, which may have been given as one number.

    Examples
    --------
    >>> pair(2), pair((1, 3))
    ((2, 2), (1, 3))
    """
    if isinstance(value, int):
        return value, value
    if isinstance(value, tuple) and len(value) == 2:
        return value
    raise Unserved("a size is an int or a pair of them")


def only_floats(*arrays: Any) -> None:
    """Refuse what is not a plain array of float32 or float64."""
    for array in arrays:
        if type(array) is not np.ndarray or array.dtype not in FLOATS:
            raise Unserved("only arrays of float32 and float64 are served")


def common_dtype(x: Array, y: Array) -> np.dtype[Any]:
    """Return the dtype of a product of two arrays."""
    return x.dtype if x.dtype == y.dtype else np.result_type(x, y)
