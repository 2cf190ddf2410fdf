"""Times of several calls, taken in turn, and what their ratios say.

Whatever else the machine does falls on all of them, and the median of the paired ratios stands still where
single times do not.
"""

from __future__ import annotations

import gc
import statistics
from collections.abc import Callable, Mapping
from time import perf_counter
from typing import Any, NamedTuple

Function = Callable[[], Any]

SHORTEST_SAMPLE = 2e-3  # seconds: what a clock and an interrupt add to one sample stays below a percent
FEWEST_ROUNDS = 9


class Ratio(NamedTuple):
    """Another's time over ours: the median of the pairs, and their quartiles."""

    median: float
    low: float
    high: float


def sample(function: Function, repeats: int) -> float:
    """Return the seconds that one call takes, as the mean of `repeats` in a row.

    Short calls are preceded by one that does not count: it finds the other libraries' threads still waiting
    for work, and its own data no longer in the cache.
    """
    if repeats > 1:
        function()
    start = perf_counter()
    for _ in range(repeats):
        function()
    return (perf_counter() - start) / repeats


def interleave(functions: Mapping[str, Function], seconds: float) -> dict[str, list[float]]:
    """Time all of `functions` in turn, each for about `seconds` and in `FEWEST_ROUNDS` samples at least."""
    repeats = {}
    for name, function in functions.items():
        function()
        repeats[name] = max(1, round(SHORTEST_SAMPLE / sample(function, 2)))
    times: dict[str, list[float]] = {name: [] for name in functions}
    enabled = gc.isenabled()
    gc.disable()
    try:
        stop = perf_counter() + seconds * len(functions)
        while perf_counter() < stop or len(next(iter(times.values()))) < FEWEST_ROUNDS:
            for name, function in functions.items():
                times[name].append(sample(function, repeats[name]))
    finally:
        if enabled:
            gc.enable()
    return times


def ratio(theirs: list[float], ours: list[float]) -> Ratio:
    """Return how many times as long as ours theirs took, pair by pair."""
    low, median, high = statistics.quantiles([b / a for a, b in zip(ours, theirs)], n=4)
    return Ratio(median, low, high)
