"""The optimizers' rules for one parameter: Keras 3's formulas.

A rule takes the parameter p, its gradient g and its slots, and returns the new p and the new slots.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import sqrt
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from ...shapes import Updated

Step = tuple[float, tuple[float, ...]]


def _sgd(p: float, g: float, lr: float) -> Step:
    return p - lr * g, ()


def _momentum(p: float, g: float, v: float, lr: float, momentum: float) -> Step:
    v = momentum * v - lr * g
    return p + v, (v,)


def _nesterov(p: float, g: float, v: float, lr: float, momentum: float) -> Step:
    v = momentum * v - lr * g
    return p + momentum * v - lr * g, (v,)


def _adagrad(p: float, g: float, a: float, lr: float, eps: float) -> Step:
    a = a + g * g
    return p - lr * g / sqrt(a + eps), (a,)


def _adadelta(p: float, g: float, a: float, u: float, lr: float, rho: float, eps: float) -> Step:
    a = rho * a + (1 - rho) * g * g
    d = -sqrt(u + eps) / sqrt(a + eps) * g
    u = rho * u + (1 - rho) * d * d
    return p + lr * d, (a, u)


def _rmsprop(
    p: float, g: float, v: float, mean: float, velocity: float,
    lr: float, rho: float, eps: float, momentum: float, centered: float,
) -> Step:  # fmt: skip
    v = rho * v + (1 - rho) * g * g
    mean = rho * mean + (1 - rho) * g
    step = lr * g / sqrt((v - mean * mean if centered else v) + eps)
    velocity = momentum * velocity + step
    return p - velocity, (v, mean, velocity)


def _adam(
    p: float, g: float, m: float, v: float, v_max: float,
    rate: float, beta_1: float, beta_2: float, eps: float, amsgrad: float, decay: float,
) -> Step:  # fmt: skip
    p = p - decay * p
    m = m + (g - m) * (1 - beta_1)
    v = v + (g * g - v) * (1 - beta_2)
    v_max = max(v_max, v)
    return p - rate * m / (sqrt(v_max if amsgrad else v) + eps), (m, v, v_max)


_RULES: dict[str, Callable[..., Step]] = {
    "sgd": _sgd,
    "momentum": _momentum,
    "nesterov": _nesterov,
    "adagrad": _adagrad,
    "adadelta": _adadelta,
    "rmsprop": _rmsprop,
    "adam": _adam,
}


def update(kind: str, work: Sequence[Updated], hyper: tuple[float, ...]) -> None:
    """One step of optimizer `kind`, in place on each p and its slots; a slot of size zero is not kept.

    With `rows`, which are different ones, g has these rows of p's gradient, and the others stay as they are.
    """
    for p, g, slots, rows in work:
        for at in np.ndindex(g.shape):
            i = at if rows is None else (rows[at[0]], *at[1:])
            state = [float(slot[i]) if slot.size else 0.0 for slot in slots]
            p[i], new = _RULES[kind](float(p[i]), float(g[at]), *state, *hyper)
            for slot, value in zip(slots, new):
                if slot.size:
                    slot[i] = value
