"""Which of two equals is faster: found out on real calls, where a trial was too close to say.

The two take turns. Nothing is computed twice, and the calls have the sizes that count.
"""

from __future__ import annotations

__all__ = ["TIMED", "Contest"]

TIMED = "its time was taken, to be compared with fastdl's"

_ROUNDS = 4
_CLEAR = 1.5
"""Times that differ 1.5 to 1 decide after two rounds."""


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

    @property
    def ours_next(self) -> bool:
        """Whether it is fastdl's turn."""
        ours, theirs = self.turns[True], self.turns[False]
        return ours < theirs + self.ours_first

    def add(self, ours: bool, index: int, seconds: float) -> None:
        """Take down what the function of an index took, in seconds for each element of the input."""
        side = self.ours if ours else self.theirs
        side[index] = min(side[index], seconds)
        if index == 0:
            self.turns[ours] += 1

    @property
    def winner(self) -> bool | None:
        """Whether fastdl is faster; None while that is not clear."""
        rounds = min(self.turns.values())
        if rounds < 2:
            return None
        pairs = [pair for pair in zip(self.ours, self.theirs) if max(pair) < float("inf")]
        ours, theirs = (sum(side) for side in zip(*pairs))
        clear = max(ours, theirs) >= _CLEAR * min(ours, theirs)
        return ours <= theirs if clear or rounds >= _ROUNDS else None
