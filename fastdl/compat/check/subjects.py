"""How a learner's definition is called: functions with a cache, and objects with parameters."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .operation import Gradients, Inputs, Operation, Outputs
from .report import Comparison

__all__ = ["Skip", "Subject", "Unfit", "backward_of", "fits", "forward_of", "function", "layer"]

CS231N, DLFS = "cs231n", "Deep Learning from Scratch"
_SUFFIXES = ("_naive", "_fast", "_im2col", "_strides", "_vectorized", "_reshape", "_alt")


class Skip(Exception):  # noqa: N818 - nothing is wrong
    """A definition is not checked, and why."""


class Unfit(Exception):  # noqa: N818 - what a learner is told
    """A definition returns what its convention does not."""


@dataclass(frozen=True)
class Subject:
    """A definition, called by a convention.

    Attributes
    ----------
    convention : str
        Whose.
    operation : Operation or None
        What it should compute; None: `findings` says all.
    forward : callable
        Returns its outputs for inputs, and what `backward` needs.
    backward : callable or None
        Returns its gradients.
    judged : tuple of str
        Which of the two the definition is: "forward", "backward".
    note : str
        What was assumed.
    findings : callable or None
        Returns the comparisons of what is no forward pass with a gradient.
    """

    convention: str
    operation: Operation | None = None
    forward: Callable[[Inputs], tuple[Outputs, Any]] | None = None
    backward: Callable[[Any, Outputs], Gradients] | None = None
    judged: tuple[str, ...] = ("forward",)
    note: str = ""
    findings: Callable[[], Iterable[Comparison]] | None = None


Maker = Callable[[str, Any, dict[str, Any]], Sequence[Subject]]
"""Returns the ways in which a definition may be meant, of its name, itself and the names of its file."""


def fits(value: Any, *arguments: Any) -> bool:
    """Whether something can be called with as many arguments."""
    try:
        inspect.signature(value).bind(*arguments)
    except TypeError:
        return False
    except ValueError:  # it does not say
        return True
    return True


def stem(name: str) -> str:
    """Return a function's name without what tells how it is written."""
    for suffix in _SUFFIXES:
        name = name.removesuffix(suffix)
    return name


def _check(value: Any, arguments: Sequence[str]) -> None:
    if not fits(value, *arguments):
        raise Skip(f"it does not take ({', '.join(arguments)})")


def _split(result: Any, outputs: Sequence[str]) -> tuple[Outputs, Any]:
    wanted = f"({', '.join(outputs)}, cache)"
    if not isinstance(result, tuple) or len(result) != len(outputs) + 1:
        count = f"{len(result)} values" if isinstance(result, tuple) else f"one {type(result).__name__}"
        raise Unfit(f"it returns {count}, and should return {wanted}")
    return result[:-1], result[-1]


def _forward(value: Any, operation: Operation, arguments: Sequence[str]) -> Any:
    def forward(given: Inputs) -> tuple[Outputs, Any]:
        return _split(value(*(given[name] for name in arguments)), operation.outputs)

    return forward


def forward_of(operation: Operation, *arguments: str) -> Maker:
    """A function that returns its outputs and a cache."""

    def make(name: str, value: Any, names: dict[str, Any]) -> list[Subject]:
        _check(value, arguments)
        return [Subject(CS231N, operation, _forward(value, operation, arguments))]

    return make


def backward_of(operation: Operation, *arguments: str) -> Maker:
    """A function that takes gradients of the outputs and a cache; the forward pass is the learner's own."""

    def make(name: str, value: Any, names: dict[str, Any]) -> list[Subject]:
        _check(value, [*(f"d{output}" for output in operation.outputs), "cache"])
        first = _partner(name, names)
        _check(first, arguments)

        def backward(cache: Any, douts: Outputs) -> Gradients:
            result = value(*douts, cache)
            result = result if isinstance(result, tuple) else (result,)
            if len(result) != len(operation.wrt):
                wanted = ", ".join(f"d{name}" for name in operation.wrt)
                raise Unfit(f"it returns {len(result)} gradients, and should return ({wanted})")
            return dict(zip(operation.wrt, result))

        return [Subject(CS231N, operation, _forward(first, operation, arguments), backward, ("backward",))]

    return make


def _partner(name: str, names: dict[str, Any]) -> Any:
    """The forward pass that goes with a backward pass: of the same suffix, or any."""
    wanted = name.replace("_backward", "_forward")
    base = stem(wanted)
    for other in (wanted, base, *(base + suffix for suffix in _SUFFIXES)):
        if callable(names.get(other)):
            return names[other]
    raise Skip(f"its cache comes from {base}, which is not in the file")


def function(operation: Operation, *arguments: str, convention: str = DLFS, note: str = "") -> Maker:
    """A function that returns its one output and nothing else."""

    def make(name: str, value: Any, names: dict[str, Any]) -> list[Subject]:
        _check(value, arguments)

        def forward(given: Inputs) -> tuple[Outputs, Any]:
            return (value(*(given[name] for name in arguments)),), None

        return [Subject(convention, operation, forward, note=note)]

    return make


def layer(
    operation: Operation,
    held: Sequence[str] = (),
    called: Sequence[str] = ("x",),
    *,
    extra: Sequence[Any] = (),
    returned: Sequence[str] | None = None,
    note: str = "",
) -> Maker:
    """A class whose objects hold parameters and have `forward` and `backward`.

    Parameters
    ----------
    operation : Operation
        What it computes.
    held, called : sequence of str
        The inputs that the constructor takes, and those that `forward` takes.
    extra : sequence
        What the constructor takes besides.
    returned : sequence of str, optional
        The gradients that `backward` returns: by default of what `forward` took. Those of the parameters are
        attributes, dW, or entries of a list, grads.
    note : str
        What is assumed.
    """
    returned = [name for name in called if name in operation.wrt] if returned is None else returned
    parameters = [name for name in held if name in operation.wrt]

    def make(name: str, value: Any, names: dict[str, Any]) -> list[Subject]:
        _check(value, [*held, *map(str, extra)])
        for method in ("forward", "backward"):
            if not callable(getattr(value, method, None)):
                raise Skip(f"it has no {method}")

        def forward(given: Inputs) -> tuple[Outputs, Any]:
            instance = value(*(given[name] for name in held), *extra)
            result = instance.forward(*(given[name] for name in called))
            return result if isinstance(result, tuple) else (result,), instance

        def backward(instance: Any, douts: Outputs) -> Gradients:
            result = instance.backward(*(douts if fits(instance.backward, *douts) else ()))
            result = result if isinstance(result, tuple) else (result,)
            found = dict(zip(returned, result))
            for index, parameter in enumerate(parameters):
                found[parameter] = _gradient(instance, parameter, index)
            return found

        judged = ("forward", "backward") if operation.backward else ("forward",)
        return [Subject(DLFS, operation, forward, backward, judged, note)]

    return make


def _gradient(instance: Any, name: str, index: int) -> Any:
    """The gradient that an object keeps of a parameter."""
    for attribute in dict.fromkeys((f"d{name}", f"d{name[0].upper()}{name[1:]}", f"d{name.lower()}")):
        if hasattr(instance, attribute):
            return getattr(instance, attribute)
    kept = getattr(instance, "grads", None)
    if isinstance(kept, (list, tuple)) and len(kept) > index:
        return kept[index]
    raise Unfit(f"backward leaves no gradient of {name}: neither an attribute d{name} nor grads[{index}]")


def rows(given: Inputs) -> int:
    """Return the size of the batch."""
    x = given.get("x")
    return len(x) if isinstance(x, np.ndarray) and x.ndim else 0
