"""The extension and its door: what it was compiled from, what it refuses, what stands in when it is missing.

What the kernels compute is the business of the other files; `test_threads` has the thread pool.
"""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from fastdl import backends
from fastdl.shapes import conv_plan

ROOT = Path(__file__).resolve().parent.parent
SOURCES = ROOT / "fastdl" / "backends"
compiled = pytest.mark.skipif(backends.native_error is not None, reason=str(backends.native_error))

if backends.native_error is None:
    from fastdl.backends import _native, native


def run(script: str, **environment: str) -> str:
    result = subprocess.run(
        [sys.executable, "-c", script], env={**os.environ, **environment}, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


# ---- without the extension


def test_without_the_extension_numpy_computes_and_says_why():
    printed = run(
        "import sys; sys.modules['fastdl.backends._native'] = None\n"
        "import fastdl; from fastdl import backends\n"
        "print(backends.select().engines['gemm'], '|', backends.native_error)\n"
        "try: backends.select('native')\n"
        "except RuntimeError as error: print(error)\n"
        "print(fastdl.info())",
        FASTDL_BACKEND="auto",
    )
    engine, refusal, *info = printed.splitlines()
    assert engine.startswith("numpy | fastdl is installed without its compiled extension")
    assert refusal.startswith("the native backend is not available: fastdl is installed without")
    assert any(line.startswith("native") and "missing" in line for line in info)


# ---- the instruction set


@compiled
@pytest.mark.parametrize("level", ["generic", "avx2", "avx512"])
def test_fastdl_cpu_caps_the_instruction_set(level):
    script = "from fastdl.backends import native; print(native.isa())"
    best, capped = run(script, FASTDL_CPU=""), run(script, FASTDL_CPU=level)
    order = ["generic", "avx2", "avx512"]
    if best not in order:
        pytest.skip(f"{best} has no lower level")
    assert capped == min(level, best, key=order.index)


# ---- the door


@compiled
def test_an_array_that_is_not_c_contiguous_is_refused():
    x = np.ones((4, 6), np.float32)
    with pytest.raises(ValueError, match="contiguous"):
        _native.act_fwd(np.empty((6, 4), np.float32), x.T, 24, 0, 0.0, 1)


@compiled
def test_a_read_only_array_may_be_read_and_not_written():
    x = np.ones(4, np.float32)
    x.flags.writeable = False
    assert native.act_fwd(x, "relu").tolist() == [1, 1, 1, 1]
    with pytest.raises(ValueError, match="read-only"):
        _native.act_fwd(x, np.ones(4, np.float32), 4, 0, 0.0, 1)


@compiled
def test_what_is_no_array_is_refused():
    with pytest.raises(TypeError):
        _native.act_fwd(np.empty(4, np.float32), [1.0, 2.0, 3.0, 4.0], 4, 0, 0.0, 1)
    with pytest.raises(TypeError):
        _native.act_fwd(None, np.ones(4, np.float32), 4, 0, 0.0, 1)


@compiled
def test_an_update_with_more_slots_than_any_rule_has_is_refused():
    p = np.ones(4, np.float32)
    with pytest.raises(ValueError, match="at most 3 slots"):
        _native.update([(p, p, [p] * 4, None)], 0, (0.1,), 1)


@compiled
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_empty_arrays_pass(dtype):
    empty = np.empty((0, 5), dtype)
    assert native.act_fwd(empty, "tanh").shape == (0, 5)
    assert native.gemm(empty, np.ones((5, 3), dtype)).shape == (0, 3)
    assert native.gemm(empty, empty, trans_a=True).tolist() == np.zeros((5, 5)).tolist()
    plan = conv_plan("conv2d", (0, 2, 6, 6), (3, 2, 3, 3), None, ndim=2)
    x, w = np.empty(plan.x_shape, dtype), np.ones(plan.w_shape, dtype)
    assert native.conv_fwd(x, w, None, plan).shape == (0, 3, 4, 4)
    assert not native.conv_dw(np.empty(plan.y_shape, dtype), x, plan).any()


# ---- the sources


def test_the_stub_file_names_every_function_and_argument():
    """The .pyi is written by hand, so hold it against the .pyx and what that includes."""
    if not (SOURCES / "_native.pyx").exists():
        pytest.skip("the sources are not here")
    stub = {
        node.name: [argument.arg for argument in node.args.args]
        for node in ast.parse((SOURCES / "_native.pyi").read_text()).body
        if isinstance(node, ast.FunctionDef)
    }
    texts = [path.read_text() for path in (SOURCES / "_native.pyx", *SOURCES.glob("calls/*.pxi"))]
    source = re.sub(r"#.*", "", "\n".join(texts))
    written = {
        name: [words.split()[-1] for words in arguments.split(",") if words.strip()]
        for name, arguments in re.findall(r"^def (\w+)\(([^)]*)\)", source, re.MULTILINE)
    }
    assert written == stub


@pytest.mark.parametrize("source", sorted(path.name for path in (ROOT / "csrc").glob("*.c")))
def test_the_c_sources_compile_without_a_warning(source):
    compiler = shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        pytest.skip("no compiler")
    flags = ["-std=c11", "-Wall", "-Wextra", "-Wconversion", "-Wshadow", "-fsyntax-only"]
    result = subprocess.run([compiler, *flags, f"csrc/{source}"], cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
