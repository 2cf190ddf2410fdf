"""What is known and counted of one definition under fastdl's care."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from .contest import Contest
from .differences import difference
from .recognise import Found
from .target import Target
from .tier import settings
from .trial import Verdict, state_difference

__all__ = ["Count", "Service"]


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
    contests : dict
        For each kind of input whose trial was too close, what real calls took.
    reasons : dict
        Why the original served, with how often.
    largest : float
        The largest difference seen.
    reviewed : tuple of float
        The seconds of all calls until the last review, and what the original would have taken for them.
    """

    name: str
    module: str
    file: str
    found: Found
    target: Target | None = None
    counts: dict[str, Count] = field(default_factory=dict)
    verdicts: dict[Any, Verdict] = field(default_factory=dict)
    contests: dict[Any, Contest] = field(default_factory=dict)
    reasons: dict[str, int] = field(default_factory=dict)
    largest: float = 0.0
    reviewed: tuple[float, float] = (0.0, 0.0)

    def left(self, name: str, reason: str) -> None:
        """Count a call that the original serves."""
        self.counts[name].left += 1
        self.reasons[reason] = self.reasons.get(reason, 0) + 1

    def review(self) -> None:
        """Have the two take turns if the original seems to be sooner: a trial is short and may mislead.

        So may the seconds of calls, which other programs lengthen.
        """
        seconds = sum(count.seconds for count in self.counts.values())
        original = sum(count.original_seconds for count in self.counts.values())
        before, self.reviewed = self.reviewed, (seconds, original)
        if settings.verify or not 0 < original - before[1] < seconds - before[0]:
            return
        for kind, verdict in self.verdicts.items():
            if verdict.serve and not verdict.close:
                self.verdicts[kind] = replace(verdict, close=True)
                self.contests[kind] = Contest(len(verdict.seconds), ahead=True)

    def compare(self, theirs: Any, ours: Any) -> None:
        """Keep the largest difference: of results, and of what became of the arguments."""
        self.largest = max(self.largest, difference(theirs, ours).largest)

    def compare_state(self, theirs: Any, ours: Any) -> None:
        """Keep the largest difference between the attributes of two instances."""
        if self.target is not None:
            found = state_difference(self.target, vars(theirs), vars(ours))
            self.largest = max(self.largest, found.largest)
