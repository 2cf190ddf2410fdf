"""What a check has found, as text for a terminal and as JSON."""

from __future__ import annotations

import dataclasses
import json
import math
from dataclasses import dataclass
from typing import Any

__all__ = ["Comparison", "Gradient", "Report", "Result", "Speed"]


@dataclass(frozen=True)
class Comparison:
    """One array of a definition against fastdl's.

    Attributes
    ----------
    name : str
        What it is: "out", "dx", or a parameter.
    right : bool
        Whether every number is near enough.
    wrong, size : int
        How many numbers are wrong, of how many.
    index, value, expected
        Of the first wrong number: where, what is there, what should be.
    hint : str
        What may be the matter; empty where no pattern tells.
    """

    name: str
    right: bool
    wrong: int = 0
    size: int = 0
    index: tuple[int, ...] | None = None
    value: float | None = None
    expected: float | None = None
    hint: str = ""

    def __str__(self) -> str:
        if self.right:
            return f"{self.name}: right"
        text = f"{self.name}: wrong"
        if self.index is not None:
            where = ", ".join(map(str, self.index))
            text += f", {self.wrong} of {self.size} numbers; the first is {self.name}[{where}] = "
            text += f"{self.value:.6g}, expected {self.expected:.6g}"
        return text + (f"\n  perhaps: {self.hint}" if self.hint else "")


@dataclass(frozen=True)
class Gradient:
    """A gradient against differences of the learner's own forward pass.

    Attributes
    ----------
    name : str
        The argument it belongs to, as "dx".
    right : bool
        Whether they agree.
    error : float
        The largest difference, relative to the largest entry.
    """

    name: str
    right: bool
    error: float


@dataclass(frozen=True)
class Speed:
    """Seconds for one call, and for the same with each engine of fastdl: loops, NumPy, compiled."""

    what: str
    yours: float
    naive: float
    textbook: float
    native: float

    def __str__(self) -> str:
        return (
            f"{self.what}: {_time(self.yours)}; loops take {_time(self.naive)}, "
            f"textbook NumPy {_time(self.textbook)}, fastdl {_time(self.native)} "
            f"({_ratio(self.yours / self.native)})"
        )


def _ratio(ratio: float) -> str:
    return f"{ratio:.3g} times sooner" if ratio >= 1 else f"yours is {1 / ratio:.3g} times sooner"


def _time(seconds: float) -> str:
    for unit, size in (("s", 1.0), ("ms", 1e-3)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds * 1e6:.3g} us"


@dataclass
class Result:
    """What was found about one definition.

    Attributes
    ----------
    name, line : str, int
        The definition.
    status : str
        "right", "wrong", "raises", or "skipped": not known to fastdl, or with other parameters.
    convention : str
        By what it was called.
    reason : str
        Why it was skipped, or what else is to be said.
    comparisons, gradients, speeds : list
        Against fastdl, against its own forward pass, and the time.
    traceback : str
        Of a definition that raises: the learner's own lines only.
    """

    name: str
    line: int
    status: str
    convention: str = ""
    reason: str = ""
    comparisons: list[Comparison] = dataclasses.field(default_factory=list)
    gradients: list[Gradient] = dataclasses.field(default_factory=list)
    speeds: list[Speed] = dataclasses.field(default_factory=list)
    traceback: str = ""

    def __str__(self) -> str:
        lines = [f"{_MARK[self.status]} {self.name} (line {self.line}): {self.status}"]
        if self.convention:
            lines[0] += f", as in {self.convention}"
        details = [self.reason] if self.reason else []
        details += [str(one) for one in self.comparisons if self.status != "right" or not one.right]
        for agree in (True, False):
            names = [one for one in self.gradients if one.right is agree]
            if names:
                verb = (
                    ("agrees" if agree else "disagrees")
                    if len(names) == 1
                    else ("agree" if agree else "disagree")
                )
                worst = max((one.error for one in names), key=lambda error: (math.isnan(error), error))
                listed = ", ".join(one.name for one in names)
                details.append(f"{listed} {verb} with differences of your forward pass (off by {worst:.1e})")
        details += map(str, self.speeds)
        details += self.traceback.rstrip().splitlines()
        return "\n".join([*lines, *("    " + line for text in details for line in text.split("\n"))])


_MARK = {"right": "ok   ", "wrong": "WRONG", "raises": "ERROR", "skipped": "-    "}


@dataclass
class Report:
    """The findings about a file.

    Attributes
    ----------
    path : str
        The learner's file.
    results : list of Result
        One for each definition, in the order of the file.
    error : str
        The traceback of the file itself, if it raised while it was loaded.
    """

    path: str
    results: list[Result] = dataclasses.field(default_factory=list)
    error: str = ""

    @property
    def right(self) -> bool:
        """Whether nothing is wrong and nothing raised."""
        return not self.error and all(one.status in ("right", "skipped") for one in self.results)

    def __str__(self) -> str:
        parts = [str(result) for result in self.results]
        if self.error:
            parts.insert(0, f"{self.path} raised while it was loaded:\n{self.error.rstrip()}")
        counts = [
            f"{sum(one.status == status for one in self.results)} {word}"
            for status, word in (
                ("right", "right"),
                ("wrong", "wrong"),
                ("raises", "raised"),
                ("skipped", "not checked"),
            )
            if any(one.status == status for one in self.results)
        ]
        parts.append(f"{self.path}: {', '.join(counts) or 'nothing that fastdl knows'}")
        return "\n".join(parts)

    def as_dict(self) -> dict[str, Any]:
        """Return the report as dictionaries and lists; numbers that JSON has not are None."""
        found: dict[str, Any] = _plain(dataclasses.asdict(self))
        return {**found, "right": self.right}

    def write(self, path: str) -> None:
        """Write the report as JSON."""
        with open(path, "w", encoding="utf-8") as file:
            json.dump(self.as_dict(), file, indent=1)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
