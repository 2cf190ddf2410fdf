"""Convolution and pooling: `dezero.functions_conv`, fast.

A pooling's padding is of zeros that take part in the maximum, and of equal values the first one wins.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ... import functional as F
from ...shapes import conv_plan, pool_plan
from ..tier import Unserved, narrow
from .arrays import Array, Pair, common_dtype, engine, only_floats, pair

__all__ = [
    "AveragePooling",
    "Conv2DGradW",
    "Conv2d",
    "Deconv2d",
    "Pooling",
    "Pooling2DGrad",
    "Pooling2DWithIndexes",
    "col2im_array",
    "im2col_array",
]


class Conv2d:
    """A convolution of x (N, C, H, W) with W (OC, C, KH, KW)."""

    def __init__(self, stride: Any = 1, pad: Any = 0) -> None:
        self.stride = pair(stride)
        self.pad = pair(pad)

    def forward(self, x: Array, W: Array, b: Array | None) -> Array:
        """Return y (N, OC, OH, OW)."""
        x, W, b = _operands(x, W, b)
        if b is not None and b.shape != W.shape[:1]:
            raise Unserved("the bias has one entry an output channel")
        return F.conv2d(x, W, b, stride=self.stride, padding=self.pad)


class Deconv2d:
    """A transposed convolution of x (N, C, H, W) with W (C, OC, KH, KW)."""

    def __init__(self, stride: Any = 1, pad: Any = 0, outsize: Any = None) -> None:
        self.stride = pair(stride)
        self.pad = pair(pad)
        self.outsize = outsize

    def forward(self, x: Array, W: Array, b: Array | None) -> Array:
        """Return y (N, OC, OH, OW), of the size that was asked for."""
        x, W, b = _operands(x, W, b)
        stride, pad = self.stride, self.pad
        extra = (0, 0)
        if self.outsize is not None:
            sizes = zip(pair(self.outsize), x.shape[2:], W.shape[2:], stride, pad)
            extra = tuple(size - (s * (n - 1) + k - 2 * p) for size, n, k, s, p in sizes)
        y = F.conv_transpose2d(
            x, W, None if b is None else b.ravel(), stride=stride, padding=pad, output_padding=extra
        )
        if b is not None:
            self.no_bias = True  # as the original has it
        return y


class Conv2DGradW:
    """The gradient of a convolution with respect to its kernels, as a function of x and gy."""

    kernel_size: Pair
    stride: Pair
    pad: Pair

    def forward(self, x: Array, gy: Array) -> Array:
        """Return gW (OC, C, KH, KW)."""
        only_floats(x, gy)
        x, gy = narrow(x), narrow(gy)
        dtype = common_dtype(x, gy)
        shape = (gy.shape[1], x.shape[1], *self.kernel_size)
        plan = conv_plan("conv2d", x.shape, shape, None, 2, self.stride, self.pad)
        if gy.shape != plan.y_shape:
            raise Unserved("gy has not the shape of the convolution's output")
        x, gy = (np.ascontiguousarray(a, dtype) for a in (x, gy))
        return engine().conv_dw(gy, x, plan)


class Pooling:
    """The largest value of each window; `indexes` keeps which tap of its window won."""

    indexes: Array

    def __init__(self, kernel_size: Any, stride: Any = 1, pad: Any = 0) -> None:
        self.kernel_size = kernel_size
        self.stride = stride
        self.pad = pad

    def forward(self, x: Array) -> Array:
        """Return y (N, C, OH, OW) of x (N, C, H, W)."""
        only_floats(x)
        x = np.ascontiguousarray(padded(narrow(x), pair(self.pad)))
        plan = pool_plan("pooling", x.shape, pair(self.kernel_size), 2, pair(self.stride))
        y, self.indexes = engine().maxpool_fwd(x, plan)
        return y


class Pooling2DGrad:
    """The gradient of a maximum: gy goes to the cell that won."""

    kernel_size: Any
    stride: Any
    pad: Any
    input_shape: tuple[int, ...]
    dtype: np.dtype[Any]
    indexes: Array

    def forward(self, gy: Array) -> Array:
        """Return gx (N, C, H, W) of gy (N, C, OH, OW)."""
        only_floats(gy)
        n, c, height, width = self.input_shape
        ph, pw = pair(self.pad)
        size = pair(self.kernel_size)
        plan = pool_plan("pooling", (n, c, height + 2 * ph, width + 2 * pw), size, 2, pair(self.stride))
        if gy.shape != plan.y_shape or self.indexes.shape != gy.shape or self.dtype.kind != "f":
            raise Unserved("gy has not the shape of the pooling's output")
        taps = np.ascontiguousarray(self.indexes, np.uint8 if size[0] * size[1] <= 256 else np.int32)
        gy = np.ascontiguousarray(narrow(gy.astype(self.dtype, copy=False)))
        gx: Array = engine().maxpool_bwd(gy, taps, plan)
        return gx[:, :, ph : ph + height, pw : pw + width] if ph or pw else gx


class Pooling2DWithIndexes:
    """The values of x at the cells that won: the gradient's own gradient."""

    kernel_size: Any
    stride: Any
    pad: Any
    indexes: Array

    def forward(self, x: Array) -> Array:
        """Return y (N, C, OH, OW) of x (N, C, H, W)."""
        only_floats(x)
        width = pair(self.kernel_size)[1]
        sh, sw = pair(self.stride)
        n, c, oh, ow = self.indexes.shape
        dy, dx = np.divmod(self.indexes, width)
        rows, columns = np.ogrid[0 : oh * sh : sh, 0 : ow * sw : sw]
        image, channel = np.ogrid[:n, :c]
        return padded(x, pair(self.pad))[
            image[..., None, None], channel[..., None, None], rows + dy, columns + dx
        ]


