"""What replacements ask and say: which tier serves, how narrow to compute, that an input is not for them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isnan
from typing import Any

import numpy as np

from .target import Tier

__all__ = [
    "STATE",
    "Settings",
    "State",
    "Unserved",
    "clock",
    "credit",
    "narrow",
    "recall",
    "remember",
    "settings",
]

STATE = "_fastdl"
"""The attribute of a layer that says that fastdl did its last forward pass."""


class Unserved(TypeError):  # noqa: N818 - a refusal; the original serves then
    """The replacement does not take this input; raised before anything has changed."""


@dataclass
class Settings:
    """How definitions are served: set once by `accelerate` or the command line.

    Attributes
    ----------
    tier : "fast" or "exact"
        Exact gives the bits of the original.
    dtype : numpy.dtype or None
        float32 lets the fast tier compute, and answer, in float32 what the original does in float64.
    verify : bool
        Run the original beside every replacement and keep the largest difference.
    """

    tier: Tier = "fast"
    dtype: np.dtype[Any] | None = None
    verify: bool = False


settings = Settings()


def narrow(x: Any) -> np.ndarray[Any, Any]:
    """Return x as an array of floats: float32 where that was allowed, else its own type (integers: float64).

    Examples
    --------
    >>> narrow([1, 2]).dtype
    dtype('float64')
    """
    x = np.asarray(x)
    if x.dtype not in (np.float32, np.float64):
        x = x.astype(np.float64)
    return x if settings.dtype is None else x.astype(settings.dtype, copy=False)


class State:
    """What a forward pass keeps for its backward pass. A copy of the layer shares it; no file holds it.

    Attributes
    ----------
    value : object
        What `remember` was given.
    counts : tuple
        Where the calls of each method are counted.
    watch : tuple
        Whether it was fastdl's, who takes down the times of the other methods, the verdict, and the size of
        the input.
    """

    __slots__ = ("counts", "value", "watch")

    def __init__(self, value: Any = None) -> None:
        self.value = value
        self.counts: tuple[Any, ...] = ()
        self.watch: tuple[bool, Any, Any, int] = (True, None, None, 1)

    def __deepcopy__(self, memo: Any) -> State:
        return self

    def __reduce__(self) -> tuple[type[State], tuple[()]]:
        return State, ()


class Clock:
    """The time inside of served calls: of one within another, the outer has what the inner has not."""

    inside = 0.0

    def own(self, seconds: float, before: float) -> float:
        """Return what a call took of its own, which began when `inside` was `before`."""
        own = seconds - (self.inside - before)
        self.inside = before + seconds
        return own


clock = Clock()


def credit(layers: Sequence[Any], method: int, seconds: float) -> None:
    """Count one call of each layer that a larger replacement has done in their place.

    Parameters
    ----------
    layers : sequence
        fastdl did their last forward passes, and the inputs were as large.
    method : int
        Which of their targets' methods.
    seconds : float
        What was taken; it is shared out as the originals would have taken theirs.
    """
    states = [vars(layer)[STATE] for layer in layers]
    theirs = [_expected(state, method) for state in states]
    for state, original in zip(states, theirs):
        if state.counts:
            count, (*_, verdict, size) = state.counts[method], state.watch
            took = seconds * (original / sum(theirs) if any(theirs) else 1 / len(theirs))
            count.calls += 1
            count.seconds += took
            count.original_seconds += 0.0 if verdict is None else verdict.original(method, size, took)
    clock.inside += seconds


def _expected(state: State, method: int) -> float:
    """What an original's method would take; 0 where that is not known."""
    *_, verdict, size = state.watch
    seconds = verdict.seconds[method] * size if verdict is not None and verdict.seconds else 0.0
    return 0.0 if isnan(seconds) else seconds


def remember(layer: Any, value: Any) -> None:
    """Keep what the backward pass of a replaced method needs, beside the attributes of the original."""
    attributes = vars(layer)
    state, before = State(value), attributes.get(STATE)
    if before is not None:
        state.counts, state.watch = before.counts, (True, None, *before.watch[2:])
    attributes[STATE] = state


def recall(layer: Any) -> Any:
    """Return what `remember` kept.

    Raises
    ------
    Unserved
        If the original did the forward pass.
    """
    state = vars(layer).get(STATE)
    if state is None or state.value is None:
        raise Unserved("the forward pass was not fastdl's")
    return state.value
