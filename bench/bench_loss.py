"""Losses: ``pytest bench/bench_loss.py``."""

from __future__ import annotations

import numpy as np

from family import family_benchmark

Cache = tuple[np.ndarray, np.ndarray]


def forward(logits: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, Cache]:
    e = np.exp(logits - logits.max(1, keepdims=True))
    probs = e / e.sum(1, keepdims=True)
    return -np.log(probs[np.arange(len(labels)), labels]).mean(), (probs, labels)


def backward(dloss: np.ndarray, cache: Cache) -> np.ndarray:
    probs, labels = cache
    dlogits = probs.copy()
    dlogits[np.arange(len(labels)), labels] -= 1
    return dlogits * (dloss / len(labels))


def infer(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    return forward(logits, labels)[0]


test_loss = family_benchmark("loss", textbook={"softmax_cross_entropy": (infer, forward, backward)})
