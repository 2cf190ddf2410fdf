"""Normalisation: ``pytest bench/bench_norm.py``."""

from __future__ import annotations

from typing import Any

import numpy as np

from family import family_benchmark


def forward(
    x: np.ndarray, gamma: np.ndarray, beta: np.ndarray, *, axes: tuple[int, ...]
) -> tuple[np.ndarray, tuple[Any, ...]]:
    """The textbook's normalisation over `axes`, gamma and beta being one for each entry of the others."""
    shape = [1 if axis in axes else size for axis, size in enumerate(x.shape)]
    gamma, beta = gamma.reshape(shape), beta.reshape(shape)
    scale = 1 / np.sqrt(x.var(axes, keepdims=True) + 1e-5)
    hat = (x - x.mean(axes, keepdims=True)) * scale
    return hat * gamma + beta, (hat, scale, gamma, axes)


def backward(dy: np.ndarray, cache: tuple[Any, ...]) -> tuple[np.ndarray, ...]:
    hat, scale, gamma, axes = cache
    dgamma, dbeta = (dy * hat).sum(axes), dy.sum(axes)
    slope = dy * gamma
    through = slope.mean(axes, keepdims=True) + hat * (slope * hat).mean(axes, keepdims=True)
    return scale * (slope - through), dgamma, dbeta


def batch_forward(
    x: np.ndarray, gamma: np.ndarray, beta: np.ndarray, **options: Any
) -> tuple[np.ndarray, tuple[Any, ...]]:
    return forward(x, gamma, beta, axes=(0, *range(2, x.ndim)))


def batch(x: np.ndarray, gamma: np.ndarray, beta: np.ndarray, **options: Any) -> np.ndarray:
    return batch_forward(x, gamma, beta)[0]


test_norm = family_benchmark("norm", textbook={"batch_norm": (batch, batch_forward, backward)})
