"""The nearest neighbours of images, by the distance of their pixels."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...products import gemm
from ...tier import Unserved
from ..arrays import Array, floats, wide

__all__ = ["KNearestNeighbor"]

_CLOSE = 1e-4  # of the squared lengths: below it the difference of the products has lost too many digits


class KNearestNeighbor:
    """A classifier that remembers all it was shown, and asks the k nearest."""

    def train(self, X: Any, y: Any) -> None:
        """Remember X (M, D) and its classes y (M,)."""
        self.X_train, self.y_train = X, y

    def predict(self, X: Any, k: int = 1, num_loops: int = 0) -> Array:
        """Return the class of each row of X (N, D); num_loops may be 0, 1 or 2, and changes nothing."""
        if num_loops not in (0, 1, 2):
            raise ValueError(f"num_loops must be 0, 1 or 2; got {num_loops!r}")
        return self.predict_labels(_distances(self, X), k)

    def compute_distances_two_loops(self, X: Any) -> Array:
        """Return the distance of each row of X (N, D) to each of those remembered, (N, M)."""
        return _distances(self, X)

    compute_distances_one_loop = compute_distances_two_loops
    compute_distances_one_loops = compute_distances_two_loops
    compute_distances_no_loops = compute_distances_two_loops

    def predict_labels(self, dists: Any, k: int = 1) -> Array:
        """Return the class that most of the k nearest have, the smallest of equals, by distances (N, M)."""
        nearest = np.argsort(dists, axis=1)[:, :k]
        return np.array([np.argmax(np.bincount(row)) for row in self.y_train[nearest]])


def _distances(self: Any, X: Any) -> Array:
    queries, known = floats(X, self.X_train)
    if queries.ndim != 2 or known.ndim != 2 or queries.shape[1] != known.shape[1]:
        raise Unserved("images that are not rows of the same length")
    lengths = [np.einsum("ij,ij->i", a, a) for a in (queries, known)]
    sums = lengths[0][:, None] + lengths[1]
    squares = gemm(queries, known, trans_b=True)
    squares *= -2
    squares += sums
    for row, columns in _close(squares, sums):
        differences = known[columns] - queries[row]
        squares[row, columns] = np.einsum("ij,ij->i", differences, differences)
    return wide(np.sqrt(squares, out=squares))


def _close(squares: Array, sums: Array) -> list[tuple[int, Array]]:
    """Return, for each row that has any, where a square is small beside the sum that it was taken from."""
    sums *= _CLOSE
    near = squares <= sums
    return [(int(row), np.flatnonzero(near[row])) for row in np.flatnonzero(near.any(axis=1))]
