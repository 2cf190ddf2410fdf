"""Normalisation over whole arrays; sums are made in double precision."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ...shapes import ACTIVATIONS
from .pointwise import act_bwd, act_fwd

if TYPE_CHECKING:
    from ...shapes_norm import NormPlan

_OF_A_SET = (1, 3, 4)  # the axes a mean is taken over: outer, channels, inner
_OF_A_CHANNEL = (0, 1, 4)  # and those that one gamma serves: blocks, outer, inner


def norm_stats(x: np.ndarray, plan: NormPlan) -> tuple[np.ndarray, np.ndarray]:
    """mean[b, g] and var[b, g] of x over outer, channels and inner; var is biased."""
    sets = plan.blocks * plan.groups
    if x.size == 0:
        return np.zeros(sets, x.dtype), np.zeros(sets, x.dtype)
    x = x.reshape(plan.split)
    first = x[:, :1, :, :1, :1]
    centre = (first + _mean(x - first)).astype(x.dtype)
    centred = x - centre
    rest = _mean(
        centred
    )  # what rounding has left, and the rounding of all differences where `first` is far off
    mean, var = centre + rest, _mean(np.square(centred)) - np.square(rest)
    return mean.astype(x.dtype).ravel(), var.astype(x.dtype).ravel()


def norm_apply(
    x: np.ndarray,
    mean: np.ndarray,
    var: np.ndarray,
    gamma: np.ndarray,
    beta: np.ndarray,
    plan: NormPlan,
    activation: str = "linear",
    alpha: float = 0.0,
) -> np.ndarray:
    """y[b, o, g, c, i] = act((x − mean[b, g])/sqrt(var[b, g] + eps)·gamma[g, c] + beta[g, c])."""
    y = x.reshape(plan.split) - _of_sets(mean, plan)
    y *= _scale(var, plan)
    y *= _of_channels(gamma, plan)
    y += _of_channels(beta, plan)
    y = y.reshape(plan.shape)
    return y if activation == "linear" else act_fwd(y, activation, alpha)


def norm_fwd(
    x: np.ndarray,
    gamma: np.ndarray,
    beta: np.ndarray,
    plan: NormPlan,
    activation: str = "linear",
    alpha: float = 0.0,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """y, and the mean and the variance that `norm_stats` finds and `norm_apply` makes it with."""
    mean, var = norm_stats(x, plan)
    return norm_apply(x, mean, var, gamma, beta, plan, activation, alpha), mean, var


def norm_bwd(
    dy: np.ndarray,
    x: np.ndarray,
    mean: np.ndarray,
    var: np.ndarray,
    gamma: np.ndarray,
    beta: np.ndarray,
    plan: NormPlan,
    activation: str = "linear",
    alpha: float = 0.0,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """dx, dgamma and dbeta; `naive` has the formulas."""
    if activation != "linear":
        saved = norm_apply(x, mean, var, gamma, beta, plan)
        if ACTIVATIONS[activation] == "y":
            saved = act_fwd(saved, activation, alpha)
        dy = act_bwd(dy, saved, activation, alpha)
    scale = _scale(var, plan)
    hat = (x.reshape(plan.split) - _of_sets(mean, plan)) * scale
    dy = dy.reshape(plan.split)
    dgamma = (dy * hat).sum(_OF_A_CHANNEL, dtype=np.float64).astype(x.dtype).ravel()
    dbeta = dy.sum(_OF_A_CHANNEL, dtype=np.float64).astype(x.dtype).ravel()
    dx = _of_channels(gamma, plan) * dy
    if not plan.fixed and x.size:
        straight, tilted = (_mean(a).astype(x.dtype) for a in (dx, dx * hat))
        hat *= tilted
        dx -= straight
        dx -= hat
    dx *= scale
    return dx.reshape(plan.shape), dgamma, dbeta


def _mean(x: np.ndarray) -> np.ndarray:
    """The mean of each set, in double precision."""
    return x.mean(_OF_A_SET, dtype=np.float64, keepdims=True)


def _scale(var: np.ndarray, plan: NormPlan) -> np.ndarray:
    """1/sqrt(var + eps), in double precision and rounded once."""
    with np.errstate(divide="ignore", invalid="ignore"):
        scale = 1 / np.sqrt(var.astype(np.float64) + plan.eps)
    return _of_sets(scale.astype(var.dtype), plan)


def _of_sets(values: np.ndarray, plan: NormPlan) -> np.ndarray:
    return values.reshape(plan.blocks, 1, plan.groups, 1, 1)


def _of_channels(values: np.ndarray, plan: NormPlan) -> np.ndarray:
    return values.reshape(plan.groups, plan.channels, 1)
