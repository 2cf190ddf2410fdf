"""From what a student's code holds to what a kernel takes, and back to the dtypes that NumPy would give."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..inputs import FLOAT32, FLOAT64, Array
from ..tier import Unserved, settings

__all__ = ["NOT_OURS", "Array", "Later", "answer", "floats", "labels", "wide"]

NOT_OURS = "the forward pass was not fastdl's"


def floats(*arrays: Any) -> list[Array]:
    """Return arrays of floats, C-contiguous and of one dtype: the widest, or the one that was allowed."""
    dtype: np.dtype[Any] = FLOAT32
    for array in arrays:
        if type(array) is not np.ndarray:
            raise Unserved(f"a {type(array).__name__} where an array was expected")
        if array.dtype == FLOAT64:
            dtype = FLOAT64
        elif array.dtype != FLOAT32:
            raise Unserved(f"an array of {array.dtype}")
    if settings.dtype is not None:
        dtype = settings.dtype
    return [
        array if array.dtype is dtype and array.flags.carray else np.require(array, dtype, ["C", "A"])
        for array in arrays
    ]


def answer(result: Array, *like: Any) -> Array:
    """Return a result in the dtype that NumPy gives `like` together, unless a narrower one was allowed."""
    if settings.dtype is not None:
        return result
    dtype = like[0].dtype if len(like) == 1 else np.result_type(*like)
    return result if result.dtype == dtype else result.astype(dtype)


def wide(result: Array) -> Array:
    """Return a result as what is written into `np.zeros(shape)`: in float64, unless float32 was allowed."""
    return result if settings.dtype is not None else result.astype(np.float64, copy=False)


def labels(y: Any, rows: int, classes: int) -> Array:
    """Return one class a row as int64, each checked to be one."""
    if type(y) is not np.ndarray or y.dtype.kind not in "iu" or y.shape != (rows,):
        raise Unserved("labels that are not one integer a row")
    found = np.require(y, np.int64, ["C", "A"])
    if rows and int(found.view(np.uint64).max()) >= classes:
        raise Unserved("a label that is no class")
    return found


class Later:
    """An array that is made when somebody asks for it: what only another backward pass would read."""

    __slots__ = ("_array", "_make")

    def __init__(self, make: Any) -> None:
        self._make = make
        self._array: Array | None = None

    def _made(self) -> Array:
        if self._array is None:
            self._array = self._make()
        return self._array

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        return np.array(self._made(), dtype, copy=copy)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # NumPy and copy ask for protocols, of which __array__ is the one
            raise AttributeError(name)
        return getattr(self._made(), name)

    def __getitem__(self, key: Any) -> Any:
        return self._made()[key]

    def __len__(self) -> int:
        return len(self._made())
