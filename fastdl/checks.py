"""Checks of single arguments, and the words in which one is refused.

Every message names the call, the argument, what was expected and what came:
``conv2d: stride must be at least 1; got 0``.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Iterable, Sequence
from typing import Any, NoReturn, TypeAlias

ActivationLike: TypeAlias = str | tuple[str, float] | None
Shape: TypeAlias = tuple[int, ...]
Ints: TypeAlias = int | Sequence[int]
Padding: TypeAlias = int | str | Sequence[int | Sequence[int]]

MAX_BYTES = 2**62
MAX_ARGUMENT = 2**31 - 1  # keeps every product of two arguments inside 64 bits


def integer(op: str, name: str, value: Any, minimum: int = 1) -> int:
    """Return `value` as an int in [minimum, 2³¹)."""
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise TypeError(f"{op}: {name} must be an integer; got {value!r}")
    try:
        number = operator.index(value)
    except TypeError:  # an array, which has __index__ but is not one integer
        raise TypeError(f"{op}: {name} must be an integer; got {value!r}") from None
    if number < minimum:
        raise ValueError(f"{op}: {name} must be at least {minimum}; got {number}")
    if number > MAX_ARGUMENT:
        raise ValueError(f"{op}: {name} must be below 2**31; got {number}")
    return number


def per_axis(op: str, name: str, value: Any, ndim: int, minimum: int = 1) -> Shape:
    """Return `value`, one int or `ndim` of them, as `ndim` ints."""
    if not is_sequence(value):
        return (integer(op, name, value, minimum),) * ndim
    if len(value) != ndim:
        raise ValueError(f"{op}: {name} must be an int or {ndim} of them; got {value!r}")
    return tuple(integer(op, name, entry, minimum) for entry in value)


def is_sequence(value: Any) -> bool:
    """Whether `value` has entries to give one an axis (a 0-d array and a string have not)."""
    return hasattr(value, "__len__") and not isinstance(value, str) and getattr(value, "ndim", 1) == 1


def real(op: str, name: str, value: Any) -> float:
    """Return `value` as a float, which may be infinite or NaN."""
    try:
        return float(value)
    except (TypeError, ValueError):
        raise TypeError(f"{op}: {name} must be a number; got {value!r}") from None


def number(op: str, name: str, value: Any, low: float = 0.0, below: float = math.inf) -> float:
    """Return `value` as a float in [low, below)."""
    if type(value) is float and low <= value < below:
        return value
    result = real(op, name, value)
    if not low <= result < below:  # refuses NaN as well
        limit = "finite" if below == math.inf else f"below {below:g}"
        raise ValueError(f"{op}: {name} must be at least {low:g} and {limit}; got {value!r}")
    return result


def one_of(op: str, name: str, value: Any, names: Iterable[str]) -> None:
    """Refuse a `value` that is not one of `names`."""
    known = tuple(names)
    if not isinstance(value, str) or value not in known:
        raise ValueError(f"{op}: {name} must be one of {', '.join(map(repr, known))}; got {value!r}")


def verbosity(op: str, value: Any) -> None:
    """Refuse a `verbose` that is not 0, 1, 2 or "auto"."""
    if value not in (0, 1, 2, "auto"):
        raise ValueError(f"{op}: verbose must be 0, 1, 2 or 'auto'; got {value!r}")


def shape(op: str, name: str, value: Any) -> Shape:
    """Return `value` as the shape of an array."""
    if not is_sequence(value):
        raise TypeError(f"{op}: {name} must be a tuple of integers; got {value!r}")
    return tuple(integer(op, name, size, minimum=0) for size in value)


def axis_index(op: str, value: Any, of: tuple[int | None, ...]) -> int:
    """Return `value`, an axis of an array of shape `of`, counted from the front."""
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise TypeError(f"{op}: axis must be an integer; got {value!r}")
    index = operator.index(value)
    if not -len(of) <= index < len(of):
        raise ValueError(f"{op}: axis {index} is out of range for x of shape {of}")
    return index % len(of)


def check_bytes(op: str, name: str, size: Shape) -> None:
    """Refuse an array that would take more than 2⁶² bytes as float64, were no axis empty."""
    if 8 * math.prod(max(n, 1) for n in size) > MAX_BYTES:
        raise ValueError(f"{op}: {name} would be too large: shape {size} takes more than 2**62 bytes")


def same_shape(op: str, name: str, came: Shape, expected: Shape, of: str) -> None:
    """Refuse an array whose shape is not that of another one."""
    if came != expected:
        raise ValueError(f"{op}: {name} must have the shape of {of}, {expected}; got {came}")


def retell(error: Exception, message: str) -> NoReturn:
    """Raise an error with more to say; one of another class than Python's own two stays itself."""
    if type(error) in (ValueError, TypeError):
        raise type(error)(message) from error
    raise error


def wanted(op: str, needs: Any, names: Sequence[str]) -> None:
    """Refuse `needs`, the gradients to compute, when it holds something else than `names`."""
    if needs == names:  # all of them, which is the default
        return
    if isinstance(needs, str) or not isinstance(needs, Iterable) or not all(need in names for need in needs):
        raise ValueError(f"{op}: needs must be a tuple of names out of {tuple(names)}; got {needs!r}")
