"""What is no map from inputs to outputs: dropout, which draws, and optimizers, which change what they get."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from ...backends import select
from .comparing import compare
from .operation import Array
from .report import Comparison
from .subjects import CS231N, DLFS, Maker, Skip, Subject, Unfit, fits

__all__ = ["dropout_class", "dropout_function", "optimizer_class", "optimizer_function"]

_RATE = 0.3


# ---- dropout


def _masked(x: Array, out: Any, kept: float, scales: tuple[float, ...]) -> tuple[list[Comparison], Array]:
    """Whether out is x with some numbers dropped; and the factor by which each was multiplied."""
    out = np.asarray(out)
    if out.shape != x.shape:
        return [compare("out", out, x, 1e-6)], np.zeros_like(x)
    factor = out / x
    alive = out != 0
    scale = float(np.median(factor[alive])) if alive.any() else 0.0
    nearest = min(scales, key=lambda one: abs(one - scale))
    found = [compare("out", out, np.where(alive, x * nearest, 0.0), 1e-6)]
    share = float(alive.mean())
    if abs(share - kept) > 0.05:
        hint = f"{share:.0%} of the numbers are kept, and {kept:.0%} should be"
        if abs(share - (1 - kept)) < 0.05:
            hint += ": what is dropped and what is kept are exchanged"
        found.append(Comparison("mask", False, hint=hint))
    else:
        found.append(Comparison("mask", True, 0, x.size))
    return found, factor


def _input() -> Array:
    return np.asarray(1.0 + np.random.default_rng(0).random((50, 60)))


def _like(x: Array) -> Array:
    return np.random.default_rng(1).standard_normal(np.shape(x))


def dropout_class(name: str, value: Any, names: dict[str, Any]) -> list[Subject]:
    """`Dropout(dropout_ratio)`: what is kept is not made larger, and in a test all is made smaller."""
    if not fits(value, _RATE):
        raise Skip("it does not take (dropout_ratio)")

    def findings() -> Iterator[Comparison]:
        x = _input()
        instance = value(_RATE)
        found, factor = _masked(x, instance.forward(x.copy()), 1 - _RATE, (1.0, 1 / (1 - _RATE)))
        yield from found
        dout = _like(x)
        yield compare("dx", instance.backward(dout.copy()), dout * factor, 1e-6)
        inverted = bool((factor > 1.01).any())
        expected = x if inverted else x * (1 - _RATE)
        if fits(instance.forward, x, False):
            yield compare("out in a test", instance.forward(x.copy(), False), expected, 1e-6)

    return [Subject(DLFS, findings=findings)]


def dropout_function(backward: bool) -> Maker:
    """`dropout_forward(x, dropout_param)`, whose p is what is kept, and its backward pass."""

    def make(name: str, value: Any, names: dict[str, Any]) -> list[Subject]:
        first = names.get("dropout_forward") if backward else value
        if first is None:
            raise Skip("its cache comes from dropout_forward, which is not in the file")
        if not fits(value, None, None):
            raise Skip("it does not take two arguments")

        def findings() -> Iterator[Comparison]:
            x = _input()
            for mode in ("train", "test"):
                param = {"mode": mode, "p": 1 - _RATE, "seed": 0}
                result = first(x.copy(), param)
                if not isinstance(result, tuple) or len(result) != 2:
                    raise Unfit("it should return (out, cache)")
                out, cache = result
                found, factor = _masked(x, out, 1 - _RATE, (1 / (1 - _RATE),))
                if backward:
                    dout = _like(x)
                    expected = factor * dout
                    yield compare(f"dx, mode {mode}", value(dout.copy(), cache), expected, 1e-6)
                elif mode == "train":
                    yield from found
                else:
                    yield compare("out in a test", out, x, 1e-6)

        return [Subject(CS231N, findings=findings)]

    return make


# ---- optimizers

_LR = 0.05
_STEPS = 3
_DEFAULTS: dict[str, tuple[float, ...]] = {
    "sgd": (_LR,),
    "momentum": (_LR, 0.9),
    "nesterov": (_LR, 0.9),
    "adagrad": (_LR, 1e-14),
    "rmsprop": (_LR, 0.99, 1e-15, 0.0, 0.0),
    "adam": (_LR, 0.9, 0.999, 1e-8, 0.0, 0.0),
}
"""The numbers of fastdl's rules; an eps inside a root is the square of one outside."""

