"""Small inputs for trials: corners of all parameters of a model, a few steps of sequences, a few images."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

__all__ = ["UNKNOWN", "columns", "gradients", "parameters", "rows", "steps"]

UNKNOWN = float("nan")
"""The share of the work that is left where calls cost as much as their work, or memory lies elsewhere."""

_LONG = 1 << 14  # elements of a vector
_EDGE = 128  # elements along each axis of a matrix: two that are each other's transpose stay so
_SEQUENCES, _STEPS = 32, 4
_IMAGES = 4


def parameters(arguments: dict[str, Any], instance: Any = None) -> float:
    """Take a corner of each array, in the arguments and in what an optimizer keeps."""
    corners: dict[int, tuple[Any, Any]] = {}  # with the array, whose id is so no other's
    arguments.update({name: _corner(value, corners) for name, value in arguments.items()})
    if instance is not None:
        for name, value in vars(instance).items():
            setattr(instance, name, _corner(value, corners))
    return UNKNOWN


def gradients(arguments: dict[str, Any]) -> float:
    """Do the same to gradients, and lower max_norm as their norm becomes less."""
    whole = _elements(arguments)
    parameters(arguments)
    arguments["max_norm"] *= (_elements(arguments) / max(whole, 1)) ** 0.5
    return UNKNOWN


def steps(arguments: dict[str, Any], instance: Any) -> float:
    """Take the first steps of some sequences xs (N, T, ...), and of the states h and c."""
    sequences = len(next(iter(arguments.values())))
    arguments.update({name: value[:_SEQUENCES, :_STEPS] for name, value in arguments.items()})
    for name in ("h", "c"):
        state = vars(instance).get(name)
        if isinstance(state, np.ndarray) and len(state) == sequences:
            setattr(instance, name, state[:_SEQUENCES])
    return UNKNOWN


def rows(arguments: dict[str, Any]) -> float:
    """Take the patches of a few images from rows `col` of patches, one image after the other."""
    return _few_images(arguments, "col", "input_shape", lambda col, kept, of: col[: len(col) // of * kept])


def columns(arguments: dict[str, Any]) -> float:
    """Take the patches of a few images from columns `cols` of patches, in which images change first."""

    def few(cols: Any, kept: int, of: int) -> Any:
        return cols.reshape(len(cols), -1, of)[:, :, :kept].reshape(len(cols), -1)

    return _few_images(arguments, "cols", "images_shape", few)


def _few_images(
    arguments: dict[str, Any], name: str, shape: str, few: Callable[[Any, int, int], Any]
) -> float:
    if type(arguments[shape]) not in (list, tuple):
        return 1.0
    images, *others = arguments[shape]
    kept = min(images, _IMAGES)
    arguments[name] = few(arguments[name], kept, images)
    arguments[shape] = type(arguments[shape])((kept, *others))
    share: float = kept / images
    return share


def _corner(value: Any, corners: dict[int, tuple[Any, Any]]) -> Any:
    if isinstance(value, dict):
        return {key: _corner(item, corners) for key, item in value.items()}
    if isinstance(value, list):
        return [_corner(item, corners) for item in value]
    if type(value) is not np.ndarray:
        return value
    if id(value) not in corners:
        edge = _LONG if value.ndim == 1 else _EDGE
        corners[id(value)] = value, value[(slice(edge),) * value.ndim]
    return corners[id(value)][1]


def _elements(value: Any) -> int:
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        return sum(map(_elements, value))
    return value.size if isinstance(value, np.ndarray) else 0
