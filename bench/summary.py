"""What a run says: one line a case, direction and number of threads, and geometric means over them."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import limits
from case import Case
from model_cases import ModelCase
from timing import ratio

ONE_THREAD = "one thread"  # fastdl again, timed beside what it does with several
WORTH_DIVIDING = 1e-3  # seconds: what takes one thread longer should gain from a second

Line = dict[str, Any]


class Mean(NamedTuple):
    """Ratios of several lines: how large on the whole, the least, and how many reach 1."""

    geometric: float
    least: float
    reached: int
    lines: int

    @classmethod
    def of(cls, values: Sequence[float]) -> Mean:
        mean = math.exp(statistics.fmean(map(math.log, values)))
        return cls(mean, min(values), sum(value >= 1 for value in values), len(values))


class Row(NamedTuple):
    """The means of a group of lines, against each peer, and against the best of each line."""

    group: str
    direction: str
    means: dict[str, Mean]


def line(case: Case | ModelCase, direction: str, threads: int, times: Mapping[str, list[float]]) -> Line:
    """Return what is kept of one measurement, as it stands in the file."""
    ours = times["fastdl"]
    seconds = statistics.median(ours)
    work = case.work(direction)
    least, limit = limits.shortest_time(work, threads, case.dtype)
    others = {name: values for name, values in times.items() if name not in ("fastdl", ONE_THREAD)}
    return {
        "case": case.name,
        "group": case.group,
        "direction": direction,
        "threads": threads,
        "rounds": len(ours),
        "seconds": {name: statistics.median(values) for name, values in times.items()},
        "ratios": {name: ratio(values, ours) for name, values in others.items()},
        "gain": ratio(times[ONE_THREAD], ours) if ONE_THREAD in times else None,
        "gflops": work.flops / seconds / 1e9,
        "gbytes": work.bytes / seconds / 1e9,
        "share": least / seconds,
        "limit": limit,
        "share_of_memory": work.bytes / limits.memory_rate(threads) / seconds,
    }


def best(line: Line) -> str | None:
    """Return the peer that is the fastest in this line."""
    ratios = line["ratios"]
    return min(ratios, key=lambda name: ratios[name][0]) if ratios else None


def table(lines: Sequence[Line]) -> Iterator[Row]:
    """Yield a row for each group and direction, then those that count: operations, float64, models."""
    for group in dict.fromkeys(line["group"] for line in lines):
        for direction in dict.fromkeys(line["direction"] for line in lines):
            chosen = [line for line in lines if (line["group"], line["direction"]) == (group, direction)]
            if chosen:
                yield Row(group, direction, means(chosen))
    kinds = {"model": "all models", "float64": "all float64"}
    for total in ("all operations", *kinds.values()):
        chosen = [line for line in lines if kinds.get(line["group"], "all operations") == total]
        if chosen:
            yield Row(total, "", means(chosen))


def means(lines: Sequence[Line]) -> dict[str, Mean]:
    """Return the mean ratio to each peer, over the lines that it is in; first the one to the best of each."""
    values = {"best": [line["ratios"][name][0] for line in lines if (name := best(line))]}
    for name in dict.fromkeys(name for line in lines for name in line["ratios"]):
        values[name] = [line["ratios"][name][0] for line in lines if name in line["ratios"]]
    if len(values) == 2:  # the only peer is the best one
        del values["best"]
    return {name: Mean.of(those) for name, those in values.items() if those}


def gains(lines: Sequence[Line]) -> list[Line]:
    """Return the lines that several threads should speed up, those that gain the least first."""
    long = [line for line in lines if line["gain"] and line["seconds"][ONE_THREAD] > WORTH_DIVIDING]
    return sorted(long, key=lambda line: float(line["gain"][0]))
