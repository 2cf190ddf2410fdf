"""Gradients that are too large, made smaller: by the element, by the parameter, or all by one factor."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, TypeAlias

import numpy as np

from . import checks
from .layers.arrays import Array
from .layers.rows import RowGradient

Gradient: TypeAlias = "Array | RowGradient"


def limits(op: str, given: dict[str, float | None]) -> dict[str, float | None]:
    """Return limits by name; at most one may be given.

    Raises
    ------
    ValueError
        If more are given, or one is not above zero.
    """
    found = {name: value for name, value in given.items() if value is not None}
    if len(found) > 1:
        raise ValueError(f"{op}: only one of {', '.join(given)} may be given; got {' and '.join(found)}")
    for name, value in found.items():
        found[name] = checks.number(op, name, value)
        if not found[name]:
            raise ValueError(f"{op}: {name} must be above 0; got {value!r}")
    return {**given, **found}


def by_value(gradients: Sequence[Gradient], limit: float) -> list[Gradient]:
    """Return gradients whose elements are held inside [-limit, limit]."""
    return [_map(gradient, lambda g: g.clip(-limit, limit)) for gradient in gradients]


def by_norm(keys: Sequence[str], gradients: Sequence[Gradient], limit: float) -> list[Gradient]:
    """Return gradients each of which is scaled down to a norm of `limit` if it is longer."""
    return [_scaled(gradient, limit, norm) for gradient, norm in zip(gradients, _norms(keys, gradients))]


def by_global_norm(keys: Sequence[str], gradients: Sequence[Gradient], limit: float) -> list[Gradient]:
    """Return gradients all scaled by one factor, down to a norm of `limit` of all together if it is more.

    Pascanu, Mikolov and Bengio, "On the difficulty of training recurrent neural networks", 2013.
    """
    norm = math.hypot(*_norms(keys, gradients))
    return [_scaled(gradient, limit, norm) for gradient in gradients]


def _norms(keys: Sequence[str], gradients: Sequence[Gradient]) -> list[float]:
    norms = []
    for key, gradient in zip(keys, gradients):
        values = gradient.values if isinstance(gradient, RowGradient) else gradient
        norm = math.sqrt(np.square(values, dtype=np.float64).sum())
        if not math.isfinite(norm):  # scaled by it all would become NaN
            raise ValueError(f"the gradient of {key!r} holds NaN or Inf: its norm cannot be clipped")
        norms.append(norm)
    return norms


def _scaled(gradient: Gradient, limit: float, norm: float) -> Gradient:
    return _map(gradient, lambda g: g * (limit / norm)) if norm > limit else gradient


def _map(gradient: Gradient, function: Any) -> Gradient:
    if isinstance(gradient, RowGradient):
        return replace(gradient, values=function(gradient.values))
    return function(gradient)
