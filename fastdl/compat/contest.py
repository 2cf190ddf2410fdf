"""Which of two equals is faster: found out on real calls, where a trial was too close to say.

The two take turns. Nothing is computed twice, and the calls have the sizes that count.
"""

from __future__ import annotations

from .timer import timer

__all__ = ["TIMED", "Contest", "now"]

TIMED = "its time was taken, to be compared with fastdl's"

_ROUNDS = 4
_CLEAR = 1.5
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
    ours_first : bool
        Whose turn is the first.
    """

    def __init__(self, functions: int, *, ours_first: bool = False) -> None:
        self.ours = [float("inf")] * functions
        self.theirs = [float("inf")] * functions
        self.turns = {True: 0, False: 0}
        self.ours_first = ours_first
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
        """What each of the original's functions took at least; NaN of those that were not called."""
        return tuple(float("nan") if least == float("inf") else least for least in self.theirs)

    @property
    def winner(self) -> bool | None:
        """Whether fastdl is faster; None while that is not clear."""
        rounds = min(self.turns.values())
        if rounds < 2:
            return None
        pairs = [pair for pair in zip(self.ours, self.theirs) if max(pair) < float("inf")]
        ours, theirs = (sum(side) for side in zip(*pairs))
        clear = self.shortest > _LONG or max(ours, theirs) >= _CLEAR * min(ours, theirs)
        return ours <= theirs if clear or rounds >= _ROUNDS else None
