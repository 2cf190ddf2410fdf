"""Softmax and the losses over whole arrays."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from ..constants import CLIP
from .pointwise import log_1_plus_exp_minus, sigmoid


def _shifted(x: np.ndarray) -> np.ndarray:
    """x less its largest along axis 1, so that no exponential overflows."""
    return x - x.max(axis=1, keepdims=True)


def softmax_fwd(
    x: np.ndarray, outer: int, n: int, inner: int, log: bool = False, out: np.ndarray | None = None
) -> np.ndarray:
    """y[o, k, i] = exp(x[o, k, i]) / Σ_j exp(x[o, j, i]), or with `log` its logarithm; y is out, maybe x."""
    y = np.empty_like(x) if out is None else out
    if n == 0:
        return y
    z = _shifted(x.reshape(outer, n, inner))
    e = np.exp(z)
    total = e.sum(axis=1, keepdims=True)
    rows = y.reshape(outer, n, inner)
    if log:
        np.subtract(z, np.log(total), out=rows)
    else:
        np.divide(e, total, out=rows)
    return y


def softmax_bwd(
    dy: np.ndarray, y: np.ndarray, outer: int, n: int, inner: int, log: bool = False
) -> np.ndarray:
    """dx[k] = y[k]·(dy[k] − Σ_j dy[j]·y[j]); with `log` dx[k] = dy[k] − exp(y[k])·Σ_j dy[j]."""
    y3, dy3 = y.reshape(outer, n, inner), dy.reshape(outer, n, inner)
    if log:
        dx = dy3 - np.exp(y3) * dy3.sum(axis=1, keepdims=True)
    else:
        dx = y3 * (dy3 - (dy3 * y3).sum(axis=1, keepdims=True))
    return dx.reshape(dy.shape)


def softmax_xent_fwd(
    logits: np.ndarray, target: np.ndarray, smoothing: float = 0.0, want_probs: bool = True
) -> tuple[np.ndarray, np.ndarray | None]:
    """losses[n] = −Σ_k target[n, k]·log softmax(logits[n])[k], and the softmax unless it is not wanted.

    A 1-d target holds labels: 1 − smoothing at the label, and smoothing shared out among all classes. Of a
    row with a label below 0 both results are 0.
    """
    z = _shifted(logits)
    e = np.exp(z)
    total = e.sum(axis=1, keepdims=True)
    surprise, probs = np.log(total) - z, e / total
    if target.ndim == 2:
        return (target * surprise).sum(axis=1), probs if want_probs else None
    losses = (1 - smoothing) * surprise[np.arange(len(target)), target]
    if smoothing:
        losses += smoothing * surprise.mean(axis=1)
    losses[target < 0] = 0
    probs[target < 0] = 0
    return losses.astype(logits.dtype, copy=False), probs if want_probs else None


def softmax_xent_bwd(
    probs: np.ndarray, target: np.ndarray, scale: np.ndarray, smoothing: float = 0.0
) -> np.ndarray:
    """dlogits[n, k] = scale[n]·(probs[n, k]·Σ_j target[n, j] − target[n, k])."""
    if target.ndim == 2:
        dlogits = probs * target.sum(axis=1, keepdims=True) - target
    else:
        dlogits = probs - probs.dtype.type(smoothing / probs.shape[1])
        dlogits[np.arange(len(target)), target] -= 1 - smoothing
    dlogits *= scale[:, None]
    if target.ndim == 1:
        dlogits[target < 0] = 0
    return dlogits


def _binary_cross_entropy(p: np.ndarray, t: np.ndarray, _: float) -> np.ndarray:
    p = p.clip(CLIP, 1 - CLIP)
    return -(t * np.log(p) + (1 - t) * np.log1p(-p))


def _binary_cross_entropy_slope(p: np.ndarray, t: np.ndarray, _: float) -> np.ndarray:
    inside = p.clip(CLIP, 1 - CLIP)
    return np.where((p < CLIP) | (p > 1 - CLIP), 0, (p - t) / (inside * (1 - inside)))


def _kl_divergence(p: np.ndarray, t: np.ndarray, _: float) -> np.ndarray:
    p, t = p.clip(CLIP, 1), t.clip(CLIP, 1)
    return t * np.log(t / p)


def _huber(p: np.ndarray, t: np.ndarray, delta: float) -> np.ndarray:
    error = np.abs(p - t)
    return np.where(error > delta, delta * (error - 0.5 * delta), 0.5 * error * error)


Elementwise = Callable[[np.ndarray, np.ndarray, float], np.ndarray]

_LOSS: dict[str, Elementwise] = {
    "mean_squared_error": lambda p, t, _: (p - t) * (p - t),
    "mean_absolute_error": lambda p, t, _: np.abs(p - t),
    "huber": _huber,
    "hinge": lambda p, t, _: np.maximum(1 - t * p, 0),
    "binary_cross_entropy": _binary_cross_entropy,
    "binary_cross_entropy_logits": lambda z, t, _: np.maximum(z, 0) - z * t + log_1_plus_exp_minus(z),
    "kl_divergence": _kl_divergence,
    "log_cosh": lambda p, t, _: np.abs(p - t) + np.log1p(np.exp(-2 * np.abs(p - t))) - math.log(2),
    "squared_hinge": lambda p, t, _: np.square(np.maximum(1 - t * p, 0)),
    "poisson": lambda p, t, _: p - t * np.log(p + CLIP),
}

_SLOPE: dict[str, Elementwise] = {
    "mean_squared_error": lambda p, t, _: 2 * (p - t),
    "mean_absolute_error": lambda p, t, _: np.sign(p - t),
    "huber": lambda p, t, delta: (p - t).clip(-delta, delta),
    "hinge": lambda p, t, _: np.where(1 - t * p <= 0, 0, -t),
    "binary_cross_entropy": _binary_cross_entropy_slope,
    "binary_cross_entropy_logits": lambda z, t, _: sigmoid(z) - t,
    "kl_divergence": lambda p, t, _: np.where((p < CLIP) | (p > 1), 0, -t.clip(CLIP, 1) / p),
    "log_cosh": lambda p, t, _: np.tanh(p - t),
    "squared_hinge": lambda p, t, _: -2 * t * np.maximum(1 - t * p, 0),
    "poisson": lambda p, t, _: 1 - t / (p + CLIP),
}


def loss_fwd(pred: np.ndarray, target: np.ndarray, kind: str, param: float = 0.0) -> np.ndarray:
    """The loss of each element of pred; `param` is huber's delta, hinge targets are −1 or 1."""
    return np.asarray(_LOSS[kind](pred, target, param))


def loss_bwd(pred: np.ndarray, target: np.ndarray, kind: str, param: float = 0.0) -> np.ndarray:
    """d loss / d pred, element by element; 0 at the corner of an absolute value and outside a clip."""
    return np.asarray(_SLOPE[kind](pred, target, param))


def loss_sum(pred: np.ndarray, target: np.ndarray | None, kind: str, param: float = 0.0) -> float:
    """Σ loss[i] of all elements, or Σ pred[i] where there is no target, in double precision."""
    losses = pred if target is None else loss_fwd(pred, target, kind, param)
    return float(losses.sum(dtype=np.float64))
