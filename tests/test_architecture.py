"""The house: which file may import which, what no file may contain, and where each has its place."""

from __future__ import annotations

import ast
import inspect
import re
import sys
from collections.abc import Iterator
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import fastdl.functional as F
from fastdl import layers

ROOT = Path(__file__).parents[1]

ORDER = (
    (
        *("archive", "checks", "config", "configurable", "constraints", "geometry", "initializers"),
        *("interrupts", "nested", "random", "regularizers", "schedules"),
    ),
    ("shapes", "shapes_embedding", "shapes_norm", "shapes_recurrent", "shapes_upsample"),
    ("backends",),
    ("functional",),
    ("layers",),
    (
        *("batches", "callbacks", "checkpoint", "clipping", "epochs", "export", "feed", "losses", "metrics"),
        *("models", "objective", "optimizers", "portable", "prediction", "readers", "step", "stepping"),
        *("summary", "targets", "training", "transfer"),
    ),
    ("datasets", "gradcheck", "plots"),
    ("compat",),
    ("__init__", "__main__", "demo"),
)
"""What fastdl/ consists of. A file imports from its own group and from those above; there are no circles."""

UPWARDS = {
    ("backends", "__init__"): "info() prints the version",
    ("checkpoint", "models"): "a file holds a model, and a model saves itself",
}
"""Arrows the other way, (from, to), and why. They are inside functions, so that loading goes one way."""

FAMILIES = ("conv", "dense", "embedding", "loss", "norm", "pointwise", "pool", "recurrent")
PLACES = (
    "fastdl/functional/{}.py",
    "fastdl/layers/{}.py",
    "fastdl/backends/naive/{}.py",
    "fastdl/backends/numpy_/{}.py",
    "fastdl/backends/calls/{}.pxi",
    "csrc/{}.h",
    "tests/test_{}.py",
    "bench/bench_{}.py",
)
RENAMED = {
    "fastdl/layers/loss.py": ("fastdl/losses.py", "a loss is no layer: it takes a target too"),
    "csrc/dense.h": ("csrc/gemm.h", "the micro-kernel in it serves convolution as well"),
    "csrc/pointwise.h": ("csrc/rows.h", "sums by channel go over rows in the same way"),
}

LONGEST = 450

FOLDERS = ("fastdl", "csrc", "tests", "bench", "docs", "examples")
BUILT = re.compile(r"/(__pycache__|[.]\w+_cache)/|/_native[.](c|html)$|[.](so|pyd|o)$")


# ---- what there is


def files(*folders: str) -> list[Path]:
    """The files of these folders, less what is built."""
    found = [path for folder in folders for path in sorted((ROOT / folder).rglob("*")) if path.is_file()]
    return [path for path in found if not BUILT.search(path.as_posix())]


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


MODULES = [path for path in files("fastdl") if path.suffix == ".py"]
CODE = [
    path
    for path in files("fastdl", "csrc", "tests", "bench", "examples")
    if path.suffix in {".py", ".pyx", ".pxd", ".pxi", ".c", ".h"}
]


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), name(path))


class Import(NamedTuple):
    """One imported module, and whether only a call imports it."""

    module: str
    lazy: bool
    line: int


