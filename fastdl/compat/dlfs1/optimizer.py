"""``common.optimizer``: steps on dicts of parameters and gradients, in place on the parameters.

The exact tier, and rules that fastdl's own optimizers do not have, go over the arrays in blocks with NumPy:
the same operations in the same order, with temporaries that stay in the cache.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from fastdl.functional._arrays import engine

from ..tier import Unserved, settings
from .arrays import FLOAT32, FLOAT64, Array

__all__ = ["AdaGrad", "Adam", "Momentum", "Nesterov", "RMSprop", "SGD", "np"]

State = dict[Any, Any]
Rule = Callable[..., None]

BLOCK = 8192


class SGD:
    """p -= lr · g."""

    def __init__(self, lr: float = 0.01) -> None:
        self.lr = lr

    def update(self, params: State, grads: State) -> None:
        _step(_sgd, "sgd", _checked(params, grads), (self.lr,))


class Momentum:
    """v = momentum · v - lr · g; p += v. Each step makes new arrays v."""

    def __init__(self, lr: float = 0.01, momentum: float = 0.9) -> None:
        self.lr = lr
        self.momentum = momentum
        self.v: Any = None

    def update(self, params: State, grads: State) -> None:
        v = _state(self.v, params)
        arrays = _checked(params, grads, v)
        self.v = v
        for key, parts in zip(params, arrays):
            v[key] = parts[2] = parts[2].copy()
        _step(_momentum, "momentum", arrays, (self.lr, self.momentum))


class Nesterov:
    """p += momentum² · v - (1 + momentum) · lr · g, with the old v; then v as in `Momentum`."""

    def __init__(self, lr: float = 0.01, momentum: float = 0.9) -> None:
        self.lr = lr
        self.momentum = momentum
        self.v: Any = None

    def update(self, params: State, grads: State) -> None:
        v = _state(self.v, params)
        arrays = _checked(params, grads, v)
        self.v = v
        _step(_nesterov, None, arrays, (self.lr, self.momentum))


class AdaGrad:
    """h += g²; p -= lr · g / (√h + 1e-7)."""

    def __init__(self, lr: float = 0.01) -> None:
        self.lr = lr
        self.h: Any = None

    def update(self, params: State, grads: State) -> None:
        h = _state(self.h, params)
        arrays = _checked(params, grads, h)
        self.h = h
        _step(_adagrad, None, arrays, (self.lr,))


class RMSprop:
    """h = decay_rate · h + (1 - decay_rate) · g²; p -= lr · g / (√h + 1e-7)."""

    def __init__(self, lr: float = 0.01, decay_rate: float = 0.99) -> None:
        self.lr = lr
        self.decay_rate = decay_rate
        self.h: Any = None

    def update(self, params: State, grads: State) -> None:
        h = _state(self.h, params)
        arrays = _checked(params, grads, h)
        self.h = h
        _step(_rmsprop, None, arrays, (self.lr, self.decay_rate))


class Adam:
    """m += (1 - beta1) · (g - m); v += (1 - beta2) · (g² - v); p -= rate · m / (√v + 1e-7).

    The rate is lr · √(1 - beta2^t) / (1 - beta1^t), t being the number of the step, `iter`.
    """

    def __init__(self, lr: float = 0.001, beta1: float = 0.9, beta2: float = 0.999) -> None:
        self.lr = lr
        self.beta1 = beta1
        self.beta2 = beta2
        self.iter = 0
        self.m: Any = None
        self.v: Any = None

    def update(self, params: State, grads: State) -> None:
        m, v = _state(self.m, params), _state(self.v, params)
        arrays = _checked(params, grads, m, v)
        self.m, self.v = m, v
        self.iter += 1
        rate = self.lr * np.sqrt(1.0 - self.beta2**self.iter) / (1.0 - self.beta1**self.iter)
        _step(_adam, "adam", arrays, (rate, self.beta1, self.beta2), (1e-7, 0.0, 0.0))


def _state(slot: State | None, params: State) -> State:
    """Return the arrays of a slot; before the first step, zeros of the shape and dtype of each parameter."""
    return {key: np.zeros_like(value) for key, value in params.items()} if slot is None else slot


def _checked(params: State, grads: State, *slots: State) -> list[list[Array]]:
    """Return p, g and the slots of each parameter, all of one shape and dtype, all but g C-contiguous."""
    found = []
    for key, p in params.items():
        if type(p) is not np.ndarray or p.dtype not in (FLOAT32, FLOAT64):
            raise Unserved(f"{key!r} is no array of floats")
        parts = [p, grads[key], *(slot[key] for slot in slots)]
        for part in parts:
            if type(part) is not np.ndarray or part.shape != p.shape or part.dtype.kind != "f":
                raise Unserved(f"{key!r} has a gradient or a state of another kind")
            if part is not parts[1] and not (part.dtype == p.dtype and part.flags.carray):
                raise Unserved(f"{key!r} is a view, or of two dtypes")
        if settings.tier == "exact" and not p.dtype == parts[1].dtype == FLOAT64:
            raise Unserved(f"{key!r} is not of float64")
        found.append(parts)
    return found


def _step(
    rule: Rule,
    kind: str | None,
    arrays: Sequence[Sequence[Array]],
    numbers: tuple[Any, ...],
    others: tuple[float, ...] = (),
) -> None:
    """Apply a rule to each parameter, where it may by the engine's update of that kind."""
    if kind is not None and settings.tier == "fast":
        update, hyper = engine().update, (*(float(number) for number in numbers), *others)
        unused = np.empty(0)
        for p, g, *slots in arrays:
            if kind == "adam":
                slots.append(unused.astype(p.dtype))
            update(kind, p, np.ascontiguousarray(g, p.dtype), slots, hyper)
        return
    for parts in arrays:
        size, dtype = parts[0].size, parts[0].dtype
        flat = [part.astype(dtype, copy=False).reshape(-1) for part in parts]
        scratch = np.empty((2, min(size, BLOCK)), dtype)
        for start in range(0, size, BLOCK):
            block = [part[start : start + BLOCK] for part in flat]
            rule(*block, *scratch[:, : block[0].size], *numbers)


