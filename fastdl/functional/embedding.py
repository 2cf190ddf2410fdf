"""Rows of a table by their numbers: words, users, items as vectors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, overload

import numpy as np

from ..backends import Ops
from ..shapes_embedding import EmbeddingPlan, embedding_plan
from ._arrays import Array, as_array, canonical, check_ctx, engine, floats, gradient, restored, shaped

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

__all__ = [
    "embedding",
    "embedding_backward",
    "embedding_forward",
]

_LONG = 32  # rows of a table for each id, with which sorting the ids takes less time than a look at each row


@dataclass(slots=True)
class EmbeddingContext:
    """What `embedding_backward` needs: the ids, a copy that nobody can change."""

    op: str
    ops: Ops
    dtype: np.dtype[Any]
    plan: EmbeddingPlan
    ids: Array


def embedding(ids: ArrayLike, table: ArrayLike) -> Array:
    """Return y = table[ids].

    The same as a one-hot row for each id times the table, without the products.

    Parameters
    ----------
    ids : (...) array of integers
        Numbers of rows, from 0; any integer dtype.
    table : (V, E) array of floats

    Returns
    -------
    (..., E) array

    Raises
    ------
    ValueError
        If an id is no row of the table, or the table does not have two axes.
    TypeError
        If the ids are not integers or the table does not hold floats.

    References
    ----------
    Bengio and others, "A Neural Probabilistic Language Model", 2003.

    Examples
    --------
    >>> import numpy as np
    >>> import fastdl.functional as F
    >>> table = np.array([[0.0, 0.1], [1.0, 1.1], [2.0, 2.1]])
    >>> F.embedding(np.array([2, 0, 2]), table)
    array([[2. , 2.1],
           [0. , 0.1],
           [2. , 2.1]])
    """
    y, dtype, *_ = _look_up(ids, table)
    return restored(y, dtype)


def embedding_forward(ids: ArrayLike, table: ArrayLike) -> tuple[Array, EmbeddingContext]:
    """Return what `embedding` returns, and the ctx that `embedding_backward` takes."""
    y, dtype, ops, plan, numbers = _look_up(ids, table)
    return restored(y, dtype), EmbeddingContext("embedding", ops, dtype, plan, numbers)


def _look_up(ids: Any, table: Any) -> tuple[Array, np.dtype[Any], Ops, EmbeddingPlan, Array]:
    op = "embedding"
    ids = as_array(op, "ids", ids)
    arrays, dtype, ready = floats(op, "table", table)
    plan = embedding_plan(op, ids.shape, arrays[0].shape)
    numbers = _row_numbers(op, ids, plan.rows)
    ops = engine()
    y = ops.gather((arrays if ready else canonical(arrays, dtype))[0], numbers)
    return shaped(y, plan.y_shape), dtype, ops, plan, numbers


@overload
def embedding_backward(dy: ArrayLike, ctx: EmbeddingContext, sparse: Literal[False] = False) -> Array: ...


@overload
def embedding_backward(
    dy: ArrayLike, ctx: EmbeddingContext, sparse: Literal[True]
) -> tuple[Array, Array]: ...


def embedding_backward(dy: ArrayLike, ctx: EmbeddingContext, sparse: bool = False) -> Any:
    """Return dtable: each row the sum of dy over the places where the row was taken, in their order.

    Parameters
    ----------
    dy : (..., E) array of floats
    ctx
        From `embedding_forward`.
    sparse : bool
        Whether to return the rows that were taken alone.

    Returns
    -------
    dtable : (V, E) array
        Or, with `sparse`, a tuple of

    rows : (R,) array of int64
        The rows that were taken, each once, ascending.
    values : (R, E) array
        Their gradients; those of all other rows are zero.

    Examples
    --------
    >>> import numpy as np
    >>> import fastdl.functional as F
    >>> y, ctx = F.embedding_forward(np.array([2, 0, 2]), np.zeros((1000, 2)))
    >>> rows, values = F.embedding_backward(np.ones((3, 2)), ctx, sparse=True)
    >>> rows
    array([0, 2])
    >>> values
    array([[1., 1.],
           [2., 2.]])
    """
    op = "embedding"
    check_ctx(op, ctx)
    plan = ctx.plan
    terms = gradient(op, dy, plan.y_shape, ctx.dtype).reshape(plan.count, plan.width)
    if not sparse:
        return restored(ctx.ops.scatter_add(terms, ctx.ids, plan.rows), ctx.dtype)
    rows, place = _taken(ctx.ids, plan.rows)
    return rows, restored(ctx.ops.scatter_add(terms, place, len(rows)), ctx.dtype)


def _taken(ids: Array, rows: int) -> tuple[Array, Array]:
    """Return the ids, each once and ascending, and the place of each id among them; few ids are sorted."""
    if rows > _LONG * len(ids):
        return np.unique(ids, return_inverse=True)
    taken = np.zeros(rows, bool)
    taken[ids] = True
    found = np.flatnonzero(taken)
    places = np.empty(rows, np.int64)
    places[found] = np.arange(len(found))
    return found, places[ids]


def _row_numbers(op: str, ids: Array, rows: int) -> Array:
    """Return the ids along one axis, a copy as int64, once all of them are known to be rows.

    What was checked must be what a kernel reads: an id outside the table would be an address outside it.
    """
    if ids.dtype.kind not in "iu":
        raise TypeError(f"{op}: ids must hold integers; got {ids.dtype}")
    numbers = np.array(ids, np.int64, order="C").reshape(-1)
    first = engine().outside(numbers, rows)
    if first >= 0:
        where = tuple(int(i) for i in np.unravel_index(first, ids.shape))
        known = f"the table of {rows} rows has 0 to {rows - 1}" if rows else "the table has no rows"
        raise ValueError(f"{op}: ids has {ids[where]} at {where}; {known}")
    return numbers
