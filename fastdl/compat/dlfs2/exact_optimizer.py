"""The optimizers of the book with the book's own bits: its rules, on pieces that stay in the cache."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .arrays import FLOAT32, FLOAT64, Array

EPS = 1e-7  # what keeps roots from dividing by 0

_PIECE = 1 << 13  # elements that are worked on at a time

Rule = Callable[..., tuple[Any, ...]]
"""Takes a parameter, its gradient and what is kept of it; changes them but for the gradient; returns them."""


def flat(*arrays: Any) -> list[Array] | None:
    """Return arrays as one axis each, element beside element, if they lie in memory alike; else None."""
    first = arrays[0]
    if any(type(array) is not np.ndarray for array in arrays) or first.dtype not in (FLOAT32, FLOAT64):
        return None
    if any(array.shape != first.shape or array.dtype != first.dtype for array in arrays):
        return None
    if all(array.flags.c_contiguous for array in arrays):
        return [array.reshape(-1) for array in arrays]
    if all(array.flags.f_contiguous for array in arrays):
        return [array.T.reshape(-1) for array in arrays]
    return None


def zeros(optimizer: Any, names: tuple[str, ...], params: list[Any]) -> list[list[Any]]:
    """Return what an optimizer keeps of its parameters, made at the first step."""
    if getattr(optimizer, names[0]) is None:
        for name in names:
            setattr(optimizer, name, [np.zeros_like(param) for param in params])
    return [getattr(optimizer, name) for name in names]


def copy(kept: Any) -> Any:
    """Return a copy that lies in memory as the array does."""
    return kept.copy(order="K") if isinstance(kept, np.ndarray) else kept


def _step(rule: Rule, params: list[Any], grads: list[Any], *kept: list[Any]) -> None:
    for i in range(len(params)):
        one = params[i], grads[i], *(slots[i] for slots in kept)
        pieces = flat(*one)
        if pieces is None or pieces[0].size <= _PIECE:
            params[i], *new = rule(*one)
            for slots, slot in zip(kept, new):
                slots[i] = slot
            continue
        for start in range(0, pieces[0].size, _PIECE):
            rule(*(piece[start : start + _PIECE] for piece in pieces))


def sgd(lr: Any) -> Rule:
    """Return the rule of `SGD`."""

    def rule(param: Any, grad: Any) -> tuple[Any, ...]:
        param -= lr * grad
        return (param,)

    return rule


def momentum(lr: Any, inertia: Any) -> Rule:
    """Return the rule of `Momentum`."""

    def rule(param: Any, grad: Any, v: Any) -> tuple[Any, ...]:
        v *= inertia
        v -= lr * grad
        param += v
        return param, v

    return rule


def adam(rate: Any, beta1: Any, beta2: Any) -> Rule:
    """Return the rule of `Adam`, for the rate of one step."""

    def rule(param: Any, grad: Any, m: Any, v: Any) -> tuple[Any, ...]:
        m += (1 - beta1) * (grad - m)
        v += (1 - beta2) * (grad**2 - v)
        param -= rate * m / (np.sqrt(v) + EPS)
        return param, m, v

    return rule


def adam_rate(optimizer: Any) -> Any:
    """Return the rate of the step that `iter` counts, with both corrections of bias in it."""
    t = optimizer.iter
    return optimizer.lr * np.sqrt(1.0 - optimizer.beta2**t) / (1.0 - optimizer.beta1**t)


class SGD:
    """param -= lr · grad.

    Parameters
    ----------
    lr : float
    """

    def __init__(self, lr: float = 0.01) -> None:
        self.lr = lr

    def update(self, params: list[Any], grads: list[Any]) -> None:
        """Change the parameters in place."""
        _step(sgd(self.lr), params, grads)


class Momentum:
    """v = momentum · v - lr · grad; param += v.

    Parameters
    ----------
    lr, momentum : float
    """

    def __init__(self, lr: float = 0.01, momentum: float = 0.9) -> None:
        self.lr = lr
        self.momentum = momentum
        self.v: list[Any] | None = None

    def update(self, params: list[Any], grads: list[Any]) -> None:
        """Change the parameters in place; each v is a new array, as in the book's."""
        (kept,) = zeros(self, ("v",), params)
        kept[:] = [copy(v) for v in kept]
        _step(momentum(self.lr, self.momentum), params, grads, kept)


class Nesterov:
    """Nesterov's accelerated gradient, which looks ahead with the v of this step.

    Parameters
    ----------
    lr, momentum : float
    """

    def __init__(self, lr: float = 0.01, momentum: float = 0.9) -> None:
        self.lr = lr
        self.momentum = momentum
        self.v: list[Any] | None = None

    def update(self, params: list[Any], grads: list[Any]) -> None:
        """Change the parameters and v in place."""
        lr, inertia = self.lr, self.momentum

        def rule(param: Any, grad: Any, v: Any) -> tuple[Any, ...]:
            v *= inertia
            v -= lr * grad
            param += inertia * inertia * v
            param -= (1 + inertia) * lr * grad
            return param, v

        _step(rule, params, grads, *zeros(self, ("v",), params))


class AdaGrad:
    """h += grad²; param -= lr · grad / (sqrt(h) + 1e-7) (Duchi et al., 2011).

    Parameters
    ----------
    lr : float
    """

    def __init__(self, lr: float = 0.01) -> None:
        self.lr = lr
        self.h: list[Any] | None = None

    def update(self, params: list[Any], grads: list[Any]) -> None:
        """Change the parameters and h in place."""
        lr = self.lr

        def rule(param: Any, grad: Any, h: Any) -> tuple[Any, ...]:
            h += grad * grad
            param -= lr * grad / (np.sqrt(h) + EPS)
            return param, h

        _step(rule, params, grads, *zeros(self, ("h",), params))


class RMSprop:
    """h = decay · h + (1 - decay) · grad²; param -= lr · grad / (sqrt(h) + 1e-7) (Tieleman and Hinton, 2012).

    Parameters
    ----------
    lr, decay_rate : float
    """

    def __init__(self, lr: float = 0.01, decay_rate: float = 0.99) -> None:
        self.lr = lr
        self.decay_rate = decay_rate
        self.h: list[Any] | None = None

    def update(self, params: list[Any], grads: list[Any]) -> None:
        """Change the parameters and h in place."""
        lr, decay = self.lr, self.decay_rate

        def rule(param: Any, grad: Any, h: Any) -> tuple[Any, ...]:
            h *= decay
            h += (1 - decay) * grad * grad
            param -= lr * grad / (np.sqrt(h) + EPS)
            return param, h

        _step(rule, params, grads, *zeros(self, ("h",), params))


class Adam:
    """Adam (Kingma and Ba, 2015), its corrections of bias in the rate and 1e-7 beside the root.

    Parameters
    ----------
    lr, beta1, beta2 : float
    """

    def __init__(self, lr: float = 0.001, beta1: float = 0.9, beta2: float = 0.999) -> None:
        self.lr = lr
        self.beta1 = beta1
        self.beta2 = beta2
        self.iter = 0
        self.m: list[Any] | None = None
        self.v: list[Any] | None = None

    def update(self, params: list[Any], grads: list[Any]) -> None:
        """Change the parameters, m and v in place."""
        kept = zeros(self, ("m", "v"), params)
        self.iter += 1
        _step(adam(adam_rate(self), self.beta1, self.beta2), params, grads, *kept)
