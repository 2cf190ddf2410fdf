"""The table: one line a case, direction and number of threads, and geometric means by family."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

import limits
from case import Case
from model_cases import ModelCase
from timing import ratio

UNSTEADY = 0.1  # of a ratio: quartiles further apart than this are marked

Line = dict[str, Any]
Run = dict[str, Any]


def line(case: Case | ModelCase, direction: str, threads: int, times: Mapping[str, list[float]]) -> Line:
    """Return what is kept of one measurement, as it stands in the file."""
    ours = times["fastdl"]
    seconds = statistics.median(ours)
    work = case.work(direction)
    least, limit = limits.shortest_time(work, threads, case.dtype)
    return {
        "case": case.name,
        "group": case.group,
        "direction": direction,
        "threads": threads,
        "rounds": len(ours),
        "seconds": {name: statistics.median(values) for name, values in times.items()},
        "ratios": {name: ratio(values, ours) for name, values in times.items() if name != "fastdl"},
        "gflops": work.flops / seconds / 1e9,
        "gbytes": work.bytes / seconds / 1e9,
        "share": least / seconds,
        "limit": limit,
    }


def best(line: Line) -> str | None:
    """Return the peer that is the fastest in this line."""
    ratios = line["ratios"]
    return min(ratios, key=lambda name: ratios[name][0]) if ratios else None


def heading(run: Run) -> None:
    print(", ".join(f"{key} {value}" for key, value in run["machine"].items()))
    for threads, text in run["limits"].items():
        print(f"{threads} thread(s): " + ", ".join(f"{key} {value}" for key, value in text.items()))
    print("A ratio is another's time over fastdl's, with its quartiles; ~ marks quartiles far apart.")


def show(line: Line, progress: str) -> None:
    seconds = line["seconds"]["fastdl"]
    rate = f"{line['gflops']:7.1f} GFLOP/s" if line["limit"] == "fma" else f"{line['gbytes']:7.1f} GB/s   "
    text = f"{progress} {line['case']:<52} {line['direction']:<8} {line['threads']}t {seconds * 1e3:9.3f} ms"
    text += f" {rate} {line['share']:4.0%} of {line['limit']:<4}"
    for name, (median, low, high) in line["ratios"].items():
        mark = "~" if high - low > UNSTEADY * median else " "
        text += f"  {name} {median:5.2f}{mark}({low:.2f}-{high:.2f})"
    print(text, flush=True)


def summarise(run: Run) -> None:
    """Print geometric means by family, against each peer and against the best of each case."""
    for threads in sorted({line["threads"] for line in run["lines"]}):
        lines = [line for line in run["lines"] if line["threads"] == threads]
        print(f"\n{threads} thread(s): geometric means, the least, and how many are at 1.0 or above")
        for group in dict.fromkeys(line["group"] for line in lines):
            for direction in dict.fromkeys(line["direction"] for line in lines):
                chosen = [line for line in lines if (line["group"], line["direction"]) == (group, direction)]
                if chosen:
                    print(f"  {group:<12} {direction:<9} {means(chosen)}")
        print(f"  {'float32':<22} {means([line for line in lines if line['group'] != 'float64'])}")
    for speedup in two_threads(run["lines"]):
        print(speedup)
    if run["failures"]:
        print("\nfailed:", *run["failures"], sep="\n  ")


def means(lines: Sequence[Line]) -> str:
    columns = {"best": [line["ratios"][name][0] for line in lines if (name := best(line))]}
    for name in dict.fromkeys(name for line in lines for name in line["ratios"]):
        columns[name] = [line["ratios"][name][0] for line in lines if name in line["ratios"]]
    if len(columns) == 2:
        del columns["best"]
    return "  ".join(
        f"{name} {geometric_mean(values):5.2f} (least {min(values):.2f}, {above(values)})"
        for name, values in columns.items()
        if values
    )


def above(values: Sequence[float]) -> str:
    return f"{sum(value >= 1 for value in values)}/{len(values)}"


def geometric_mean(values: Sequence[float]) -> float:
    return math.exp(statistics.fmean(map(math.log, values)))


def two_threads(lines: Sequence[Line]) -> list[str]:
    """Say how much two threads bring on what takes one thread more than a millisecond."""
    seconds = {
        (line["case"], line["direction"], line["threads"]): line["seconds"]["fastdl"] for line in lines
    }
    gains = {
        (case, direction): time / seconds[case, direction, 2]
        for (case, direction, threads), time in seconds.items()
        if threads == 1 and time > 1e-3 and (case, direction, 2) in seconds
    }
    if not gains:
        return []
    (case, direction), least = min(gains.items(), key=lambda item: item[1])
    return [
        f"\nTwo threads against one, over 1 ms: geometric mean {geometric_mean(list(gains.values())):.2f},"
        f" least {least:.2f} ({case}, {direction})"
    ]
