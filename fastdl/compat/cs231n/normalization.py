"""Batch, layer and group normalisation. Only the backward passes here take the caches."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ... import functional as F
from .arrays import Array, answer, floats

__all__ = [
    "batchnorm_backward",
    "batchnorm_backward_alt",
    "batchnorm_forward",
    "layernorm_backward",
    "layernorm_forward",
    "spatial_batchnorm_backward",
    "spatial_batchnorm_forward",
    "spatial_groupnorm_backward",
    "spatial_groupnorm_forward",
]


class NormCache(NamedTuple):
    """What a backward pass needs of its forward pass: the functional layer's own ctx, and the arguments."""

    ctx: Any
    like: tuple[Any, ...]


def batchnorm_forward(x: Any, gamma: Any, beta: Any, bn_param: Any) -> tuple[Array, NormCache]:
    """Give each column of x mean 0 and variance 1, times gamma, plus beta.

    Parameters
    ----------
    x : (N, D) array
    gamma, beta : (D,) array
    bn_param : dict
        "mode" is "train", or "test" to use the running statistics; "eps" is 1e-5 and "momentum" 0.9 if they
        are not there. "running_mean" and "running_var", 0 at first, are bound to new arrays in training.
    """
    return _batchnorm(x, gamma, beta, bn_param)


def spatial_batchnorm_forward(x: Any, gamma: Any, beta: Any, bn_param: Any) -> tuple[Array, NormCache]:
    """Do what `batchnorm_forward` does for each channel of x (N, C, H, W)."""
    return _batchnorm(x, gamma, beta, bn_param)


def _batchnorm(x: Any, gamma: Any, beta: Any, bn_param: Any) -> tuple[Array, NormCache]:
    mode = bn_param["mode"]
    if mode not in ("train", "test"):
        raise ValueError(f"mode must be 'train' or 'test'; got {mode!r}")
    eps, momentum = bn_param.get("eps", 1e-5), bn_param.get("momentum", 0.9)
    zeros = np.zeros(x.shape[1], x.dtype)
    mean, var = (bn_param.get(key, zeros) for key in ("running_mean", "running_var"))
    image, scale, shift, known_mean, known_var = floats(x, gamma, beta, mean, var)
    training = mode == "train"
    out, ctx = F.batch_norm_forward(image, scale, shift, known_mean, known_var, training=training, eps=eps)
    if training:
        mean = momentum * mean + (1 - momentum) * ctx.mean
        var = momentum * var + (1 - momentum) * ctx.var
    bn_param["running_mean"], bn_param["running_var"] = mean, var
    return answer(out, x, gamma, beta), NormCache(ctx, (x, gamma))


def batchnorm_backward(dout: Any, cache: Any) -> tuple[Array, Array, Array]:
    """Return the gradients (dx, dgamma, dbeta) from that of the output, of x's shape."""
    return _gradients(F.batch_norm_backward, dout, cache)


batchnorm_backward_alt = batchnorm_backward
spatial_batchnorm_backward = batchnorm_backward


def layernorm_forward(x: Any, gamma: Any, beta: Any, ln_param: Any) -> tuple[Array, NormCache]:
    """Give each row of x (N, D) mean 0 and variance 1, times gamma (D,), plus beta (D,).

    ``ln_param["eps"]`` is 1e-5 if it is not there.
    """
    out, ctx = F.layer_norm_forward(*floats(x, gamma, beta), eps=ln_param.get("eps", 1e-5))
    return answer(out, x, gamma, beta), NormCache(ctx, (x, gamma))


def layernorm_backward(dout: Any, cache: Any) -> tuple[Array, Array, Array]:
    """Return the gradients (dx, dgamma, dbeta) from that of the output (N, D)."""
    return _gradients(F.layer_norm_backward, dout, cache)


def spatial_groupnorm_forward(
    x: Any, gamma: Any, beta: Any, G: int, gn_param: Any
) -> tuple[Array, NormCache]:
    """Give each of the G groups of channels of each image mean 0 and variance 1, times gamma, plus beta.

    x is (N, C, H, W), gamma and beta (1, C, 1, 1); ``gn_param["eps"]`` is 1e-5 if it is not there.
    """
    image, scale, shift = floats(x, gamma, beta)
    eps = gn_param.get("eps", 1e-5)
    out, ctx = F.group_norm_forward(image, scale.reshape(-1), shift.reshape(-1), int(G), eps=eps)
    return answer(out, x, gamma, beta), NormCache(ctx, (x, gamma))


def spatial_groupnorm_backward(dout: Any, cache: Any) -> tuple[Array, Array, Array]:
    """Return the gradients dx (N, C, H, W), dgamma and dbeta (1, C, 1, 1)."""
    dx, dgamma, dbeta = _gradients(F.group_norm_backward, dout, cache)
    shape = (1, len(dgamma), 1, 1)
    return dx, dgamma.reshape(shape), dbeta.reshape(shape)


def _gradients(backward: Any, dout: Any, cache: NormCache) -> tuple[Array, Array, Array]:
    dx, dgamma, dbeta = backward(*floats(dout), cache.ctx)
    return answer(dx, dout, *cache.like), answer(dgamma, dout, cache.like[0]), answer(dbeta, dout)
