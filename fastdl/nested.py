"""Several things given as one: in a list, a tuple, or a dict by name.

What a model takes and returns is one array, or several in such a group; groups are not nested further.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

_GROUPS = (list, tuple, dict)


def is_group(whole: Any) -> bool:
    """Whether `whole` is a list, a tuple or a dict."""
    return isinstance(whole, _GROUPS)


def parts(whole: Any) -> list[Any]:
    """Return what is in a group, in its order; of anything else a list of that one thing."""
    if not isinstance(whole, _GROUPS):
        return [whole]
    return list(whole.values() if isinstance(whole, dict) else whole)


def labels(name: str, whole: Any) -> list[str]:
    """Return how each part is written where the group is called `name`: x, or x[0] and x[1]."""
    if isinstance(whole, dict):
        return [f"{name}[{key!r}]" for key in whole]
    return [f"{name}[{index}]" for index in range(len(whole))] if is_group(whole) else [name]


def rebuild(like: Any, parts: Sequence[Any]) -> Any:
    """Return `parts` in the form of the group `like`; undoes `parts`."""
    if not isinstance(like, _GROUPS):
        return parts[0]
    return dict(zip(like, parts)) if isinstance(like, dict) else type(like)(parts)


def apply(function: Callable[[Any], Any], whole: Any) -> Any:
    """Return the group of what `function` makes of each part."""
    return rebuild(whole, [function(part) for part in parts(whole)])


def arrange(what: str, given: Any, names: Sequence[str], *, alone: bool = False) -> list[Any]:
    """Return what was given for several places in the order of their names.

    Parameters
    ----------
    what : str
        How an error calls it, such as "fit: y".
    given : group, or the one thing for a single place
        A dict is read by its keys, a list or a tuple in its order.
    names : sequence of str
    alone : bool
        Whether there is one place, and a list or a tuple is the thing itself.

    Raises
    ------
    ValueError
        If something is missing, or there is too much.
    """
    wanted = ", ".join(names)
    if isinstance(given, dict):
        if given.keys() != set(names):
            raise ValueError(f"{what} must have the keys {wanted}; got {', '.join(map(str, given))}")
        return [given[name] for name in names]
    if alone:
        return [given]
    if not isinstance(given, (list, tuple)):
        if len(names) == 1:
            return [given]
        raise ValueError(f"{what} must be a list of {len(names)}, for {wanted}; got one {_kind(given)}")
    if len(given) != len(names):
        raise ValueError(f"{what} must be a list of {len(names)}, for {wanted}; got {len(given)}")
    return list(given)


def _kind(value: Any) -> str:
    shape = getattr(value, "shape", None)
    return type(value).__name__ if shape is None else f"array of shape {tuple(shape)}"
