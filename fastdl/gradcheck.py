"""Gradients held against finite differences: does backward compute what forward says?"""

from __future__ import annotations

import copy
import inspect
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from . import nested

Array = np.ndarray[Any, np.dtype[Any]]


def numerical_gradient(f: Callable[..., Any], x: Any, eps: float | None = None) -> Any:
    """Return the gradient of f at x by central differences, (f(x + h) - f(x - h)) / 2h.

    Parameters
    ----------
    f : callable
        Returns one number, called as ``f(x)``, or as ``f()`` if it takes no argument. Each entry of x
        is changed in place for two calls, and put back.
    x : array of floats of any shape, or a dict of them
        Where. A dict, such as the parameters of a network, gives a dict.
    eps : float, optional
        The step h; by default the cube root of the dtype's rounding, 6e-6 for float64 and 5e-3 for
        float32, where the errors of the formula and of the subtraction are alike.

    Returns
    -------
    array of x's shape and dtype, or a dict of them

    Raises
    ------
    TypeError
        If x is not an array of floats, since a list cannot be changed in place and an integer not by
        a little, or f returns something else than one number.
    ValueError
        If x is read-only.

    Examples
    --------
    >>> import numpy as np
    >>> from fastdl import numerical_gradient
    >>> x = np.array([3.0, 4.0])
    >>> numerical_gradient(lambda x: np.sum(x**2), x).round(6)
    array([6., 8.])
    """
    value = _as_number_of(f, x)
    if isinstance(x, Mapping):
        return {name: _differences(value, _changeable(f"x[{name!r}]", x[name]), eps) for name in x}
    return _differences(value, _changeable("x", x), eps)


def _as_number_of(f: Callable[..., Any], x: Any) -> Callable[[], float]:
    """Return f as a function of no arguments, whose result is a float."""
    try:
        takes_x = bool(inspect.signature(f).parameters)
    except ValueError:  # some builtins do not say
        takes_x = True

    def value() -> float:
        result = np.asarray(f(x) if takes_x else f())
        if result.size != 1 or result.dtype.kind not in "fiu":
            raise TypeError(
                f"numerical_gradient: f must return one number; got {result.dtype} of shape {result.shape}"
            )
        return float(result.item())

    return value


def _changeable(name: str, x: Any) -> Array:
    if not isinstance(x, np.ndarray) or x.dtype.kind != "f":
        came = f"an array of {x.dtype}" if isinstance(x, np.ndarray) else f"a {type(x).__name__}"
        raise TypeError(f"numerical_gradient: {name} must be an array of floats; got {came}")
    if not x.flags.writeable:
        raise ValueError(
            f"numerical_gradient: {name} is read-only, and its entries have to be changed in place"
        )
    return x


def _differences(value: Callable[[], float], x: Array, eps: float | None) -> Array:
    gradient = np.empty(x.shape, x.dtype)
    for index in np.ndindex(x.shape):
        gradient[index] = _slope(value, x, index, eps)
    return gradient


def _slope(value: Callable[[], float], x: Array, index: tuple[int, ...], eps: float | None) -> float:
    """Return the central difference along one entry of x, over the step that its rounding lets it make."""
    step = float(np.finfo(x.dtype).eps) ** (1 / 3) if eps is None else eps
    before = x[index]
    try:
        x[index] = before + step
        upper, high = float(x[index]), value()
        x[index] = before - step
        lower, low = float(x[index]), value()
    finally:
        x[index] = before
    return (high - low) / (upper - lower)


@dataclass(frozen=True, slots=True)
class GradientError:
    """How well one gradient agrees: its worst entry.

    Attributes
    ----------
    name : str
        "x", or the name of the parameter.
    shape : tuple of int
    checked : int
        Entries that were checked.
    error : float
        The largest relative error.
    index : tuple of int
        Where it is.
    computed, expected : float
        The gradient there, from backward and from finite differences.
    """

    name: str
    shape: tuple[int, ...]
    checked: int
    error: float
    index: tuple[int, ...]
    computed: float
    expected: float


@dataclass(frozen=True, slots=True)
class GradientReport:
    """What `gradcheck` found. It is true if all gradients are right; printed, it is a table."""

    errors: tuple[GradientError, ...]
    tolerance: float

    @property
    def max_error(self) -> float:
        """The largest relative error of all."""
        return max((entry.error for entry in self.errors), default=0.0)

    @property
    def ok(self) -> bool:
        """Whether every error is within the tolerance."""
        return self.max_error <= self.tolerance

    def __bool__(self) -> bool:
        return self.ok

    def __str__(self) -> str:
        rows = [("gradient of", "shape", "checked", "worst error", "at", "backward", "differences", "")]
        rows += [
            (
                entry.name,
                str(entry.shape),
                str(entry.checked),
                f"{entry.error:.1e}",
                str(entry.index),
                f"{entry.computed:.6g}",
                f"{entry.expected:.6g}",
                "" if entry.error <= self.tolerance else "wrong",
            )
            for entry in self.errors
        ]
        widths = [max(map(len, column)) for column in zip(*rows)]
        return "\n".join(
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows
        )


