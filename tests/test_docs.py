"""What is written: the code in README and docs runs, links lead somewhere, docstrings show what happens."""

from __future__ import annotations

import contextvars
import doctest
import importlib
import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from threadpoolctl import threadpool_limits

import fastdl
from fastdl import backends

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("examples/*.md")])
MODULES = sorted(
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    for path in (ROOT / "fastdl").rglob("*.py")
)
CODE = re.compile(r"^```python\n(.*?)^```", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"\]\(([^)#]+)(?:#[^)]*)?\)")
TEST_FILE = re.compile(r"`(tests/[\w/]+\.py)`")
TEST = re.compile(r"`(test_\w+)`")


def name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("page", [page for page in PAGES if CODE.search(page.read_text("utf-8"))], ids=name)
def test_code_runs(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All blocks of a page in order, as one program; an error names its line on the page."""
    monkeypatch.chdir(tmp_path)
    text, space = page.read_text("utf-8"), {"__name__": "page"}
    if any("accelerate(" in block for block in CODE.findall(text)):
        # What is served stays served, the textbook's code in later tests among it.
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        subprocess.run([sys.executable, "-c", "\n".join(CODE.findall(text))], env=environment, check=True)
        return
    fastdl.set_random_seed(1)
    for block in CODE.finditer(text):
        if "plots." in block[1] and find_spec("matplotlib") is None:
            continue
        lines_before = "\n" * text.count("\n", 0, block.start(1))
        program = compile(lines_before + block[1], str(page), "exec")
        with threadpool_limits(1, user_api="blas"):  # NumPy's threads wait for each other on a busy machine
            contextvars.copy_context().run(exec, program, space)
    if name(page) == "README.md":
        assert_readme(space)


def assert_readme(space: dict[str, Any]) -> None:
    """What README says of its results."""
    assert 0.96 < space["accuracy"] <= 1
    assert [space[key].shape for key in ("dx", "dw", "db")] == [space[key].shape for key in ("x", "w", "b")]


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in LINK.findall(page.read_text("utf-8")):
        assert "://" in target or (page.parent / target).exists(), target


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_tests_that_a_page_names_exist(page: Path) -> None:
    text = page.read_text("utf-8")
    tests = "".join(path.read_text("utf-8") for path in sorted((ROOT / "tests").rglob("*.py")))
    for path in TEST_FILE.findall(text):
        assert (ROOT / path).is_file(), path
    for test in TEST.findall(text):
        assert f"def {test}(" in tests, test


@pytest.mark.parametrize("module", MODULES)
def test_examples_in_docstrings(module: str) -> None:
    if module == "fastdl.backends.native" and backends.native_error:
        pytest.skip(backends.native_error)
    if module.startswith("fastdl.plots"):
        pytest.importorskip("matplotlib", reason="pictures need it")
    loaded = importlib.import_module(module)
    failed, _ = contextvars.copy_context().run(doctest.testmod, loaded)
    assert not failed
