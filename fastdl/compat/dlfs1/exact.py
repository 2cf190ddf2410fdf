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

__all__ = ["Convolution", "Pooling"]


class Convolution(layers.Convolution):
    """The convolution of images by a matrix of their patches."""

    def forward(self, x: Any) -> Array:
        w = floats(self.W)
        if w.ndim != 4 or x.ndim != 4 or x.shape[1] != w.shape[1] or w.dtype != FLOAT64:
            raise Unserved(f"kernels {w.shape} of {w.dtype} for images {x.shape}")
        outputs, _, high, wide = w.shape
        stride, pad = sizes(self.stride, self.pad)
        b = layers.bias_of(self.b, outputs, FLOAT64)
        col = im2col(x, high, wide, stride, pad)
        flat = w.reshape(outputs, -1).T
        out = np.dot(col, flat)
        out += 0 if b is None else b
        self.x = x
        self.col_W = flat
        remember(self, col)
        out_h = (x.shape[2] + 2 * pad - high) // stride + 1
        return out.reshape(x.shape[0], out_h, -1, outputs).transpose(0, 3, 1, 2)

    def backward(self, dout: Any) -> Array:
        col = recall(self)
        outputs, channels, high, wide = self.W.shape
        rows = floats(dout).transpose(0, 2, 3, 1).reshape(-1, outputs)
        flat_dw = np.dot(col.T, rows)
        dcol = np.dot(rows, self.col_W.T)
        self.db = np.sum(rows, axis=0)
        self.dW = flat_dw.transpose(1, 0).reshape(outputs, channels, high, wide)
        return col2im(dcol, self.x.shape, high, wide, self.stride, self.pad)


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
        dx = layers.pooling_gradient(floats(dout).astype(FLOAT64, copy=False), recall(self))
        n, channels, height, width = dx.shape
        if n > 1 or self.stride == 1:
            return dx
        image = np.zeros((n, channels, height + self.stride - 1, width + self.stride - 1))
        image[:, :, :height, :width] = dx
        return image[:, :, :height, :width]
