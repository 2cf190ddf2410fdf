"""The command line, as a person runs it: in a process of its own."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import fastdl
from fastdl import datasets

# Finds these as if they were not installed, then runs the command line.
WITHOUT = """
import importlib.abc, importlib.util, sys
class Hide(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name.partition(".")[0] in {"matplotlib", "tqdm"}:
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Hide())
find_spec = importlib.util.find_spec
importlib.util.find_spec = lambda name: None if name in {"matplotlib", "tqdm"} else find_spec(name)
from fastdl.__main__ import main
sys.exit(main(sys.argv[1:]))
"""


def run(*arguments: str, start: tuple[str, ...] = ("-m", "fastdl"), **environment: str):
    """Run the command line; other environment variables stay as they are.

    A BLAS with threads shares out matrices too small for it: on a busy machine that takes many times longer.
    """
    return subprocess.run(
        [sys.executable, *start, *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1", **environment},
        timeout=240,
    )


def test_info_names_an_engine_for_each_operation():
    done = run("info")
    assert done.returncode == 0
    for word in (fastdl.__version__, np.__version__, "threads", *fastdl.backends.PRIMITIVES):
        assert word in done.stdout


def test_version_and_help():
    assert run("--version").stdout == f"fastdl {fastdl.__version__}\n"
    assert "demo" in run("-h").stdout
    alone = run()
    assert alone.returncode == 0
    assert "demo" in alone.stdout


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """The demo with its defaults, and where its files went."""
    out = tmp_path_factory.mktemp("demo")
    return run("demo", "--out", str(out)), out


def test_demo_reads_almost_all_digits(demo):
    done, _ = demo
    assert done.returncode == 0, done.stderr
    accuracy = re.search(r"^([\d.]+) % of the digits held out are right", done.stdout, re.MULTILINE)
    assert float(accuracy[1]) >= 98.5


def test_demo_says_what_it_found(demo):
    done, _ = demo
    assert re.search(r"[\d.]+ s an epoch", done.stdout)
    rows = re.findall(r"^ +(\d) {12}((?: +(?:\d+|\.)){10})$", done.stdout, re.MULTILINE)
    counts = np.array([[0 if n == "." else int(n) for n in row.split()] for _, row in rows])
    assert counts.shape == (10, 10)
    assert counts.sum() == 359
    titles = ["plain loops", "NumPy"] + ["native"] * (fastdl.backends.native_error is None)
    factors = [re.search(rf"{title} .* ([\d,]+) x$", done.stdout, re.MULTILINE)[1] for title in titles]
    assert factors[0] == "1"
    assert all(int(factor.replace(",", "")) > 50 for factor in factors[1:])


def test_demo_saves_a_model_that_can_be_loaded(demo):
    _, out = demo
    model = fastdl.load_model(out / "fastdl-digits.npz")
    _, (x, y) = datasets.load_digits()
    assert np.mean(model.predict(x, verbose=0).argmax(axis=1) == y) >= 0.985


def test_demo_draws(demo):
    pytest.importorskip("matplotlib", reason="the picture needs it")
    _, out = demo
    assert (out / "fastdl-digits.png").read_bytes().startswith(b"\x89PNG")


def test_demo_without_anything_optional(tmp_path):
    done = run("demo", "--epochs", "1", "--out", str(tmp_path), start=("-c", WITHOUT), FASTDL_BACKEND="numpy")
    assert done.returncode == 0, done.stderr
    assert 'pip install "fastdl[plots]"' in done.stdout
    assert "Epoch 1/1" in done.stdout + done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["fastdl-digits.npz"]


@pytest.mark.parametrize(
    "arguments, status, word",
    [
        (("demo", "--epochs", "0"), 2, "at least 1"),
        (("demo", "--epochs", "two"), 2, "--epochs"),
        (("dmeo",), 2, "dmeo"),
        (("demo", "--out", os.devnull + "/x"), 1, "fastdl: "),
    ],
)
def test_errors_are_said_in_a_line(arguments, status, word):
    done = run(*arguments)
    assert done.returncode == status
    assert word in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_ctrl_c_ends_the_demo_in_a_line(tmp_path: Path):
    process = subprocess.Popen(
        [sys.executable, "-m", "fastdl", "demo", "--epochs", "1000", "--out", str(tmp_path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # Whoever runs the tests in the background has told their children to ignore the signal.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    process.stdout.readline()  # the first line is printed when training begins
    time.sleep(1)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert errors.splitlines()[-1] == "fastdl: interrupted"
