"""Two arrays held against each other: the first wrong number, how many, and what the pattern tells."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from .operation import Array
from .report import Comparison

__all__ = ["compare", "near"]

_LOOSE = 1e-3
"""The tolerance of what was computed in float32."""


def compare(
    name: str,
    found: Any,
    expected: Any,
    tolerance: float,
    mistakes: Iterable[tuple[str, Any]] = (),
    batch: int = 0,
) -> Comparison:
    """Hold what a learner's definition gave against what it should give.

    Parameters
    ----------
    name : str
        What it is.
    found, expected : array_like
        The two.
    tolerance : float
        Allowed, relative to the largest expected number.
    mistakes : iterable of (str, array)
        Hints, each with what is there if it holds.
    batch : int
        The number of rows of the batch, for a hint.
    """
    theirs = _numbers(found)
    ours = np.asarray(expected, np.float64)
    if theirs is None:
        return Comparison(name, False, hint=f"it is {_described(found)} and not an array of numbers")
    if theirs.shape != ours.shape:
        return Comparison(name, False, ours.size, ours.size, hint=_of_shape(theirs, ours, tolerance))
    tolerance = max(tolerance, _LOOSE if np.asarray(found).dtype in (np.float32, np.float16) else 0.0)
    wrong = ~_equal(theirs, ours, tolerance)
    if not wrong.any():
        return Comparison(name, True, 0, ours.size)
    first = np.unravel_index(int(np.argmax(wrong)), ours.shape)
    hints = (hint for hint, other in mistakes if near(theirs, other, tolerance))
    hint = next(hints, "") or _of_values(theirs, ours, wrong, tolerance, batch)
    return Comparison(
        name,
        False,
        int(wrong.sum()),
        ours.size,
        tuple(int(i) for i in first),
        float(theirs[first]),
        float(ours[first]),
        hint,
    )


def near(found: Any, expected: Any, tolerance: float) -> bool:
    """Whether two arrays have one shape, and numbers that are near enough."""
    found, expected = np.asarray(found), np.asarray(expected)
    return found.shape == expected.shape and bool(_equal(found, expected, tolerance).all())


def _equal(found: Array, expected: Array, tolerance: float) -> Array:
    largest = np.max(np.abs(expected), initial=0.0, where=np.isfinite(expected))
    with np.errstate(invalid="ignore"):
        close: Array = np.abs(found - expected) <= tolerance * max(float(largest), 1e-12)
    return close | (found == expected)


def _numbers(found: Any) -> Array | None:
    try:
        return None if found is None else np.asarray(found, np.float64)
    except (TypeError, ValueError):
        return None


def _described(found: Any) -> str:
    return "None" if found is None else f"a {type(found).__name__}"


def _of_shape(found: Array, expected: Array, tolerance: float) -> str:
    """What a wrong shape tells."""
    text = f"its shape is {found.shape}, expected {expected.shape}"
    if near(found.T, expected, tolerance):
        return f"{text}: it is transposed"
    if found.size == expected.size and near(found.ravel(), expected.ravel(), tolerance):
        return f"{text}: the numbers are right, and want a reshape"
    if found.ndim == 0 and expected.ndim == 1 and near(found, expected.sum(), tolerance):
        return f"{text}: it is summed over everything, and wants axis=0"
    if found.ndim > expected.ndim and near(found.sum(0), expected, tolerance):
        return f"{text}: it is not summed over the batch"
    if found.ndim > expected.ndim and near(found.mean(0), expected, tolerance):
        return f"{text}: it is not averaged over the batch"
    if found.ndim == expected.ndim == 4 and found.size == expected.size:
        return f"{text}: axes are exchanged"
    return text


def _of_values(found: Array, expected: Array, wrong: Array, tolerance: float, batch: int) -> str:
    """What wrong numbers tell."""
    if np.isnan(found).any() and not np.isnan(expected).any():
        return "there are NaNs: a division by 0, a logarithm of 0, or an overflow"
    if not found.any():
        return "it is all zeros: was anything written to it?"
    if expected.ndim == 2 and near(found.T, expected, tolerance):
        return "it is transposed"
    hint = _of_ratio(found, expected, tolerance, batch)
    if hint:
        return hint
    if near(found - found.mean(), expected - expected.mean(), tolerance) and expected.size > 1:
        return "every number is off by the same amount: is a constant or a bias missing?"
    if expected.ndim > 1 and 0 < wrong.sum() < wrong.size:
        rows = wrong.reshape(len(wrong), -1).all(axis=1)
        if rows.sum() * (wrong.size // len(wrong)) == wrong.sum():
            which = ", ".join(map(str, np.flatnonzero(rows)[:5]))
            return (
                f"only the entries {which} of the first axis are wrong, as if a loop or a slice missed them"
            )
    return _border(wrong)


def _of_ratio(found: Array, expected: Array, tolerance: float, batch: int) -> str:
    """A factor that all numbers share."""
    largest = np.unravel_index(int(np.argmax(np.abs(expected))), expected.shape)
    if not expected[largest]:
        return ""
    ratio = float(found[largest] / expected[largest])
    if not np.isfinite(ratio) or not near(found, ratio * expected, max(tolerance, abs(ratio) * tolerance)):
        return ""
    for factor, hint in (
        (-1.0, "the sign is wrong"),
        (2.0, "it is twice what it should be"),
        (0.5, "it is half of what it should be: a factor 2 is missing"),
        (float(batch), f"it is {batch} times too large: a division by the batch size is missing"),
        (-float(batch), f"the sign is wrong, and a division by the batch size, {batch}, is missing"),
        (1 / max(batch, 1), f"it is {batch} times too small: it is divided by the batch size once too often"),
    ):
        if factor and abs(ratio / factor - 1) < 1e-4:
            return hint
    return f"every number is {ratio:.6g} times what it should be"


def _border(wrong: Array) -> str:
    """Whether only the numbers at the edge of images are wrong."""
    if wrong.ndim != 4 or min(wrong.shape[2:]) < 3:
        return ""
    inner = wrong[:, :, 1:-1, 1:-1]
    return "" if inner.any() else "only the border is wrong: look at the padding"
