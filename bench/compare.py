"""fastdl against PyTorch: the same arrays, one process, one call of each in turn.

    python bench/compare.py                        the seven cases that fastdl makes a promise about
    python bench/compare.py --cases "pool|relu"    every row of cases.py whose name matches

A ratio is PyTorch's time over fastdl's: above 1, fastdl is the faster. Since the two alternate, whatever else
the machine does falls on both, and the median of the paired ratios stands still where single times do not.
Results are compared before anything is timed, and a difference beyond rounding ends the run.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import statistics
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from time import perf_counter

import fastdl
from cases import CASES, PROMISED, Case
from fastdl import backends
from implementations import Call, calls, check

SHORTEST_SAMPLE = 2e-3  # seconds: what a clock and an interrupt add to one sample stays below a percent
FEWEST_PAIRS = 9


@dataclass(frozen=True)
class Result:
    """What one line of the table says."""

    case: str
    direction: str
    fastdl_ms: float
    torch_ms: float
    ratio: float
    ratio_low: float  # the quartiles of the paired ratios
    ratio_high: float
    pairs: int
    rate: float
    unit: str

    def line(self) -> str:
        times = f"{self.fastdl_ms:9.3f} {self.torch_ms:9.3f}"
        spread = f"{self.ratio:6.2f}  {self.ratio_low:5.2f} - {self.ratio_high:5.2f}"
        return f"{self.case:<46} {self.direction:<8} {times}  {spread}  {self.rate:8.1f} {self.unit}"


HEADER = (
    f"{'case':<46} {'':<8} {'fastdl':>9} {'torch':>9}  {'ratio':>6}  {'quartiles':>13}  {'fastdl does':>11}"
)


def sample(call: Call, repeats: int) -> float:
    """Seconds that one call takes, as the mean of `repeats` in a row."""
    start = perf_counter()
    for _ in range(repeats):
        call()
    return (perf_counter() - start) / repeats


def paired_times(ours: Call, theirs: Call, seconds: float) -> list[tuple[float, float]]:
    """Time the two in turn for about `seconds`, after a warm-up, in samples long enough to be timed."""
    sample(ours, 2)
    sample(theirs, 2)
    repeats = [max(1, round(SHORTEST_SAMPLE / sample(call, 3))) for call in (ours, theirs)]
    pairs: list[tuple[float, float]] = []
    stop = perf_counter() + seconds
    while perf_counter() < stop or len(pairs) < FEWEST_PAIRS:
        pairs.append((sample(ours, repeats[0]), sample(theirs, repeats[1])))
    return pairs


def measure(case: Case, train: bool, seconds: float) -> Result:
    """Compare the results of one case, then time it."""
    ours, theirs = calls("fastdl", case)[train], calls("torch", case)[train]
    exact = calls("torch", case, "float64")[train]()
    check(ours(), exact, f"fastdl, {case.name}")
    check(theirs(), exact, f"torch, {case.name}")

    pairs = paired_times(ours, theirs, seconds)
    low, ratio, high = statistics.quantiles([b / a for a, b in pairs], n=4)
    mine = statistics.median(a for a, _ in pairs)
    amount, unit = case.work(ours()[0], train)
    return Result(
        case=case.name,
        direction="training" if train else "forward",
        fastdl_ms=mine * 1e3,
        torch_ms=statistics.median(b for _, b in pairs) * 1e3,
        ratio=ratio,
        ratio_low=low,
        ratio_high=high,
        pairs=len(pairs),
        rate=amount / mine / 1e9,
        unit=unit,
    )


def machine(threads: int) -> dict[str, object]:
    """What the numbers were measured on."""
    import torch

    return {
        "fastdl": fastdl.__version__,
        "torch": torch.__version__,
        "engine": backends.select("auto").engines["conv_fwd"],
        "threads": threads,
        "processor": processor(),
        "load": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
    }


def processor() -> str:
    """The processor's name where the system tells it, else its architecture."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Time fastdl against PyTorch, interleaved in one process.")
    parser.add_argument(
        "--cases", metavar="REGEX", help="rows of cases.py whose name matches; default: the seven promised"
    )
    parser.add_argument("--threads", type=int, default=1, help="threads for both (default 1)")
    parser.add_argument("--seconds", type=float, default=2.0, help="time spent on each line (default 2)")
    parser.add_argument("--json", metavar="FILE", help="write the results here as well")
    options = parser.parse_args(arguments)

    try:
        import torch
    except ImportError:
        print(
            "compare: this compares with PyTorch, which is not installed: pip install torch", file=sys.stderr
        )
        return 1

    rows = (
        PROMISED if options.cases is None else [case for case in CASES if re.search(options.cases, case.name)]
    )
    if not rows:
        print(
            f"compare: no case matches {options.cases!r}; there are:",
            *(c.name for c in CASES),
            sep="\n  ",
            file=sys.stderr,
        )
        return 2

    torch.set_num_threads(options.threads)
    fastdl.set_num_threads(options.threads)
    about = machine(options.threads)
    print(", ".join(f"{key} {value}" for key, value in about.items()))
    if about["load"] is not None and float(str(about["load"])) > 0.5:
        print("The machine is busy: times will be long, and ratios less certain than their quartiles say.")

    print(HEADER)
    results = []
    for case in rows:
        for train in (False, True):
            try:
                results.append(measure(case, train, options.seconds))
            except AssertionError as difference:
                print(f"compare: {difference}", file=sys.stderr)
                return 1
            print(results[-1].line(), flush=True)

    if options.json:
        with open(options.json, "w", encoding="utf-8") as stream:
            json.dump({"machine": about, "results": [asdict(result) for result in results]}, stream, indent=1)
    return 0


if __name__ == "__main__":
    sys.exit(main())
