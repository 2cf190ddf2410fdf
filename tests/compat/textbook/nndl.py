"""Networks of sigmoid layers that see one column vector at a time, written for these tests."""

from __future__ import annotations

from typing import Any

import numpy as np

Array = Any


def squash(z: Array) -> Array:
    return 1.0 / (1.0 + np.exp(-z))


class Squares:
    @staticmethod
    def delta(z: Array, a: Array, y: Array) -> Array:
        return (a - y) * squash(z) * (1 - squash(z))


class Entropy:
    @staticmethod
    def delta(z: Array, a: Array, y: Array) -> Array:
        return a - y


class _Layers:
    def __init__(self, sizes: list[int], cost: Any = Squares) -> None:
        generator = np.random.default_rng(0)
        self.sizes, self.cost = sizes, cost
        self.biases = [generator.standard_normal((size, 1)) for size in sizes[1:]]
        self.weights = [generator.standard_normal(shape[::-1]) for shape in zip(sizes, sizes[1:])]

    def cost_derivative(self, output_activations: Array, y: Array) -> Array:
        return output_activations - y

    def gradients(self, samples: Any) -> list[list[Array]]:
        """The sums over the samples, for the weights and for the biases, the last layer first."""
        total = [[np.zeros_like(p) for p in reversed(group)] for group in (self.weights, self.biases)]
        for x, y in samples:
            inputs, a = [], x
            for w, b in zip(self.weights, self.biases):
                inputs.append(a)
                z = w @ a + b
                a = squash(z)
            slope = self.cost.delta(z, a, y)
            for i, (w, before) in enumerate(zip(reversed(self.weights), reversed(inputs))):
                total[0][i] += slope @ before.T
                total[1][i] += slope
                slope = (w.T @ slope) * before * (1 - before)
        return total


class Network(_Layers):
    def update_mini_batch(self, mini_batch: Any, eta: float) -> None:
        dw, db = self.gradients(mini_batch)
        self.weights = [w - eta / len(mini_batch) * g for w, g in zip(self.weights, reversed(dw))]
        self.biases = [b - eta / len(mini_batch) * g for b, g in zip(self.biases, reversed(db))]


class DecayingNetwork(_Layers):
    def update_mini_batch(self, mini_batch: Any, eta: float, lmbda: float, n: int) -> None:
        dw, db = self.gradients(mini_batch)
        kept = 1 - eta * lmbda / n
        self.weights = [kept * w - eta / len(mini_batch) * g for w, g in zip(self.weights, reversed(dw))]
        self.biases = [b - eta / len(mini_batch) * g for b, g in zip(self.biases, reversed(db))]
