"""Functions of one number, computed in double precision and rounded once."""

from __future__ import annotations

import math

import numpy as np

from ..constants import GELU_CUBE, GELU_SCALE, SELU_ALPHA, SELU_SCALE


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x)) if x >= 0 else math.exp(x) / (1 + math.exp(x))


def _phi(x: float) -> float:
    """The standard normal distribution function."""
    return 0.5 * (1 + math.erf(x / math.sqrt(2)))


def _phi_tanh(x: float) -> float:
    """Its approximation, (1 + tanh(GELU_SCALE·(x + GELU_CUBE·x³)))/2."""
    return 0.5 * (1 + math.tanh(GELU_SCALE * (x + GELU_CUBE * x * x * x)))


def _gelu_tanh_slope(x: float) -> float:
    phi = _phi_tanh(x)
    return phi + x * 2 * phi * (1 - phi) * GELU_SCALE * (1 + 3 * GELU_CUBE * x * x)


_ACTIVATION = {
    "linear": lambda x, alpha: x,
    "relu": lambda x, alpha: 0.0 if x <= 0 else x,
    "leaky_relu": lambda x, alpha: alpha * x if x <= 0 else x,
    "elu": lambda x, alpha: alpha * math.expm1(x) if x <= 0 else x,
    "selu": lambda x, alpha: SELU_SCALE * (SELU_ALPHA * math.expm1(x) if x <= 0 else x),
    "sigmoid": lambda x, alpha: sigmoid(x),
    "tanh": lambda x, alpha: math.tanh(x),
    "softplus": lambda x, alpha: (0.0 if x <= 0 else x) + math.log1p(math.exp(-abs(x))),
    "gelu": lambda x, alpha: x * _phi(x),
    "gelu_tanh": lambda x, alpha: x * _phi_tanh(x),
    "silu": lambda x, alpha: x * sigmoid(x),
}

_SLOPE = {  # dy/dx from what forward saved: y, or x for the three that are not monotonic
    "linear": lambda saved, alpha: 1.0,
    "relu": lambda y, alpha: 0.0 if y <= 0 else 1.0,
    "leaky_relu": lambda y, alpha: alpha if y <= 0 else 1.0,
    "elu": lambda y, alpha: y + alpha if y <= 0 else 1.0,
    "selu": lambda y, alpha: y + SELU_SCALE * SELU_ALPHA if y <= 0 else SELU_SCALE,
    "sigmoid": lambda y, alpha: y * (1 - y),
    "tanh": lambda y, alpha: (1 - y) * (1 + y),
    "softplus": lambda y, alpha: -math.expm1(-y),
    "gelu": lambda x, alpha: _phi(x) + x * math.exp(-0.5 * x * x) / math.sqrt(2 * math.pi),
    "gelu_tanh": lambda x, alpha: _gelu_tanh_slope(x),
    "silu": lambda x, alpha: sigmoid(x) * (1 + x * (1 - sigmoid(x))),
}


def act_fwd(x: np.ndarray, kind: str, alpha: float = 0.0) -> np.ndarray:
    """y[i] = act(x[i]); `alpha` is the slope of leaky_relu and the depth of elu."""
    y = np.empty_like(x)
    for i in np.ndindex(x.shape):
        y[i] = _ACTIVATION[kind](float(x[i]), alpha)
    return y


def act_bwd(dy: np.ndarray, saved: np.ndarray, kind: str, alpha: float = 0.0) -> np.ndarray:
    """dx[i] = dy[i]·act'(x[i]), from the y or the x that forward saved (`shapes.ACTIVATIONS` says which).

    relu's is 0 where y <= 0 else dy: not a product, so that no NaN of dy passes a closed gate.
    """
    dx = np.zeros_like(dy)
    for i in np.ndindex(dy.shape):
        slope = _SLOPE[kind](float(saved[i]), alpha) if kind != "linear" else 1.0
        if kind != "relu" or slope:
            dx[i] = float(dy[i]) * slope
    return dx


def prelu_fwd(x: np.ndarray, slope: np.ndarray, outer: int, channels: int, inner: int) -> np.ndarray:
    """y[o, c, i] = slope[c]·x[o, c, i] where x <= 0 else x[o, c, i]."""
    y = x.copy()
    x3, y3 = x.reshape(outer, channels, inner), y.reshape(outer, channels, inner)
    for o, c, i in np.ndindex(x3.shape):
        if x3[o, c, i] <= 0:
            y3[o, c, i] = slope[c] * x3[o, c, i]
    return y


def prelu_bwd(
    dy: np.ndarray, x: np.ndarray, slope: np.ndarray, outer: int, channels: int, inner: int
) -> tuple[np.ndarray, np.ndarray]:
    """dx = slope[c]·dy where x <= 0 else dy; dslope[c] = Σ_(o, i) dy·x where x <= 0."""
    dx, dslope = dy.copy(), np.zeros(channels, dy.dtype)
    x3, dx3, dy3 = (a.reshape(outer, channels, inner) for a in (x, dx, dy))
    for o, c, i in np.ndindex(x3.shape):
        if x3[o, c, i] <= 0:
            dx3[o, c, i] = slope[c] * dy3[o, c, i]
            dslope[c] += dy3[o, c, i] * x3[o, c, i]
    return dx, dslope


def dropout_fwd(x: np.ndarray, noise: np.ndarray, rate: float) -> tuple[np.ndarray, np.ndarray]:
    """y[i] = x[i]/(1 − rate) where noise[i] >= rate else 0, and the mask of what was kept."""
    y, mask = np.zeros_like(x), np.zeros(x.shape, np.uint8)
    for i in np.ndindex(x.shape):
        if noise[i] >= rate:
            y[i], mask[i] = x[i] * (1 / (1 - rate)), 1
    return y, mask


def dropout_bwd(dy: np.ndarray, mask: np.ndarray, rate: float) -> np.ndarray:
    """dx[i] = dy[i]/(1 − rate) where mask[i] else 0."""
    dx = np.zeros_like(dy)
    for i in np.ndindex(dy.shape):
        if mask[i]:
            dx[i] = dy[i] * (1 / (1 - rate))
    return dx


def gate_fwd(x: np.ndarray, want_y: bool = True) -> tuple[np.ndarray | None, np.ndarray]:
    """closed[i] = x[i] <= 0; y[i] = 0 where closed[i] else x[i], or None."""
    y, closed = x.copy(), np.zeros(x.shape, np.bool_)
    for i in np.ndindex(x.shape):
        if x[i] <= 0:
            y[i], closed[i] = 0, True
    return y if want_y else None, closed


def gate_bwd(dy: np.ndarray, closed: np.ndarray) -> None:
    """dy[i] = 0 where closed[i]."""
    for i in np.ndindex(dy.shape):
        if closed[i]:
            dy[i] = 0
