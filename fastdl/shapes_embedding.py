"""The plan of an embedding; see `shapes`."""

from __future__ import annotations

import math
from dataclasses import dataclass

from .checks import Shape, check_bytes
from .shapes import _cached


@dataclass(frozen=True, slots=True)
class EmbeddingPlan:
    """One look-up: `count` ids, each the number of one of `rows` rows of `width` entries."""

    count: int
    rows: int
    width: int
    y_shape: Shape


@_cached
def embedding_plan(op: str, ids_shape: Shape, table_shape: Shape) -> EmbeddingPlan:
    """Plan y = table[ids] for ids (...) and a table (rows, width).

    Raises
    ------
    ValueError
        Naming `op`, the argument, what was expected and what came.
    """
    if len(table_shape) != 2:
        raise ValueError(f"{op}: table must be (rows, width); got shape {table_shape}")
    rows, width = table_shape
    y_shape = (*ids_shape, width)
    check_bytes(op, "table", table_shape)
    check_bytes(op, "the output", y_shape)
    return EmbeddingPlan(count=math.prod(ids_shape), rows=rows, width=width, y_shape=y_shape)
