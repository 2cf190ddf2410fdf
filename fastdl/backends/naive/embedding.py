"""Rows of a table by their numbers, one row at a time."""

from __future__ import annotations

import numpy as np


def outside(ids: np.ndarray, rows: int) -> int:
    """The place of the first id, of int64, that is below 0 or not below `rows`; −1 where there is none."""
    for i, row in enumerate(ids):
        if not 0 <= row < rows:
            return i
    return -1


def gather(table: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """y[i] = table[ids[i]]; the ids are int64, and rows that the table has."""
    y = np.empty((len(ids), table.shape[1]), table.dtype)
    for i, row in enumerate(ids):
        for k in range(table.shape[1]):
            y[i, k] = table[row, k]
    return y


def scatter_add(dy: np.ndarray, ids: np.ndarray, rows: int) -> np.ndarray:
    """sum[r] = Σ dy[i] over the i with ids[i] = r, in ascending order; `rows` is the number of sums."""
    total = np.zeros((rows, dy.shape[1]), dy.dtype)
    for i, row in enumerate(ids):
        for k in range(dy.shape[1]):
            total[row, k] += dy[i, k]
    return total
