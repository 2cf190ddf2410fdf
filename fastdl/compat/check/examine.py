"""The check of a file: each definition run, compared, differentiated and timed."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Sequence
from time import perf_counter
from typing import Any

import numpy as np

from ...config import use
from .comparing import compare
from .conventions import subjects_of
from .loading import Definition, Learner, loaded, quietly, shown
from .operation import Gradients, Inputs, Outputs
from .report import Comparison, Gradient, Report, Result, Speed
from .subjects import Skip, Subject, Unfit, rows

__all__ = ["check"]

_ENTRIES = 24
"""Numbers of each argument of which the slope is measured."""

_MOST = 1000
"""Calls in one timing."""


def check(path: str, *, names: Sequence[str] = (), seconds: float = 0.3) -> Report:
    """Hold the functions and classes of a file that fastdl knows by name against its own.

    Parameters
    ----------
    path : str
        A Python file. It is run, as an import of it would.
    names : sequence of str
        Only these definitions; by default all that fastdl knows.
    seconds : float
        Spent on each timing at most, but for one call; with 0 nothing is timed.

    Returns
    -------
    Report

    Raises
    ------
    OSError
        If the file cannot be read.
    ValueError
        If the file defines none of a name that was asked for.
    """
    with loaded(path) as learner:
        defined = {item.name for item in learner.definitions}
        missing = [name for name in names if name not in defined]
        if missing and not learner.error:
            raise ValueError(
                f"check: {path} defines no {missing[0]}; it defines {', '.join(sorted(defined))}"
            )
        report = Report(path, error=learner.error)
        for item in learner.definitions:
            if not names or item.name in names:
                result = _examined(item, learner, seconds, asked=bool(names))
                if result is not None:
                    report.results.append(result)
    return report


def _examined(item: Definition, learner: Learner, seconds: float, asked: bool) -> Result | None:
    skipped = Result(item.name, item.line, "skipped")
    try:
        subjects = subjects_of(item.name, item.value, learner.names)
    except Skip as skip:
        skipped.reason = str(skip)
        return skipped
    if subjects is None:
        skipped.reason = "fastdl knows nothing of this name"
        return skipped if asked else None
    best: Result | None = None
    for subject in subjects:
        result: Result
        with quietly(), warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            result = _judged(item, subject, learner.path, seconds)
        if best is None or _rank(result) > _rank(best):
            best = result
        if result.status == "right":
            break
    return best


def _rank(result: Result) -> tuple[int, float]:
    """The better of two readings of a definition: right, or else nearer to it."""
    wrong = sum(one.wrong or 1 for one in result.comparisons if not one.right)
    return ("raises", "wrong", "right").index(result.status), -wrong


def _judged(item: Definition, subject: Subject, path: str, seconds: float) -> Result:
    result = Result(item.name, item.line, "right", subject.convention, subject.note)
    try:
        if subject.findings is not None:
            result.comparisons = list(subject.findings())
        else:
            _compare(subject, result)
            if seconds and _all_right(result):
                result.speeds = _speeds(subject, seconds)
    except Unfit as unfit:
        result.status = "wrong"
        result.reason = str(unfit)
    except Exception as error:
        result.status = "raises"
        result.traceback = shown(error, path)
    if result.status == "right" and not _all_right(result):
        result.status = "wrong"
    return result


def _all_right(result: Result) -> bool:
    return all(one.right for one in result.comparisons) and all(one.right for one in result.gradients)


# ---- right or wrong


def _compare(subject: Subject, result: Result) -> None:
    operation = subject.operation
    assert operation is not None
    assert subject.forward is not None
    given = operation.inputs(np.random.default_rng(0), False)
    received = copy.deepcopy(given)
    outputs, kept = subject.forward(received)
    outputs, own = _unpacked(subject, copy.deepcopy(outputs))
    changed = [name for name in operation.wrt if not np.array_equal(received[name], given[name])]
    if changed:
        _say(result, f"the forward pass changes its argument {changed[0]}")
    batch = rows(given)
    with use(backend="naive"):
        expected, ctx = operation.forward(given)
        mistakes = list(operation.mistakes(given))
    forward = [
        compare(name, out, want, operation.tolerance, [(hint, outs[i]) for hint, outs in mistakes], batch)
        for i, (name, out, want) in enumerate(zip(operation.outputs, outputs, expected))
    ]
    if "forward" in subject.judged:
        result.comparisons += forward
    douts = operation.gradients_of_outputs(expected, np.random.default_rng(1))
    if operation.backward is None or ("backward" not in subject.judged and own is None):
        return
    found = (
        subject.backward(kept, copy.deepcopy(douts))
        if subject.backward is not None
        else {operation.wrt[0]: own}
    )
    with use(backend="naive"):
        want = operation.backward(ctx, douts)
        slips = list(operation.slips(given, douts))
    result.comparisons += [
        compare(
            f"d{name}",
            found.get(name),
            want[name],
            operation.tolerance,
            [(hint, gradients[name]) for hint, gradients in slips if name in gradients],
            batch,
        )
        for name in operation.wrt
    ]
    if all(one.right for one in forward) or _shapes_fit(outputs, expected):
        result.gradients = _measured(subject, given, douts, found)
    _explain(result, forward)


def _unpacked(subject: Subject, outputs: Outputs) -> tuple[Outputs, Any]:
    """The outputs, and the gradient of a loss that is returned beside it: (loss, dx)."""
    operation = subject.operation
    if operation is not None and operation.scalar and subject.backward is None:
        value = outputs[0]
        if isinstance(value, tuple) and len(value) == 2:
            return value[:1], value[1]
    return outputs, None


def _shapes_fit(outputs: Outputs, expected: Outputs) -> bool:
    return [np.shape(one) for one in outputs] == [np.shape(one) for one in expected]


def _explain(result: Result, forward: list[Comparison]) -> None:
    """Say what a wrong gradient and a wrong forward pass have to do with each other."""
    wrong = any(not one.right for one in result.comparisons if one.name.startswith("d"))
    consistent = result.gradients and all(one.right for one in result.gradients)
    if wrong and consistent and not all(one.right for one in forward):
        _say(result, "the gradient is that of your forward pass, and it is the forward pass that is wrong")


def _say(result: Result, text: str) -> None:
    result.reason = f"{result.reason}; {text}" if result.reason else text


def _measured(subject: Subject, given: Inputs, douts: Outputs, found: Gradients) -> list[Gradient]:
    """Each gradient against differences of the learner's own forward pass."""
    assert subject.operation is not None
    assert subject.forward is not None
    forward = subject.forward
    narrow = False

    def value(inputs: Inputs) -> float:
        nonlocal narrow
        outputs, _ = _unpacked(subject, forward(copy.deepcopy(inputs))[0])
        narrow = narrow or any(np.asarray(out).dtype == np.float32 for out in outputs)
        return float(sum(np.sum(np.asarray(out, np.float64) * dout) for out, dout in zip(outputs, douts)))

    value(given)
    step, tolerance = (1e-2, 2e-2) if narrow else (1e-5, 1e-4)
    gradients = []
    for name in subject.operation.wrt:
        ours = np.asarray(found.get(name))
        if ours.shape != given[name].shape:
            continue
        count = min(_ENTRIES, ours.size)
        entries = np.random.default_rng(2).choice(ours.size, count, replace=False)
        slopes = np.array([_slope(value, given, name, entry, step) for entry in entries])
        theirs = ours.ravel()[entries]
        largest = max(float(np.max(np.abs(slopes))), float(np.max(np.abs(theirs))), 1e-8)
        error = float(np.max(np.abs(slopes - theirs))) / largest
        gradients.append(Gradient(f"d{name}", bool(error <= tolerance), error))
    return gradients


