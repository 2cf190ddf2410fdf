"""Objects that can be described by the arguments they were made with.

Layers, initializers, losses, metrics and optimizers follow one convention: each argument of the constructor
is kept as an attribute of the same name. From it follow `get_config`, a readable repr, files that hold an
architecture, and one way to look a name up.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
from functools import cache
from typing import Any, TypeVar

import numpy as np

T = TypeVar("T", bound="Configurable")


class Configurable:
    """Base of everything that a file or a repr can describe."""

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments by name."""
        return {name: getattr(self, name) for name in _arguments(type(self))}

    @classmethod
    def from_config(cls: type[T], config: Mapping[str, Any]) -> T:
        """Make the object that `get_config` describes."""
        return cls(**config)

    def __repr__(self) -> str:
        defaults = _arguments(type(self))
        shown = ", ".join(
            f"{name}={value!r}"
            for name, value in self.get_config().items()
            if not isinstance(value, np.ndarray) and value != defaults[name]
        )
        return f"{type(self).__name__}({shown})"


def _arguments(cls: type) -> dict[str, Any]:
    """Return names and defaults of the arguments `cls` takes, with those it passes on to its bases."""
    found: dict[str, Any] = {}
    for base in cls.__mro__:
        if "__init__" not in base.__dict__ or base is object:
            continue
        parameters = list(inspect.signature(base.__dict__["__init__"]).parameters.values())[1:]
        named = [p for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
        found |= {p.name: p.default for p in named if p.name not in found}
        if not any(p.kind is p.VAR_KEYWORD for p in parameters):
            break
    return found


@cache
def snake_case(name: str) -> str:
    """Return a class's name as Keras writes it in a table: `MaxPooling2D` is `max_pooling2d`."""
    name = re.sub("(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub("([a-z])([A-Z])", r"\1_\2", name).lower()


def describe(value: Any) -> Any:
    """Return `value` in the words of JSON; a `Configurable` becomes its class's name and its arguments."""
    if isinstance(value, Configurable):
        return {"class": type(value).__name__, "config": describe(value.get_config())}
    if isinstance(value, Mapping):
        return {str(key): describe(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [describe(entry) for entry in value]
    if isinstance(value, np.dtype):
        return value.name
    if isinstance(value, np.generic):
        return value.item()
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise TypeError(f"a file cannot hold {value!r}, a {type(value).__name__}")


def restore(description: Any, known: Mapping[str, type[Configurable]]) -> Any:
    """Undo `describe`. Only the classes of `known` are made; their constructors check what they are given."""
    if isinstance(description, list):
        return [restore(entry, known) for entry in description]
    if not isinstance(description, dict):
        return description
    if description.keys() != {"class", "config"}:
        return {key: restore(entry, known) for key, entry in description.items()}
    name = description["class"]
    if name not in known:
        raise ValueError(f"unknown class {name!r}; pass it as custom_objects={{{name!r}: ...}}")
    return known[name].from_config(restore(description["config"], known))


def lookup(kind: str, given: Any, names: Mapping[str, type[T]], base: type[Any]) -> T:
    """Return the `kind` that a person named, as a name, a class or an object.

    Raises
    ------
    ValueError
        For a name that is not in `names`; the message lists them.
    TypeError
        For anything else that is not a `base`.
    """
    if isinstance(given, base):
        return given
    if isinstance(given, type) and issubclass(given, base):
        return given()
    if isinstance(given, str):
        found = {_spelling(name): cls for name, cls in names.items()}.get(_spelling(given))
        if found is None:
            raise ValueError(f"unknown {kind} {given!r}; there are {', '.join(sorted(names))}")
        return found()
    raise TypeError(f"a {kind} is a name or a {base.__name__}; got {given!r}")


def _spelling(name: str) -> str:
    """Return what `HeNormal`, `he_normal` and `henormal` have in common."""
    return name.replace("_", "").lower()