class AveragePooling:
    """The mean of each window, in which padded zeros count."""

    input_shape: tuple[int, ...] | None

    def __init__(self, kernel_size: Any, stride: Any = 1, pad: Any = 0) -> None:
        self.kernel_size = kernel_size
        self.stride = stride
        self.pad = pad
        self.input_shape = None

    def forward(self, x: Array) -> Array:
        """Return y (N, C, OH, OW) of x (N, C, H, W)."""
        only_floats(x)
        y = F.avg_pool2d(
            narrow(x),
            pair(self.kernel_size),
            stride=pair(self.stride),
            padding=pair(self.pad),
            count_include_pad=True,
        )
        self.input_shape = x.shape
        return y


def im2col_array(img: Array, kernel_size: Any, stride: Any, pad: Any, to_matrix: bool = True) -> Array:
    """Return the windows of img (N, C, H, W): (N·OH·OW, C·KH·KW), or (N, C, KH, KW, OH, OW)."""
    only_floats(img)
    size, step, edge = pair(kernel_size), pair(stride), pair(pad)
    if to_matrix:
        return F.im2col(img, size, stride=step, padding=edge)
    return windows(img, size, step, edge)


def col2im_array(
    col: Array, img_shape: tuple[int, ...], kernel_size: Any, stride: Any, pad: Any, to_matrix: bool = True
) -> Array:
    """Return img of `img_shape` with every window of col added at its place."""
    only_floats(col)
    if not to_matrix:
        raise Unserved("what lies so that rows of pixels are added is added by NumPy as fast")
    return F.col2im(col, img_shape, pair(kernel_size), stride=pair(stride), padding=pair(pad))


def padded(x: Array, pad: Pair) -> Array:
    """Return x (N, C, H, W) with zeros around; x itself where there are none to add."""
    ph, pw = pad
    if not (ph or pw):
        return x
    n, c, height, width = x.shape
    out = np.zeros((n, c, height + 2 * ph, width + 2 * pw), x.dtype)
    out[:, :, ph : ph + height, pw : pw + width] = x
    return out


def windows(x: Array, size: Pair, stride: Pair, pad: Pair) -> Array:
    """Return the windows of x (N, C, H, W), copied to (N, C, KH, KW, OH, OW)."""
    seen = np.lib.stride_tricks.sliding_window_view(padded(x, pad), size, axis=(2, 3))
    return np.ascontiguousarray(seen[:, :, :: stride[0], :: stride[1]].transpose(0, 1, 4, 5, 2, 3))


def _operands(x: Array, W: Array, b: Array | None) -> tuple[Array, Array, Array | None]:
    """Return the arguments of a convolution as they are computed: the bias in the dtype of the product."""
    only_floats(x, W)
    x, W = narrow(x), narrow(W)
    if b is None:
        return x, W, None
    only_floats(b)
    return x, W, b.astype(common_dtype(x, W), copy=False)
