"""What running layers changes in them, noted so that it can be undone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from .base import Layer

_open: ContextVar[Journal | None] = ContextVar("journal", default=None)


class Journal:
    """What some things were like before they were first changed.

    Random numbers are noted when they are drawn, and states when they are replaced, so that a step of layers
    that do neither costs nothing.
    """

    def __init__(self) -> None:
        self._before: dict[Any, Callable[[], None]] = {}

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


@contextmanager
def journal() -> Iterator[Journal]:
    """Note, in this thread, what layers change inside a ``with`` block."""
    kept = Journal()
    token = _open.set(kept)
    try:
        yield kept
    finally:
        _open.reset(token)


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
