"""Which of two equals is faster: found out on real calls, where a trial was too close to say.

The two take turns. Nothing is computed twice, and the calls have the sizes that count.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import isnan

from .timer import timer

__all__ = ["TIMED", "Contest", "now"]

TIMED = "its time was taken, to be compared with fastdl's"

_ROUNDS = 4
_CLEAR = 1.5
_FAR = 3.0
_LONG = 0.005
"""Two rounds decide where times differ 1.5 to 1, or are longer than 5 ms."""


def now(*, ours: bool) -> float:
    """Return the time of a side's clock."""
    return timer(ours=ours)()


class Contest:
    """The least times of both sides.

    Parameters
    ----------
    functions : int
        How many are called one after the other: a forward pass and what goes with it.
    ahead : bool
        Whether fastdl was the faster in the trial: it is then its turn first.
    expected : tuple of float
        What the original's functions would take for each element, as the trial says; NaN where it does not.
        If fastdl's take far less, the original has no turn.
    """

    def __init__(self, functions: int, *, ahead: bool = False, expected: tuple[float, ...] = ()) -> None:
        self.expected = expected if expected and not isnan(sum(expected)) else ()
        self.ours = [float("inf")] * functions
        self.theirs = [float("inf")] * functions
        self.turns = {True: 0, False: 0}
        self.ours_first = ahead or bool(self.expected)
        self.shortest = float("inf")

    @property
    def ours_next(self) -> bool:
        """Whether it is fastdl's turn."""
        ours, theirs = self.turns[True], self.turns[False]
        return ours < theirs + self.ours_first

    def add(self, ours: bool, index: int, seconds: float, size: int = 1) -> None:
        """Take down how long the function of an index took for so many elements."""
        side = self.ours if ours else self.theirs
        side[index] = min(side[index], seconds / size)
        if index == 0:
            self.turns[ours] += 1
            self.shortest = min(self.shortest, seconds)

    @property
    def original(self) -> tuple[float, ...]:
        """What each of the original's functions takes; NaN where that is not known."""
        guesses = self.expected or [float("nan")] * len(self.theirs)
        return tuple(guess if least == float("inf") else least for least, guess in zip(self.theirs, guesses))

    @property
    def winner(self) -> bool | None:
        """Whether fastdl is faster; None while that is not clear."""
        rounds = min(self.turns.values())
        if rounds < 2:
            return True if self._far_ahead() else None
        ours, theirs = _together(self.ours, self.theirs)
        clear = self.shortest > _LONG or max(ours, theirs) >= _CLEAR * min(ours, theirs)
        return ours <= theirs if clear or rounds >= _ROUNDS else None

    def _far_ahead(self) -> bool:
        ours, theirs = _together(self.ours, self.expected)
        return _FAR * ours < theirs


def _together(ours: Iterable[float], theirs: Iterable[float]) -> tuple[float, float]:
    """The sums over the functions that both sides have called."""
    pairs = [pair for pair in zip(ours, theirs) if max(pair) < float("inf")]
    return sum(one for one, _ in pairs), sum(two for _, two in pairs)
