"""What replacements ask and say: which tier serves, how narrow to compute, that an input is not for them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from .target import Tier

__all__ = ["STATE", "Settings", "State", "Unserved", "narrow", "recall", "remember", "settings"]

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
    seconds : tuple of float
        What the original's other methods would take, for the report.
    watch : (bool, Contest or None, int)
        Whether it was fastdl's, who takes down the times of the other methods, and the size of the input.
    """

    __slots__ = ("seconds", "value", "watch")

    def __init__(self, value: Any = None) -> None:
        self.value = value
        self.seconds: tuple[float, ...] = ()
        self.watch: tuple[bool, Any, int] = (True, None, 1)

    def __deepcopy__(self, memo: Any) -> State:
        return self

    def __reduce__(self) -> tuple[type[State], tuple[()]]:
        return State, ()


def remember(layer: Any, value: Any) -> None:
    """Keep what the backward pass of a replaced method needs, beside the attributes of the original."""
    vars(layer)[STATE] = State(value)


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
