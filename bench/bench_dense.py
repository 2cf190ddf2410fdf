"""Dense layers: ``pytest bench/bench_dense.py``."""

from __future__ import annotations

import numpy as np

from family import family_benchmark


def infer(x: np.ndarray, w: np.ndarray, b: np.ndarray) -> np.ndarray:
    return x @ w + b


def forward(x: np.ndarray, w: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, tuple[np.ndarray, np.ndarray]]:
    return x @ w + b, (x, w)


def backward(dy: np.ndarray, cache: tuple[np.ndarray, np.ndarray]) -> tuple[np.ndarray, ...]:
    x, w = cache
    return dy @ w.T, x.T @ dy, dy.sum(0)


test_dense = family_benchmark("dense", textbook={"linear": (infer, forward, backward)})
