"""The exact tier of what the fast one computes in another order: products stay NumPy's.

Their last bits depend on the order in memory of what goes in. Of several images all of it is copied into one
order before a product; of one image it is not, and so lies here as it does in the original.
"""

from __future__ import annotations

from typing import Any

import numpy as np

import fastdl.functional as F

from ..tier import Unserved, recall, remember
from . import layers
from .arrays import FLOAT64, Array, floats, image_stack, sizes
from .util import col2im, im2col

__all__ = ["Convolution", "Pooling", "convolve", "gradients"]


class Convolution(layers.Convolution):
    """The convolution of images by a matrix of their patches."""

    def forward(self, x: Any) -> Array:
        return convolve(self, x).transpose(0, 3, 1, 2)

    def backward(self, dout: Any) -> Array:
        recall(self)
        rows = floats(dout).transpose(0, 2, 3, 1).reshape(-1, self.W.shape[0])
        return gradients(self, rows)


def convolve(layer: Any, x: Any) -> Array:
    """Return what a layer's convolution gives, (N, OH, OW, FN), and keep what its backward pass needs."""
    w = floats(layer.W)
    if w.ndim != 4 or x.ndim != 4 or x.shape[1] != w.shape[1] or w.dtype != FLOAT64:
        raise Unserved(f"kernels {w.shape} of {w.dtype} for images {x.shape}")
    outputs, _, high, wide = w.shape
    stride, pad = sizes(layer.stride, layer.pad)
    b = layers.bias_of(layer.b, outputs, FLOAT64)
    col = im2col(x, high, wide, stride, pad)
    flat = w.reshape(outputs, -1).T
    out = np.dot(col, flat)
    out += 0 if b is None else b
    layer.x = x
    layer.col_W = flat
    remember(layer, col)
    out_h = (x.shape[2] + 2 * pad - high) // stride + 1
    return out.reshape(x.shape[0], out_h, -1, outputs)


def gradients(layer: Any, rows: Array, wants_dx: bool = True) -> Any:
    """Set the gradients of a convolution's parameters, of that of its output as (N·OH·OW, FN) rows.

    Returns
    -------
    array or None
        The gradient of its input, if it is wanted.
    """
    outputs, channels, high, wide = layer.W.shape
    flat_dw = np.dot(recall(layer).T, rows)
    dcol = np.dot(rows, layer.col_W.T) if wants_dx else None
    layer.db = np.sum(rows, axis=0)
    layer.dW = flat_dw.transpose(1, 0).reshape(outputs, channels, high, wide)
    return None if dcol is None else col2im(dcol, layer.x.shape, high, wide, layer.stride, layer.pad)


class Pooling(layers.Pooling):
    """The largest value of each window; of one image, with the memory that the original's results have."""

    def forward(self, x: Any) -> Array:
        high, wide, stride, pad = sizes(self.pool_h, self.pool_w, self.stride, self.pad)
        if pad:
            raise Unserved("a padded pooling")
        y, ctx = F.max_pool2d_forward(image_stack(x, FLOAT64), (high, wide), stride=stride)
        self.x = x
        remember(self, ctx)
        return y if len(y) > 1 else np.ascontiguousarray(y.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)

    def backward(self, dout: Any) -> Array:
        ctx, dout = recall(self), floats(dout).astype(FLOAT64, copy=False)
        if ctx.plan.layout == "NHWC":  # a network's, of many images
            cells = F.max_pool2d_backward(dout.transpose(0, 2, 3, 1), ctx)
            return np.ascontiguousarray(cells.transpose(0, 3, 1, 2))
        dx = layers.pooling_gradient(dout, ctx)
        n, channels, height, width = dx.shape
        if n > 1 or self.stride == 1:
            return dx
        image = np.zeros((n, channels, height + self.stride - 1, width + self.stride - 1))
        image[:, :, :height, :width] = dx
        return image[:, :, :height, :width]
