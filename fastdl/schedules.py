"""Learning rates that change with the step, with Keras's names, arguments and formulas.

A schedule takes an optimizer's place for a number::

    SGD(learning_rate=CosineDecay(0.1, decay_steps=1000))

`step` is the number of steps taken before: 0 for the first.
"""

from __future__ import annotations

import bisect
import math
from abc import ABC, abstractmethod
from collections.abc import Sequence

from . import checks
from .configurable import Configurable


class LearningRateSchedule(Configurable, ABC):
    """Base of the schedules. A subclass has one method, `__call__`."""

    @abstractmethod
    def __call__(self, step: int) -> float:
        """Return the learning rate of a step."""


class _Decay(LearningRateSchedule):
    """Base of those that go by step / decay_steps, in whole stairs if that is asked for."""

    def __init__(
        self, initial_learning_rate: float, decay_steps: int, decay_rate: float, staircase: bool = False
    ) -> None:
        name = type(self).__name__
        self.initial_learning_rate = checks.number(name, "initial_learning_rate", initial_learning_rate)
        self.decay_steps = checks.integer(name, "decay_steps", decay_steps)
        self.decay_rate = checks.number(name, "decay_rate", decay_rate)
        self.staircase = bool(staircase)

    def progress(self, step: int) -> float:
        """Return the exponent, or the divisor's factor."""
        return step // self.decay_steps if self.staircase else step / self.decay_steps


class ExponentialDecay(_Decay):
    """initial_learning_rate · decay_rate^(step / decay_steps).

    Parameters
    ----------
    initial_learning_rate : float
    decay_steps : int
    decay_rate : float
    staircase : bool
        Whether step / decay_steps is rounded down.

    Examples
    --------
    >>> from fastdl.schedules import ExponentialDecay
    >>> halved = ExponentialDecay(0.5, decay_steps=10, decay_rate=0.5)
    >>> halved(0), halved(10), halved(20)
    (0.5, 0.25, 0.125)
    """

    def __call__(self, step: int) -> float:
        return self.initial_learning_rate * self.decay_rate ** self.progress(step)


class InverseTimeDecay(_Decay):
    """initial_learning_rate / (1 + decay_rate · step / decay_steps).

    Parameters
    ----------
    initial_learning_rate : float
    decay_steps : int
    decay_rate : float
    staircase : bool
        Whether step / decay_steps is rounded down.
    """

    def __call__(self, step: int) -> float:
        return self.initial_learning_rate / (1 + self.decay_rate * self.progress(step))


class PiecewiseConstantDecay(LearningRateSchedule):
    """values[i] up to and with step boundaries[i], then values[i + 1].

    Parameters
    ----------
    boundaries : sequence of int
        Ascending.
    values : sequence of float
        One more than boundaries.
    """

    def __init__(self, boundaries: Sequence[int], values: Sequence[float]) -> None:
        name = "PiecewiseConstantDecay"
        self.boundaries = [checks.integer(name, "boundaries", step, minimum=0) for step in boundaries]
        self.values = [checks.number(name, "values", value) for value in values]
        if len(self.values) != len(self.boundaries) + 1:
            raise ValueError(
                f"{name}: values must be one more than boundaries; got {len(self.values)} and"
                f" {len(self.boundaries)}"
            )
        if self.boundaries != sorted(self.boundaries):
            raise ValueError(f"{name}: boundaries must ascend; got {boundaries!r}")

    def __call__(self, step: int) -> float:
        return self.values[bisect.bisect_left(self.boundaries, step)]


class PolynomialDecay(LearningRateSchedule):
    """From initial_learning_rate to end_learning_rate in decay_steps, along (1 - step / decay_steps)^power.

    Parameters
    ----------
    initial_learning_rate : float
    decay_steps : int
    end_learning_rate : float
    power : float
        1 is a straight line.
    cycle : bool
        Whether decay_steps is doubled, tripled ... each time it is reached; else the end is the end.
    """

    def __init__(
        self,
        initial_learning_rate: float,
        decay_steps: int,
        end_learning_rate: float = 0.0001,
        power: float = 1.0,
        cycle: bool = False,
    ) -> None:
        name = "PolynomialDecay"
        self.initial_learning_rate = checks.number(name, "initial_learning_rate", initial_learning_rate)
        self.decay_steps = checks.integer(name, "decay_steps", decay_steps)
        self.end_learning_rate = checks.number(name, "end_learning_rate", end_learning_rate)
        self.power = checks.number(name, "power", power)
        self.cycle = bool(cycle)

    def __call__(self, step: int) -> float:
        steps = (
            self.decay_steps * max(1, math.ceil(step / self.decay_steps)) if self.cycle else self.decay_steps
        )
        left = 1 - min(step, steps) / steps
        fall = self.initial_learning_rate - self.end_learning_rate
        return fall * left**self.power + self.end_learning_rate


class CosineDecay(LearningRateSchedule):
    """Half a cosine from the initial rate down to alpha times it (Loshchilov & Hutter, 2017).

    Parameters
    ----------
    initial_learning_rate : float
    decay_steps : int
        Length of the descent.
    alpha : float
        In [0, 1].
    warmup_target : float, optional
        Where the descent begins, after a straight line that leads there from initial_learning_rate.
    warmup_steps : int
        Length of that line.
    """

    def __init__(
        self,
        initial_learning_rate: float,
        decay_steps: int,
        alpha: float = 0.0,
        warmup_target: float | None = None,
        warmup_steps: int = 0,
    ) -> None:
        name = "CosineDecay"
        self.initial_learning_rate = checks.number(name, "initial_learning_rate", initial_learning_rate)
        self.decay_steps = checks.integer(name, "decay_steps", decay_steps)
        self.alpha = checks.number(name, "alpha", alpha)
        self.warmup_target = (
            None if warmup_target is None else checks.number(name, "warmup_target", warmup_target)
        )
        self.warmup_steps = checks.integer(name, "warmup_steps", warmup_steps, minimum=0)

    def __call__(self, step: int) -> float:
        top = self.initial_learning_rate
        if self.warmup_target is not None:
            if step < self.warmup_steps:
                return top + (self.warmup_target - top) * step / self.warmup_steps
            top, step = self.warmup_target, step - self.warmup_steps
        share = (1 + math.cos(math.pi * min(step, self.decay_steps) / self.decay_steps)) / 2
        return top * (self.alpha + (1 - self.alpha) * share)


NAMES: dict[str, type[LearningRateSchedule]] = {
    cls.__name__: cls
    for cls in (ExponentialDecay, InverseTimeDecay, PiecewiseConstantDecay, PolynomialDecay, CosineDecay)
}
