"""The optimizers of *Deep Learning from Scratch* 1 and 2: dicts or lists of parameters, changed in place.

Each is its rule, the book's own operations in the book's order, on pieces of the arrays that stay in the
cache. SGD, Momentum and Adam are kernels instead, which pass over memory once; in float64 they do the same
operations in the same order, and so serve the exact tier as well. `update` is set on the book's class: it
reads and makes the attributes that the book's constructor and methods do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from ..functional._arrays import engine
from .inputs import FLOAT64, FLOATS, Array
from .tier import Unserved, settings

__all__ = ["AdaGrad", "Adam", "Momentum", "RMSprop", "SGD", "kept", "step"]

_EPS = 1e-7  # what keeps roots from dividing by 0

_PIECE = 1 << 13  # elements that are worked on at a time

Rule = Callable[..., tuple[Any, ...]]
"""Takes a parameter, its gradient and what is kept of it; changes them but for the gradient; returns them."""


class SGD:
    """p -= lr · g.

    Parameters
    ----------
    lr : float
    """

    def __init__(self, lr: float = 0.01) -> None:
        self.lr = lr

    def update(self, params: Any, grads: Any) -> None:
        """Change the parameters in place."""
        lr = self.lr

        def rule(p: Any, g: Any) -> tuple[Any, ...]:
            p -= lr * g
            return (p,)

        step(rule, params, grads, kernel=("sgd", (lr,)))


class Momentum:
    """v = momentum · v - lr · g; p += v.

    Parameters
    ----------
    lr, momentum : float
    """

    def __init__(self, lr: float = 0.01, momentum: float = 0.9) -> None:
        self.lr = lr
        self.momentum = momentum
        self.v: Any = None

    def update(self, params: Any, grads: Any) -> None:
        """Change the parameters in place; each v is a new array, as in the book's."""
        lr, momentum = self.lr, self.momentum

        def rule(p: Any, g: Any, v: Any) -> tuple[Any, ...]:
            v *= momentum
            v -= lr * g
            p += v
            return p, v

        step(rule, params, grads, self, ("v",), kernel=("momentum", (lr, momentum)), renewed=True)


class AdaGrad:
    """h += g²; p -= lr · g / (√h + 1e-7) (Duchi et al., 2011).

    Parameters
    ----------
    lr : float
    """

    def __init__(self, lr: float = 0.01) -> None:
        self.lr = lr
        self.h: Any = None

    def update(self, params: Any, grads: Any) -> None:
        """Change the parameters and h in place."""
        lr = self.lr

        def rule(p: Any, g: Any, h: Any) -> tuple[Any, ...]:
            h += g * g
            p -= lr * g / (np.sqrt(h) + _EPS)
            return p, h

        step(rule, params, grads, self, ("h",))


class RMSprop:
    """h = decay_rate · h + (1 - decay_rate) · g²; p -= lr · g / (√h + 1e-7) (Tieleman and Hinton, 2012).

    Parameters
    ----------
    lr, decay_rate : float
    """

    def __init__(self, lr: float = 0.01, decay_rate: float = 0.99) -> None:
        self.lr = lr
        self.decay_rate = decay_rate
        self.h: Any = None

    def update(self, params: Any, grads: Any) -> None:
        """Change the parameters and h in place."""
        lr, decay = self.lr, self.decay_rate

        def rule(p: Any, g: Any, h: Any) -> tuple[Any, ...]:
            h *= decay
            h += (1 - decay) * g * g
            p -= lr * g / (np.sqrt(h) + _EPS)
            return p, h

        step(rule, params, grads, self, ("h",))


class Adam:
    """m += (1 - beta1) · (g - m); v += (1 - beta2) · (g² - v); p -= rate · m / (√v + 1e-7).

    The rate is lr · √(1 - beta2^t) / (1 - beta1^t), t being the number of the step, `iter` (Kingma and Ba,
    2015).

    Parameters
    ----------
    lr, beta1, beta2 : float
    """

    def __init__(self, lr: float = 0.001, beta1: float = 0.9, beta2: float = 0.999) -> None:
        self.lr = lr
        self.beta1 = beta1
        self.beta2 = beta2
        self.iter = 0
        self.m: Any = None
        self.v: Any = None

    def update(self, params: Any, grads: Any) -> None:
        """Change the parameters, m and v in place."""
        beta1, beta2, t = self.beta1, self.beta2, self.iter + 1
        rate = self.lr * np.sqrt(1.0 - beta2**t) / (1.0 - beta1**t)

        def rule(p: Any, g: Any, m: Any, v: Any) -> tuple[Any, ...]:
            m += (1 - beta1) * (g - m)
            v += (1 - beta2) * (g**2 - v)
            p -= rate * m / (np.sqrt(v) + _EPS)
            return p, m, v

        kernel = "adam", (rate, beta1, beta2, _EPS, 0, 0)
        step(rule, params, grads, self, ("m", "v"), kernel=kernel)
        self.iter = t


