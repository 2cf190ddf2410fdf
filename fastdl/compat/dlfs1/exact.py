"""The exact tier of what the fast one computes in another order: products stay NumPy's."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..movement import images_from_rows, patch_rows
from ..tier import Unserved, recall, remember
from .arrays import FLOAT64, Array, floats, image_stack, sizes
from .layers import bias_of

__all__ = ["Convolution"]


class Convolution:
    """The convolution of images by a matrix of their patches; see `layers.Convolution`."""

    def __init__(self, W: Any, b: Any, stride: int = 1, pad: int = 0) -> None:
        self.W = W
        self.b = b
        self.stride = stride
        self.pad = pad
        self.x: Any = None
        self.col: Any = None
        self.col_W: Any = None
        self.dW: Any = None
        self.db: Any = None

    def forward(self, x: Any) -> Array:
        w = floats(self.W)
        outputs, channels, *size = w.shape
        stride, pad = sizes(self.stride, self.pad)
        images = image_stack(x, FLOAT64)
        n, of_image, height, width = images.shape
        if channels != of_image or w.dtype != FLOAT64:
            raise Unserved(
                f"kernels of shape {w.shape} and dtype {w.dtype} for images of shape {images.shape}"
            )
        b = bias_of(self.b, outputs, FLOAT64)
        pads = ((pad, pad), (pad, pad))
        col = patch_rows(images, (size[0], size[1]), stride, pads)
        flat = w.reshape(outputs, -1).T
        out = np.dot(col, flat)
        out += 0 if b is None else b
        out_h = (height + 2 * pad - size[0]) // stride + 1
        self.x = x
        self.col_W = flat
        remember(self, (col, size, stride, pads))
        return out.reshape(n, out_h, -1, outputs).transpose(0, 3, 1, 2)

    def backward(self, dout: Any) -> Array:
        col, size, stride, pads = recall(self)
        outputs, channels = self.W.shape[:2]
        rows = floats(dout).transpose(0, 2, 3, 1).reshape(-1, outputs)
        flat_dw = np.dot(col.T, rows)
        dcol = np.dot(rows, self.col_W.T)
        self.db = np.sum(rows, axis=0)
        self.dW = flat_dw.transpose(1, 0).reshape(outputs, channels, *size)
        return images_from_rows(dcol, self.x.shape, (size[0], size[1]), stride, pads)
