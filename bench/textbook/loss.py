"""Softmax with cross-entropy, and the mean squared error."""

from __future__ import annotations

import numpy as np

Cache = tuple[np.ndarray, np.ndarray]


def cross_entropy_forward(logits: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, Cache]:
    e = np.exp(logits - logits.max(1, keepdims=True))
    probs = e / e.sum(1, keepdims=True)
    return -np.log(probs[np.arange(len(labels)), labels]).mean(), (probs, labels)


def cross_entropy_backward(dloss: np.ndarray, cache: Cache) -> np.ndarray:
    probs, labels = cache
    dlogits = probs.copy()
    dlogits[np.arange(len(labels)), labels] -= 1
    return dlogits * (dloss / len(labels))


def cross_entropy(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    return cross_entropy_forward(logits, labels)[0]


def squared_forward(x: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    difference = x - target
    return (difference**2).mean(), difference


def squared_backward(dloss: np.ndarray, difference: np.ndarray) -> np.ndarray:
    return difference * (2 / difference.size * dloss)


def squared(x: np.ndarray, target: np.ndarray) -> np.ndarray:
    return squared_forward(x, target)[0]


OPERATIONS = {
    "softmax_cross_entropy": (cross_entropy, cross_entropy_forward, cross_entropy_backward),
    "mean_squared_error": (squared, squared_forward, squared_backward),
}
