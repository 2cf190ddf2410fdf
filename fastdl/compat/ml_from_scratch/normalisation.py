"""`BatchNormalization` of ML-From-Scratch: one mean for each place in a sample, not for each channel."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

import fastdl.functional as F

from ..inputs import Array, plain
from ..tier import Unserved, narrow, recall, remember, settings

__all__ = ["BatchNormalization"]


class BatchNormalization:
    """Batch normalisation over the first axis alone, with an epsilon of its own."""

    gamma: Array
    beta: Array
    gamma_opt: Any
    beta_opt: Any
    running_mean: Array | None
    running_var: Array | None
    momentum: float
    eps: float
    trainable: bool
    X_centered: Array
    stddev_inv: Array

    def forward_pass(self, X: Any, training: bool = True) -> Array:
        """Return gamma · (X - mean) / sqrt(var + eps) + beta; outside training by the running statistics."""
        gamma, beta = plain(self.gamma, None, "f"), plain(self.beta, None, "f")
        plain(X, None, "f")
        if not X.dtype == gamma.dtype == beta.dtype and settings.dtype is None:
            raise Unserved(f"a batch of {X.dtype} for parameters of {gamma.dtype}")
        if X.ndim < 2 or X.shape[1:] != gamma.shape or gamma.shape != beta.shape or len(X) < 2:
            raise Unserved(f"a batch of shape {X.shape} for parameters of {gamma.shape}")
        if not (training and self.trainable):
            return _applied(self, X)
        rows = narrow(X).reshape(len(X), -1)
        parameters = (narrow(gamma).reshape(-1), narrow(beta).reshape(-1))
        y, ctx = F.batch_norm_forward(rows, *parameters, None, None, training=True, eps=self.eps)
        mean, var = ctx.mean.reshape(gamma.shape), ctx.var.reshape(gamma.shape)
        old_mean, old_var = mean, var
        if self.running_mean is not None and self.running_var is not None:
            old_mean, old_var = self.running_mean, self.running_var
        self.running_mean = self.momentum * old_mean + (1 - self.momentum) * mean
        self.running_var = self.momentum * old_var + (1 - self.momentum) * var
        self.stddev_inv = 1 / np.sqrt(var + self.eps)
        vars(self).pop("X_centered", None)
        remember(self, (ctx, gamma, X))
        return y.reshape(X.shape)

    def backward_pass(self, accum_grad: Any) -> Array:
        """Return the gradient with respect to the batch; gamma and beta are updated if they are trainable."""
        ctx, gamma, X = recall(self)
        try:
            dy = narrow(plain(accum_grad, None, "f"))
            now = narrow(plain(self.gamma, None, "f")).reshape(-1)
            if dy.shape != X.shape or not dy.dtype == now.dtype == ctx.call.dtype or now.size != gamma.size:
                raise Unserved(f"a gradient of {dy.dtype} and shape {dy.shape}")
        except Unserved:
            self.X_centered = X - ctx.mean.reshape(gamma.shape)
            raise
        if self.gamma is not gamma:  # the original takes the gamma of the moment
            ctx = replace(ctx, call=ctx.call._replace(gamma=np.ascontiguousarray(now)))
        dX, dgamma, dbeta = F.batch_norm_backward(dy.reshape(len(dy), -1), ctx)
        assert dX is not None
        assert dgamma is not None
        assert dbeta is not None
        if self.trainable:
            self.gamma = self.gamma_opt.update(self.gamma, dgamma.reshape(gamma.shape))
            self.beta = self.beta_opt.update(self.beta, dbeta.reshape(gamma.shape))
        return dX.reshape(X.shape)


def _applied(layer: Any, X: Array) -> Array:
    """Return what running statistics make of a batch, and leave what the original's backward pass reads."""
    if layer.running_mean is None:
        raise Unserved("statistics of a batch that is not for training")
    centered = X - layer.running_mean
    inverse = 1 / np.sqrt(layer.running_var + layer.eps)
    y = centered * inverse
    y *= layer.gamma
    y += layer.beta
    layer.X_centered, layer.stddev_inv = centered, inverse
    remember(layer, None)
    return y