@cache
def imports(path: Path) -> list[Import]:
    """What running a file imports; what only a type checker reads is left out."""
    package = list(path.relative_to(ROOT).parent.parts)

    def visit(node: ast.AST, lazy: bool) -> Iterator[Import]:
        if isinstance(node, ast.Import):
            yield from (Import(alias.name, lazy, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = ".".join([*package[: len(package) - node.level + 1], *filter(None, [node.module])])
            base = base if node.level else str(node.module)
            for alias in node.names:
                submodule = f"{base}.{alias.name}"
                yield Import(submodule if is_module(submodule) else base, lazy, node.lineno)
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            for child in node.orelse:
                yield from visit(child, lazy)
        else:
            inside = lazy or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            for child in ast.iter_child_nodes(node):
                yield from visit(child, inside)

    return list(visit(tree(path), lazy=False))


def is_module(dotted: str) -> bool:
    path = ROOT.joinpath(*dotted.split("."))
    return path.is_dir() or any(path.with_suffix(suffix).exists() for suffix in (".py", ".pyi"))


def dotted(path: Path) -> str:
    """The name of a file as a module."""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def part(module: str) -> str:
    """The entry of ORDER that a module of fastdl belongs to."""
    return [*module.split("."), "__init__"][1]


def arrows(path: Path) -> list[Import]:
    return [found for found in imports(path) if found.module.split(".")[0] == "fastdl"]


# ---- imports


def test_every_module_has_its_place_in_the_order() -> None:
    known = [entry for group in ORDER for entry in group]
    assert sorted({part(dotted(path)) for path in MODULES}) == sorted(known)


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_imports_go_one_way(path: Path) -> None:
    height = {entry: i for i, group in enumerate(ORDER) for entry in group}
    here = part(dotted(path))
    for found in arrows(path):
        there = part(found.module)
        if found.lazy and (here, there) in UPWARDS:
            continue
        assert height[there] <= height[here], f"{name(path)}:{found.line} imports {found.module}"


def test_imports_make_no_circle() -> None:
    graph = {dotted(path): {found.module for found in arrows(path) if not found.lazy} for path in MODULES}
    TopologicalSorter(graph).prepare()  # raises CycleError


def test_no_exception_is_out_of_date() -> None:
    lazy = {
        (part(dotted(path)), part(found.module)) for path in MODULES for found in arrows(path) if found.lazy
    }
    assert set(UPWARDS) <= lazy


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_only_numpy_is_imported_at_the_top(path: Path) -> None:
    for found in imports(path):
        root = found.module.split(".")[0]
        allowed = found.lazy or root in {"fastdl", "numpy"} or root in sys.stdlib_module_names
        assert allowed, f"{name(path)}:{found.line} imports {found.module}"


# ---- what no file may contain


UNPICKLERS = {"cloudpickle", "dill", "joblib", "marshal", "pickle", "shelve"}
EXECUTORS = {"__import__", "compile", "eval", "exec"}
RUNNERS = {
    "fastdl/compat/hook.py": {"compile"},
    "fastdl/compat/script.py": {"compile", "exec"},
}
"""Who may turn a person's own source code into a module, as Python itself does."""


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_nothing_is_unpickled_or_executed(path: Path) -> None:
    for found in imports(path):
        assert found.module.split(".")[0] not in UNPICKLERS, f"{name(path)}:{found.line}"
    for call in (node for node in ast.walk(tree(path)) if isinstance(node, ast.Call)):
        where = f"{name(path)}:{call.lineno}: {ast.unparse(call)}"
        called = ast.unparse(call.func)
        assert called not in EXECUTORS - RUNNERS.get(name(path), set()), where
        allows = [ast.unparse(keyword.value) for keyword in call.keywords if keyword.arg == "allow_pickle"]
        assert allows == (["False"] if called == "np.load" else []), where


def test_the_extension_unpickles_and_executes_nothing() -> None:
    for path in (path for path in CODE if path.suffix in {".pyx", ".pxi"}):
        found = re.search(r"\b(pickle|marshal)\b|\b(eval|exec)\(", path.read_text(encoding="utf-8"))
        assert found is None, f"{name(path)}: {found}"


@pytest.mark.parametrize("path", CODE, ids=name)
def test_no_file_is_long(path: Path) -> None:
    with path.open(encoding="utf-8") as lines:
        count = sum(1 for _ in lines)
    assert count <= LONGEST, f"{count} lines: divide it by meaning"


PRIVATE = re.compile(
    r"(?<![\w.~-])/(?:home|root|tmp|work|mnt|Users)/\w"  # one person's machine
    r"|pypi[.]org|pythonhost[e]d|index[-]url|\b\d{1,3}(?:[.]\d{1,3}){3}\b"  # where packages come from
)


def test_no_file_names_a_machine_or_a_registry() -> None:
    top = [
        path
        for path in ROOT.iterdir()
        if path.suffix in {".md", ".py", ".toml", ".in"} or path.stem == "Makefile"
    ]
    for path in [*files(*FOLDERS), *top]:
        if path.suffix not in {".npz", ".keras", ".png"}:
            found = PRIVATE.search(path.read_text(encoding="utf-8"))
            assert found is None, f"{name(path)}: {found}"


# ---- names and places


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("place", PLACES)
def test_a_family_has_one_name_in_every_folder(family: str, place: str) -> None:
    path = place.format(family)
    renamed, _ = RENAMED.get(path, (path, ""))
    assert (ROOT / renamed).is_file()
    assert renamed == path or not (ROOT / path).exists()


def tree_of_contributing() -> Iterator[str]:
    """The paths that the tree at the head of CONTRIBUTING.md names.

    A line is an indent of two spaces a folder, one or more names, and after two spaces a phrase.
    """
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    block = re.search(r"^```text\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    assert block is not None
    folders: list[str] = []
    for line in filter(None, block[1].splitlines()):
        indent = len(line) - len(line.lstrip())
        names = re.split(r"\s{2,}", line.strip())[0].split()
        del folders[indent // 2 :]
        yield from ("".join(folders) + entry for entry in names if not entry.endswith("/"))
        if names[0].endswith("/"):
            folders.append(names[0])


def test_the_tree_in_contributing_is_the_tree() -> None:
    told = list(tree_of_contributing())
    assert len(told) == len(set(told))
    inside = {path for path in told if path.split("/")[0] in FOLDERS}
    assert inside == {name(path) for path in files(*FOLDERS)}
    # A source distribution holds no file whose name begins with a dot.
    assert all((ROOT / path).exists() for path in told if not path.startswith("."))


# ---- documentation


OPERATIONS = sorted(
    key
    for key, value in vars(F).items()
    if inspect.isfunction(value) and value.__module__.startswith(F.__name__)
)


def test_every_operation_has_three_names() -> None:
    plain = {key for key in OPERATIONS if not key.endswith(("_forward", "_backward"))}
    assert set(OPERATIONS) == {key + suffix for key in plain for suffix in ("", "_forward", "_backward")}


@pytest.mark.parametrize("operation", OPERATIONS)
def test_an_operation_has_a_docstring_and_an_example(operation: str) -> None:
    assert_documented(getattr(F, operation), example=not operation.endswith(("_forward", "_backward")))


@pytest.mark.parametrize("layer", sorted(set(layers.__all__)))
def test_a_layer_has_a_docstring_and_an_example(layer: str) -> None:
    assert_documented(getattr(layers, layer), example=True)


def assert_documented(thing: Any, example: bool) -> None:
    text = inspect.cleandoc(thing.__doc__ or "")  # its own, not one that is inherited
    assert text
    assert not example or re.search(r"^Examples\n--------\n.*^>>> ", text, re.DOTALL | re.MULTILINE)
