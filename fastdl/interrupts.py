"""Ctrl-C, kept waiting for as long as something must not be left half done."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def held() -> Iterator[None]:
    """Let a Ctrl-C that comes inside a ``with`` block take effect at its end.

    Only the main thread is ever interrupted, and only where Python answers the signal at all.
    """
    is_main = threading.current_thread() is threading.main_thread()
    answer = signal.getsignal(signal.SIGINT) if is_main else None
    if not callable(answer):
        yield
        return
    came: list[tuple[int, FrameType | None]] = []
    signal.signal(signal.SIGINT, lambda number, frame: came.append((number, frame)))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, answer)
        if came:
            answer(*came[0])
