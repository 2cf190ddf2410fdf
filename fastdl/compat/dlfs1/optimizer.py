"""``common.optimizer``: steps on dicts of parameters and gradients, in place on the parameters."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..optimizer import SGD, AdaGrad, Adam, Momentum, RMSprop, step

__all__ = ["AdaGrad", "Adam", "Momentum", "Nesterov", "RMSprop", "SGD", "np"]


class Nesterov:
    """p += momentum² · v - (1 + momentum) · lr · g, with the v of the step before; then v as in `Momentum`.

    Parameters
    ----------
    lr, momentum : float
    """

    def __init__(self, lr: float = 0.01, momentum: float = 0.9) -> None:
        self.lr = lr
        self.momentum = momentum
        self.v: Any = None

    def update(self, params: Any, grads: Any) -> None:
        """Change the parameters and v in place."""
        lr, momentum = self.lr, self.momentum

        def rule(p: Any, g: Any, v: Any) -> tuple[Any, ...]:
            p += momentum * momentum * v
            p -= (1 + momentum) * lr * g
            v *= momentum
            v -= lr * g
            return p, v

        step(rule, params, grads, self, ("v",))
