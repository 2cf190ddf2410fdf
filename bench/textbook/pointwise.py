"""Activations."""

from __future__ import annotations

import numpy as np


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


def tanh_forward(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    y = np.tanh(x)
    return y, y


def tanh_backward(dy: np.ndarray, y: np.ndarray) -> np.ndarray:
    return dy * (1 - y * y)


def softmax(x: np.ndarray) -> np.ndarray:
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def softmax_forward(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    y = softmax(x)
    return y, y


def softmax_backward(dy: np.ndarray, y: np.ndarray) -> np.ndarray:
    return y * (dy - (dy * y).sum(-1, keepdims=True))


OPERATIONS = {
    "relu": (relu, relu_forward, relu_backward),
    "sigmoid": (sigmoid, sigmoid_forward, sigmoid_backward),
    "tanh": (np.tanh, tanh_forward, tanh_backward),
    "softmax": (softmax, softmax_forward, softmax_backward),
}
