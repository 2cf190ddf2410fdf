"""One benchmark for every row of a family, every direction and every implementation that can run it.

The implementations are fastdl's engines, the textbook's NumPy, and the other libraries that are installed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import pytest

import fastdl
import limits
import peers
from case import Case
from cases import CASES
from checking import check
from fastdl import backends
from fastdl.config import BACKENDS
from model_cases import MODELS
from peers import fastdl_

ENGINES = [name for name in BACKENDS if name != "auto"]

# Loops in Python do about a million operations a second: beyond this a benchmark would say nothing new,
# slowly.
NAIVE_LIMIT = 4e5


def family_benchmark(family: str) -> Callable[..., None]:
    """Make the test function of one family."""

    @pytest.mark.parametrize("case, direction, implementation", list(rows(family)))
    def benchmark_of_family(
        benchmark: Any, threads: int, case: Case, direction: str, implementation: str
    ) -> None:
        if benchmark.disabled:
            case = case.smallest
        engine = implementation if implementation in ENGINES else "auto"
        if engine == "native" and backends.native_error:
            pytest.skip(f"native: {backends.native_error}")
        with fastdl.use(backend=engine):
            call = prepare(case, direction, implementation, threads)
            check(call.results(), case, direction, f"{implementation}, {case.name}")
            benchmark.group = f"{case.name}, {direction}"
            benchmark(call.run)
            benchmark.extra_info.update(threads=threads, isa=fastdl.info()["cpu"])

        if benchmark.stats:  # absent under --benchmark-disable
            seconds, work = benchmark.stats.stats.median, case.work(direction)
            least, limit = limits.shortest_time(work, threads, case.dtype)
            rates = {"GFLOP/s": work.flops / seconds / 1e9, "GB/s": work.bytes / seconds / 1e9}
            shown = {name: round(value, 3) for name, value in rates.items() if value}
            benchmark.extra_info.update(shown, bytes=work.bytes, limit=limit, share=round(least / seconds, 3))

    return benchmark_of_family


def rows(family: str) -> Iterator[Any]:
    """The parameters of the benchmark, with readable ids."""
    for case in (*CASES, *MODELS):
        if case.family != family:
            continue
        work = case.work(case.directions[0])
        engines = [name for name in ENGINES if name != "naive" or work.flops + work.bytes <= NAIVE_LIMIT]
        for direction in case.directions:
            for name in [*engines, *installed()]:
                yield pytest.param(case, direction, name, id=f"{case.name}, {direction}, {name}")


@cache
def installed() -> list[str]:
    """The peers that are installed. The textbook's NumPy is "textbook" here: "numpy" is an engine."""
    found = []
    for name in peers.PEERS:
        try:
            peers.load(name)
        except ImportError:
            continue
        found.append("textbook" if name == "numpy" else name)
    return found


def prepare(case: Case, direction: str, implementation: str, threads: int) -> peers.Call:
    if implementation in ENGINES:
        return fastdl_.prepare(case, direction, threads)
    module = peers.load("numpy" if implementation == "textbook" else implementation)
    call: peers.Call | None = module.prepare(case, direction, threads)
    if call is None:
        pytest.skip(f"{implementation} has no such operation, or it is the same as another's")
    return call
