"""What every test run shares: a header that says what it runs on, and the cases of the check matrix."""

from __future__ import annotations

import pytest

pytest.register_assert_rewrite("harness")


def pytest_report_header() -> str:
    import harness
    from fastdl import backends

    missing = f" (native is missing: {backends.native_error})" if backends.native_error else ""
    return f"fastdl: engines {', '.join(harness.ENGINES)}{missing}; instruction set: {backends.info()['cpu']}"


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    import harness

    harness.parametrize(metafunc)
