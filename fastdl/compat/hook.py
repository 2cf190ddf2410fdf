"""Where source code becomes a module: recognised definitions are handed to fastdl as they are made.

A definition is decorated in the syntax tree before it is compiled, so that whatever follows it in its file,
and whoever imports it, meets the one that is served. Line numbers stay; no bytecode is read or written.
"""

from __future__ import annotations

import ast
import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import os
import sys
import sysconfig
import tokenize
from collections.abc import Sequence
from importlib.machinery import ModuleSpec, SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

from . import catalog
from .recognise import Found, may_define, recognise
from .report import Report
from .service import Service
from .serving import serve
from .tier import settings

__all__ = ["adopt_loaded", "compiled", "decorate", "handed", "install", "report", "uninstall"]

report = Report()
"""The account of this process."""

_OURS = str(Path(__file__).parent.parent) + os.sep
_STANDARD = tuple(
    os.path.realpath(sysconfig.get_path(name)) + os.sep
    for name in ("stdlib", "platstdlib", "purelib", "platlib")
)


# ---- a definition


def handed(index: int, definition: Any) -> Any:
    """Return what stands for a definition that has just been made: the decorator that `decorate` writes."""
    return serve(report.services[index], definition)


def _enlist(found: Found, module: str, file: str) -> int:
    report.services.append(Service(found.node.name, module, file, found))
    return len(report.services) - 1


def decorate(tree: ast.Module, module: str, file: str) -> bool:
    """Decorate the definitions of a module that fastdl may serve; return whether there are any."""
    changed = False
    for found in recognise(tree, settings.tier):
        index = _enlist(found, module, file)
        if found.targets:
            found.node.decorator_list.append(_decorator(index, found.node))
            changed = True
    return changed


def _decorator(index: int, node: ast.stmt) -> ast.expr:
    # An expression leaves no name behind: what a star import takes, and what dir() shows, stay as they were.
    module = "__import__('fastdl.compat.hook', fromlist=['handed'])"
    text = f"(lambda definition: {module}.handed({index}, definition))"
    expression = ast.parse(text, mode="eval").body
    for part in ast.walk(expression):
        ast.copy_location(part, node)
    return expression


def compiled(source: bytes, file: str, module: str) -> CodeType | None:
    """Return the code of a module whose definitions are handed to fastdl, or None if it has none."""
    text = importlib.util.decode_source(source)
    if not may_define(text):
        return None
    tree = ast.parse(source, file)
    return compile(tree, file, "exec", dont_inherit=True) if decorate(tree, module, file) else None


# ---- imports


class _Loader(SourceFileLoader):
    def get_code(self, fullname: str) -> CodeType | None:
        path = self.get_filename(fullname)
        code = compiled(self.get_data(path), path, fullname)
        return super().get_code(fullname) if code is None else code


class _Supplier(importlib.abc.Loader):
    """Fills a module that teaching code expects with the contents of ours."""

    def __init__(self, ours: str) -> None:
        self.ours = ours

    def create_module(self, spec: ModuleSpec) -> None:
        return None

    def exec_module(self, module: ModuleType) -> None:
        contents = vars(importlib.import_module(self.ours))
        vars(module).update({name: value for name, value in contents.items() if not name.startswith("_")})


class _Finder(importlib.abc.MetaPathFinder):
    """The first in the list: it asks the others, and reads the source of what they find."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        spec = self._others(fullname, path, target)
        if spec is None:
            ours = catalog.supplied(fullname)
            return None if ours is None else ModuleSpec(fullname, _Supplier(ours))
        if type(spec.loader) is SourceFileLoader and spec.origin and _eligible(spec.origin, fullname):
            spec.loader = _Loader(spec.loader.name, spec.loader.path)
        return spec

    def _others(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None
    ) -> ModuleSpec | None:
        for finder in sys.meta_path:
            if finder is not self:
                spec = finder.find_spec(fullname, path, target)
                if spec is not None:
                    return spec
        return None


def _eligible(file: str, module: str) -> bool:
    """Whether a file may hold teaching code: not Python's, an installed package's or fastdl's."""
    real = os.path.realpath(file)
    if real.startswith(_OURS):
        return False
    return module.split(".")[0] in catalog.PACKAGES or not real.startswith(_STANDARD)


_finder = _Finder()


def install() -> None:
    """Watch imports from now on."""
    if _finder not in sys.meta_path:
        sys.meta_path.insert(0, _finder)


def uninstall() -> None:
    """Watch no more imports. What has been replaced stays so."""
    if _finder in sys.meta_path:
        sys.meta_path.remove(_finder)


# ---- what is there already


def adopt_loaded() -> None:
    """Serve the definitions of modules that were imported before, under every name they have."""
    known = {service.file for service in report.services}
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if file is None or not file.endswith(".py") or file in known or not _eligible(file, name):
            continue
        try:
            with tokenize.open(file) as stream:
                source = stream.read()
            definitions = recognise(ast.parse(source, file), settings.tier) if may_define(source) else []
        except (OSError, SyntaxError, UnicodeDecodeError):
            continue
        for found in definitions:
            original = vars(module).get(found.node.name)
            if original is None or getattr(original, "__module__", None) != name:
                continue
            service = report.services[_enlist(found, name, file)]
            if found.targets:
                _rebind(original, serve(service, original))


def _rebind(original: Any, served: Any) -> None:
    if served is original:
        return
    for module in list(sys.modules.values()):
        for name, value in list(getattr(module, "__dict__", {}).items()):
            if value is original:
                setattr(module, name, served)
