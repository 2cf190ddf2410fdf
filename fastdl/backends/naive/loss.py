"""Softmax and the losses, one row or one element at a time."""

from __future__ import annotations

import math

import numpy as np

from ..constants import CLIP
from .pointwise import sigmoid


def _shifted(row: np.ndarray) -> tuple[list[float], float]:
    """The row less its largest, so that no exponential overflows, and the sum of its exponentials."""
    largest = float(max(row))
    shifted = [float(z) - largest for z in row]
    return shifted, sum(math.exp(z) for z in shifted)


def softmax_fwd(
    x: np.ndarray, outer: int, n: int, inner: int, log: bool = False, out: np.ndarray | None = None
) -> np.ndarray:
    """y[o, k, i] = exp(x[o, k, i]) / Σ_j exp(x[o, j, i]), or with `log` its logarithm; y is out, maybe x."""
    y = np.empty_like(x) if out is None else out
    x3, y3 = x.reshape(outer, n, inner), y.reshape(outer, n, inner)
    for o, i in np.ndindex(outer, inner if n else 0):
        shifted, total = _shifted(x3[o, :, i])
        for k, z in enumerate(shifted):
            y3[o, k, i] = z - math.log(total) if log else math.exp(z) / total
    return y


def softmax_bwd(
    dy: np.ndarray, y: np.ndarray, outer: int, n: int, inner: int, log: bool = False
) -> np.ndarray:
    """dx[k] = y[k]·(dy[k] − Σ_j dy[j]·y[j]); with `log` dx[k] = dy[k] − exp(y[k])·Σ_j dy[j]."""
    dx = np.empty_like(dy)
    y3, dx3, dy3 = (a.reshape(outer, n, inner) for a in (y, dx, dy))
    for o, i in np.ndindex(outer, inner):
        total = sum(dy3[o, k, i] * (1 if log else y3[o, k, i]) for k in range(n))
        for k in range(n):
            if log:
                dx3[o, k, i] = dy3[o, k, i] - math.exp(y3[o, k, i]) * total
            else:
                dx3[o, k, i] = y3[o, k, i] * (dy3[o, k, i] - total)
    return dx


def softmax_xent_fwd(
    logits: np.ndarray, target: np.ndarray, smoothing: float = 0.0, want_probs: bool = True
) -> tuple[np.ndarray, np.ndarray | None]:
    """losses[n] = −Σ_k target[n, k]·log softmax(logits[n])[k], and the softmax unless it is not wanted.

    A 1-d target holds labels: 1 − smoothing at the label, and smoothing shared out among all classes. Of a
    row with a label below 0 both results are 0.
    """
    losses, probs = np.zeros(len(logits), logits.dtype), np.zeros_like(logits)
    for n, row in enumerate(logits):
        weights = _distribution(target, n, len(row), smoothing)
        if weights is None:
            continue
        shifted, total = _shifted(row)
        losses[n] = sum(t * (math.log(total) - z) for t, z in zip(weights, shifted) if t or target.ndim == 2)
        probs[n] = [math.exp(z) / total for z in shifted]
    return losses, probs if want_probs else None


def softmax_xent_bwd(
    probs: np.ndarray, target: np.ndarray, scale: np.ndarray, smoothing: float = 0.0
) -> np.ndarray:
    """dlogits[n, k] = scale[n]·(probs[n, k]·Σ_j target[n, j] − target[n, k])."""
    dlogits = np.zeros_like(probs)
    for n, row in enumerate(probs):
        weights = _distribution(target, n, len(row), smoothing)
        if weights is not None:
            total = 1.0 if target.ndim == 1 else sum(weights)
            dlogits[n] = [scale[n] * (p * total - t) for p, t in zip(row, weights)]
    return dlogits


def _distribution(target: np.ndarray, n: int, classes: int, smoothing: float) -> list[float] | None:
    """The weight of each class in row n; None of a row that does not count."""
    if target.ndim == 2:
        return [float(t) for t in target[n]]
    if target[n] < 0:
        return None
    return [smoothing / classes + (1 - smoothing) * (k == target[n]) for k in range(classes)]


