"""The fast layers of the second assignment, under the names under which its notebooks import them.

Caches have the layout of the course's, so that the course's backward passes take them too; the matrix of
patches in them is made only if somebody looks at it.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..tier import Unserved
from .arrays import NOT_OURS, Array, Later, answer, floats
from .im2col_cython import im2col_cython
from .windows import (
    convolution,
    convolution_gradients,
    first_gradient,
    largest,
    pooling,
    shared_gradient,
)

__all__ = [
    "conv_backward_fast",
    "conv_backward_im2col",
    "conv_backward_strides",
    "conv_forward_fast",
    "conv_forward_im2col",
    "conv_forward_strides",
    "max_pool_backward_fast",
    "max_pool_backward_im2col",
    "max_pool_backward_reshape",
    "max_pool_forward_fast",
    "max_pool_forward_im2col",
    "max_pool_forward_reshape",
]


def conv_forward_strides(x: Any, w: Any, b: Any, conv_param: Any) -> tuple[Array, tuple[Any, ...]]:
    """Convolve x (N, C, H, W) with w (F, C, HH, WW) and add b (F,).

    Returns
    -------
    out : (N, F, OH, OW) array
    cache : tuple
        x, w, b, conv_param and the patches, (C·HH·WW, N·OH·OW).
    """
    out = answer(convolution(x, w, b, conv_param), x, w, b)
    return out, (x, w, b, conv_param, Later(lambda: _patches(x, w, conv_param, images_last=False)))


def conv_forward_im2col(x: Any, w: Any, b: Any, conv_param: Any) -> tuple[Array, tuple[Any, ...]]:
    """Do what `conv_forward_strides` does; the patches of its cache are (C·HH·WW, OH·OW·N)."""
    out = answer(convolution(x, w, b, conv_param), x, w, b)
    return out, (x, w, b, conv_param, Later(lambda: _patches(x, w, conv_param, images_last=True)))


def conv_backward_strides(dout: Any, cache: Any) -> tuple[Array, Array, Array]:
    """Return the gradients (dx, dw, db) of a convolution from that of its output (N, F, OH, OW)."""
    x, w, _, conv_param, patches = cache
    if type(patches) is not Later:
        raise Unserved(NOT_OURS)
    dx, dw, db = convolution_gradients(dout, x, w, conv_param)
    return answer(dx, dout, w), answer(dw, dout, x), answer(db, dout)


conv_backward_im2col = conv_backward_strides
conv_forward_fast = conv_forward_strides
conv_backward_fast = conv_backward_strides


def _patches(x: Array, w: Array, conv_param: Any, images_last: bool) -> Array:
    high, wide = w.shape[2:]
    stride, pad = conv_param["stride"], conv_param["pad"]
    columns = im2col_cython(x, high, wide, pad, stride)
    if images_last:
        return columns
    by_image = columns.reshape(len(columns), -1, len(x)).transpose(0, 2, 1)
    return by_image.reshape(columns.shape)


def max_pool_forward_fast(x: Any, pool_param: Any) -> tuple[Array, tuple[str, tuple[Any, ...]]]:
    """Take the largest value of each window of x (N, C, H, W).

    Returns
    -------
    out : (N, C, OH, OW) array
    cache : tuple
        ``"reshape"`` and the cache of `max_pool_forward_reshape` where windows are square and tile x, else
        ``"im2col"`` and that of `max_pool_forward_im2col`.
    """
    high, wide, stride = (pool_param[key] for key in ("pool_height", "pool_width", "stride"))
    if high == wide == stride and not (x.shape[2] % high or x.shape[3] % wide):
        out, cache = max_pool_forward_reshape(x, pool_param)
        return out, ("reshape", cache)
    out, cache = max_pool_forward_im2col(x, pool_param)
    return out, ("im2col", cache)


def max_pool_backward_fast(dout: Any, cache: Any) -> Array:
    """Return the gradient of x from that of the output (N, C, OH, OW) of `max_pool_forward_fast`."""
    method, inner = cache
    if method == "reshape":
        return max_pool_backward_reshape(dout, inner)
    if method == "im2col":
        return max_pool_backward_im2col(dout, inner)
    raise ValueError(f"no such method: {method!r}")


def max_pool_forward_reshape(x: Any, pool_param: Any) -> tuple[Array, tuple[Array, Array, Array]]:
    """Take the largest value of each window, the windows being square and lying side by side.

    Returns
    -------
    out : (N, C, OH, OW) array
    cache : tuple
        x, x as (N, C, OH, h, OW, w), and out.
    """
    (image,) = floats(x)
    plan = pooling(image, pool_param)
    (_, high, wide), (_, stride, _) = plan.size, plan.stride
    if not high == wide == stride:
        raise Unserved("windows that are not square and side by side")
    count, channels, down, right = plan.y_shape
    out = answer(largest(image, plan), x)
    return out, (x, x.reshape(count, channels, down, high, right, wide), out)


def max_pool_backward_reshape(dout: Any, cache: Any) -> Array:
    """Return the gradient of x from that of the output (N, C, OH, OW); equal cells share it."""
    x, blocks, out = cache
    image, gradient, best = floats(x, dout.astype(x.dtype, copy=False), out)
    high, wide = blocks.shape[3], blocks.shape[5]
    plan = pooling(image, {"pool_height": high, "pool_width": wide, "stride": high})
    if high != wide or not plan.y_shape == dout.shape == out.shape or blocks.dtype != out.dtype:
        raise Unserved("a gradient of another shape than the output")
    return answer(shared_gradient(gradient, image, best, plan), x)


def max_pool_forward_im2col(x: Any, pool_param: Any) -> tuple[Array, tuple[Any, ...]]:
    """Take the largest value of each window, which may overlap.

    Returns
    -------
    out : (N, C, OH, OW) array
    cache : tuple
        x, its patches (h·w, OH·OW·N·C), which of them was the largest, and pool_param.
    """
    (image,) = floats(x)
    plan = pooling(image, pool_param)
    _, high, wide = plan.size
    count, channels, height, width = x.shape

    def patches() -> Array:
        return im2col_cython(x.reshape(count * channels, 1, height, width), high, wide, 0, plan.stride[1])

    columns = Later(patches)
    place = Later(lambda: np.argmax(np.asarray(columns), axis=0))
    return answer(largest(image, plan), x), (x, columns, place, pool_param)


def max_pool_backward_im2col(dout: Any, cache: Any) -> Array:
    """Return the gradient of x from that of the output (N, C, OH, OW); the first of equals has it all."""
    x, patches, _, pool_param = cache
    if type(patches) is not Later:
        raise Unserved(NOT_OURS)
    gradient, image = floats(dout, x)
    plan = pooling(image, pool_param)
    if gradient.shape != plan.y_shape:
        raise Unserved("a gradient of another shape than the output")
    return answer(first_gradient(gradient, image, plan), x)
