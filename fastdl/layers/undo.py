"""What running layers changes in them, noted so that it can be undone."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import numpy as np

from ..interrupts import Held

if TYPE_CHECKING:
    from .base import Layer

_open: ContextVar[Journal | None] = ContextVar("journal", default=None)


class Journal:
    """What some things were like before they were changed inside a ``with`` block, in this thread.

    If the block ends in an error, they are so again. Random numbers are noted when they are drawn, and states
    when they are replaced, so that a step of layers that do neither costs nothing.
    """

    def __init__(self) -> None:
        self._before: dict[Any, Callable[[], None]] = {}

    def __enter__(self) -> Journal:
        self._token = _open.set(self)
        return self

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        _open.reset(self._token)
        if kind is not None:
            with Held():
                self.undo()

    def note(self, key: Any, undo: Callable[[], None]) -> None:
        """Keep what brings a thing back, unless it is noted already."""
        self._before.setdefault(key, undo)

    def commit(self) -> None:
        """Forget all: the changes are to stay."""
        self._before.clear()

    def undo(self) -> None:
        """Bring everything back."""
        for undo in self._before.values():
            undo()
        self.commit()


def note_drawing(random: np.random.Generator) -> None:
    """Note where a stream of random numbers stands; for use before numbers are drawn."""
    kept = _open.get()
    if kept is not None:
        bits = random.bit_generator
        state = bits.state
        kept.note(random, lambda: setattr(bits, "state", state))


def note_attribute(layer: Layer, name: str) -> None:
    """Note an attribute of a layer; for use before it is set."""
    kept = _open.get()
    if kept is not None:
        value = getattr(layer, name)
        kept.note((layer, name), lambda: setattr(layer, name, value))
