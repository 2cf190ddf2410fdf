"""Activations: ``pytest bench/bench_pointwise.py``."""

from __future__ import annotations

import numpy as np

from family import family_benchmark


def relu(x: np.ndarray) -> np.ndarray:
    return np.maximum(x, 0)


def relu_forward(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return np.maximum(x, 0), x > 0


def relu_backward(dy: np.ndarray, mask: np.ndarray) -> np.ndarray:
    return dy * mask


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def sigmoid_forward(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    y = sigmoid(x)
    return y, y


def sigmoid_backward(dy: np.ndarray, y: np.ndarray) -> np.ndarray:
    return dy * y * (1 - y)


test_pointwise = family_benchmark(
    "pointwise",
    textbook={
        "relu": (relu, relu_forward, relu_backward),
        "sigmoid": (sigmoid, sigmoid_forward, sigmoid_backward),
    },
)
