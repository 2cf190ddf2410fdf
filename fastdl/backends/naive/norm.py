"""Normalisation: the mean and the variance of each block and group, and what follows from them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from ...shapes import ACTIVATIONS
from .pointwise import act_bwd, act_fwd

if TYPE_CHECKING:
    from ...shapes_norm import NormPlan


def norm_stats(x: np.ndarray, plan: NormPlan) -> tuple[np.ndarray, np.ndarray]:
    """mean[b, g] and var[b, g], each as one row: of x over outer, channels and inner; var is biased.

    Nothing has mean 0 and variance 0. The mean is a sum of differences from the first value, so that equal
    values have exactly that mean.
    """
    x = x.reshape(plan.split)
    mean = np.zeros((plan.blocks, plan.groups), x.dtype)
    var = np.zeros_like(mean)
    for b, g in np.ndindex(mean.shape):
        values = x[b, :, g].ravel()
        for value in values:
            mean[b, g] += (value - values[0]) / values.size
        mean[b, g] += values[0] if values.size else 0
        for value in values:
            var[b, g] += (value - mean[b, g]) ** 2 / values.size
    return mean.ravel(), var.ravel()


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
    y, scale = np.empty(plan.split, x.dtype), _scale(var, plan)
    x, mean = x.reshape(plan.split), mean.reshape(scale.shape)
    gamma, beta = (a.reshape(plan.groups, plan.channels) for a in (gamma, beta))
    for b, o, g, c, i in np.ndindex(plan.split):
        y[b, o, g, c, i] = (x[b, o, g, c, i] - mean[b, g]) * scale[b, g] * gamma[g, c] + beta[g, c]
    return act_fwd(y.reshape(plan.shape), activation, alpha)


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
    """dx, dgamma and dbeta, with x̂ = (x − mean)·s, s = 1/sqrt(var + eps) and dz = dy·act'(x̂·gamma + beta).

    dgamma[g, c] = Σ dz·x̂ and dbeta[g, c] = Σ dz, over blocks, outer and inner. Where mean and var are fixed,
    dx = s·gamma·dz; else dx = s·(gamma·dz − M(gamma·dz) − x̂·M(gamma·dz·x̂)), M being the mean of a set.
    """
    saved = norm_apply(x, mean, var, gamma, beta, plan)
    if ACTIVATIONS[activation] == "y":
        saved = act_fwd(saved, activation, alpha)
    dy = act_bwd(dy, saved, activation, alpha)
    dx, scale = np.zeros(plan.split, x.dtype), _scale(var, plan)
    x, dy, mean = x.reshape(plan.split), dy.reshape(plan.split), mean.reshape(scale.shape)
    gamma = gamma.reshape(plan.groups, plan.channels)
    dgamma, dbeta = np.zeros_like(gamma), np.zeros_like(gamma)
    count = plan.outer * plan.channels * plan.inner
    for b, g in np.ndindex(scale.shape):
        straight, tilted = x.dtype.type(0), x.dtype.type(0)
        for o, c, i in np.ndindex(plan.outer, plan.channels, plan.inner):
            hat, slope = (x[b, o, g, c, i] - mean[b, g]) * scale[b, g], dy[b, o, g, c, i]
            dgamma[g, c] += slope * hat
            dbeta[g, c] += slope
            straight += gamma[g, c] * slope / count
            tilted += gamma[g, c] * slope * hat / count
        for o, c, i in np.ndindex(plan.outer, plan.channels, plan.inner):
            hat = (x[b, o, g, c, i] - mean[b, g]) * scale[b, g]
            through = 0 if plan.fixed else straight + hat * tilted
            dx[b, o, g, c, i] = scale[b, g] * (gamma[g, c] * dy[b, o, g, c, i] - through)
    return dx.reshape(plan.shape), dgamma.ravel(), dbeta.ravel()


def _scale(var: np.ndarray, plan: NormPlan) -> np.ndarray:
    """1/sqrt(var + eps), in double precision and rounded once; a sum below zero gives NaN."""
    scale = np.empty((plan.blocks, plan.groups), var.dtype)
    for place, value in zip(np.ndindex(scale.shape), var.ravel()):
        padded = float(value) + plan.eps
        scale[place] = math.inf if padded == 0 else padded**-0.5 if padded >= 0 else math.nan
    return scale
