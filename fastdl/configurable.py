"""Objects that can be described by the arguments they were made with.

Layers, initializers, losses, metrics and optimizers follow one convention: each argument of the constructor
is kept as an attribute of the same name. From it follow `get_config`, a readable repr, files that hold an
architecture, and one way to look a name up.
"""

from __future__ import annotations

import inspect
import itertools
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any, TypeVar

import numpy as np

T = TypeVar("T", bound="Configurable")

_numbers: defaultdict[str, Iterator[int]] = defaultdict(itertools.count)

# What stands in a file where the name of a class would: no class has a name like these.
_SAME = "same"
_FUNCTION = "function"


class Configurable:
    """Base of everything that a file or a repr can describe.

    Attributes
    ----------
    family : str
        Stands before the name of the class in a file, where another family has a class of that name.
    """

    family = ""

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


def next_name(kind: str) -> str:
    """Return a name for the next object of a class: `dense`, then `dense_1`."""
    stem = snake_case(kind)
    number = next(_numbers[stem])
    return f"{stem}_{number}" if number else stem


def describe(value: Any) -> Any:
    """Return `value` in the words of JSON.

    A `Configurable` becomes its class's name and its arguments; where it comes again, the number of its first
    place, so that what is shared stays shared. A function becomes its name.
    """
    met: list[Configurable] = []

    def words(value: Any) -> Any:
        if isinstance(value, Configurable):
            numbers = [number for number, other in enumerate(met) if other is value]
            if numbers:
                return {"class": _SAME, "config": numbers[0]}
            met.append(value)
            return {"class": file_name(type(value)), "config": words(value.get_config())}
        if isinstance(value, Mapping):
            return {str(key): words(entry) for key, entry in value.items()}
        if isinstance(value, (list, tuple)):
            return [words(entry) for entry in value]
        if isinstance(value, np.dtype):
            return value.name
        if isinstance(value, np.generic):
            return value.item()
        if value is None or isinstance(value, (bool, int, float, str)):
            return value
        if callable(value) and getattr(value, "__name__", "<lambda>") != "<lambda>":
            return {"class": _FUNCTION, "config": value.__name__}
        raise TypeError(f"a file cannot hold {value!r}, a {type(value).__name__}")

    return words(value)


def restore(description: Any, known: Mapping[str, Any]) -> Any:
    """Undo `describe`.

    Only what is in `known` is made or used, by the name that `file_name` or a function has; constructors
    check what they are given.
    """
    met: list[Any] = []

    def thing(words: Any) -> Any:
        if isinstance(words, list):
            return [thing(entry) for entry in words]
        if not isinstance(words, dict):
            return words
        if words.keys() != {"class", "config"}:
            return {key: thing(entry) for key, entry in words.items()}
        name, config = words["class"], words["config"]
        if name == _SAME:
            if not isinstance(config, int) or not 0 <= config < len(met) or met[config] is None:
                raise ValueError(f"a part is said to be part {config!r}, which does not stand before it")
            return met[config]
        if name == _FUNCTION:
            return _known(known, "function", config)
        made = _known(known, "class", name)
        number = len(met)
        met.append(None)
        met[number] = made.from_config(thing(config))
        return met[number]

    return thing(description)


def file_name(cls: type[Configurable]) -> str:
    """Return what a class is called in a file."""
    return cls.family + cls.__name__


def _known(known: Mapping[str, Any], kind: str, name: str) -> Any:
    found = known.get(name)
    if found is None or (isinstance(found, type) and issubclass(found, Configurable)) != (kind == "class"):
        raise ValueError(f"unknown {kind} {name!r}; pass it as custom_objects={{{name!r}: ...}}")
    return found


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
