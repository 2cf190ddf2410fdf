"""`mlfromscratch.deep_learning.optimizers`: each step in one pass over the arrays."""

from __future__ import annotations

import math
from typing import Any

from ..inputs import Array, plain
from ..stepping import UNUSED, float64_pair, fresh, step
from ..tier import Unserved

__all__ = ["Adadelta", "Adagrad", "Adam", "RMSprop"]


class Adam:
    """Adam that corrects each step as if it were the first."""

    learning_rate: float
    eps: float
    b1: float
    b2: float
    m: Array | None
    v: Array | None

    def update(self, w: Any, grad_wrt_w: Any) -> Array:
        """Return the parameter after a step."""
        w, g = float64_pair(w, grad_wrt_w)
        m, v = fresh(self.m, g), fresh(self.v, g)
        root = math.sqrt(1 - self.b2)
        hyper = (self.learning_rate * root / (1 - self.b1), self.b1, self.b2, self.eps * root, 0.0, 0.0)
        change = step("adam", g, [m, v, UNUSED], hyper)
        self.m, self.v, self.w_updt = m, v, change
        return w - change


class RMSprop:
    """Steps in units of the root of the mean squared gradient."""

    learning_rate: float
    eps: float
    rho: float
    Eg: Array | None

    def update(self, w: Any, grad_wrt_w: Any) -> Array:
        """Return the parameter after a step."""
        w, g = float64_pair(w, grad_wrt_w)
        squared = fresh(self.Eg, g)
        hyper = (self.learning_rate, self.rho, self.eps, 0.0, 0.0)
        change = step("rmsprop", g, [squared, UNUSED, UNUSED], hyper)
        self.Eg = squared
        return w - change


class Adagrad:
    """Steps in units of the root of the sum of squared gradients."""

    learning_rate: float
    eps: float
    G: Array | None

    def update(self, w: Any, grad_wrt_w: Any) -> Array:
        """Return the parameter after a step; the sum is kept in the same array."""
        w, g = float64_pair(w, grad_wrt_w)
        if self.G is None or not self.G.flags.c_contiguous:
            self.G = fresh(self.G, g)
        elif plain(self.G).dtype != g.dtype or self.G.shape != g.shape:
            raise Unserved("a sum that is not of its gradients")
        change = step("adagrad", g, [self.G], (self.learning_rate, self.eps))
        return w - change


class Adadelta:
    """Steps in units of the steps before."""

    eps: float
    rho: float
    w_updt: Array | None
    E_w_updt: Array | None
    E_grad: Array | None

    def update(self, w: Any, grad_wrt_w: Any) -> Array:
        """Return the parameter after a step."""
        w, g = float64_pair(w, grad_wrt_w)
        squared, steps = fresh(self.E_grad, g), fresh(self.E_w_updt, g)
        change = step("adadelta", g, [squared, steps], (1.0, self.rho, self.eps))
        self.E_grad, self.E_w_updt, self.w_updt = squared, steps, change
        return w - change
