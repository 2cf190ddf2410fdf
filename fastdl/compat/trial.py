"""The trial of a replacement: original and fastdl on copies of the first real input, compared and timed.

Both get copies of the instance and of the arguments, of the batch some rows only, and the same state of the
global random generators, which are put back afterwards. The other methods of a class, or the partner of a
function, are called with a random gradient of the shape of the first result.
"""

from __future__ import annotations

import copy
import inspect
import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from math import isnan
from typing import Any

import numpy as np

from .differences import Difference, coarsest, difference
from .target import Target
from .tier import Unserved
from .timer import timer

__all__ = ["SLOWER", "Calls", "Verdict", "copied", "same_random", "silence", "state_difference", "trial"]

_ROWS = 4
_ELEMENTS = 1 << 16
_ELEMENTS_KNOWN = 1 << 13
"""A trial takes rows of the batch until it has both: the time is then that of the work, not of the calls."""

_BLOCK = 16381
"""Random numbers that the elements of a long gradient repeat: a prime, so that no row is like the next."""

_SURE, _FAR = 1.5, 3.0
"""fastdl serves if the original takes 1.5 times as long, and does not if fastdl takes three times as long."""

_TICK = 1e-7
_SHORT = 0.01
"""Seconds that are so few that the original is timed twice, unless it takes three times as long."""


SLOWER = "fastdl is not faster here"


@dataclass(frozen=True)
class Calls:
    """The functions of one side, in the order in which a trial calls them."""

    first: Callable[..., Any]
    others: tuple[Callable[..., Any], ...] = ()


@dataclass(frozen=True)
class Verdict:
    """What a trial found.

    Attributes
    ----------
    serve : bool
        Whether the results are equal and fastdl's came sooner.
    close : bool
        Whether they are equal, and came so nearly together that nothing follows from it.
    reason : str
        Why fastdl does not serve.
    largest : float
        The largest difference, relative to the largest value.
    seconds : tuple of float
        What each function of the original would take, for each element of the input; NaN where that does not
        follow from what it took for a sample.
    ratios : tuple of float
        How many times as long as fastdl's each took in the trial.
    """

    serve: bool
    reason: str = ""
    close: bool = False
    largest: float = 0.0
    seconds: tuple[float, ...] = ()
    ratios: tuple[float, ...] = ()

    def original(self, index: int, size: int, took: float) -> float:
        """Return what the original's function of an index would take, where fastdl's took so many seconds."""
        if index >= len(self.seconds):
            return 0.0
        seconds = self.seconds[index] * size
        return took * self.ratios[index] if isnan(seconds) else seconds


@dataclass
class _Run:
    results: list[Any]
    seconds: list[float]
    arguments: Mapping[str, Any]
    state: Mapping[str, Any] = field(default_factory=dict)


class _Silence:
    """While it lasts, wrapped functions run their originals: those of a trial must not be helped."""

    active = False

    @contextmanager
    def __call__(self) -> Iterator[None]:
        before, self.active = self.active, True
        try:
            yield
        finally:
            self.active = before


silence = _Silence()


@contextmanager
def same_random() -> Iterator[Callable[[], None]]:
    """Give a function that puts the global random generators back; it is called at the end as well."""
    numpy_state, python_state = np.random.get_state(), random.getstate()  # noqa: NPY002 - whose draws must match

    def restore() -> None:
        np.random.set_state(numpy_state)  # noqa: NPY002
        random.setstate(python_state)

    try:
        yield restore
    finally:
        restore()


def copied(value: Any) -> Any:
    """Return a copy that shares no array, and in which arrays keep their order in memory and their views."""
    return copy.deepcopy(value)


def trial(
    target: Target, theirs: Calls, ours: Calls, instance: Any, args: Any, kwargs: Any, *, known: bool = False
) -> Verdict:
    """Try a replacement on an input, which is left as it is.

    Parameters
    ----------
    target : Target
        What is replaced.
    theirs, ours : Calls
        The functions of the original and of fastdl.
    instance : object or None
        What methods are called on; None for functions.
    args, kwargs
        Arguments of the first function.
    known : bool
        Whether the original has a published fingerprint: fewer rows show then what they can.
    """
    try:
        arguments, instance, share = _sample(target, theirs.first, instance, args, kwargs, known)
        copies = copied((instance, arguments)), copied((instance, arguments))
    except Exception:  # whatever the original raises on the real input, it will raise itself
        return Verdict(False, "its arguments cannot be copied")
    with same_random() as restore, np.errstate(all="ignore"):
        with silence():
            try:
                one = _run(theirs, copies[0])
            except Exception as error:
                return Verdict(False, f"the original raised {type(error).__name__}")
        try:
            restore()
            two = _run(ours, copies[1], ours=True)
        except Unserved as error:
            return Verdict(False, str(error))
        except Exception as error:
            return Verdict(False, f"{type(error).__name__}: {error}")
        found = _difference(target, one, two)
        if found.reason:
            return Verdict(False, found.reason, largest=found.largest)
        their_seconds, our_seconds = one.seconds, two.seconds
        sooner = _sooner(our_seconds, their_seconds)
        if not sooner:  # the first call of fastdl's may have been busy with what no other is
            restore()
            our_seconds = _least(our_seconds, _run(ours, copied((instance, arguments)), ours=True).seconds)
            sooner = _sooner(our_seconds, their_seconds)
        if sum(their_seconds) < min(_SHORT, _FAR * sum(our_seconds)):
            with silence():
                restore()
                again = _run(theirs, copied((instance, arguments)))
                their_seconds = _least(their_seconds, again.seconds)
            sooner = _sooner(our_seconds, their_seconds)
    seconds = tuple(second / share for second in their_seconds)
    ratios = tuple(theirs / max(ours, _TICK) for theirs, ours in zip(their_seconds, our_seconds))
    serve = sooner or (sooner is None and sum(our_seconds) <= sum(their_seconds))
    reason = SLOWER if sooner is False else ""
    return Verdict(serve, reason, sooner is None, found.largest, seconds, ratios)


