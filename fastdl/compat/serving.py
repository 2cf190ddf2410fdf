"""A definition that fastdl serves: the wrapper that stands in its place, and what it counts.

A class stays the class its author wrote: only methods are set on it. A function is replaced by a wrapper with
its name.
"""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from time import perf_counter
from typing import Any

import numpy as np

from .differences import difference
from .recognise import Found
from .target import Target
from .tier import STATE, State, settings
from .trial import Calls, Verdict, copied, same_random, silence, state_difference, trial

__all__ = ["Service", "serve"]

_MOST_KINDS = 64
"""Kinds of input that a definition is tried on; on one more, it is left alone."""

Beside = tuple[Any, Any, Any]
"""What the original returned, and what became of its arguments."""

_REVIEW = 64
"""Calls after which the time they took is held against what the original would have taken."""

_SHADOW = "_fastdl_shadow"
"""The attribute of a layer, under ``verify``, that holds its copy on which the original runs."""

_COUNTERS = frozenset({"epoch", "iter", "iterations", "step", "t"})
"""Names under which code counts its steps: one step more is no other kind of input."""

_UNTRIED = Verdict(True)
_NOT_BEFORE = Verdict(False, "its partner has not served")
_SLOWER = Verdict(False, "fastdl was slower than the trial had said")
_TOO_MANY = Verdict(False, "it is called with too many kinds of input")


@dataclass
class Count:
    """What one function or method has done.

    Attributes
    ----------
    calls, seconds : int, float
        Calls that fastdl served, and the time inside.
    original_seconds : float
        What the original would have taken for them, as the trials say.
    left : int
        Calls that the original served.
    """

    calls: int = 0
    seconds: float = 0.0
    original_seconds: float = 0.0
    left: int = 0


@dataclass
class Service:
    """A definition under fastdl's care.

    Attributes
    ----------
    name, module, file, line
        Where the definition is.
    found : Found
        How it was recognised.
    target : Target or None
        What serves it, once an input has decided.
    counts : dict
        A `Count` for each function, by name.
    verdicts : dict
        For each kind of input what its trial said.
    reasons : dict
        Why the original served, with how often.
    largest : float
        The largest difference seen.
    slower : bool
        Whether it has taken longer than the original would have, and serves no more.
    """

    name: str
    module: str
    file: str
    found: Found
    target: Target | None = None
    counts: dict[str, Count] = field(default_factory=dict)
    verdicts: dict[Any, Verdict] = field(default_factory=dict)
    reasons: dict[str, int] = field(default_factory=dict)
    largest: float = 0.0
    slower: bool = False

    def left(self, name: str, reason: str) -> None:
        """Count a call that the original serves."""
        self.counts[name].left += 1
        self.reasons[reason] = self.reasons.get(reason, 0) + 1

    def review(self) -> None:
        """Serve no more if the original would have been sooner: a trial is short and may mislead."""
        seconds = sum(count.seconds for count in self.counts.values())
        original = sum(count.original_seconds for count in self.counts.values())
        self.slower = 0 < original < seconds

    def compare(self, theirs: Any, ours: Any) -> None:
        """Keep the largest difference: of results, and of what became of the arguments."""
        self.largest = max(self.largest, difference(theirs, ours).largest)

    def compare_state(self, theirs: Any, ours: Any) -> None:
        """Keep the largest difference between the attributes of two instances."""
        if self.target is not None:
            found = state_difference(self.target, vars(theirs), vars(ours))
            self.largest = max(self.largest, found.largest)


def serve(service: Service, original: Any) -> Any:
    """Put fastdl's methods on a class, or return the wrapper that stands for a function."""
    if not isinstance(original, type):
        return _wrapper(original, _Function(service, original))
    served = _Class(service, original)
    for name, method in served.methods.items():
        setattr(original, name, _wrapper(served.originals[name], method, bound=True))
    return original


def _wrapper(
    original: Callable[..., Any], served: Callable[..., Any], *, bound: bool = False
) -> Callable[..., Any]:
    """Return a function with the original's name. Its attribute says what to do, and a reload replaces it."""
    if bound:

        @functools.wraps(original)
        def wrapper(self: Any, *args: Any, **kwargs: Any) -> Any:
            return wrapper.__fastdl__(self, args, kwargs)  # type: ignore[attr-defined]

    else:

        @functools.wraps(original)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            return wrapper.__fastdl__(args, kwargs)  # type: ignore[attr-defined]

    wrapper.__fastdl__ = served  # type: ignore[attr-defined]
    return wrapper


# ---- which side serves


def _kind(args: tuple[Any, ...]) -> tuple[Any, int]:
    """The kind and the size of an input: type, axes and magnitude of its first array."""
    for value in args:
        if type(value) is np.ndarray:
            size = value.size
            return (value.dtype.char, value.ndim, size.bit_length()), size
    return None, 1


