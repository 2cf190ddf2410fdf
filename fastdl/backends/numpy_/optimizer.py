"""The optimizers' steps over whole arrays: Keras 3's formulas."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from ...shapes import Updated


def _sgd(p: np.ndarray, g: np.ndarray, lr: float) -> None:
    p -= lr * g


def _momentum(p: np.ndarray, g: np.ndarray, v: np.ndarray, lr: float, momentum: float) -> None:
    v *= momentum
    v -= lr * g
    p += v


def _nesterov(p: np.ndarray, g: np.ndarray, v: np.ndarray, lr: float, momentum: float) -> None:
    v *= momentum
    v -= lr * g
    p += momentum * v - lr * g


def _adagrad(p: np.ndarray, g: np.ndarray, a: np.ndarray, lr: float, eps: float) -> None:
    a += g * g
    p -= lr * g / np.sqrt(a + eps)


def _adadelta(
    p: np.ndarray, g: np.ndarray, a: np.ndarray, u: np.ndarray, lr: float, rho: float, eps: float
) -> None:
    a *= rho
    a += (1 - rho) * g * g
    d = -np.sqrt(u + eps) / np.sqrt(a + eps) * g
    u *= rho
    u += (1 - rho) * d * d
    p += lr * d


def _rmsprop(
    p: np.ndarray, g: np.ndarray, v: np.ndarray, mean: np.ndarray, velocity: np.ndarray,
    lr: float, rho: float, eps: float, momentum: float, centered: float,
) -> None:  # fmt: skip
    v *= rho
    v += (1 - rho) * g * g
    spread = v
    if centered:
        mean *= rho
        mean += (1 - rho) * g
        spread = v - mean * mean
    step = lr * g / np.sqrt(spread + eps)
    if momentum:
        velocity *= momentum
        velocity += step
        step = velocity
    p -= step


def _adam(
    p: np.ndarray, g: np.ndarray, m: np.ndarray, v: np.ndarray, v_max: np.ndarray,
    rate: float, beta_1: float, beta_2: float, eps: float, amsgrad: float, decay: float,
) -> None:  # fmt: skip
    p -= decay * p
    m += (g - m) * (1 - beta_1)
    v += (g * g - v) * (1 - beta_2)
    if amsgrad:
        np.maximum(v_max, v, out=v_max)
        v = v_max
    p -= rate * m / (np.sqrt(v) + eps)


_STEPS: dict[str, Callable[..., None]] = {
    "sgd": _sgd,
    "momentum": _momentum,
    "nesterov": _nesterov,
    "adagrad": _adagrad,
    "adadelta": _adadelta,
    "rmsprop": _rmsprop,
    "adam": _adam,
}


def update(kind: str, work: Sequence[Updated], hyper: tuple[float, ...]) -> None:
    """One step of optimizer `kind`, in place on each p and its slots; a slot of size zero is not kept."""
    for p, g, slots, rows in work:
        if rows is None:
            _STEPS[kind](p, g, *slots, *hyper)
            continue
        used = [array[rows] if array.size else array for array in (p, *slots)]
        _STEPS[kind](used[0], g, *used[1:], *hyper)
        for whole, part in zip((p, *slots), used):
            if whole.size:
                whole[rows] = part
