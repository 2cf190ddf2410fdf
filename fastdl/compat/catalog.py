"""All targets of all families, by name."""

from __future__ import annotations

from collections import defaultdict
from functools import cache
from importlib import import_module
from types import MappingProxyType

from .target import Target

__all__ = ["FAMILIES", "PACKAGES", "by_name", "supplied"]

FAMILIES = ("cs231n", "dezero", "dlfs1", "dlfs2", "ml_from_scratch", "nndl", "numpy_ml")

PACKAGES = frozenset({"dezero", "mlfromscratch", "numpy_ml"})
"""Teaching code that people also install. Nothing else beside other installed packages is looked at."""

_SUPPLIED = MappingProxyType({"cs231n.im2col_cython": "fastdl.compat.cs231n.im2col_cython"})


@cache
def by_name() -> dict[str, tuple[Target, ...]]:
    """Return the targets of each name."""
    found = defaultdict(list)
    for family in FAMILIES:
        for target in import_module(f"fastdl.compat.{family}.targets").TARGETS:
            found[target.name].append(target)
    return {name: tuple(targets) for name, targets in found.items()}


def supplied(module: str) -> str | None:
    """Return our module that stands in for one which teaching code expects to be compiled, or None.

    The module may lie inside other packages, as ``assignment2.cs231n.im2col_cython``.
    """
    return next((ours for name, ours in _SUPPLIED.items() if f".{module}".endswith(f".{name}")), None)