def _detail(args: tuple[Any, ...], kwargs: dict[str, Any], instance: Any) -> tuple[Any, ...]:
    """All else that unknown code may depend on: numbers and words, in dictionaries and attributes too.

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


class _Served(ABC):
    """What a function and a class have in common: a service, and the choice between the two sides."""

    def __init__(self, service: Service, names: tuple[str, ...]) -> None:
        self.service = service
        service.counts.update({name: Count() for name in names})

    def verdict(
        self, args: tuple[Any, ...], kwargs: dict[str, Any], instance: Any = None
    ) -> tuple[Verdict, int]:
        """Return what serves this kind of input, tried where it is new, and the size of the input."""
        if self.service.slower:
            return _SLOWER, 1
        key, size = _kind(args)
        if not self.service.found.known:
            key = (key, _detail(args, kwargs, instance))
        found = self.service.verdicts.get(key)
        if found is None:
            found = self.service.verdicts[key] = self.judge(args, kwargs, instance, size)
        return found, size

    def judge(self, args: tuple[Any, ...], kwargs: dict[str, Any], instance: Any, size: int) -> Verdict:
        """Try what may serve, the one that has served before or else each, and keep the first that does."""
        service = self.service
        if len(service.verdicts) >= _MOST_KINDS:
            return _TOO_MANY
        verdict = _UNTRIED
        for target in (service.target,) if service.target else service.found.targets:
            ours, theirs = self.sides(target)
            if ours is None or theirs is None:
                return Verdict(False, f"{target.partner} is not served")
            if target.trial:
                verdict = trial(target, theirs, ours, instance, args, kwargs)
            if verdict.serve:
                service.largest = max(service.largest, verdict.largest)
                if service.target is None:
                    service.target = target
                    self.settle(ours)
                break
        return replace(verdict, seconds=tuple(second / size for second in verdict.seconds))

    @abstractmethod
    def sides(self, target: Target) -> tuple[Calls | None, Calls | None]:
        """Return what a trial calls, ours and theirs; None where the partner is not served."""

    @abstractmethod
    def settle(self, ours: Calls) -> None:
        """Take these for what serves from now on."""


# ---- functions


class _Function(_Served):
    def __init__(self, service: Service, original: Callable[..., Any]) -> None:
        super().__init__(service, (service.name,))
        self.original = original
        self.ours: Callable[..., Any] = original
        self.count = service.counts[service.name]
        self.seconds = 0.0  # what the original's next call would take, if it follows its partner
        self.follows = all(target.follows for target in service.found.targets)
        self.shadows: deque[tuple[Any, Any]] = deque(maxlen=_MOST_KINDS)  # what ours returned, and theirs

    def partner(self, target: Target) -> _Function | None:
        found = getattr(self.original, "__globals__", {}).get(target.partner)
        served = getattr(found, "__fastdl__", None)
        return served if isinstance(served, _Function) else None

    def sides(self, target: Target) -> tuple[Calls | None, Calls | None]:
        ours = target.replacement(settings.tier)
        if target.partner is None:
            return Calls(ours), Calls(self.original)
        partner = self.partner(target)
        if partner is None:
            return None, None
        other = next(item for item in partner.service.found.targets if item.family == target.family)
        return Calls(ours, (other.replacement(settings.tier),)), Calls(self.original, (partner.original,))

    def settle(self, ours: Calls) -> None:
        self.ours = ours.first
        target = self.service.target
        if target is not None and target.partner is not None:
            partner = self.partner(target)
            if partner is not None:
                partner.ours = ours.others[0]
                partner.service.target = target

    def __call__(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if silence.active:
            return self.original(*args, **kwargs)
        if self.follows:
            verdict, size = _UNTRIED if self.service.target else _NOT_BEFORE, 1
        else:
            verdict, size = self.verdict(args, kwargs)
        if not verdict.serve:
            self.service.left(self.service.name, verdict.reason)
            return self.original(*args, **kwargs)
        beside = self.beside(args, kwargs) if settings.verify else None
        start = perf_counter()
        try:
            result = self.ours(*args, **kwargs)
        except Exception as error:  # the original will raise its own, or serve
            reason = str(error) or type(error).__name__
        else:
            count = self.count
            count.seconds += perf_counter() - start
            count.calls += 1
            if verdict.seconds:
                count.original_seconds += verdict.seconds[0] * size
                if len(verdict.seconds) > 1:
                    self.expect(verdict.seconds[1] * size)
            elif self.follows:
                count.original_seconds += self.seconds
            if not count.calls % _REVIEW:
                self.service.review()
            if beside is not None:
                self.shadows.append((result, beside[0]))
                self.service.compare(beside, (result, args, kwargs))
            return result
        self.service.left(self.service.name, reason)
        return self.original(*args, **kwargs)

    def expect(self, seconds: float) -> None:
        target = self.service.target
        partner = self.partner(target) if target is not None else None
        if partner is not None:
            partner.seconds = seconds

    def beside(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Beside | None:
        """Run the original on copies; what fastdl's partner made is exchanged for what the original's did."""
        if self.follows and self.service.target is not None:
            partner = self.partner(self.service.target)
            shadows = list(partner.shadows) if partner is not None else []
            args = tuple(
                next(
                    (theirs[1] for ours, theirs in shadows if type(ours) is tuple and ours[1] is value), value
                )
                for value in args
            )
        return _beside(self.original, args, kwargs)


# ---- classes


class _Class(_Served):
    def __init__(self, service: Service, original: type) -> None:
        names = service.found.targets[0].methods
        super().__init__(service, tuple(f"{service.name}.{name}" for name in names))
        self.originals = {name: getattr(original, name) for name in names}
        self.ours = dict(self.originals)
        self.follow = len(names) > 1
        self.methods: dict[str, Callable[..., Any]] = {names[0]: _First(self, names[0])}
        self.methods.update({name: _Other(self, name, i) for i, name in enumerate(names[1:])})

    def sides(self, target: Target) -> tuple[Calls | None, Calls | None]:
        ours = target.replacement(settings.tier)
        methods = [getattr(ours, name) for name in self.originals]
        originals = list(self.originals.values())
        return Calls(methods[0], tuple(methods[1:])), Calls(originals[0], tuple(originals[1:]))

    def settle(self, ours: Calls) -> None:
        self.ours = dict(zip(self.originals, (ours.first, *ours.others), strict=True))


class _Method:
    def __init__(self, owner: _Class, name: str) -> None:
        self.owner = owner
        self.name = name
        self.original = owner.originals[name]
        self.label = f"{owner.service.name}.{name}"
        self.count = owner.service.counts[self.label]

    def left(self, instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any], reason: str) -> Any:
        if reason:
            self.owner.service.left(self.label, reason)
        return self.original(instance, *args, **kwargs)


class _First(_Method):
    """The method that decides: a forward pass, or the only one."""

    def __call__(self, instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if silence.active:
            return self.left(instance, args, kwargs, "")
        owner = self.owner
        attributes = vars(instance)
        verdict, size = owner.verdict(args, kwargs, instance)
        if not verdict.serve:
            attributes.pop(STATE, None)
            return self.left(instance, args, kwargs, verdict.reason)
        beside = self.beside(instance, args, kwargs) if settings.verify else None
        start = perf_counter()
        try:
            result = owner.ours[self.name](instance, *args, **kwargs)
        except Exception as error:  # the original will raise its own, or serve
            attributes.pop(STATE, None)
            reason = str(error) or type(error).__name__
        else:
            self.count.seconds += perf_counter() - start
            self.count.calls += 1
            if owner.follow:
                state = attributes.get(STATE)
                if state is None:
                    state = attributes[STATE] = State()
                state.seconds = tuple(second * size for second in verdict.seconds[1:])
            if verdict.seconds:
                self.count.original_seconds += verdict.seconds[0] * size
            if not self.count.calls % _REVIEW:
                owner.service.review()
            if beside is not None:
                owner.service.compare(beside, (result, args, kwargs))
                owner.service.compare_state(attributes[_SHADOW].value, instance)
            return result
        return self.left(instance, args, kwargs, reason)

    def beside(self, instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Beside | None:
        """Run the original on a copy of the instance, which stays for its other methods."""
        vars(instance).pop(_SHADOW, None)
        shadow = copied(instance)
        found = _beside(functools.partial(self.original, shadow), args, kwargs)
        vars(instance)[_SHADOW] = State(shadow)
        return found


class _Other(_Method):
    """A method that goes with the first: fastdl's where the first was."""

    def __init__(self, owner: _Class, name: str, index: int) -> None:
        super().__init__(owner, name)
        self.index = index

    def __call__(self, instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        state = None if silence.active else vars(instance).get(STATE)
        if state is None:
            return self.left(instance, args, kwargs, "")
        owner = self.owner
        shadow = vars(instance).get(_SHADOW) if settings.verify else None
        beside = _beside(functools.partial(self.original, shadow.value), args, kwargs) if shadow else None
        start = perf_counter()
        try:
            result = owner.ours[self.name](instance, *args, **kwargs)
        except Exception as error:  # the original will raise its own, or serve
            return self.left(instance, args, kwargs, str(error) or type(error).__name__)
        self.count.seconds += perf_counter() - start
        self.count.calls += 1
        if state.seconds:
            self.count.original_seconds += state.seconds[self.index]
        if beside is not None and shadow is not None:
            owner.service.compare(beside, (result, args, kwargs))
            owner.service.compare_state(shadow.value, instance)
        return result


def _beside(original: Callable[..., Any], args: Any, kwargs: Any) -> Beside | None:
    """Return what the original gives for copies of the arguments, and these, or None if it raises."""
    with same_random(), silence(), np.errstate(all="ignore"):
        args, kwargs = copied((args, kwargs))
        try:
            return copied(original(*args, **kwargs)), args, kwargs
        except Exception:  # it will raise again, for the person, where fastdl does not serve
            return None