def gradcheck(
    model: Any, x: Any, *, training: bool = True, tolerance: float = 1e-5, samples: int = 200, seed: int = 0
) -> GradientReport:
    """Compare the gradients that a layer or a model computes with finite differences, in float64.

    A random projection of the output is the loss, so that all of the output takes part. Everything
    runs on a copy of the model; where forward draws random numbers it draws the same ones each time.

    Parameters
    ----------
    model : layer or model
        Anything with `vjp`, `params`, `grads` and `zero_grads`. It must work in float64, or have an
        `astype` that makes it.
    x : array, or a list or dict of them
        A small input, such as two samples. If an array holds integers, as an embedding takes them, its own
        gradient is left out.
    training : bool
        The mode to check.
    tolerance : float
        The largest relative error that passes. Right gradients come below 1e-7; wrong ones are near 1.
    samples : int
        Entries to check in each array, chosen at random in larger ones. Each costs two forward passes.
    seed : int
        Of the projection and of the choice.

    Returns
    -------
    GradientReport
        For x and for every parameter the worst relative error and where it is.

    Raises
    ------
    TypeError
        If the output is not float64: rounding would hide what is to be seen.
    ValueError
        If a gradient does not have the shape of what it is the gradient of.

    Notes
    -----
    Where a function has a corner (relu at 0, a maximum of equals) differences see both sides of it and
    differ from any gradient. Random input does not hit corners; rounded input does.

    Examples
    --------
    >>> import numpy as np
    >>> from fastdl import gradcheck
    >>> from fastdl.layers import Dense
    >>> bool(gradcheck(Dense(3, activation="tanh"), np.random.default_rng(0).normal(size=(2, 4))))
    True
    """
    x = nested.apply(_prepared, x)
    model = copy.deepcopy(model)
    if hasattr(model, "astype"):
        model.astype("float64")
    model.vjp(x, training)  # builds it, where that is still to do

    # Every run has its own copy: what a layer draws or counts must not differ from one to the next.
    checked = copy.deepcopy(model)
    checked.zero_grads()
    y, back = checked.vjp(x, training)
    for part in nested.parts(y):
        if part.dtype != np.float64:
            raise TypeError(
                "gradcheck: the model must compute in float64 to be checked;"
                f" it gives {part.dtype} for float64 x"
            )
    rng = np.random.default_rng(seed)
    projection = nested.apply(lambda part: rng.standard_normal(part.shape), y)
    dx = back(nested.apply(np.copy, projection))
    inputs = zip(nested.labels("x", x), nested.parts(x), nested.parts(dx))
    pairs = {label: (array, gradient) for label, array, gradient in inputs if array.dtype.kind == "f"}
    pairs |= {name: (model.params[name], checked.grads[name]) for name in model.params}

    def loss() -> float:
        return _projected(copy.deepcopy(model).vjp(x, training)[0], projection)

    # Below what rounding does to the differences, errors are measured against that, not against the gradient.
    float64 = np.finfo(np.float64)
    size = _projected(nested.apply(abs, y), nested.apply(abs, projection))
    floor = 16 * float(float64.eps) ** (2 / 3) * size / tolerance + float(float64.tiny)
    errors = [
        _worst(name, loss, *pair, _entries(pair[0].shape, samples, rng), floor)
        for name, pair in pairs.items()
    ]
    return GradientReport(tuple(errors), tolerance)


def _prepared(x: Any) -> Array:
    x = np.array(x)
    return x.astype(np.float64) if x.dtype.kind == "f" else x


def _projected(y: Any, projection: Any) -> float:
    """Return the scalar product of an output, or of several, with what it is projected on."""
    return float(sum(np.vdot(*pair) for pair in zip(nested.parts(y), nested.parts(projection))))


def _entries(shape: tuple[int, ...], samples: int, rng: np.random.Generator) -> Iterable[tuple[int, ...]]:
    """Return the indices to check: all of them, or as many as `samples` at random."""
    size = math.prod(shape)
    if size <= samples:
        return np.ndindex(shape)
    chosen = np.sort(rng.choice(size, samples, replace=False))
    return [tuple(int(i) for i in np.unravel_index(flat, shape)) for flat in chosen]


def _worst(
    name: str,
    loss: Callable[[], float],
    array: Array,
    gradient: Array,
    entries: Iterable[tuple[int, ...]],
    floor: float,
) -> GradientError:
    if gradient.shape != array.shape:
        raise ValueError(
            f"gradcheck: the gradient of {name} must have its shape {array.shape}; got {gradient.shape}"
        )
    worst = GradientError(name, array.shape, 0, 0.0, (), 0.0, 0.0)
    checked = 0
    for index in entries:
        checked += 1
        computed, expected = float(gradient[index]), _slope(loss, array, index, None)
        error = abs(computed - expected) / max(abs(computed), abs(expected), floor)
        error = error if error == error else math.inf  # NaN is as wrong as can be
        if error > worst.error or checked == 1:
            worst = GradientError(name, array.shape, 0, error, index, computed, expected)
    return replace(worst, checked=checked)
