"""Settings: who sees a change, for how long, and what is refused."""

from __future__ import annotations

import os
import subprocess
import sys
import threading

import numpy as np
import pytest

import fastdl
from fastdl import backends, config


@pytest.fixture(autouse=True)
def _settings_put_back():
    with config.use():
        yield


def run(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_block_ends() -> None:
    before = config.current()
    with fastdl.use(backend="naive", dtype="float64") as inside:
        assert inside is config.current()
        assert (inside.backend, inside.dtype, inside.data_format) == ("naive", "float64", before.data_format)
        with fastdl.use(data_format="channels_first"):
            assert config.current().backend == "naive"
            assert config.current().data_format == "channels_first"
        assert config.current() is inside
    assert config.current() is before


def test_a_block_ends_by_an_error() -> None:
    before = config.current()
    with pytest.raises(KeyError), fastdl.use(threads=3):
        raise KeyError
    assert config.current() is before


def test_a_call_stays() -> None:
    fastdl.use(dtype=np.float64)
    fastdl.set_num_threads(3)
    assert config.current().dtype == "float64"
    assert config.current().threads == 3


def test_threads_do_not_see_each_other() -> None:
    seen = []
    fastdl.use(threads=7)
    thread = threading.Thread(target=lambda: seen.append(config.current().threads))
    thread.start()
    thread.join()
    assert seen == [config._initial.threads]


@pytest.mark.parametrize(
    "settings, error, words",
    [
        (
            {"backend": "nativ"},
            ValueError,
            "backend must be one of 'auto', 'native', 'numpy', 'naive'; got 'nativ'",
        ),
        ({"threads": -1}, ValueError, "threads must be at least 0; got -1"),
        ({"threads": 1.5}, TypeError, "threads must be an integer; got 1.5"),
        ({"dtype": "float16"}, ValueError, "dtype must be one of 'float32', 'float64'; got 'float16'"),
        ({"dtype": np.int32}, ValueError, "dtype must be one of 'float32', 'float64'; got 'int32'"),
        ({"precision": "fast"}, ValueError, "precision must be one of 'default', 'strict'; got 'fast'"),
        ({"data_format": "NHWC"}, ValueError, "data_format must be one of 'channels_last', 'channels_first'"),
    ],
)
def test_refused(settings, error, words) -> None:
    before = config.current()
    with pytest.raises(error) as caught:
        fastdl.use(**settings)
    assert words in str(caught.value)
    assert config.current() is before


def test_the_environment_is_read() -> None:
    code = "from fastdl import config; c = config.current(); print(c.backend, c.threads)"
    assert run(code, FASTDL_BACKEND="naive", FASTDL_NUM_THREADS="3").stdout.split() == ["naive", "3"]
    assert run(code, FASTDL_BACKEND="", FASTDL_NUM_THREADS=" ").stdout.split() == ["auto", "0"]


@pytest.mark.parametrize(
    "environment, words",
    [
        ({"FASTDL_BACKEND": "fast"}, "FASTDL_BACKEND must be one of auto, native, numpy, naive; got 'fast'"),
        (
            {"FASTDL_NUM_THREADS": "two"},
            "FASTDL_NUM_THREADS must be a whole number, 0 for automatic; got 'two'",
        ),
        (
            {"FASTDL_NUM_THREADS": "-2"},
            "FASTDL_NUM_THREADS must be a whole number, 0 for automatic; got '-2'",
        ),
    ],
)
def test_a_wrong_environment_is_an_error(environment: dict[str, str], words: str) -> None:
    assert words in run("import fastdl.config", **environment).stderr


class TestBackends:
    def test_every_name_is_selected_whole(self) -> None:
        for name in config.BACKENDS:
            if name == "native" and backends.native_error:
                continue
            ops = backends.select(name)
            assert ops.name == name
            assert set(ops.engines) == set(backends.PRIMITIVES)
            assert backends.select(name) is ops

    def test_engines_say_who_serves(self) -> None:
        assert set(backends.select("numpy").engines.values()) == {"numpy"}
        assert backends.select("naive").gemm.__module__.startswith("fastdl.backends.naive")
        expected = "numpy" if backends.native_error else "native ("
        assert all(engine.startswith(expected) for engine in backends.select("auto").engines.values())

    def test_auto_takes_what_the_first_engine_lacks_from_the_next(self, monkeypatch) -> None:
        from fastdl.backends import numpy_

        monkeypatch.setitem(backends._MODULES, "naive", "numpy_")
        monkeypatch.setattr(backends, "ORDER", ("naive", "numpy"))
        monkeypatch.delattr(numpy_, "update")
        backends.select.cache_clear()
        try:
            with pytest.raises(TypeError, match="update"):
                backends.select("auto")  # nobody has it
            monkeypatch.setitem(backends._MODULES, "naive", "naive")
            monkeypatch.setattr(backends, "ORDER", ("numpy", "naive"))
            engines = backends.select("auto").engines
        finally:
            backends.select.cache_clear()
        assert engines["update"] == "naive"
        assert engines["gemm"] == "numpy"

    def test_unknown_name(self) -> None:
        with pytest.raises(ValueError, match="backend must be one of .*; got 'cuda'"):
            backends.select("cuda")

    def test_a_missing_engine_says_why(self, monkeypatch) -> None:
        monkeypatch.setattr(backends, "_compiled", None)
        monkeypatch.setattr(backends, "native_error", "no compiler")
        backends.select.cache_clear()
        try:
            with pytest.raises(RuntimeError, match="no compiler"):
                backends.select("native")
            assert set(backends.select("auto").engines.values()) == {"numpy"}
        finally:
            backends.select.cache_clear()

    def test_info_is_a_table(self) -> None:
        found = fastdl.info()
        assert found["fastdl"] == fastdl.__version__
        assert found["engines"] == dict(backends.select("auto").engines)
        lines = str(found).splitlines()
        assert repr(found) == str(found)
        assert any(line.split()[0] == "gemm" for line in lines)


def test_the_backend_of_forward_runs_backward() -> None:
    import fastdl.functional as F

    x = np.ones((2, 3))
    with fastdl.use(backend="naive"):
        _, ctx = F.linear_forward(x, np.ones((3, 4)))
    with fastdl.use(backend="numpy"):
        F.linear_backward(np.ones((2, 4)), ctx)
    assert ctx.ops.name == "naive"
