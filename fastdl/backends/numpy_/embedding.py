"""Rows of a table by their numbers, over whole arrays."""

from __future__ import annotations

import numpy as np


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
