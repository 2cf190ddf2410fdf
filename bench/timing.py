"""Times of several calls, taken in turn, and what their ratios say.

Whatever else the machine does falls on all of them, and the median of the paired ratios stands still where
single times do not.
"""

from __future__ import annotations

import gc
import statistics
from collections.abc import Callable, Mapping
from time import perf_counter, process_time, sleep
from typing import Any, NamedTuple

Function = Callable[[], Any]

SHORTEST_SAMPLE = 2e-3  # seconds: what a clock and an interrupt add to one sample stays below a percent
FEWEST_ROUNDS = 9
PAUSE = 2e-3  # seconds that `settle` looks at
WAKING = 4e-3  # seconds until a processor that slept is seen to run its thread, in a virtual machine
LONGEST_PAUSE = 0.1  # no library is known to spin for longer than a tenth of that


class Ratio(NamedTuple):
    """Another's time over ours: the median of the pairs, and their quartiles."""

    median: float
    low: float
    high: float


def sample(function: Function, repeats: int, waking: float = 0.0) -> float:
    """Return the seconds that one call takes, as the mean of `repeats` in a row.

    They are preceded by calls that do not count, one at least and as many as take `waking` seconds: the data
    has left the cache, the threads sleep, and a processor may take milliseconds to run one again. In their
    first call some libraries wait for it and some go on with fewer threads; compared are loops on their way.
    """
    stop = perf_counter() + waking
    function()
    while perf_counter() < stop:
        function()
    start = perf_counter()
    for _ in range(repeats):
        function()
    return (perf_counter() - start) / repeats


def settle() -> None:
    """Wait until this process's threads sleep.

    A library's threads spin for more work after a call, PyTorch's for 8 ms, and would take a processor from
    the next library.
    """
    for _ in range(round(LONGEST_PAUSE / PAUSE)):
        before = process_time()
        sleep(PAUSE)
        if process_time() - before < PAUSE / 4:
            return


def interleave(functions: Mapping[str, Function], seconds: float, threads: int) -> dict[str, list[float]]:
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
                if threads > 1:
                    settle()
                times[name].append(sample(function, repeats[name], WAKING if threads > 1 else 0.0))
    finally:
        if enabled:
            gc.enable()
    return times


def ratio(theirs: list[float], ours: list[float]) -> Ratio:
    """Return how many times as long as ours theirs took, pair by pair."""
    low, median, high = statistics.quantiles([b / a for a, b in zip(ours, theirs)], n=4)
    return Ratio(median, low, high)
