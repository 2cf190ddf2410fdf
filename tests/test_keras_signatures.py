"""Arguments, their order and their defaults as in Keras; docs/keras.md holds the exceptions."""

from __future__ import annotations

import ast
import importlib
import inspect
import json
import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from keras_signatures import MODULES, RECORDED, REQUIRED, Signature, classes, named

PAGE = Path(__file__).parents[1] / "docs" / "keras.md"
KERAS: dict[str, Signature] = json.loads(RECORDED.read_text(encoding="utf-8"))
OURS = {
    f"{family}.{name}": value
    for family, base in MODULES.items()
    for name, value in classes(importlib.import_module(f"fastdl.{family}"), base).items()
}


def signature(cls: Any) -> Signature:
    """The arguments of a class of fastdl, with those that it passes on to its bases."""
    found: Signature = {}
    for base in cls.__mro__:
        if base is not object and "__init__" in vars(base):
            arguments, is_open = named(vars(base)["__init__"])
            found = found | {name: default for name, default in arguments.items() if name not in found}
            if not is_open:
                break
    return found


@cache
def exceptions(title: str) -> list[tuple[str, list[str]]]:
    """Each argument in the table under a title of the page, and the classes its row stands for."""
    section = PAGE.read_text(encoding="utf-8").split(f"\n## {title}\n")[1].split("\n## ")[0]
    rows = [re.split(r" *\| *", line)[1:3] for line in section.splitlines() if line.startswith("| `")]
    return [(argument, owners(of)) for first, of in rows for argument in re.findall(r"`(\w+)`", first)]


def owners(of: str) -> list[str]:
    """The classes that "Dense, LSTM" or "every layer, every loss" are."""
    wanted = {word.removeprefix("every ") for word in of.split(", ")}
    singular = {"losses": "loss"}
    return [
        name
        for name in KERAS
        for family, kind in [name.split(".")]
        if wanted & {kind, singular.get(family, family[:-1])}
    ]


def same(mine: str, theirs: str) -> bool:
    """Whether two defaults mean the same: 1 is (1, 1), one an axis, and a name may have capitals."""
    if REQUIRED in (mine, theirs):
        return mine == theirs
    ours, other = ast.literal_eval(mine), ast.literal_eval(theirs)
    while isinstance(other, tuple) and len(set(other)) == 1:
        other = other[0]
    return ours == other or str(ours) == str(other).lower()


def missing(name: str) -> set[str]:
    """The arguments of Keras's class that ours lacks."""
    return set(KERAS[name]) - set(signature(OURS[name]))


def differing(name: str) -> set[str]:
    """The arguments with another default, or at another place among those that need no name."""
    mine, theirs = signature(OURS[name]), KERAS[name]
    defaults = {key for key, default in theirs.items() if key in mine and not same(mine[key], default)}
    parameters = inspect.signature(OURS[name].__init__).parameters.values()
    placed = [p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD and p.name in theirs]
    return defaults | {key for key, other in zip(placed, filter(placed.__contains__, theirs)) if key != other}


TABLES = {"Arguments that are not here": missing, "Arguments that differ": differing}


@pytest.mark.parametrize("title", TABLES)
@pytest.mark.parametrize("name", KERAS)
def test_as_keras_but_for_what_the_page_says(name: str, title: str) -> None:
    assert TABLES[title](name) <= {argument for argument, of in exceptions(title) if name in of}


@pytest.mark.parametrize("title", TABLES)
def test_no_exception_is_out_of_date(title: str) -> None:
    for argument, of in exceptions(title):
        assert any(argument in TABLES[title](name) for name in of), argument
