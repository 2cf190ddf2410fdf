"""Activations, PReLU and dropout over whole arrays."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from ..constants import GELU_CUBE, GELU_SCALE, SELU_ALPHA, SELU_SCALE
from .erf import erf

Curve = Callable[[np.ndarray, float], np.ndarray]


def _exp_minus_1(x: np.ndarray) -> np.ndarray:
    """exp(x) − 1 where x <= 0; 0 elsewhere, where exp might overflow."""
    return np.expm1(np.minimum(x, 0))


def log_1_plus_exp_minus(x: np.ndarray) -> np.ndarray:
    """log(1 + exp(−|x|)): what the logarithm of a logistic adds to its straight line."""
    return np.log1p(np.exp(-np.abs(x)))


def sigmoid(x: np.ndarray) -> np.ndarray:
    """1 / (1 + exp(−x)), by the exponential that cannot overflow."""
    e = np.exp(-np.abs(x))
    return np.where(x >= 0, 1, e) / (1 + e)


def _phi(x: np.ndarray) -> np.ndarray:
    """The standard normal distribution function."""
    return (0.5 * (1 + erf(x * math.sqrt(0.5)))).astype(x.dtype)


def _phi_tanh(x: np.ndarray) -> np.ndarray:
    return 0.5 * (1 + np.tanh(GELU_SCALE * (x + GELU_CUBE * x * x * x)))


def _gelu_slope(x: np.ndarray, alpha: float) -> np.ndarray:
    return _phi(x) + x * np.exp(-0.5 * x * x) / math.sqrt(2 * math.pi)


def _gelu_tanh_slope(x: np.ndarray, alpha: float) -> np.ndarray:
    phi = _phi_tanh(x)
    return phi + x * 2 * phi * (1 - phi) * GELU_SCALE * (1 + 3 * GELU_CUBE * x * x)


def _silu_slope(x: np.ndarray, alpha: float) -> np.ndarray:
    s = sigmoid(x)
    return s * (1 + x * (1 - s))


_ACTIVATION: dict[str, Curve] = {
    "linear": lambda x, alpha: x.copy(),
    "relu": lambda x, alpha: (
        np.maximum(x, 0) + 0.0
    ),  # which turns -0.0 into 0.0; a tenth of the time of where
    "leaky_relu": lambda x, alpha: np.where(x <= 0, alpha * x, x),
    "elu": lambda x, alpha: np.where(x <= 0, alpha * _exp_minus_1(x), x),
    "selu": lambda x, alpha: SELU_SCALE * np.where(x <= 0, SELU_ALPHA * _exp_minus_1(x), x),
    "sigmoid": lambda x, alpha: sigmoid(x),
    "tanh": lambda x, alpha: np.tanh(x),
    "softplus": lambda x, alpha: np.maximum(x, 0) + log_1_plus_exp_minus(x),
    "gelu": lambda x, alpha: x * _phi(x),
    "gelu_tanh": lambda x, alpha: x * _phi_tanh(x),
    "silu": lambda x, alpha: x * sigmoid(x),
}

_GRADIENT: dict[str, Callable[[np.ndarray, np.ndarray, float], np.ndarray]] = {
    "linear": lambda dy, saved, alpha: dy.copy(),
    "relu": lambda dy, y, alpha: np.where(y <= 0, 0, dy),
    "leaky_relu": lambda dy, y, alpha: np.where(y <= 0, alpha * dy, dy),
    "elu": lambda dy, y, alpha: np.where(y <= 0, dy * (y + alpha), dy),
    "selu": lambda dy, y, alpha: dy * np.where(y <= 0, y + SELU_SCALE * SELU_ALPHA, SELU_SCALE),
    "sigmoid": lambda dy, y, alpha: dy * y * (1 - y),
    "tanh": lambda dy, y, alpha: dy * (1 - y) * (1 + y),
    "softplus": lambda dy, y, alpha: -dy * np.expm1(-y),
    "gelu": lambda dy, x, alpha: dy * _gelu_slope(x, alpha),
    "gelu_tanh": lambda dy, x, alpha: dy * _gelu_tanh_slope(x, alpha),
    "silu": lambda dy, x, alpha: dy * _silu_slope(x, alpha),
}


def act_fwd(x: np.ndarray, kind: str, alpha: float = 0.0) -> np.ndarray:
    """y = act(x); `alpha` is the slope of leaky_relu and the depth of elu."""
    return np.asarray(_ACTIVATION[kind](x, alpha))


def act_bwd(dy: np.ndarray, saved: np.ndarray, kind: str, alpha: float = 0.0) -> np.ndarray:
    """dx = dy·act'(x), from the y or the x that forward saved (`shapes.ACTIVATIONS` says which)."""
    return np.asarray(_GRADIENT[kind](dy, saved, alpha))


def prelu_fwd(x: np.ndarray, slope: np.ndarray, outer: int, channels: int, inner: int) -> np.ndarray:
    """y[o, c, i] = slope[c]·x[o, c, i] where x <= 0 else x[o, c, i]."""
    x3 = x.reshape(outer, channels, inner)
    return np.where(x3 <= 0, slope[:, None] * x3, x3).reshape(x.shape)


def prelu_bwd(
    dy: np.ndarray, x: np.ndarray, slope: np.ndarray, outer: int, channels: int, inner: int
) -> tuple[np.ndarray, np.ndarray]:
    """dx = slope[c]·dy where x <= 0 else dy; dslope[c] = Σ_(o, i) dy·x where x <= 0."""
    x3, dy3 = x.reshape(outer, channels, inner), dy.reshape(outer, channels, inner)
    negative = x3 <= 0
    dx = np.where(negative, slope[:, None] * dy3, dy3).reshape(x.shape)
    return dx, np.where(negative, dy3 * x3, 0).sum(axis=(0, 2))


def dropout_fwd(x: np.ndarray, noise: np.ndarray, rate: float) -> tuple[np.ndarray, np.ndarray]:
    """y = x/(1 − rate) where noise >= rate else 0, and the mask of what was kept."""
    mask = noise >= rate
    return np.where(mask, x * (1 / (1 - rate)), 0), mask.view(np.uint8)


def dropout_bwd(dy: np.ndarray, mask: np.ndarray, rate: float) -> np.ndarray:
    """dx = dy/(1 − rate) where mask else 0."""
    return np.where(mask, dy * (1 / (1 - rate)), 0)


_BLOCK = 1 << 16
"""Elements, of which what the first operation reads is still in the cache for the second."""


def gate_fwd(x: np.ndarray, want_y: bool = True) -> tuple[np.ndarray | None, np.ndarray]:
    """closed[i] = x[i] <= 0; y[i] = 0 where closed[i] else x[i], or None."""
    if not want_y:
        return None, np.less_equal(x, 0)
    y, closed = np.empty_like(x), np.empty(x.shape, np.bool_)
    flat = x.reshape(-1), y.reshape(-1), closed.reshape(-1)
    for start in range(0, x.size, _BLOCK):
        values, gate, shut = (part[start : start + _BLOCK] for part in flat)
        np.less_equal(values, 0, out=shut)
        np.maximum(values, 0, out=gate)
        gate += 0.0  # which turns -0.0 into 0.0
    return y, closed


def gate_bwd(dy: np.ndarray, closed: np.ndarray) -> None:
    """dy[i] = 0 where closed[i]."""
    bits = dy.view(f"i{dy.itemsize}")  # a product would do, if it were not for NaN and infinity
    np.bitwise_and(bits, closed.view(np.int8) - np.int8(1), out=bits)
