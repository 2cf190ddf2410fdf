"""`mlfromscratch.deep_learning.layers`: the layers that take most of the time there."""

from __future__ import annotations

from typing import Any

import numpy as np

import fastdl.functional as F

from ..inputs import Array, plain, promoted
from ..tier import Unserved, recall, remember
from .columns import column_to_image, image_to_column, sliding
from .normalisation import BatchNormalization

__all__ = ["RNN", "BatchNormalization", "Conv2D", "column_to_image", "image_to_column"]


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


class RNN:
    """A plain recurrent layer that puts out a projection of each state."""

    U: Array
    V: Array
    W: Array
    U_opt: Any
    V_opt: Any
    W_opt: Any
    activation: Any
    bptt_trunc: int
    n_units: int
    layer_input: Array
    state_input: Array
    states: Array
    outputs: Array

    def forward_pass(self, X: Any, training: bool = True) -> Array:
        """Return the projections (N, T, D) of the states.

        The products with U and V are those of all steps at once.
        """
        batch, steps, width = plain(X, 3, "f").shape
        U, V, W = (plain(matrix, 2, "f") for matrix in (self.U, self.V, self.W))
        units = self.n_units
        if U.shape != (units, width) or V.shape != (width, units) or W.shape != (units, units) or X.size == 0:
            raise Unserved(f"weights of {U.shape} and {V.shape} for sequences of {X.shape}")
        before = np.empty((batch, steps, units))
        states = np.zeros((batch, steps + 1, units))
        np.matmul(X, U.T, out=before)
        for t in range(steps):
            if t:
                before[:, t] += states[:, t - 1] @ W.T
            states[:, t] = self.activation(before[:, t])
        outputs = np.matmul(states[:, :-1], V.T)
        self.layer_input, self.state_input, self.states, self.outputs = X, before, states, outputs
        remember(self, True)
        return outputs

    def backward_pass(self, accum_grad: Any) -> Array:
        """Return the gradient with respect to the inputs, each by way of its own step; update the weights.

        What reaches a state from each of the `bptt_trunc` steps after it is added up, so that each weight has
        one product for all steps.
        """
        recall(self)
        X, states, before = self.layer_input, self.states, self.state_input
        dy = plain(accum_grad, 3, "f")
        if dy.shape != X.shape or type(self.bptt_trunc) is not int or self.bptt_trunc < 0:
            raise Unserved(f"a gradient of shape {dy.shape}")
        U, V, W = self.U, self.V, self.W
        slope = self.activation.gradient(before)
        at_once = (dy @ V) * slope
        total = at_once.copy()
        reaching = at_once
        for _ in range(min(self.bptt_trunc, dy.shape[1] - 1)):
            reaching = (reaching[:, 1:] @ W) * slope[:, : reaching.shape[1] - 1]
            total[:, : reaching.shape[1]] += reaching
        dU = _summed(total, X)
        dW = _summed(total[:, 1:], states[:, :-2]) if dy.shape[1] > 1 else np.zeros_like(W)
        dV = _summed(dy, states[:, :-1])
        dX = (at_once @ U).astype(dy.dtype, copy=False)
        self.U = self.U_opt.update(U, dU)
        self.V = self.V_opt.update(V, dV)
        self.W = self.W_opt.update(W, dW)
        return dX


def _summed(one: Array, two: Array) -> Array:
    """Return the sum of the outer products of two sequences over samples and steps."""
    return one.reshape(-1, one.shape[-1]).T @ two.reshape(-1, two.shape[-1])
