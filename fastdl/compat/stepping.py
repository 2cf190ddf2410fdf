"""One fused step of an optimizer that returns new arrays, as teaching code writes them."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastdl.functional._arrays import engine

from .inputs import Array, plain
from .tier import Unserved, settings

__all__ = ["UNUSED", "float64_pair", "fresh", "step"]

UNUSED = np.empty(0)
"""A slot that a formula does not keep."""


def float64_pair(parameter: Any, gradient: Any) -> tuple[Array, Array]:
    """Return a parameter and its gradient, both of float64 and of one shape.

    Raises
    ------
    Unserved
        If they are something else; where float32 was allowed, a gradient may be of float32.
    """
    parameter, gradient = plain(parameter, None, "f"), plain(gradient, None, "f")
    if settings.dtype is not None:
        gradient = gradient.astype(np.float64, copy=False)
    if parameter.shape != gradient.shape or not parameter.dtype == gradient.dtype == np.float64:
        raise Unserved(f"a gradient of {gradient.dtype} for a parameter of {parameter.dtype}")
    return parameter, np.ascontiguousarray(gradient)


def fresh(slot: Any, like: Array) -> Array:
    """Return a copy of what an optimizer keeps of a parameter; zeros before the first step.

    Raises
    ------
    Unserved
        If it keeps something else.
    """
    if slot is None:
        return np.zeros(like.shape)
    if type(slot) is not np.ndarray or slot.dtype != np.float64 or slot.shape != like.shape:
        raise Unserved("a state that is not float64")
    return slot.copy()


def step(kind: str, gradient: Array, slots: list[Array], hyper: tuple[float, ...]) -> Array:
    """Return what is to be subtracted from a parameter; the slots are brought up to date.

    Parameters
    ----------
    kind : str
        As the engines name the formula: "adam", "rmsprop", "adagrad" or "adadelta".
    gradient : array of float64
    slots : list of arrays of float64
        Written to.
    hyper : tuple of float
        The numbers of the formula.
    """
    change = np.zeros(gradient.shape)
    engine().update(kind, [(change, gradient, slots, None)], hyper)
    return np.negative(change, out=change)
