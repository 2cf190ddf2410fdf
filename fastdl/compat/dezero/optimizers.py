"""`dezero.optimizers`: one pass over a parameter, its gradient and what is kept of it, all in place."""

from __future__ import annotations

import math
from typing import Any, TypeAlias

import numpy as np

from ..tier import Unserved
from .arrays import Array, engine, only_floats

__all__ = ["SGD", "AdaDelta", "Adam", "MomentumSGD"]

State: TypeAlias = dict[int, Array]


class SGD:
    """p -= lr·g."""

    def __init__(self, lr: float = 0.01) -> None:
        self.lr = lr

    def update_one(self, param: Any) -> None:
        """Change a parameter in place."""
        if param.data.size <= _SMALL:
            param.data -= self.lr * param.grad.data
            return
        data, grad = arrays_of(param)
        engine().update("sgd", [(data, grad, (), None)], (float(self.lr),))


class MomentumSGD:
    """v = momentum·v - lr·g; p += v."""

    def __init__(self, lr: float = 0.01, momentum: float = 0.9) -> None:
        self.lr = lr
        self.momentum = momentum
        self.vs: State = {}

    def update_one(self, param: Any) -> None:
        """Change a parameter in place."""
        data, grad = arrays_of(param)
        slots = slots_of(param, self.vs)
        engine().update("momentum", [(data, grad, slots, None)], (float(self.lr), float(self.momentum)))


class AdaDelta:
    """Steps as large as the ratio of the running sizes of steps and of gradients."""

    def __init__(self, rho: float = 0.95, eps: float = 1e-6) -> None:
        self.rho = rho
        self.eps = eps
        self.msg: State = {}
        self.msdx: State = {}

    def update_one(self, param: Any) -> None:
        """Change a parameter in place."""
        data, grad = arrays_of(param)
        slots = slots_of(param, self.msg, self.msdx)
        engine().update("adadelta", [(data, grad, slots, None)], (1.0, float(self.rho), float(self.eps)))


class Adam:
    """m and v are running means of g and of g²; p -= lr·m / (√v + eps)."""

    def __init__(
        self, alpha: float = 0.001, beta1: float = 0.9, beta2: float = 0.999, eps: float = 1e-8
    ) -> None:
        self.t = 0
        self.alpha = alpha
        self.beta1 = beta1
        self.beta2 = beta2
        self.eps = eps
        self.ms: State = {}
        self.vs: State = {}

    @property
    def lr(self) -> float:
        """The rate of step t, which makes up for means that began at 0."""
        return (
            self.alpha * math.sqrt(1.0 - math.pow(self.beta2, self.t)) / (1.0 - math.pow(self.beta1, self.t))
        )

    def update_one(self, param: Any) -> None:
        """Change a parameter in place."""
        data, grad = arrays_of(param)
        hyper = (float(self.lr), float(self.beta1), float(self.beta2), float(self.eps), 0.0, 0.0)
        slots = slots_of(param, self.ms, self.vs)
        engine().update("adam", [(data, grad, (*slots, _NOTHING[data.dtype.itemsize]), None)], hyper)


_NOTHING = {size: np.empty(0, f"f{size}") for size in (4, 8)}

_SMALL = 2048
"""Entries up to which NumPy's two operations are sooner done."""


def arrays_of(param: Any) -> tuple[Array, Array]:
    """Return a parameter and its gradient, of one shape and dtype."""
    data, grad = param.data, param.grad.data
    only_floats(data, grad)
    if data.shape != grad.shape or not data.flags.carray:
        raise Unserved("a parameter is changed where it lies, by a gradient of its shape")
    return data, np.ascontiguousarray(grad, data.dtype)


def slots_of(param: Any, *states: State) -> list[Array]:
    """Return what an optimizer keeps of a parameter, made now if it is new."""
    key, data = id(param), param.data
    slots = []
    for state in states:
        slot = state.get(key)
        if slot is None:
            slot = state[key] = np.zeros_like(data)
        elif slot.dtype != data.dtype or slot.shape != data.shape or not slot.flags.carray:
            raise Unserved("what is kept of a parameter is not like it")
        slots.append(slot)
    return slots
