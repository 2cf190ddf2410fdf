"""A definition that fastdl serves: the wrapper that stands in its place, and what it counts.

A class stays the class its author wrote: only methods are set on it. A function is replaced by a wrapper with
its name.
"""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from time import perf_counter
from typing import Any

import numpy as np

from .contest import TIMED, Contest, now
from .kinds import detail, kind
from .service import Count, Service
from .target import Target
from .tier import STATE, State, clock, settings
from .trial import (
    SLOWER,
    Calls,
    Verdict,
    copied,
    same_random,
    silence,
    trial,
)

__all__ = ["serve"]

_MOST_KINDS = 64
"""Kinds of input that a definition is tried on; on one more, it is left alone."""

Beside = tuple[Any, Any, Any]
"""What the original returned, and what became of its arguments."""

_REVIEW = 64
"""Calls after which the time they took is held against what the original would have taken for them."""

_SHADOW = "_fastdl_shadow"
"""The attribute of a layer, under ``verify``, that holds its copy on which the original runs."""

_UNTRIED = Verdict(True)
_NOT_BEFORE = Verdict(False, "its partner has not served")
_TOO_MANY = Verdict(False, "it is called with too many kinds of input")


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


class _Served(ABC):
    """What a function and a class have in common: a service, and the choice between the two sides."""

    def __init__(self, service: Service, names: tuple[str, ...]) -> None:
        self.service = service
        service.counts.update({name: Count() for name in names})

    def verdict(
        self, args: tuple[Any, ...], kwargs: dict[str, Any], instance: Any = None
    ) -> tuple[Verdict, int, Contest | None]:
        """Return what serves this kind of input, tried where it is new; its size; and who is still timed."""
        service = self.service
        key, size = kind(args)
        if not service.found.known:
            key = (key, detail(args, kwargs, instance))
        found = service.verdicts.get(key)
        if found is None:
            found = service.verdicts[key] = self.judge(args, kwargs, instance, size)
            if found.close:
                seconds = found.seconds
                service.contests[key] = Contest(len(seconds), ahead=found.serve, expected=seconds)
        if not found.close:
            return found, size, None
        contest = service.contests.get(key)
        if contest is not None and (winner := contest.winner) is not None:
            reason = "" if winner else SLOWER
            found = replace(found, serve=winner, reason=reason, close=False, seconds=contest.original)
            service.verdicts[key], contest = found, None
        return found, size, contest

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
                known = service.found.known
                verdict = trial(target, theirs, ours, instance, args, kwargs, known=known)
            if verdict.close and settings.verify:
                verdict = replace(verdict, serve=True, close=False)
            if verdict.serve or verdict.close:
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
        self.watch: tuple[bool, Contest | None, Verdict, int] = (True, None, _UNTRIED, 1)
        # whether the partner's last call was fastdl's, and what is known of the next call here
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
            index, (ours, contest, expected, size) = 1, self.watch
            self.watch = True, None, expected, size
            verdict = _UNTRIED if self.service.target else _NOT_BEFORE
            ours = ours and verdict.serve
        else:
            index, (verdict, size, contest) = 0, self.verdict(args, kwargs)
            expected = verdict
            ours = verdict.serve if contest is None else contest.ours_next
        reason = verdict.reason
        if ours:
            beside = self.beside(args, kwargs) if settings.verify else None
            call = functools.partial(self.ours, *args, **kwargs)
            try:
                result = _served(self.count, call, contest, expected, index, size)
            except Exception as error:  # the original will raise its own, or serve
                reason = str(error) or type(error).__name__
            else:
                if not self.count.calls % _REVIEW:
                    self.service.review()
                self.let_watch(True, contest, expected, size)
                if beside is not None:
                    self.shadows.append((result, beside[0]))
                    self.service.compare(beside, (result, args, kwargs))
                return result
        self.service.left(self.service.name, reason or TIMED)
        if contest is None:
            return self.original(*args, **kwargs)
        result = _timed(functools.partial(self.original, *args, **kwargs), contest, index, size)
        self.let_watch(False, contest, expected, size)
        return result

    def let_watch(self, ours: bool, contest: Contest | None, verdict: Verdict, size: int) -> None:
        """Tell the partner what is known of its next call."""
        target = self.service.target
        if target is not None and target.partner is not None and not self.follows:
            partner = self.partner(target)
            if partner is not None:
                partner.watch = ours, contest, verdict, size

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
        self.counts = tuple(service.counts.values())
        self.methods: dict[str, Callable[..., Any]] = {names[0]: _First(self, names[0])}
        self.methods.update({name: _Other(self, name, i) for i, name in enumerate(names[1:], 1)})

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
        verdict, size, contest = owner.verdict(args, kwargs, instance)
        reason = verdict.reason
        if verdict.serve if contest is None else contest.ours_next:
            beside = self.beside(instance, args, kwargs) if settings.verify else None
            call = functools.partial(owner.ours[self.name], instance, *args, **kwargs)
            try:
                result = _served(self.count, call, contest, verdict, 0, size)
            except Exception as error:  # the original will raise its own, or serve
                reason = str(error) or type(error).__name__
            else:
                if owner.follow:
                    state = attributes.get(STATE)
                    if state is None:
                        state = attributes[STATE] = State()
                    state.counts = owner.counts
                    state.watch = True, contest, verdict, size
                if not self.count.calls % _REVIEW:
                    owner.service.review()
                if beside is not None:
                    owner.service.compare(beside, (result, args, kwargs))
                    owner.service.compare_state(attributes[_SHADOW].value, instance)
                return result
        attributes.pop(STATE, None)
        left = functools.partial(self.left, instance, args, kwargs, reason or TIMED)
        if contest is None:
            return left()
        result = _timed(left, contest, 0, size)
        if owner.follow:
            attributes[STATE] = State()
            attributes[STATE].watch = False, contest, verdict, size
        return result

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
        ours, contest, verdict, size = state.watch
        if not ours:
            left = functools.partial(self.left, instance, args, kwargs, TIMED)
            return _timed(left, contest, self.index, size)
        owner = self.owner
        shadow = vars(instance).get(_SHADOW) if settings.verify else None
        beside = _beside(functools.partial(self.original, shadow.value), args, kwargs) if shadow else None
        call = functools.partial(owner.ours[self.name], instance, *args, **kwargs)
        try:
            result = _served(self.count, call, contest, verdict, self.index, size)
        except Exception as error:  # the original will raise its own, or serve
            return self.left(instance, args, kwargs, str(error) or type(error).__name__)
        if beside is not None and shadow is not None:
            owner.service.compare(beside, (result, args, kwargs))
            owner.service.compare_state(shadow.value, instance)
        return result