def _sample(
    target: Target, function: Callable[..., Any], instance: Any, args: Any, kwargs: Any, known: bool
) -> tuple[dict[str, Any], Any, float]:
    """The arguments by name, and the instance, of both some rows; and the share of the work that is left."""
    bound = inspect.signature(function).bind(*(args if instance is None else (instance, *args)), **kwargs)
    arguments = dict(bound.arguments)
    if instance is not None:
        arguments.pop(next(iter(arguments)))
    sampler = target.sampler()
    if sampler is not None:
        arguments = _containers(arguments)
        if instance is None:
            return arguments, None, sampler(arguments)
        instance = copy.copy(instance)
        return arguments, instance, sampler(arguments, instance)
    batches = [name for name in target.batch if isinstance(arguments.get(name), np.ndarray)]
    share = 1.0
    if batches and arguments[batches[0]].ndim:
        first = arguments[batches[0]]
        everything = len(first)
        elements = _ELEMENTS_KNOWN if known else _ELEMENTS
        rows = min(everything, max(_ROWS, -(-elements * everything // max(first.size, 1))))
        if 0 < rows < everything and all(len(arguments[name]) == everything for name in batches):
            share = rows / everything
            arguments.update({name: arguments[name][:rows] for name in batches})
    return arguments, instance, share


def _containers(value: Any) -> Any:
    """Return a copy of dicts, lists and tuples with the same things in them."""
    if type(value) is dict:
        return {key: _containers(item) for key, item in value.items()}
    return type(value)(map(_containers, value)) if type(value) in (list, tuple) else value


def _run(calls: Calls, given: tuple[Any, dict[str, Any]], *, ours: bool = False) -> _Run:
    instance, arguments = given
    now = timer(ours=ours)
    itself = [] if instance is None else [instance]
    start = now()
    result = calls.first(*itself, **arguments)
    run = _Run([result], [now() - start], arguments)
    if calls.others:
        output, *cache = result if instance is None and isinstance(result, tuple) else (result,)
        gradient = _like(output)
        # What a method returns may be a view of what the next one changes.
        run.results[0] = copied(output) if instance is None else copied(result)
        for left, other in zip(range(len(calls.others) - 1, -1, -1), calls.others):
            given = copied(gradient) if left else gradient
            start = now()
            run.results.append(other(*itself, *given, *cache))
            run.seconds.append(now() - start)
    if itself:
        run.state = vars(itself[0])
    return run


def _like(output: Any) -> tuple[Any, ...]:
    """Random gradients of the arrays that a function returned; none for a scalar, whose gradient is 1."""
    gradients: list[np.ndarray[Any, Any]] = []
    for item in output if isinstance(output, tuple) else (output,):
        if isinstance(item, np.ndarray):
            dtype = item.dtype if item.dtype.kind == "f" else np.dtype(np.float64)
            numbers = _numbers(len(gradients))[: max(item.size, 1)].astype(dtype)
            gradients.append(np.resize(numbers, item.shape))
    return tuple(gradients)


@cache
def _numbers(seed: int) -> np.ndarray[Any, Any]:
    """The random numbers of the gradient of one output."""
    return np.random.default_rng(seed).standard_normal(_BLOCK)


def _difference(target: Target, one: _Run, two: _Run) -> Difference:
    coarse = coarsest(one.arguments)
    names = ["the result"] if len(one.results) == 1 else _names(target)
    found = [
        *(
            difference(theirs, ours, name, coarse)
            for theirs, ours, name in zip(one.results, two.results, names, strict=True)
        ),
        difference(one.arguments, two.arguments, "what became of the arguments"),
        state_difference(target, one.state, two.state),
    ]
    return next((item for item in found if item.reason), max(found, key=lambda item: item.largest))


def _names(target: Target) -> list[str]:
    return [f"the result of {name}" for name in target.methods or (target.name, target.partner)]


def state_difference(target: Target, theirs: Mapping[str, Any], ours: Mapping[str, Any]) -> Difference:
    """Compare the attributes that people may read."""
    largest = 0.0
    for name, value in theirs.items():
        if name.startswith("_") or name in target.private:
            continue
        if name not in ours:
            return Difference(np.inf, f"the attribute {name} is missing")
        found = difference(value, ours[name], f"the attribute {name}")
        if found.reason:
            return found
        largest = max(largest, found.largest)
    return Difference(largest)


def _sooner(ours: list[float], theirs: list[float]) -> bool | None:
    """Whether fastdl is faster; None where so short a trial does not say it."""
    one, two = sum(ours), sum(theirs)
    if two >= _SURE * one:
        return True
    return False if one > max(_SHORT / 4, _FAR * two) else None


def _least(one: list[float], two: list[float]) -> list[float]:
    return one if sum(one) <= sum(two) else two
