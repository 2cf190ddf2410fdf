"""Ctrl-C, kept waiting for as long as something must not be left half done."""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]
import signal
import threading
from types import FrameType
from typing import Any

# `signal.signal` without its translation to and from enumerations, which takes longer than it does: this
# comes once a step, and a step may be short.
_answer_with = _signal.signal
_CTRL_C = int(signal.SIGINT)


class Held:
    """Let a Ctrl-C that comes inside a ``with`` block take effect at its end.

    Only the main thread is ever interrupted, and only where Python answers the signal at all.
    """

    def __enter__(self) -> None:
        self._came: list[tuple[int, FrameType | None]] = []
        self._answer: Any = None
        if threading.current_thread() is threading.main_thread():
            self._answer = _answer_with(_CTRL_C, self._note)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self._came.append((number, frame))

    def __exit__(self, *error: object) -> None:
        if self._answer is not None:
            _answer_with(_CTRL_C, self._answer)
        if self._came and callable(self._answer):
            self._answer(*self._came[0])
