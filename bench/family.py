"""One benchmark for every row of a family, every direction and every implementation that can run it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest

import fastdl
from cases import CASES, Case
from fastdl import backends
from implementations import Functions, calls, check, function_calls

DIRECTIONS = ("forward", "training")

# Loops in Python do about a million operations a second: beyond this a benchmark would say nothing new,
# slowly.
NAIVE_LIMIT = 2e5


def family_benchmark(family: str, textbook: Mapping[str, Functions]) -> Callable[..., None]:
    """Make the test function of one family.

    `textbook` gives, for some operations, the functions a NumPy textbook has for them: infer, forward with
    what backward needs, backward.
    """

    @pytest.mark.parametrize("case, direction, implementation", list(rows(family, textbook)))
    def benchmark_of_family(benchmark: Any, case: Case, direction: str, implementation: str) -> None:
        train = direction == "training"
        with fastdl.use(threads=1):
            expected = calls("auto", case)[train]()
        engine = implementation if implementation in ("naive", "numpy", "native") else "auto"
        if engine == "native" and backends.native_error:
            pytest.skip(f"native: {backends.native_error}")

        with fastdl.use(backend=engine, threads=1):
            call = prepare(case, implementation, textbook)[train]
            check(call(), expected, f"{implementation}, {case.name}")
            benchmark.group = f"{case.name}, {direction}"
            benchmark(call)

        amount, unit = case.work(expected[0], train)
        if benchmark.stats:  # absent under --benchmark-disable
            benchmark.extra_info[unit] = round(amount / benchmark.stats.stats.median / 1e9, 3)
        benchmark.extra_info.update(threads=1, engine=backends.select("auto").engines["gemm"])

    return benchmark_of_family


def rows(family: str, textbook: Mapping[str, Functions]) -> Iterator[Any]:
    """The parameters of the benchmark, with readable ids."""
    for case in CASES:
        if case.family != family:
            continue
        names = ["numpy", "native", "torch"]
        if case.op in textbook:
            names.insert(0, "textbook")
        if case.multiply_adds <= NAIVE_LIMIT:
            names.insert(0, "naive")
        for direction in DIRECTIONS:
            for name in names:
                yield pytest.param(case, direction, name, id=f"{case.name}, {direction}, {name}")


def prepare(case: Case, implementation: str, textbook: Mapping[str, Functions]) -> tuple[Any, Any]:
    if implementation == "textbook":
        return function_calls(case, case.arrays(), textbook[case.op])
    if implementation == "torch":
        pytest.importorskip("torch").set_num_threads(1)
    return calls(implementation, case)
