"""What replacements ask of an array before they touch anything."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..functional._arrays import engine
from .tier import Unserved, narrow

__all__ = ["FLOAT32", "FLOAT64", "FLOATS", "Array", "in_order", "plain", "promoted"]

Array = np.ndarray[Any, Any]

FLOAT32, FLOAT64 = np.dtype(np.float32), np.dtype(np.float64)
FLOATS = (FLOAT32, FLOAT64)


def plain(x: Any, ndim: int | None = None, kinds: str = "fiub") -> Array:
    """Return x, which is a NumPy array, no subclass, of numbers of these kinds and of so many axes.

    Raises
    ------
    Unserved
        If it is something else. Floats other than float32 and float64 are something else.
    """
    if type(x) is not np.ndarray:
        raise Unserved(f"{type(x).__name__} is no plain array")
    if x.dtype.kind not in kinds or (x.dtype.kind == "f" and x.dtype not in FLOATS):
        raise Unserved(f"values of type {x.dtype}")
    if ndim is not None and x.ndim != ndim:
        raise Unserved(f"{x.ndim} axes, not {ndim}")
    return x


def promoted(*arrays: Array) -> list[Array]:
    """Return arrays of the type that NumPy gives their product, narrowed where that was allowed.

    Raises
    ------
    Unserved
        If that type is neither float32 nor float64.
    """
    dtype = np.result_type(*arrays)
    if dtype not in FLOATS:
        raise Unserved(f"a product of type {dtype}")
    return [narrow(array.astype(dtype, copy=False)) for array in arrays]


def in_order() -> None:
    """Refuse an engine that does not add rows in the order in which they are taken.

    Raises
    ------
    Unserved
        If rows are not added by the native engine.
    """
    if not engine().engines["scatter_add"].startswith("native"):
        raise Unserved("the engine has an order of its own")