_SLOTS = {"sgd": 0, "momentum": 1, "nesterov": 1, "adagrad": 1, "rmsprop": 3, "adam": 3}
_HINTS = {
    "sgd": "it is as SGD: what is kept between steps has no effect",
    "momentum": "it is as plain momentum",
    "adagrad": "it is as AdaGrad: the mean of squares does not decay",
    "rmsprop": "it is as RMSprop",
}


def _reference(kind: str, start: Array, gradients: list[Array], first: int = 1) -> Array:
    """Return a parameter after steps of a rule; Adam counts them from `first`."""
    p = start.copy()
    slots = [np.zeros_like(p) for _ in range(_SLOTS[kind])]
    for step, gradient in enumerate(gradients, first):
        numbers = _DEFAULTS[kind]
        if kind == "adam":
            _, beta1, beta2, *rest = numbers
            numbers = (_LR * np.sqrt(1 - beta2**step) / (1 - beta1**step), beta1, beta2, *rest)
        select("naive").update(kind, [(p, gradient, slots, None)], numbers)
    return p


def _uncorrected(start: Array, gradients: list[Array]) -> Array:
    """Adam without the correction of its first steps."""
    p, slots = start.copy(), [np.zeros_like(start) for _ in range(3)]
    for gradient in gradients:
        select("naive").update("adam", [(p, gradient, slots, None)], _DEFAULTS["adam"])
    return p


def _draw() -> tuple[Array, list[Array]]:
    rng = np.random.default_rng(0)
    return rng.standard_normal((3, 4)), [rng.standard_normal((3, 4)) for _ in range(_STEPS)]


def _mistakes(kind: str, start: Array, gradients: list[Array]) -> Iterator[tuple[str, Array]]:
    for other, hint in _HINTS.items():
        if other != kind:
            yield hint, _reference(other, start, gradients)
    yield "the sign is wrong: it climbs", _reference(kind, start, [-gradient for gradient in gradients])
    if kind == "adam":
        yield (
            "t is 2 in the first step: it starts at 1 and is increased before it is used",
            _reference(kind, start, gradients, 2),
        )
        yield "the first steps are not corrected for means that begin at 0", _uncorrected(start, gradients)


def _judged(kind: str, name: str, found: Any) -> Comparison:
    start, gradients = _draw()
    expected = _reference(kind, start, gradients)
    return compare(name, found, expected, 1e-5, _mistakes(kind, start, gradients))


def optimizer_function(kind: str) -> Maker:
    """A rule `(w, dw, config)` that returns the next w and the config."""

    def make(name: str, value: Any, names: dict[str, Any]) -> list[Subject]:
        if not fits(value, None, None, None):
            raise Skip("it does not take (w, dw, config)")

        def findings() -> Iterator[Comparison]:
            w, gradients = _draw()
            config: Any = {"learning_rate": _LR}
            for gradient in gradients:
                result = value(w, gradient.copy(), config)
                if not isinstance(result, tuple) or len(result) != 2:
                    raise Unfit("it should return (next_w, config)")
                w, config = result
            yield _judged(kind, "next_w", w)

        return [Subject(CS231N, findings=findings)]

    return make


def optimizer_class(kind: str) -> Maker:
    """A class with `update(params, grads)`, of dictionaries or of lists, which changes params in place."""

    def make(name: str, value: Any, names: dict[str, Any]) -> list[Subject]:
        if not callable(getattr(value, "update", None)) or not fits(value.update, None, None, None):
            raise Skip("it has no update(params, grads)")
        if not fits(value, _LR):
            raise Skip("it does not take (lr)")

        def of(container: Callable[[Array], Any], key: Any) -> Callable[[], Iterator[Comparison]]:
            def findings() -> Iterator[Comparison]:
                start, gradients = _draw()
                params = container(start)
                optimizer = value(_LR)
                for gradient in gradients:
                    optimizer.update(params, container(gradient.copy()))
                yield _judged(kind, "params", params[key])

            return findings

        return [
            Subject(DLFS, findings=of(lambda array: {"W": array}, "W")),
            Subject(DLFS, findings=of(lambda array: [array], 0), note="params and grads are lists"),
        ]

    return make
