"""`mlfromscratch.deep_learning.layers`: the layers that take most of the time there."""

from __future__ import annotations

from typing import Any

import numpy as np

import fastdl.functional as F

from ..inputs import Array, plain, promoted
from ..tier import Unserved, narrow, recall, remember
from .columns import column_to_image, image_to_column, sliding

__all__ = ["RNN", "BatchNormalization", "Conv2D", "UpSampling2D", "column_to_image", "image_to_column"]


class Conv2D:
    """Convolution of (N, C, H, W) images with (O, C, FH, FW) filters."""

    W: Array
    w0: Array
    W_col: Array
    X_col: Array
    W_opt: Any
    w0_opt: Any
    layer_input: Array
    input_shape: tuple[int, ...]
    n_filters: int
    filter_shape: tuple[int, int]
    padding: str
    stride: int
    trainable: bool

    def forward_pass(self, X: Any, training: bool = True) -> Array:
        """Return (N, O, OH, OW) sums over windows."""
        W, w0 = plain(self.W, 4), plain(self.w0, 2)
        how = sliding(plain(X, 4).shape, self.filter_shape, self.stride, self.padding)
        if (
            W.shape != (self.n_filters, X.shape[1], *self.filter_shape)
            or tuple(self.input_shape[1:]) != X.shape[2:]
            or w0.shape != (self.n_filters, 1)
            or len(X) == 0
        ):
            raise Unserved(f"filters of shape {W.shape} for images of {X.shape}")
        x, kernel, bias = promoted(X, W, w0)
        top, bottom, left, right = how.pads
        y, ctx = F.conv2d_forward(
            x, kernel, bias.reshape(-1), stride=self.stride, padding=((top, bottom), (left, right))
        )
        self.layer_input = X
        self.W_col = W.reshape(self.n_filters, -1)
        vars(self).pop("X_col", None)
        remember(self, ctx)
        return y

    def backward_pass(self, accum_grad: Any) -> Array:
        """Return the gradient with respect to the images; the filters are updated before it is taken."""
        ctx = recall(self)
        try:
            (dy,) = promoted(plain(accum_grad, 4, "f"))
            if dy.shape != ctx.call.y_shape or dy.dtype != ctx.call.dtype:
                raise Unserved(f"a gradient of {dy.dtype} and shape {dy.shape}")
        except Unserved:
            self.X_col = image_to_column(self.layer_input, self.filter_shape, self.stride, self.padding)
            raise
        if self.trainable:
            _, dW, dw0 = F.conv2d_backward(dy, ctx, needs=("w", "b"))
            assert dW is not None
            assert dw0 is not None
            self.W = self.W_opt.update(self.W, dW)
            self.w0 = self.w0_opt.update(self.w0, dw0.reshape(-1, 1))
        dX, _, _ = F.conv2d_backward(dy, ctx, needs=("x",))
        assert dX is not None
        return dX