def step(
    rule: Rule,
    params: Any,
    grads: Any,
    optimizer: Any = None,
    names: tuple[str, ...] = (),
    *,
    kernel: tuple[str, tuple[Any, ...]] | None = None,
    renewed: bool = False,
) -> None:
    """Apply a rule to each parameter.

    Parameters
    ----------
    rule : callable
    params, grads : dict or list of arrays
    optimizer, names
        Whose attributes of these names hold what is kept of each parameter.
    kernel : (str, tuple), optional
        The engine's formula for the rule, and its numbers. The compiled one gives the bits of the rule, but
        in float32 only where the rule narrows its numbers as well.
    renewed : bool
        Whether what is kept becomes new arrays with each step.

    Raises
    ------
    Unserved
        If a parameter is neither a number nor an array of floats, or its gradient or what is kept of it is
        unlike it; nothing has changed.
    """
    keys = list(_keys(params))
    slots = [kept(optimizer, name, params) for name in names]
    for key in keys:
        _check(params[key], grads[key], *(slot[key] for slot in slots))
    for name, slot in zip(names, slots):
        setattr(optimizer, name, slot)
    for key in keys:
        for slot in slots if renewed else ():
            slot[key] = slot[key].copy(order="K") if isinstance(params[key], np.ndarray) else slot[key][()]
        _one(rule, params, grads[key], key, slots, kernel)


def kept(optimizer: Any, name: str, params: Any) -> Any:
    """Return what an optimizer keeps of its parameters under a name; before the first step, zeros."""
    found = getattr(optimizer, name)
    if found is not None:
        return found
    if isinstance(params, dict):
        return {key: np.zeros_like(p) for key, p in params.items()}
    return [np.zeros_like(p) for p in params]


def _keys(params: Any) -> Iterable[Any]:
    return params if isinstance(params, dict) else range(len(params))


def _check(p: Any, *others: Any) -> None:
    if isinstance(p, (int, float)):  # it is bound anew, and asks nothing of the others
        return
    if type(p) is not np.ndarray or p.dtype not in FLOATS:
        raise Unserved("a parameter that is neither a number nor an array of floats")
    for other in others:
        if type(other) is not np.ndarray or other.shape != p.shape or other.dtype.kind != "f":
            raise Unserved("a gradient or a state unlike its parameter")


def _one(
    rule: Rule,
    params: Any,
    grad: Any,
    key: Any,
    slots: list[Any],
    kernel: tuple[str, tuple[Any, ...]] | None,
) -> None:
    """Change one parameter and what is kept of it."""
    p, own = params[key], [slot[key] for slot in slots]
    pieces = None
    if isinstance(p, np.ndarray):
        if settings.tier == "exact" and not _same_bits(p, grad):
            kernel = None
        if kernel is not None and grad.dtype != p.dtype and np.can_cast(grad.dtype, p.dtype):
            grad = grad.astype(p.dtype)  # as the sum of the two would be
        pieces = _flat(p, grad, *own)
    if pieces is not None and kernel is not None and p.size:
        kind, hyper = kernel
        unused = [np.empty(0, p.dtype)] if kind == "adam" else []  # the slot of its variant amsgrad
        engine().update(kind, [(pieces[0], pieces[1], [*pieces[2:], *unused], None)], hyper)
    elif pieces is not None and p.size > _PIECE:
        for start in range(0, p.size, _PIECE):
            rule(*(piece[start : start + _PIECE] for piece in pieces))
    else:
        params[key], *new = rule(p, grad, *own)
        for slot, array in zip(slots, new):
            slot[key] = array


def _same_bits(p: Array, grad: Array) -> bool:
    """Return whether the engine's formulas are the rules to the last bit."""
    return p.dtype == grad.dtype == FLOAT64 and engine().engines["update"].startswith("native")


def _flat(*arrays: Array) -> list[Array] | None:
    """Return arrays as one axis each, element beside element, if they lie in memory alike; else None."""
    if any(array.dtype != arrays[0].dtype or not array.flags.aligned for array in arrays):
        return None
    if all(array.flags.c_contiguous for array in arrays):
        return [array.reshape(-1) for array in arrays]
    if all(array.flags.f_contiguous for array in arrays):
        return [array.T.reshape(-1) for array in arrays]
    return None
