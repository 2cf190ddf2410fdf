"""Which inputs are of one kind: a trial on one of them says something of the others."""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["detail", "kind"]

_COUNTERS = frozenset({"epoch", "iter", "iterations", "step", "t"})
"""Names under which code counts its steps: one step more is no other kind of input."""


def kind(args: tuple[Any, ...]) -> tuple[Any, int]:
    """Return the kind and the size of an input: type, axes and magnitude of its first array."""
    for value in args:
        if type(value) is np.ndarray:
            size = value.size
            return (value.dtype.char, value.ndim, size.bit_length()), size or 1
    return None, 1


def detail(args: tuple[Any, ...], kwargs: dict[str, Any], instance: Any) -> tuple[Any, ...]:
    """Return all else that unknown code may depend on: numbers and words, in dictionaries and attributes too.

    Of floats only 0 and 1 are kinds of their own: rates are lowered as training goes on.
    """
    values = [*args, *kwargs.values()]
    named = [value for value in values if type(value) is dict]
    if instance is not None:
        named.append(vars(instance))
    for names in named:
        values.extend(value for name, value in names.items() if name not in _COUNTERS)
    values = [value if type(value) is not float or value in (0.0, 1.0) else float for value in values]
    shapes = tuple((value.ndim, value.dtype.char) for value in values if isinstance(value, np.ndarray))
    return (
        *(value for value in values if value is float or isinstance(value, (bool, int, float, str))),
        shapes,
    )