def _clip(p: float, low: float, high: float) -> float:
    """p held inside [low, high]; NaN stays NaN."""
    return low if p < low else high if p > high else p


def _cross_entropy(p: float, t: float) -> float:
    return -(t * math.log(p) + (1 - t) * math.log1p(-p))


_LOSS = {
    "mean_squared_error": lambda p, t, _: (p - t) * (p - t),
    "mean_absolute_error": lambda p, t, _: abs(p - t),
    "huber": lambda p, t, delta: (
        delta * (abs(p - t) - 0.5 * delta) if abs(p - t) > delta else 0.5 * (p - t) * (p - t)
    ),
    "hinge": lambda p, t, _: 0.0 if 1 - t * p <= 0 else 1 - t * p,
    "binary_cross_entropy": lambda p, t, _: _cross_entropy(_clip(p, CLIP, 1 - CLIP), t),
    "binary_cross_entropy_logits": lambda z, t, _: (
        (0.0 if z <= 0 else z) - z * t + math.log1p(math.exp(-abs(z)))
    ),
    "kl_divergence": lambda p, t, _: _clip(t, CLIP, 1) * math.log(_clip(t, CLIP, 1) / _clip(p, CLIP, 1)),
    "log_cosh": lambda p, t, _: abs(p - t) + math.log1p(math.exp(-2 * abs(p - t))) - math.log(2),
    "squared_hinge": lambda p, t, _: 0.0 if 1 - t * p <= 0 else (1 - t * p) * (1 - t * p),
    "poisson": lambda p, t, _: p - t * (np.log(p + CLIP)),
}

_LOSS_SLOPE = {
    "mean_squared_error": lambda p, t, _: 2 * (p - t),
    "mean_absolute_error": lambda p, t, _: np.sign(p - t),
    "huber": lambda p, t, delta: _clip(p - t, -delta, delta),
    "hinge": lambda p, t, _: 0.0 if 1 - t * p <= 0 else -t,
    "binary_cross_entropy": lambda p, t, _: 0.0 if p < CLIP or p > 1 - CLIP else (p - t) / (p * (1 - p)),
    "binary_cross_entropy_logits": lambda z, t, _: sigmoid(z) - t,
    "kl_divergence": lambda p, t, _: 0.0 if p < CLIP or p > 1 else -_clip(t, CLIP, 1) / p,
    "log_cosh": lambda p, t, _: math.tanh(p - t),
    "squared_hinge": lambda p, t, _: 0.0 if 1 - t * p <= 0 else -2 * t * (1 - t * p),
    "poisson": lambda p, t, _: 1 - t / (p + CLIP),
}


def loss_fwd(pred: np.ndarray, target: np.ndarray, kind: str, param: float = 0.0) -> np.ndarray:
    """loss[i] of pred[i] against target[i]; `param` is huber's delta, hinge targets are −1 or 1."""
    loss = np.empty_like(pred)
    for i in np.ndindex(pred.shape):
        loss[i] = _LOSS[kind](float(pred[i]), float(target[i]), param)
    return loss


def loss_bwd(pred: np.ndarray, target: np.ndarray, kind: str, param: float = 0.0) -> np.ndarray:
    """d loss[i] / d pred[i]; 0 at the corner of an absolute value and outside the range of a clip."""
    slope = np.empty_like(pred)
    for i in np.ndindex(pred.shape):
        slope[i] = _LOSS_SLOPE[kind](float(pred[i]), float(target[i]), param)
    return slope


def loss_sum(pred: np.ndarray, target: np.ndarray | None, kind: str, param: float = 0.0) -> float:
    """Σ loss[i] of all elements, or Σ pred[i] where there is no target, in double precision."""
    losses = pred if target is None else loss_fwd(pred, target, kind, param)
    total = 0.0
    for loss in losses.ravel():
        total += float(loss)
    return total
