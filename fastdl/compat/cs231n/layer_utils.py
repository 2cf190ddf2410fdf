"""Layers that are often used together, as one call each: the second assignment's sandwiches."""

from __future__ import annotations

from typing import Any

from .arrays import Array
from .fast_layers import conv_backward_fast, conv_forward_fast, max_pool_backward_fast, max_pool_forward_fast
from .layers import (
    affine_backward,
    affine_forward,
    batchnorm_backward,
    batchnorm_forward,
    layernorm_backward,
    layernorm_forward,
    relu_backward,
    relu_forward,
    spatial_batchnorm_backward,
    spatial_batchnorm_forward,
)

__all__ = [
    "affine_norm_relu_backward",
    "affine_norm_relu_forward",
    "affine_relu_backward",
    "affine_relu_forward",
    "conv_bn_relu_backward",
    "conv_bn_relu_forward",
    "conv_relu_backward",
    "conv_relu_forward",
    "conv_relu_pool_backward",
    "conv_relu_pool_forward",
]

_NORMS = {
    "batch_norm": (batchnorm_forward, batchnorm_backward),
    "layer_norm": (layernorm_forward, layernorm_backward),
}


def affine_relu_forward(x: Any, w: Any, b: Any) -> tuple[Array, tuple[Any, Any]]:
    """Return relu(x·w + b) and the caches of both."""
    a, affine_cache = affine_forward(x, w, b)
    out, relu_cache = relu_forward(a)
    return out, (affine_cache, relu_cache)


def affine_relu_backward(dout: Any, cache: Any) -> tuple[Array, Array, Array]:
    """Return the gradients (dx, dw, db) of `affine_relu_forward`."""
    affine_cache, relu_cache = cache
    return affine_backward(relu_backward(dout, relu_cache), affine_cache)


def affine_norm_relu_forward(
    x: Any, w: Any, b: Any, gamma: Any, beta: Any, bn_param: Any, norm_type: str
) -> tuple[Array, tuple[Any, Any, Any]]:
    """Return relu(norm(x·w + b)) and the caches of all three; norm_type is "batch_norm" or "layer_norm"."""
    a, affine_cache = affine_forward(x, w, b)
    a, norm_cache = _NORMS[norm_type][0](a, gamma, beta, bn_param)
    out, relu_cache = relu_forward(a)
    return out, (affine_cache, norm_cache, relu_cache)


def affine_norm_relu_backward(dout: Any, cache: Any, norm_type: str) -> tuple[Array, ...]:
    """Return the gradients (dx, dw, db, dgamma, dbeta) of `affine_norm_relu_forward`."""
    affine_cache, norm_cache, relu_cache = cache
    da, dgamma, dbeta = _NORMS[norm_type][1](relu_backward(dout, relu_cache), norm_cache)
    return (*affine_backward(da, affine_cache), dgamma, dbeta)


def conv_relu_forward(x: Any, w: Any, b: Any, conv_param: Any) -> tuple[Array, tuple[Any, Any]]:
    """Return relu of the convolution of x (N, C, H, W) with w (F, C, HH, WW), and the caches of both."""
    a, conv_cache = conv_forward_fast(x, w, b, conv_param)
    out, relu_cache = relu_forward(a)
    return out, (conv_cache, relu_cache)


def conv_relu_backward(dout: Any, cache: Any) -> tuple[Array, Array, Array]:
    """Return the gradients (dx, dw, db) of `conv_relu_forward`."""
    conv_cache, relu_cache = cache
    return conv_backward_fast(relu_backward(dout, relu_cache), conv_cache)


def conv_bn_relu_forward(
    x: Any, w: Any, b: Any, gamma: Any, beta: Any, conv_param: Any, bn_param: Any
) -> tuple[Array, tuple[Any, Any, Any]]:
    """Return relu of the normalised convolution, and the caches of all three."""
    a, conv_cache = conv_forward_fast(x, w, b, conv_param)
    a, norm_cache = spatial_batchnorm_forward(a, gamma, beta, bn_param)
    out, relu_cache = relu_forward(a)
    return out, (conv_cache, norm_cache, relu_cache)


def conv_bn_relu_backward(dout: Any, cache: Any) -> tuple[Array, ...]:
    """Return the gradients (dx, dw, db, dgamma, dbeta) of `conv_bn_relu_forward`."""
    conv_cache, norm_cache, relu_cache = cache
    da, dgamma, dbeta = spatial_batchnorm_backward(relu_backward(dout, relu_cache), norm_cache)
    return (*conv_backward_fast(da, conv_cache), dgamma, dbeta)


def conv_relu_pool_forward(
    x: Any, w: Any, b: Any, conv_param: Any, pool_param: Any
) -> tuple[Array, tuple[Any, Any, Any]]:
    """Return the largest values of relu of the convolution, and the caches of all three."""
    a, conv_cache = conv_forward_fast(x, w, b, conv_param)
    a, relu_cache = relu_forward(a)
    out, pool_cache = max_pool_forward_fast(a, pool_param)
    return out, (conv_cache, relu_cache, pool_cache)


def conv_relu_pool_backward(dout: Any, cache: Any) -> tuple[Array, Array, Array]:
    """Return the gradients (dx, dw, db) of `conv_relu_pool_forward`."""
    conv_cache, relu_cache, pool_cache = cache
    return conv_backward_fast(relu_backward(max_pool_backward_fast(dout, pool_cache), relu_cache), conv_cache)
