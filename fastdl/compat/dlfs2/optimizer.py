"""The optimizers of the book: lists of parameters and of gradients, changed in place.

Those of `exact_optimizer` run the book's own rule in NumPy, in pieces that stay in the cache: the bits are
the same. Here SGD, Momentum and Adam are kernels instead, which pass over memory once.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from . import exact_optimizer as rules
from .arrays import engine

__all__ = ["SGD", "AdaGrad", "Adam", "Momentum", "Nesterov", "RMSprop", "np"]

_SMALL = 1 << 9  # elements, up to which NumPy's calls are as quick as a kernel's

AdaGrad, Nesterov, RMSprop = rules.AdaGrad, rules.Nesterov, rules.RMSprop


def _kernel(kind: str, hyper: tuple[float, ...], param: Any, grad: Any, *slots: Any) -> bool:
    """Whether a kernel could make the step."""
    flat = rules.flat(param, grad, *slots)
    if flat is None or flat[0].size <= _SMALL:
        return False
    param, grad, *kept = flat
    unused = [np.empty(0, param.dtype)] if kind == "adam" else []  # the slot of its variant amsgrad
    engine().update(kind, param, grad, [*kept, *unused], hyper)
    return True


class SGD(rules.SGD):
    """param -= lr · grad.

    Parameters
    ----------
    lr : float
    """

    def update(self, params: list[Any], grads: list[Any]) -> None:
        """Change the parameters in place."""
        for i in range(len(params)):
            if not _kernel("sgd", (self.lr,), params[i], grads[i]):
                params[i] = rules.sgd(self.lr)(params[i], grads[i])[0]


class Momentum(rules.Momentum):
    """v = momentum · v - lr · grad; param += v.

    Parameters
    ----------
    lr, momentum : float
    """

    def update(self, params: list[Any], grads: list[Any]) -> None:
        """Change the parameters in place; each v is a new array, as in the book's."""
        kept: list[Any] = rules.zeros(self, ("v",), params)[0]
        hyper = self.lr, self.momentum
        for i in range(len(params)):
            kept[i] = rules.copy(kept[i])
            if not _kernel("momentum", hyper, params[i], grads[i], kept[i]):
                params[i], kept[i] = rules.momentum(*hyper)(params[i], grads[i], kept[i])


class Adam(rules.Adam):
    """Adam (Kingma and Ba, 2015), its corrections of bias in the rate and 1e-7 beside the root.

    Parameters
    ----------
    lr, beta1, beta2 : float
    """

    def update(self, params: list[Any], grads: list[Any]) -> None:
        """Change the parameters, m and v in place."""
        m, v = rules.zeros(self, ("m", "v"), params)
        self.iter += 1
        rate = rules.adam_rate(self)
        hyper = rate, self.beta1, self.beta2, rules.EPS, 0, 0
        for i in range(len(params)):
            if not _kernel("adam", hyper, params[i], grads[i], m[i], v[i]):
                rule = rules.adam(rate, self.beta1, self.beta2)
                params[i], m[i], v[i] = rule(params[i], grads[i], m[i], v[i])
