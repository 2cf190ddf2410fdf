"""A learner's file as a module, and errors shown with the learner's own lines."""

from __future__ import annotations

import contextlib
import io
import linecache
import os
import sys
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.machinery import SourceFileLoader
from types import FunctionType, ModuleType
from typing import Any

__all__ = ["Definition", "Learner", "loaded", "quietly", "shown"]


@dataclass(frozen=True)
class Definition:
    """A function or a class that the file defines, and its line."""

    name: str
    line: int
    value: Any


@dataclass(frozen=True)
class Learner:
    """A file that has been run: its names, what it defines in order, and how it failed if it did."""

    path: str
    names: dict[str, Any]
    definitions: list[Definition]
    error: str = ""


@contextlib.contextmanager
def quietly() -> Iterator[None]:
    """Keep what a learner's code prints from the report."""
    with contextlib.redirect_stdout(io.StringIO()):
        yield


@contextlib.contextmanager
def loaded(path: str) -> Iterator[Learner]:
    """Run a file as a module, whose own folder is first in the search path while the context lasts.

    What it has defined before an error is there. Afterwards no module of that folder is left loaded.

    Raises
    ------
    OSError
        If the file cannot be read.
    """
    path = os.path.abspath(path)
    os.stat(path)  # an error here is the caller's, and one while it runs is the learner's
    folder, name = os.path.dirname(path), os.path.splitext(os.path.basename(path))[0]
    loader = SourceFileLoader(name, path)
    module = ModuleType(name)
    module.__file__ = path
    before = dict(sys.modules)
    sys.modules[name] = module  # where pickles and dataclasses look for it
    sys.path.insert(0, folder)
    try:
        error = _run(loader, module)
        yield Learner(path, vars(module), _definitions(module, path), error)
    finally:
        with contextlib.suppress(ValueError):
            sys.path.remove(folder)
        for key, other in list(sys.modules.items()):
            if before.get(key) is not other and (getattr(other, "__file__", None) or "").startswith(folder):
                del sys.modules[key]
        if name in before:
            sys.modules[name] = before[name]


def _run(loader: SourceFileLoader, module: ModuleType) -> str:
    """Run the file, of which no bytecode is kept; return its traceback if it raises."""
    before, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    try:
        with quietly():
            loader.exec_module(module)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # SystemExit too: the file is not asked to end this program
        return shown(error, loader.path)
    finally:
        sys.dont_write_bytecode = before
    return ""


def _definitions(module: ModuleType, path: str) -> list[Definition]:
    found = []
    for name, value in vars(module).items():
        line = _line(value, module.__name__, path)
        if line:
            found.append(Definition(name, line, value))
    return sorted(found, key=lambda item: item.line)


def _line(value: Any, module: str, path: str) -> int:
    """The line on which the file defines a value, or 0 if it does not."""
    if isinstance(value, FunctionType):
        return value.__code__.co_firstlineno if value.__code__.co_filename == path else 0
    if isinstance(value, type) and value.__module__ == module:
        methods = [item for item in vars(value).values() if isinstance(item, FunctionType)]
        lines = [item.__code__.co_firstlineno for item in methods if item.__code__.co_filename == path]
        for number, text in enumerate(linecache.getlines(path), 1):
            if text.lstrip().startswith(f"class {value.__name__}") and number <= min(lines, default=number):
                return number
        return min(lines, default=0)
    return 0


def shown(error: BaseException, path: str) -> str:
    """Return an error with its traceback, of which only the lines of the learner's file are left."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == path]
    lines = traceback.format_exception_only(type(error), error)
    head = ["Traceback (most recent call last):\n"] if frames else []
    return "".join([*head, *traceback.format_list(frames), *lines])
