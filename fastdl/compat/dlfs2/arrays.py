"""What the modules of this family share: dtypes as NumPy would find them, products, sums of rows."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...functional._arrays import engine
from ..inputs import FLOAT32, FLOAT64, FLOATS, Array
from ..products import gemm
from ..tier import Unserved, settings

__all__ = [
    "FLOAT32",
    "FLOAT64",
    "Array",
    "column_sums",
    "engine",
    "plain",
    "product",
    "product_into",
    "ready",
    "row_numbers",
    "set_rows",
    "summed_rows",
    "working",
]


_SMALL = 1 << 16  # elements of a table that is sooner added up whole than searched for what is in use


def plain(*arrays: Any) -> None:
    """Refuse what is no plain NumPy array: lists, subclasses, arrays of another library."""
    for array in arrays:
        if type(array) is not np.ndarray:
            raise Unserved(f"a {type(array).__name__} is no plain array")


def working(*arrays: Any) -> np.dtype[Any]:
    """Return the dtype that arithmetic with these arrays ends in, or the narrower one that was allowed."""
    plain(*arrays)
    found = arrays[0].dtype
    if any(array.dtype is not found for array in arrays):
        found = np.result_type(*arrays)
    if found not in FLOATS:
        raise Unserved(f"{found} is computed by NumPy")
    return found if settings.dtype is None else settings.dtype


def ready(array: Array, dtype: np.dtype[Any]) -> Array:
    """Return an array as a kernel takes it: of that dtype, C-contiguous and aligned."""
    flags = array.flags
    if array.dtype is dtype and flags.c_contiguous and flags.aligned:
        return array
    return np.array(array, dtype, order="C")


def _either_way(array: Array, dtype: np.dtype[Any]) -> tuple[Array, bool]:
    """Return a matrix as a kernel takes it, or its transpose if that is what lies in memory."""
    flags = array.flags
    if flags.f_contiguous and not flags.c_contiguous and array.dtype is dtype and flags.aligned:
        return array.T, True
    return ready(array, dtype), False


def product(a: Array, b: Array, bias: Array | None, dtype: np.dtype[Any]) -> Array:
    """Return a·b + bias of matrices in any layout, computed in dtype."""
    a, trans_a = _either_way(a, dtype)
    b, trans_b = _either_way(b, dtype)
    if bias is not None:
        bias = ready(bias, dtype)
    return gemm(a, b, bias, trans_a=trans_a, trans_b=trans_b)


def product_into(out: Array, a: Array, b: Array, dtype: np.dtype[Any]) -> None:
    """Write a·b into out, whichever way out lies in memory.

    A gradient as large as a table of words is not made to be copied.
    """
    if out.dtype == dtype and out.flags.carray:
        a, trans_a = _either_way(a, dtype)
        b, trans_b = _either_way(b, dtype)
        gemm(a, b, trans_a=trans_a, trans_b=trans_b, out=out)
    elif out.flags.f_contiguous and not out.flags.c_contiguous:
        product_into(out.T, b.T, a.T, dtype)
    else:
        out[...] = product(a, b, None, dtype)


def column_sums(a: Array, dtype: np.dtype[Any]) -> Array:
    """Return the sum over the rows of a matrix."""
    sums: Array = engine().bias_grad(ready(a, dtype), a.shape[0], a.shape[1], 1)
    return sums


def row_numbers(ids: Array, rows: int) -> Array:
    """Return indices along one axis as a copy of int64, those from the end counted from the start.

    Every one must be a row: what was checked is what a kernel reads.
    """
    if ids.dtype.kind not in "iu":
        raise Unserved(f"rows are numbered by integers, not {ids.dtype}")
    numbers = np.array(ids, np.int64, order="C").reshape(-1)
    if numbers.size and numbers.view(np.uint64).max() >= rows:
        numbers[numbers < 0] += rows
        if numbers.view(np.uint64).max() >= rows:
            raise Unserved("an index is out of range")
    return numbers


def summed_rows(terms: Array, ids: Array, rows: int) -> tuple[Array | slice, Array]:
    """Return rows of a table and, for each, the sum of the terms whose id it is; all others have none.

    The ids are those of `row_numbers`; of a table with few rows all are returned.
    """
    if len(terms) != len(ids):
        raise Unserved(f"{len(terms)} terms for {len(ids)} rows")
    ops = engine()
    if rows <= len(ids) or rows * terms.shape[1] <= _SMALL:
        return slice(None), ops.scatter_add(terms, ids, rows)
    found, place = np.unique(ids, return_inverse=True)
    return found, ops.scatter_add(terms, place, len(found))


def set_rows(table: Array, ids: Array, terms: Array) -> None:
    """Make a table zero but for the rows in ids, which are the sums of their terms (N, D)."""
    found, sums = summed_rows(ready(terms, table.dtype), ids, len(table))
    if not isinstance(found, slice):
        table.fill(0)
    table[found] = sums
