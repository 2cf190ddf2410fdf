"""Gradients that are zero but for a few rows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..backends import select
from ..checks import Shape, same_shape
from ..config import current
from .arrays import Array


@dataclass(frozen=True, slots=True, eq=False)
class RowGradient:
    """The gradient of a matrix, of which only some rows are kept; the others are zero.

    Parameters
    ----------
    rows : (R,) array of integers
        The numbers of the rows, ascending, each once.
    values : (R, E) array
        The gradients of these rows.
    shape : (V, E)
        Of the matrix.

    Examples
    --------
    >>> import numpy as np
    >>> from fastdl.layers.rows import RowGradient
    >>> from fastdl.optimizers import SGD
    >>> table = np.zeros((4, 2))
    >>> SGD(0.5).update({"table": table}, {"table": RowGradient(np.array([2]), np.ones((1, 2)), (4, 2))})
    >>> table[:, 0]
    array([ 0. ,  0. , -0.5,  0. ])
    """

    rows: Array
    values: Array
    shape: Shape

    def __post_init__(self) -> None:
        rows = self.rows
        if rows.ndim != 1 or rows.dtype.kind not in "iu":
            raise TypeError(f"RowGradient: rows must be one axis of integers; got {rows.dtype} {rows.shape}")
        if len(rows) and (rows[0] < 0 or rows[-1] >= self.shape[0] or (rows[1:] <= rows[:-1]).any()):
            raise ValueError(f"RowGradient: rows must ascend from 0 on and stay below {self.shape[0]}")
        same_shape("RowGradient", "values", self.values.shape, (len(rows), *self.shape[1:]), "the rows")

    @classmethod
    def of(cls, whole: Array) -> RowGradient:
        """Return the rows of a whole gradient that are not zero."""
        rows = np.flatnonzero(whole.any(axis=1))
        return cls(rows, whole[rows], whole.shape)

    def without_zeros(self) -> RowGradient:
        """Return the same without the rows that are zero."""
        if self.values.shape[1] and self.values[:, 0].all():  # a column tells, most of the time
            return self
        kept = self.values.any(axis=1)
        return self if kept.all() else RowGradient(self.rows[kept], self.values[kept], self.shape)

    def plus(self, other: RowGradient) -> RowGradient:
        """Return the sum of two."""
        rows, place = np.unique(np.concatenate((self.rows, other.rows)), return_inverse=True)
        add = select(current().backend).scatter_add
        values = add(np.concatenate((self.values, other.values)), place, len(rows))
        return RowGradient(rows, values, self.shape)

    def add_to(self, whole: Array) -> None:
        """Add it to a whole gradient."""
        whole[self.rows] += self.values
