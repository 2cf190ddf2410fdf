"""``network.Network``: sigmoid layers, one column vector a sample."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..inputs import Array, plain
from ..tier import Unserved

__all__ = ["Network", "descend", "layers_of", "rows_of", "sigmoid"]

Samples = Sequence[tuple[Any, Any]]
Delta = Callable[[Array, Array, Array], Array]
"""From z, its sigmoid and y, all of one shape, the gradient of the cost with respect to z."""


class Network:
    """What is replaced of the class; its author's constructor makes `weights` and `biases`."""

    weights: list[Array]
    biases: list[Array]
    cost_derivative: Callable[[Array, Array], Array]

    def update_mini_batch(self, mini_batch: Samples, eta: float) -> None:
        """Take one step down the gradient of the mean cost of (x, y) pairs of column vectors."""

        def delta(_: Array, a: Array, y: Array) -> Array:
            return self.cost_derivative(a, y) * (a * (1 - a))

        layers = layers_of(self)
        x, y = rows_of(mini_batch, layers)
        self.weights, self.biases = descend(layers, x, y, delta, eta / len(mini_batch), 1.0)


def sigmoid(z: Array) -> Array:
    """Return 1 / (1 + exp(-z))."""
    power = np.exp(-z)
    power += 1.0
    return np.divide(1.0, power, out=power)


def layers_of(network: Any) -> list[tuple[Array, Array]]:
    """Return the (out, in) weights and the (out, 1) biases of each layer, all of float64."""
    layers = list(zip(network.weights, network.biases, strict=True))
    for weights, biases in layers:
        if not plain(weights, 2, "f").dtype == plain(biases, 2, "f").dtype == np.float64:
            raise Unserved("weights of another type than float64")
        if biases.shape != (weights.shape[0], 1):
            raise Unserved(f"biases of shape {biases.shape}")
    return layers


def rows_of(samples: Samples, layers: list[tuple[Array, Array]]) -> tuple[Array, Array]:
    """Return the inputs and the targets of column vectors as the rows of two matrices."""
    if not len(samples):
        raise Unserved("no samples")
    inputs, targets = zip(*samples, strict=True)
    found = []
    for columns, size in ((inputs, layers[0][0].shape[1]), (targets, layers[-1][0].shape[0])):
        for column in columns:
            if plain(column, 2).shape != (size, 1):
                raise Unserved(f"a sample of shape {column.shape}")
        found.append(np.concatenate(columns).reshape(len(samples), size))
    return found[0], found[1]


def descend(
    layers: list[tuple[Array, Array]], x: Array, y: Array, delta: Delta, rate: float, kept: float
) -> tuple[list[Array], list[Array]]:
    """Return new weights, kept · w - rate · Σ ∂cost/∂w, and new biases, which all are kept."""
    activations, z = [x], x
    for weights, biases in layers:
        z = np.dot(activations[-1], weights.T)
        z += biases.T
        activations.append(sigmoid(z))
    slope = delta(z, activations[-1], y)
    new_weights, new_biases = [], []
    for i in range(len(layers) - 1, -1, -1):
        weights, biases = layers[i]
        step = np.dot(slope.T, activations[i])
        step *= -rate
        step += weights if kept == 1.0 else kept * weights
        new_weights.append(step)
        new_biases.append(biases - rate * slope.sum(axis=0)[:, None])
        if i:
            a = activations[i]
            slope = np.dot(slope, weights) * (a * (1 - a))
    return new_weights[::-1], new_biases[::-1]
