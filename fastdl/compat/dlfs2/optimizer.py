"""``common.optimizer``: steps on lists of parameters and gradients, in place on the parameters."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..optimizer import SGD, AdaGrad, Adam, Momentum, RMSprop, step

__all__ = ["SGD", "AdaGrad", "Adam", "Momentum", "Nesterov", "RMSprop", "np"]


class Nesterov:
    """v as in `Momentum`; then p += momentum² · v - (1 + momentum) · lr · g, with the v of this step.

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
            v *= momentum
            v -= lr * g
            p += momentum * momentum * v
            p -= (1 + momentum) * lr * g
            return p, v

        step(rule, params, grads, self, ("v",))
