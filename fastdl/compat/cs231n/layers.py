"""The layers of the assignments as functions: ``out, cache = forward(...)``, gradients by ``backward``."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...functional._arrays import engine
from ..products import gemm
from ..tier import Unserved
from .arrays import Array, answer, floats, labels, wide
from .normalization import (
    batchnorm_backward,
    batchnorm_backward_alt,
    batchnorm_forward,
    layernorm_backward,
    layernorm_forward,
    spatial_batchnorm_backward,
    spatial_batchnorm_forward,
    spatial_groupnorm_backward,
    spatial_groupnorm_forward,
)
from .windows import convolution, convolution_gradients, largest, no_ties, pooling

__all__ = [
    "affine_backward",
    "affine_forward",
    "batchnorm_backward",
    "batchnorm_backward_alt",
    "batchnorm_forward",
    "conv_backward_naive",
    "conv_forward_naive",
    "dropout_backward",
    "dropout_forward",
    "layernorm_backward",
    "layernorm_forward",
    "max_pool_backward_naive",
    "max_pool_forward_naive",
    "relu_backward",
    "relu_forward",
    "softmax_loss",
    "softmax_loss_mask",
    "spatial_batchnorm_backward",
    "spatial_batchnorm_forward",
    "spatial_groupnorm_backward",
    "spatial_groupnorm_forward",
    "svm_loss",
]

_LARGEST_NAIVE = 255  # windows an axis that a loop counting in np.uint8 gets right


def affine_forward(x: Any, w: Any, b: Any) -> tuple[Array, tuple[Any, Any, Any]]:
    """Return x·w + b, with x (N, ...) taken as (N, D), and the cache (x, w, b)."""
    rows, weights, bias = floats(x, w, b)
    out = gemm(rows.reshape(len(rows), -1), weights, bias)
    return answer(out, x, w, b), (x, w, b)


def affine_backward(dout: Any, cache: Any) -> tuple[Array, Array, Array]:
    """Return the gradients of x (N, ...), w (D, M) and b (M,) from that of the output (N, M)."""
    x, w, _ = cache
    dz, rows, weights = floats(dout, x, w)
    dx = gemm(dz, weights, trans_b=True).reshape(x.shape)
    dw = gemm(rows.reshape(len(rows), -1), dz, trans_a=True)
    db = engine().bias_grad(dz, *dz.shape, 1)
    return answer(dx, dout, w), answer(dw, dout, x), answer(db, dout)


def relu_forward(x: Any) -> tuple[Array, Any]:
    """Return the larger of 0 and each x, and the cache, which is x."""
    return np.maximum(0, x), x


def relu_backward(dout: Any, cache: Any) -> Array:
    """Return dout where x, the cache, is above 0, and else 0."""
    dz, x = floats(dout, cache)
    if dz.shape != x.shape:
        raise Unserved("a gradient of another shape than x")
    dx: Array = engine().act_bwd(dz, x, "relu")
    return answer(dx, dout)


def dropout_forward(x: Any, dropout_param: Any) -> tuple[Array, tuple[Any, Array | None]]:
    """Keep each x with probability ``dropout_param["p"]``, divided by it; in mode "test" return x.

    The numbers come from NumPy's global generator, one for each x, seeded by ``dropout_param["seed"]`` if
    it is there. The cache is (dropout_param, mask).
    """
    p, mode = dropout_param["p"], dropout_param["mode"]
    if "seed" in dropout_param:
        np.random.seed(dropout_param["seed"])  # noqa: NPY002  (the global stream is what the course draws from)
    mask = None
    if mode == "train":
        mask = (np.random.rand(*x.shape) < p) / p  # noqa: NPY002
    return (x if mask is None else (x * mask).astype(x.dtype, copy=False)), (dropout_param, mask)


def dropout_backward(dout: Any, cache: Any) -> Array:
    """Return the gradient of x from that of the output of `dropout_forward`."""
    _, mask = cache
    dx: Array = dout if mask is None else dout * mask
    return dx


def conv_forward_naive(x: Any, w: Any, b: Any, conv_param: Any) -> tuple[Array, tuple[Any, ...]]:
    """Convolve x (N, C, H, W) with w (F, C, HH, WW) and add b (F,).

    Returns
    -------
    out : (N, F, OH, OW) array
        Of float64, as loops that fill `np.zeros` give it.
    cache : tuple
        x, w, b and conv_param, the dict with "stride" and "pad".
    """
    out = convolution(x, w, b, conv_param)
    _countable(out)
    return wide(out), (x, w, b, conv_param)


def conv_backward_naive(dout: Any, cache: Any) -> tuple[Array, Array, Array]:
    """Return the gradients (dx, dw, db) of a convolution from that of its output (N, F, OH, OW)."""
    x, w, b, conv_param = cache
    _countable(dout)
    dx, dw, db = convolution_gradients(dout, x, w, conv_param)
    return answer(dx, x), answer(dw, w), answer(db, b)


def max_pool_forward_naive(x: Any, pool_param: Any) -> tuple[Array, tuple[Any, Any]]:
    """Take the largest value of each window of x (N, C, H, W).

    Returns
    -------
    out : (N, C, OH, OW) array
        Of float64, as loops that fill `np.zeros` give it.
    cache : tuple
        x and pool_param, the dict with "pool_height", "pool_width" and "stride".
    """
    (image,) = floats(x)
    out = largest(image, pooling(image, pool_param))
    _countable(out)
    return wide(out), (x, pool_param)


def max_pool_backward_naive(dout: Any, cache: Any) -> Array:
    """Return the gradient of x from that of the output (N, C, OH, OW).

    Of several equal largest values in one window each author chooses in another way: such an x is not served.
    """
    x, pool_param = cache
    dz, image = floats(dout, x)
    plan = pooling(image, pool_param)
    if dz.shape != plan.y_shape:
        raise Unserved("a gradient of another shape than the output")
    return answer(no_ties(image, dz, plan), x)


def _countable(out: Array) -> None:
    if max(out.shape[2:]) > _LARGEST_NAIVE:
        raise Unserved("more windows than some naive loops can count")


def svm_loss(x: Any, y: Any) -> tuple[Any, Array]:
    """Return the mean over rows of Σ max(0, x[j] - x[y] + 1), j ≠ y, and its gradient.

    Parameters
    ----------
    x : (N, C) array
        Scores.
    y : (N,) array of integers
        The class of each row.
    """
    rows = np.arange(len(x))
    margins = x - x[rows, y][:, None] + 1
    above = margins > 0
    above[rows, y] = False
    dx = above.astype(x.dtype)
    dx[rows, y] = -above.sum(axis=1)
    dx /= len(x)
    return np.sum(margins, where=above) / len(x), dx


def softmax_loss(x: Any, y: Any) -> tuple[Any, Array]:
    """Return the mean over rows of -log softmax(x)[y], and its gradient; arguments as in `svm_loss`."""
    losses, dx = _cross_entropy(x, y, None)
    return losses.sum() / len(losses), answer(dx, x)


def softmax_loss_mask(x: Any, y: Any, mask: Any) -> tuple[Any, Array]:
    """Do what `softmax_loss` does, each row's loss and gradient multiplied by its mask (N,)."""
    losses, dx = _cross_entropy(x, y, mask)
    return np.sum(mask * losses) / len(losses), dx if mask.dtype.kind == "b" else answer(dx, x, mask)


def _cross_entropy(x: Any, y: Any, mask: Any) -> tuple[Array, Array]:
    """Return the loss of each row, and the gradient of its sum divided by the number of rows."""
    (scores,) = floats(x)
    count, classes = scores.shape
    target = labels(y, count, classes)
    ops = engine()
    losses, probs = ops.softmax_xent_fwd(scores, target)
    share = np.full(count, 1 / count, scores.dtype)
    if mask is not None:
        share *= mask
    return losses, ops.softmax_xent_bwd(probs, target, share)