def _served(
    count: Count,
    call: Callable[[], Any],
    contest: Contest | None,
    verdict: Verdict | None,
    index: int,
    size: int,
) -> Any:
    """Make a call of fastdl's, and count it, with what the original would have taken."""
    tick = now(ours=True) if contest is not None else 0.0
    start, before = perf_counter(), clock.inside
    result = call()
    seconds = perf_counter() - start
    count.seconds += clock.own(seconds, before)
    count.calls += 1
    if contest is not None:
        contest.add(True, index, now(ours=True) - tick, size)
    if verdict is not None:
        count.original_seconds += verdict.original(index, size, seconds)
    return result


def _timed(call: Callable[[], Any], contest: Contest, index: int, size: int) -> Any:
    """Make a call of the original's in its turn."""
    start = now(ours=False)
    result = call()
    contest.add(False, index, now(ours=False) - start, size)
    return result


def _beside(original: Callable[..., Any], args: Any, kwargs: Any) -> Beside | None:
    """Return what the original gives for copies of the arguments, and these, or None if it raises."""
    with same_random(), silence(), np.errstate(all="ignore"):
        args, kwargs = copied((args, kwargs))
        try:
            return copied(original(*args, **kwargs)), args, kwargs
        except Exception:  # it will raise again, for the person, where fastdl does not serve
            return None
