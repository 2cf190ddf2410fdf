"""What ``pytest bench`` takes, and what is left of it as a smoke test."""

from __future__ import annotations

from typing import Any

import pytest

from case import Case
from model_cases import ModelCase


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--bench-threads", type=int, default=1, help="threads for every implementation")


@pytest.fixture
def threads(request: pytest.FixtureRequest) -> int:
    return int(request.config.getoption("--bench-threads"))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """With --benchmark-disable leave of each operation, layout and dtype the smallest case.

    Whole models are run with two samples, by fastdl's best engine and by PyTorch.
    """
    if not config.getoption("benchmark_disable"):
        return
    smallest: dict[Any, float] = {}
    for item in items:
        kind, size = measure(item)
        smallest[kind] = min(size, smallest.get(kind, size))
    chosen = [item for item in items if measure(item)[1] == smallest[measure(item)[0]] and is_quick(item)]
    config.hook.pytest_deselected(items=[item for item in items if item not in set(chosen)])
    items[:] = chosen


def measure(item: pytest.Item) -> tuple[Any, float]:
    """Return what an item is a benchmark of, and how much work it is."""
    case: Case | ModelCase = parameters(item)["case"]
    work = case.work(case.directions[0])
    return (case.op, case.layout, case.dtype), work.flops + work.bytes


def is_quick(item: pytest.Item) -> bool:
    given = parameters(item)
    return given["case"].family != "model" or given["implementation"] in ("native", "torch")


def parameters(item: pytest.Item) -> dict[str, Any]:
    return item.callspec.params  # type: ignore[attr-defined, no-any-return]