def _slope(value: Callable[[Inputs], float], given: Inputs, name: str, entry: int, step: float) -> float:
    sides = []
    for way in (step, -step):
        moved = np.array(given[name])
        moved.ravel()[entry] += way
        sides.append(value({**given, name: moved}))
    return (sides[0] - sides[1]) / (2 * step)


# ---- how fast


def _speeds(subject: Subject, seconds: float) -> list[Speed]:
    operation = subject.operation
    assert operation is not None
    assert subject.forward is not None
    given = operation.inputs(np.random.default_rng(0), True)
    speeds = []
    with use(threads=1):
        outputs, ctx = operation.forward(given)
        if "forward" in subject.judged:
            yours = _time(lambda: subject.forward(given), seconds)  # type: ignore[misc]
            engines = _engines(lambda: operation.forward(given), seconds)
            speeds.append(Speed("forward", yours, **engines))
        if "backward" in subject.judged and operation.backward is not None and subject.backward is not None:
            douts = operation.gradients_of_outputs(outputs, np.random.default_rng(1))
            _, kept = subject.forward(given)
            back, theirs = operation.backward, subject.backward
            yours = _time(lambda: theirs(copy.copy(kept), douts), seconds)
            speeds.append(
                Speed("backward", yours, **_backwards(operation.forward, back, given, douts, seconds))
            )
    return speeds


def _engines(call: Callable[[], Any], seconds: float) -> dict[str, float]:
    found = {}
    for key, backend in (("naive", "naive"), ("textbook", "numpy"), ("native", "auto")):
        with use(backend=backend):
            found[key] = _time(call, seconds)
    return found


def _backwards(
    forward: Any, backward: Any, given: Inputs, douts: Outputs, seconds: float
) -> dict[str, float]:
    found = {}
    for key, backend in (("naive", "naive"), ("textbook", "numpy"), ("native", "auto")):
        with use(backend=backend):
            _, ctx = forward(given)
            found[key] = _time(lambda ctx=ctx: backward(ctx, douts), seconds)  # type: ignore[misc]
    return found


def _time(call: Callable[[], Any], seconds: float) -> float:
    """Return the least seconds of a call, of as many as fit."""
    least = spent = 0.0
    for count in range(_MOST):
        start = perf_counter()
        call()
        took = perf_counter() - start
        least = took if count == 0 else min(least, took)
        spent += took
        if spent >= seconds:
            break
    return least
