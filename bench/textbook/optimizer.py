"""Optimizers as classes with `update`, which changes the parameters in place."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

Arrays = Sequence[np.ndarray]


class SGD:
    def __init__(self, learning_rate: float, params: Arrays) -> None:
        self.learning_rate = learning_rate

    def update(self, params: Arrays, grads: Arrays) -> None:
        for p, g in zip(params, grads):
            p -= self.learning_rate * g


class Momentum(SGD):
    def __init__(self, learning_rate: float, params: Arrays) -> None:
        super().__init__(learning_rate, params)
        self.velocity = [np.zeros_like(p) for p in params]

    def update(self, params: Arrays, grads: Arrays) -> None:
        for p, g, v in zip(params, grads, self.velocity):
            v *= 0.9
            v -= self.learning_rate * g
            p += v


class Adagrad(SGD):
    def __init__(self, learning_rate: float, params: Arrays) -> None:
        super().__init__(learning_rate, params)
        self.squares = [np.full_like(p, 0.1) for p in params]

    def update(self, params: Arrays, grads: Arrays) -> None:
        for p, g, s in zip(params, grads, self.squares):
            s += g * g
            p -= self.learning_rate * g / np.sqrt(s + 1e-7)


class RMSprop(SGD):
    def __init__(self, learning_rate: float, params: Arrays) -> None:
        super().__init__(learning_rate, params)
        self.squares = [np.zeros_like(p) for p in params]

    def update(self, params: Arrays, grads: Arrays) -> None:
        for p, g, s in zip(params, grads, self.squares):
            s *= 0.9
            s += (1 - 0.9) * g * g
            p -= self.learning_rate * g / np.sqrt(s + 1e-7)


class Adam(SGD):
    def __init__(self, learning_rate: float, params: Arrays) -> None:
        super().__init__(learning_rate, params)
        self.means = [np.zeros_like(p) for p in params]
        self.squares = [np.zeros_like(p) for p in params]
        self.steps = 0

    def update(self, params: Arrays, grads: Arrays) -> None:
        self.steps += 1
        rate = self.learning_rate * (1 - 0.999**self.steps) ** 0.5 / (1 - 0.9**self.steps)
        for p, g, m, s in zip(params, grads, self.means, self.squares):
            m += (1 - 0.9) * (g - m)
            s += (1 - 0.999) * (g * g - s)
            p -= rate * m / (np.sqrt(s) + 1e-7)
