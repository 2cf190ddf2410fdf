"""How far what fastdl computed is from what the original did."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from .tier import settings

__all__ = ["Difference", "coarsest", "difference"]

_TOLERANCES = {np.float64: 1e-10, np.float32: 1e-4, np.float16: 1e-2}
_NARROWED = 1e-3
"""Of the largest value, where float32 was allowed in place of float64: sums of many terms, exponentials."""


_TINY = float(np.finfo(np.float32).tiny)


@dataclass(frozen=True)
class Difference:
    """The comparison of two results.

    Attributes
    ----------
    largest : float
        Of the differences, over the largest absolute value of the array in which it stands.
    reason : str
        Why the two are not equal; empty if they are.
    """

    largest: float = 0.0
    reason: str = ""


def difference(
    theirs: Any, ours: Any, where: str = "the result", coarse: np.dtype[Any] | None = None
) -> Difference:
    """Compare two results of one call: numbers, arrays, and what holds them.

    In the exact tier arrays must have equal bits; in the fast tier they may differ by 1e-10 (float64) or 1e-4
    (float32) of the largest value; with `coarse`, the type of what they were computed from, by what that type
    allows. Types must be equal, but for float64 that became float32 where that was allowed.

    Examples
    --------
    >>> difference((1.0, [np.ones(2)]), (1.0, [np.zeros(2)])).reason
    'the result[1][0] differs by 1.0 of its largest value'
    """
    if isinstance(theirs, (np.ndarray, np.generic, float)) and isinstance(
        ours, (np.ndarray, np.generic, float)
    ):
        return _arrays(theirs, ours, where, coarse)
    if type(theirs) is not type(ours):
        return Difference(np.inf, f"{where} is a {type(ours).__name__}, not a {type(theirs).__name__}")
    if isinstance(theirs, Mapping):
        if list(theirs) != list(ours):
            return Difference(np.inf, f"{where} has other keys")
        return _all(((theirs[key], ours[key], f"{where}[{key!r}]") for key in theirs), coarse)
    if isinstance(theirs, (list, tuple)):
        if len(theirs) != len(ours):
            return Difference(np.inf, f"{where} has {len(ours)} items, not {len(theirs)}")
        return _all(
            ((one, two, f"{where}[{i}]") for i, (one, two) in enumerate(zip(theirs, ours, strict=True))),
            coarse,
        )
    if isinstance(theirs, (int, str, bytes, bool, type(None))) and theirs != ours:
        return Difference(np.inf, f"{where} is {ours!r}, not {theirs!r}")
    return Difference()


def coarsest(values: Any) -> np.dtype[Any] | None:
    """Return the narrowest type of floats that arrays among these values have, wherever they stand."""
    if isinstance(values, np.ndarray):
        return values.dtype if values.dtype.kind == "f" else None
    if isinstance(values, Mapping):
        values = values.values()
    elif not isinstance(values, (list, tuple)):
        return None
    found = [dtype for dtype in map(coarsest, values) if dtype is not None]
    return min(found, key=lambda dtype: dtype.itemsize, default=None)


def _all(parts: Any, coarse: np.dtype[Any] | None) -> Difference:
    largest = 0.0
    for one, two, where in parts:
        found = difference(one, two, where, coarse)
        if found.reason:
            return found
        largest = max(largest, found.largest)
    return Difference(largest)


def _arrays(theirs: Any, ours: Any, where: str, coarse: np.dtype[Any] | None) -> Difference:
    if isinstance(theirs, np.ndarray) != isinstance(ours, np.ndarray):
        return Difference(np.inf, f"{where} is a {type(ours).__name__}, not a {type(theirs).__name__}")
    one, two = np.asarray(theirs), np.asarray(ours)
    if one.shape != two.shape:
        return Difference(np.inf, f"{where} has the shape {two.shape}, not {one.shape}")
    narrowed = settings.dtype is not None and two.dtype == settings.dtype and one.dtype == np.float64
    if one.dtype != two.dtype and not narrowed:
        return Difference(np.inf, f"{where} holds {two.dtype}, not {one.dtype}")
    if settings.tier == "exact":
        equal = _same_bits(one, two)
        return Difference() if equal else Difference(_distance(one, two), f"{where} has other bits")
    if one.dtype == two.dtype and np.array_equal(one, two):  # as most are: what is left as it was
        return Difference()
    if one.dtype.kind != "f":
        return Difference(np.inf, f"{where} has other values")
    largest = _distance(one, two)
    allowed = _NARROWED if narrowed or settings.dtype is not None else _TOLERANCES.get(one.dtype.type, 0.0)
    if coarse is not None and settings.dtype is None:
        allowed = max(allowed, _TOLERANCES.get(coarse.type, 0.0))
    if largest <= allowed:
        return Difference(largest)
    return Difference(
        largest, f"{where} differs by {largest:.1e} of its largest value".replace("1.0e+00", "1.0")
    )


_PIECE = 1 << 14  # elements that are compared while they stay in the cache


def _flat(*arrays: np.ndarray[Any, Any]) -> list[np.ndarray[Any, Any]]:
    """Return arrays of one shape as one axis each, element beside element."""
    if all(array.flags.f_contiguous for array in arrays):
        return [array.T.reshape(-1) for array in arrays]
    return [array.reshape(-1) for array in arrays]


def _pieces(*arrays: np.ndarray[Any, Any]) -> Iterator[list[np.ndarray[Any, Any]]]:
    flat = _flat(*arrays)
    return ([array[start : start + _PIECE] for array in flat] for start in range(0, flat[0].size, _PIECE))


def _same_bits(one: np.ndarray[Any, Any], two: np.ndarray[Any, Any]) -> bool:
    bits = f"u{one.dtype.itemsize}"
    if one.dtype.kind not in "fiub" or one.dtype.itemsize > 8:
        return one.tobytes() == two.tobytes()
    return all(np.array_equal(a.view(bits), b.view(bits)) for a, b in _pieces(one, two))


def _distance(one: np.ndarray[Any, Any], two: np.ndarray[Any, Any]) -> float:
    """The largest difference over the largest finite value; infinite if what is not finite differs."""
    if one.size == 0:
        return 0.0
    if one.dtype.kind not in "fiub":
        return 0.0 if np.array_equal(one, two) else np.inf
    largest = scale = 0.0
    wide = one.dtype if one.dtype == two.dtype and one.dtype in (np.float32, np.float64) else np.float64
    with np.errstate(all="ignore"):
        for a, b in _pieces(one, two):
            a, b = a.astype(wide, copy=False), b.astype(wide, copy=False)
            scale = max(scale, _most(a))
            largest = max(largest, _most(a - b))
    if not np.isfinite(scale) or not np.isfinite(largest):
        return _distance_of_finite(one, two)
    return largest / max(scale, _TINY)


def _most(a: np.ndarray[Any, Any]) -> float:
    """The largest absolute value; infinite if there is one that is no number."""
    most = max(float(a.max()), -float(a.min()))
    return most if most == most else np.inf


def _distance_of_finite(one: np.ndarray[Any, Any], two: np.ndarray[Any, Any]) -> float:
    one, two = one.astype(np.float64), two.astype(np.float64)
    finite = np.isfinite(one)
    if not np.array_equal(one[~finite], two[~finite], equal_nan=True) or not np.isfinite(two[finite]).all():
        return np.inf
    if not finite.any():
        return 0.0
    scale = max(float(np.abs(one[finite]).max()), _TINY)
    return float(np.abs(one[finite] - two[finite]).max()) / scale
