"""The backends that every suite in this folder runs on."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import fastdl
from fastdl import backends


@pytest.fixture
def use_backend(backend: str) -> Iterator[None]:
    """Run the test on its parameter `backend`, or skip it with the reason why that backend is missing."""
    if backend == "native" and backends.native_error is not None:
        pytest.skip(f"native backend: {backends.native_error}")
    with fastdl.use(backend=backend):
        yield
