"""Small stand-ins for what old scripts import and what is gone: ``python -m fastdl run --shims``.

Only what is missing is supplied, and a module only when the program asks for it.
"""

from __future__ import annotations

import collections
import collections.abc
import sys
from collections.abc import Callable, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

import numpy as np

from .virtual import ADDITIONS, MODULES

__all__ = ["NAMES", "install", "uninstall"]

_TYPES: dict[str, Any] = {
    "float": float,
    "int": int,
    "bool": bool,
    "complex": complex,
    "object": object,
    "str": str,
    "long": int,
    "unicode": str,
}

NAMES = ("collections", "numpy", *(name for name in {**MODULES, **ADDITIONS} if name.count(".") == 0))
NAMES += ("scipy.misc", "sklearn.datasets")
"""What can be asked for: modules, and modules that lost names."""


def install(names: Sequence[str] = ()) -> list[str]:
    """Supply from here on what is missing.

    Parameters
    ----------
    names : sequence of str
        Out of `NAMES`; without any, all.

    Returns
    -------
    list of str
        What was supplied. It grows as the program imports more.

    Raises
    ------
    ValueError
        If a name is not one of them.
    """
    unknown = [name for name in names if name not in NAMES]
    if unknown:
        raise ValueError(f"install: names must be some of {', '.join(NAMES)}; got {', '.join(unknown)}")
    wanted = tuple(names) or NAMES
    uninstall()
    supplied: list[str] = []
    if "collections" in wanted:
        _offer(
            collections, {name: getattr(collections.abc, name) for name in collections.abc.__all__}, supplied
        )
    if "numpy" in wanted:
        _offer(np, _TYPES, supplied)
    sys.meta_path.insert(0, _Adder(wanted, supplied))
    sys.meta_path.append(_Supplier(wanted, supplied))
    for name in ADDITIONS:
        if name in wanted and name in sys.modules:
            supplied += _add(sys.modules[name], ADDITIONS[name]())
    return supplied


def uninstall() -> None:
    """Supply no more. What has been imported stays."""
    sys.meta_path[:] = [finder for finder in sys.meta_path if not isinstance(finder, (_Adder, _Supplier))]
    for module in (collections, np):
        getter = vars(module).get("__getattr__")
        if isinstance(getter, _Offer):
            if getter.before is None:
                del vars(module)["__getattr__"]
            else:
                vars(module)["__getattr__"] = getter.before


class _Offer:
    """The ``__getattr__`` of a module: names that it lacks are made when they are asked for."""

    def __init__(self, module: ModuleType, names: dict[str, Any], supplied: list[str]) -> None:
        self.module = module
        self.names = names
        self.supplied = supplied
        self.before: Callable[[str], Any] | None = vars(module).get("__getattr__")

    def __call__(self, name: str) -> Any:
        if name in self.names:
            self.supplied += _add(self.module, {name: self.names[name]})
            return self.names[name]
        if self.before is not None:
            return self.before(name)
        raise AttributeError(f"module {self.module.__name__!r} has no attribute {name!r}")


def _offer(module: ModuleType, names: dict[str, Any], supplied: list[str]) -> None:
    vars(module)["__getattr__"] = _Offer(module, names, supplied)


def _add(module: ModuleType, names: dict[str, Any]) -> list[str]:
    """Give a module the names that it lacks; return them."""
    missing = {name: value for name, value in names.items() if name not in vars(module)}
    vars(module).update(missing)
    return [f"{module.__name__}.{name}" for name in missing]


class _Supplier(MetaPathFinder, Loader):
    """The last finder: what no other has found, it makes."""

    def __init__(self, wanted: Sequence[str], supplied: list[str]) -> None:
        self.wanted = wanted
        self.supplied = supplied

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        """Return the spec of a module that it can make."""
        if fullname not in MODULES or not {fullname, fullname.split(".")[0]} & set(self.wanted):
            return None
        package = any(name.startswith(f"{fullname}.") for name in MODULES)
        return ModuleSpec(fullname, self, origin="fastdl.compat.virtual", is_package=package)

    def exec_module(self, module: ModuleType) -> None:
        """Fill a module."""
        vars(module).update(MODULES[module.__name__]())
        self.supplied.append(module.__name__)


class _Adder(MetaPathFinder):
    """The first finder: it lets the others find a module, and adds names to it."""

    def __init__(self, wanted: Sequence[str], supplied: list[str]) -> None:
        self.wanted = wanted
        self.supplied = supplied
        self.asking = False  # another finder, which may ask all of them in turn

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        """Return the spec of another finder, whose loader adds names."""
        if fullname not in ADDITIONS or fullname not in self.wanted or self.asking:
            return None
        self.asking = True
        try:
            found = (
                finder.find_spec(fullname, path, target)
                for finder in sys.meta_path
                if not isinstance(finder, (_Adder, _Supplier))
            )
            spec = next((spec for spec in found if spec is not None), None)
        finally:
            self.asking = False
        if spec is not None and spec.loader is not None:
            spec.loader = _Adding(spec.loader, self.supplied)
        return spec


class _Adding(Loader):
    """The loader of another, and names on top of what it loads."""

    def __init__(self, loader: Loader, supplied: list[str]) -> None:
        self.loader = loader
        self.supplied = supplied

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        """Create the module as the other does."""
        return self.loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        """Run the module, and add what it lacks."""
        self.loader.exec_module(module)
        self.supplied += _add(module, ADDITIONS[module.__name__]())

    def __getattr__(self, name: str) -> Any:
        return getattr(self.loader, name)
