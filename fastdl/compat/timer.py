"""The clock by which the two sides are compared."""

from __future__ import annotations

from collections.abc import Callable
from time import get_clock_info, perf_counter, thread_time

from ..config import current

__all__ = ["timer"]

_FINE = get_clock_info("thread_time").resolution < 1e-6


def timer(*, ours: bool) -> Callable[[], float]:
    """Return what tells the time for fastdl's side or the original's.

    What other programs take of a busy machine shall not decide, so it is the time of this thread alone: it is
    the whole of the original's, or less, and all of fastdl's if that has one thread.
    """
    return thread_time if _FINE and (not ours or current().threads == 1) else perf_counter
