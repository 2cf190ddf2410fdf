"""What ``pytest bench`` takes, and what is left of it as a smoke test."""

from __future__ import annotations

from typing import Any

import pytest

from case import Case


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--bench-threads", type=int, default=1, help="threads for every implementation")


@pytest.fixture
def threads(request: pytest.FixtureRequest) -> int:
    return int(request.config.getoption("--bench-threads"))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """With --benchmark-disable only the smallest case of each operation, layout and dtype runs."""
    if not config.getoption("benchmark_disable"):
        return
    smallest: dict[Any, float] = {}
    for item in items:
        kind, size = measure(item)
        smallest[kind] = min(size, smallest.get(kind, size))
    left_out = [item for item in items if measure(item)[1] > smallest[measure(item)[0]]]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if item not in set(left_out)]


def measure(item: pytest.Item) -> tuple[Any, float]:
    """Return what an item is a benchmark of, and how much work it is."""
    case: Case = item.callspec.params["case"]  # type: ignore[attr-defined]
    work = case.work(case.directions[0])
    return (case.op, case.layout, case.dtype), work.flops + work.bytes
