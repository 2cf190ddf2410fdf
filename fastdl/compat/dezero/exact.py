"""DeZero with the bits of the original: windows, selection and scattering compiled, the arithmetic NumPy's.

What reaches a product of matrices has the strides that `numpy.tensordot` would have given it, since a BLAS
may add in another order for another layout. Sums of windows are taken tap by tap.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ... import functional as F
from ..tier import Unserved
from . import functions_conv as fast
from .arrays import Array, Pair, only_floats, pair

__all__ = [
    "AveragePooling",
    "Conv2DGradW",
    "Conv2d",
    "Pooling",
    "Pooling2DGrad",
    "Pooling2DWithIndexes",
    "col2im_array",
    "im2col_array",
]

Pooling2DWithIndexes = fast.Pooling2DWithIndexes


class Conv2d(fast.Conv2d):
    """A convolution as one product of matrices."""

    def forward(self, x: Array, W: Array, b: Array | None) -> Array:
        """Return y (N, OC, OH, OW)."""
        only_floats(x, W)
        channels, *size = W.shape[1:]
        if x.shape[1] != channels:
            raise Unserved("x has not the channels of W")
        columns = window_matrix(x, (size[0], size[1]), self.stride, self.pad)
        y = np.dot(columns, W.transpose(1, 2, 3, 0).reshape(-1, W.shape[0]))
        out = _sizes(x, (size[0], size[1]), self.stride, self.pad)
        y = y.reshape(x.shape[0], *out, W.shape[0])
        if b is not None:
            y += b
        return np.moveaxis(y, 3, 1)


class Conv2DGradW(fast.Conv2DGradW):
    """The gradient with respect to the kernels as one product of matrices."""

    def forward(self, x: Array, gy: Array) -> Array:
        """Return gW (OC, C, KH, KW)."""
        only_floats(x, gy)
        n, channels, oh, ow = gy.shape
        if (n, oh, ow) != (x.shape[0], *_sizes(x, self.kernel_size, self.stride, self.pad)):
            raise Unserved("gy has not the shape of the convolution's output")
        columns = window_matrix(x, self.kernel_size, self.stride, self.pad)
        rows = gy.transpose(1, 0, 2, 3).reshape(channels, n * oh * ow)
        gw: Array = np.dot(rows, columns).reshape(channels, x.shape[1], *self.kernel_size)
        return gw


class Pooling(fast.Pooling):
    """The largest value of each window; where it is a zero, NumPy decides which zero."""

    def forward(self, x: Array) -> Array:
        """Return y (N, C, OH, OW) of x (N, C, H, W)."""
        y = fast.Pooling.forward(self, x)
        if not y.all():
            taps = _taps(x, pair(self.kernel_size), pair(self.stride), pair(self.pad))
            y = taps[0].copy()
            for tap in taps[1:]:
                np.maximum(y, tap, out=y)
        self.indexes = self.indexes.astype(np.intp)
        return y


class Pooling2DGrad(fast.Pooling2DGrad):
    """The gradient of a maximum whose windows do not overlap: no cell is the sum of several."""

    def forward(self, gy: Array) -> Array:
        """Return gx (N, C, H, W) of gy (N, C, OH, OW)."""
        if any(k > s for k, s in zip(pair(self.kernel_size), pair(self.stride))):
            raise Unserved("windows overlap, and the order of the additions counts")
        return fast.Pooling2DGrad.forward(self, gy)


class AveragePooling(fast.AveragePooling):
    """The mean of each window, added up tap by tap."""

    def forward(self, x: Array) -> Array:
        """Return y (N, C, OH, OW) of x (N, C, H, W)."""
        only_floats(x)
        size = pair(self.kernel_size)
        taps = _taps(x, size, pair(self.stride), pair(self.pad))
        if taps[0].shape[2] * taps[0].shape[3] < 2:
            raise Unserved("one window is added up pairwise")
        y = taps[0] + 0.0  # a sum begins with 0, and -0 is then no more
        for tap in taps[1:]:
            y += tap
        y /= size[0] * size[1]
        self.input_shape = x.shape
        return y


def im2col_array(img: Array, kernel_size: Any, stride: Any, pad: Any, to_matrix: bool = True) -> Array:
    """Return the windows of img (N, C, H, W): (N·OH·OW, C·KH·KW), or (N, C, KH, KW, OH, OW)."""
    if not to_matrix:
        return fast.im2col_array(img, kernel_size, stride, pad, to_matrix)
    only_floats(img)
    return window_matrix(img, pair(kernel_size), pair(stride), pair(pad))


col2im_array = fast.col2im_array


def window_matrix(x: Array, size: Pair, stride: Pair, pad: Pair) -> Array:
    """Return the windows of x as rows, in memory as a transposed and reshaped (N, C, KH, KW, OH, OW) lies.

    That is row by row, but column by column for a single image, whose axes merge without a copy.
    """
    if x.shape[0] != 1:
        return F.im2col(x, size, stride=stride, padding=pad)
    seen = fast.windows(x, size, stride, pad)
    return seen.transpose(0, 4, 5, 1, 2, 3).reshape(seen.shape[4] * seen.shape[5], -1)


def _sizes(x: Array, size: Pair, stride: Pair, pad: Pair) -> Pair:
    """Return OH and OW."""
    height, width = ((n + 2 * p - k) // s + 1 for n, k, s, p in zip(x.shape[2:], size, stride, pad))
    return height, width


def _taps(x: Array, size: Pair, stride: Pair, pad: Pair) -> list[Array]:
    """Return KH·KW views (N, C, OH, OW): one entry of every window each."""
    oh, ow = _sizes(x, size, stride, pad)
    if oh < 1 or ow < 1:
        raise Unserved("no window fits")
    (sh, sw), x = stride, fast.padded(x, pad)
    return [
        x[:, :, j : j + sh * (oh - 1) + 1 : sh, i : i + sw * (ow - 1) + 1 : sw]
        for j in range(size[0])
        for i in range(size[1])
    ]