# ---- the rules: parameter, gradient and slots, two temporaries, numbers


def _sgd(p: Array, g: Array, a: Array, _: Array, lr: float) -> None:
    p -= np.multiply(g, lr, out=a)


def _momentum(p: Array, g: Array, v: Array, a: Array, _: Array, lr: float, momentum: float) -> None:
    v *= momentum
    v -= np.multiply(g, lr, out=a)
    p += v


def _nesterov(p: Array, g: Array, v: Array, a: Array, _: Array, lr: float, momentum: float) -> None:
    p += np.multiply(v, momentum * momentum, out=a)
    p -= np.multiply(g, (1 + momentum) * lr, out=a)
    v *= momentum
    v -= np.multiply(g, lr, out=a)


def _adagrad(p: Array, g: Array, h: Array, a: Array, b: Array, lr: float) -> None:
    h += np.multiply(g, g, out=a)
    _take_scaled(p, np.multiply(g, lr, out=b), h, a)


def _rmsprop(p: Array, g: Array, h: Array, a: Array, b: Array, lr: float, decay: float) -> None:
    h *= decay
    np.multiply(g, 1 - decay, out=a)
    a *= g
    h += a
    _take_scaled(p, np.multiply(g, lr, out=b), h, a)


def _adam(
    p: Array, g: Array, m: Array, v: Array, a: Array, b: Array, rate: float, beta1: float, beta2: float
) -> None:
    np.subtract(g, m, out=a)
    a *= 1 - beta1
    m += a
    np.multiply(g, g, out=a)
    a -= v
    a *= 1 - beta2
    v += a
    _take_scaled(p, np.multiply(m, rate, out=b), v, a)


def _take_scaled(p: Array, step: Array, squares: Array, a: Array) -> None:
    """Subtract step / (√squares + 1e-7) from p; step and a are overwritten."""
    np.sqrt(squares, out=a)
    a += 1e-7
    step /= a
    p -= step
