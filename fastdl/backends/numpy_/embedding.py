"""Rows of a table by their numbers, over whole arrays."""

from __future__ import annotations

import numpy as np


def outside(ids: np.ndarray, rows: int) -> int:
    """The place of the first id, of int64, that is below 0 or not below `rows`; −1 where there is none."""
    if not ids.size or ids.view(np.uint64).max() < rows:  # unsigned, what is below 0 is beyond all rows
        return -1
    return int(np.flatnonzero((ids < 0) | (ids >= rows))[0])


def gather(table: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """y[i] = table[ids[i]]; the ids are int64, and rows that the table has."""
    return table.take(ids, axis=0)


def scatter_add(dy: np.ndarray, ids: np.ndarray, rows: int) -> np.ndarray:
    """sum[r] = Σ dy[i] over the i with ids[i] = r; `rows` is the number of sums."""
    total = np.zeros((rows, dy.shape[1]), dy.dtype)
    if dy.size:
        order = ids.argsort(kind="stable")  # then each row's terms are together, and in their order
        arranged = ids[order]
        starts = np.flatnonzero(np.diff(arranged, prepend=-1))
        total[arranged[starts]] = np.add.reduceat(dy[order], starts, axis=0)
    return total
