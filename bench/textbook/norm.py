"""Normalisation: mean and variance over some axes, gamma and beta for the others."""

from __future__ import annotations

from typing import Any

import numpy as np

Cache = tuple[Any, ...]
EPSILON = 1e-5


def forward(
    x: np.ndarray, gamma: np.ndarray, beta: np.ndarray, over: tuple[int, ...], channel: int
) -> tuple[np.ndarray, Cache]:
    """Normalise over the axes `over`; gamma and beta go along the axis `channel`."""
    shape = [-1 if axis == channel % x.ndim else 1 for axis in range(x.ndim)]
    gamma, beta = gamma.reshape(shape), beta.reshape(shape)
    scale = 1 / np.sqrt(x.var(over, keepdims=True) + EPSILON)
    hat = (x - x.mean(over, keepdims=True)) * scale
    return hat * gamma + beta, (hat, scale, gamma, over)


def backward(dy: np.ndarray, cache: Cache) -> tuple[np.ndarray, ...]:
    hat, scale, gamma, over = cache
    others = tuple(axis for axis, size in enumerate(gamma.shape) if size == 1)
    slope = dy * gamma
    through = slope.mean(over, keepdims=True) + hat * (slope * hat).mean(over, keepdims=True)
    return scale * (slope - through), (dy * hat).sum(others), dy.sum(others)


def batch_forward(
    x: np.ndarray,
    gamma: np.ndarray,
    beta: np.ndarray,
    *,
    running_mean: None,
    running_var: None,
    training: bool,
    axis: int = 1,
) -> tuple[np.ndarray, Cache]:
    over = tuple(i for i in range(x.ndim) if i != axis % x.ndim)
    return forward(x, gamma, beta, over, axis)


def batch(
    x: np.ndarray,
    gamma: np.ndarray,
    beta: np.ndarray,
    *,
    running_mean: None,
    running_var: None,
    training: bool,
    axis: int = 1,
) -> np.ndarray:
    over = tuple(i for i in range(x.ndim) if i != axis % x.ndim)
    return forward(x, gamma, beta, over, axis)[0]


def layer_forward(x: np.ndarray, gamma: np.ndarray, beta: np.ndarray) -> tuple[np.ndarray, Cache]:
    return forward(x, gamma, beta, (-1,), -1)


def layer(x: np.ndarray, gamma: np.ndarray, beta: np.ndarray) -> np.ndarray:
    return forward(x, gamma, beta, (-1,), -1)[0]


def instance_forward(x: np.ndarray, gamma: np.ndarray, beta: np.ndarray) -> tuple[np.ndarray, Cache]:
    return forward(x, gamma, beta, tuple(range(2, x.ndim)), 1)


def instance(x: np.ndarray, gamma: np.ndarray, beta: np.ndarray) -> np.ndarray:
    return instance_forward(x, gamma, beta)[0]


OPERATIONS = {
    "batch_norm": (batch, batch_forward, backward),
    "layer_norm": (layer, layer_forward, backward),
    "instance_norm": (instance, instance_forward, backward),
}
