"""Activations, losses and normalisation: `dezero.functions`, fast."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from ... import functional as F
from ..tier import Unserved, narrow
from .arrays import Array, only_floats

__all__ = ["BatchNorm", "GetItemGrad", "Sigmoid", "Softmax", "SoftmaxCrossEntropy"]


class Sigmoid:
    """1 / (1 + exp(-x))."""

    def forward(self, x: Array) -> Array:
        """Return y of x's shape."""
        only_floats(x)
        return F.sigmoid(narrow(x))


class Softmax:
    """exp(x) / Σ exp(x) along an axis."""

    def __init__(self, axis: int = 1) -> None:
        self.axis = axis

    def forward(self, x: Array) -> Array:
        """Return y of x's shape."""
        only_floats(x)
        return F.softmax(narrow(x), self.axis)


class SoftmaxCrossEntropy:
    """-log softmax(x)[t], the mean over the rows."""

    def forward(self, x: Array, t: Array) -> Any:
        """Return the loss of scores x (N, K) and labels t (N,), a scalar."""
        only_floats(x)
        if x.ndim != 2 or type(t) is not np.ndarray or t.size != x.shape[0]:
            raise Unserved("one label a row is served")
        return F.softmax_cross_entropy(narrow(x), t.ravel())


class BatchNorm:
    """Normalisation of x (N, C) or (N, C, H, W) by channel; `avg_mean` and `avg_var` change in place."""

    inv_std: Array | None

    def __init__(self, mean: Array, var: Array, decay: float, eps: float) -> None:
        self.avg_mean = mean
        self.avg_var = var
        self.decay = decay
        self.eps = eps
        self.inv_std = None

    def forward(self, x: Array, gamma: Array, beta: Array) -> Array:
        """Return y of x's shape."""
        others = (gamma, beta, self.avg_mean, self.avg_var)
        only_floats(x, *others)
        if x.ndim not in (2, 4) or any(other.dtype != x.dtype for other in others):
            raise Unserved("x has two axes or four, and one dtype serves all")
        x, gamma, beta = narrow(x), narrow(gamma), narrow(beta)
        mean, var = narrow(self.avg_mean), narrow(self.avg_var)
        if not sys.modules[type(self).__module__].dezero.Config.train:
            return F.batch_norm(x, gamma, beta, mean, var, training=False, eps=self.eps)
        y, ctx = F.batch_norm_forward(x, gamma, beta, None, None, training=True, eps=self.eps)
        count = x.size // gamma.size
        unbiased = count / max(count - 1.0, 1.0)
        for average, new in ((self.avg_mean, ctx.mean), (self.avg_var, unbiased * ctx.var)):
            average *= self.decay
            average += (1 - self.decay) * new
        self.inv_std = 1 / np.sqrt(ctx.var + self.eps)
        return y


class GetItemGrad:
    """The gradient of x[slices]: gy is added at its place in zeros of x's shape."""

    def __init__(self, slices: Any, in_shape: tuple[int, ...]) -> None:
        self.slices = slices
        self.in_shape = in_shape

    def forward(self, gy: Array) -> Array:
        """Return gx of `in_shape`."""
        only_floats(gy)
        if not _is_basic(self.slices):
            raise Unserved("a cell may be taken more than once")
        gx = np.zeros(self.in_shape, gy.dtype)
        gx[self.slices] += gy
        return gx


def _is_basic(index: Any) -> bool:
    """Whether an index makes a view, in which every cell is there once."""
    parts = index if isinstance(index, tuple) else (index,)
    return all(part is None or part is ... or type(part) in (int, slice) for part in parts)
