"""`numpy_ml.neural_nets.layers.layers`: the gradients that take most of the time there.

The methods `_bwd` take a gradient and what `forward` kept of one call, and read the parameters of the moment,
as the originals do; no forward pass of fastdl is needed before them.
"""

from __future__ import annotations

from typing import Any

import numpy as np

import fastdl.functional as F
from fastdl.functional._arrays import engine

from ..inputs import Array, in_order, plain, promoted
from ..tier import Unserved
from .geometry import Four, kernel_windows, pads_1d, pads_2d
from .pooling import Pool2D
from .utils import cut_off, pairs

__all__ = ["Conv1D", "Conv2D", "Deconv2D", "Embedding", "Pool2D", "Softmax"]

Gradients = tuple[Array, Array, Array]


class Conv2D:
    """Convolution of (N, H, W, C) images."""

    parameters: dict[str, Array]
    kernel_shape: tuple[int, int]
    stride: int
    dilation: int
    pad: Any
    act_fn: Any

    def _bwd(self, dLdy: Any, X: Any, Z: Any) -> Gradients:
        """Return (dX, dW, dB) from the gradient and from what went in and what came before the activation."""
        X, W = plain(X, 4), plain(self.parameters["W"], 4)
        _same_shape(dLdy, Z)
        if self.kernel_shape != W.shape[:2]:
            raise Unserved(f"a kernel of shape {W.shape}")
        pads = pads_2d(self.pad, X.shape[1:3], W.shape[:2], self.stride, self.dilation)
        dX, dW, dB = _convolution_gradients(dLdy, self.act_fn, X, W, Z, pads, self.stride, self.dilation)
        return dX, dW, dB.reshape(1, 1, 1, -1)


class Conv1D:
    """Convolution of (N, L, C) sequences."""

    parameters: dict[str, Array]
    kernel_width: int
    stride: int
    dilation: int
    pad: Any
    act_fn: Any

    def _bwd(self, dLdy: Any, X: Any, Z: Any) -> Gradients:
        """Return (dX, dW, dB) from the gradient and from what went in and what came before the activation."""
        X, W = plain(X, 3), plain(self.parameters["W"], 3)
        _same_shape(dLdy, Z)
        if self.kernel_width != W.shape[0]:
            raise Unserved(f"a kernel of shape {W.shape}")
        pads = (0, 0, *pads_1d(self.pad, X.shape[1], W.shape[0], self.stride, self.dilation))
        X, W, Z = X[:, None], W[None], Z[:, None]
        found = _convolution_gradients(dLdy[:, None], self.act_fn, X, W, Z, pads, self.stride, self.dilation)
        return found[0][:, 0], found[1][0], found[2].reshape(1, 1, -1)


def _convolution_gradients(
    dy: Array, act_fn: Any, X: Array, W: Array, Z: Array, pads: Four, stride: int, dilation: int
) -> Gradients:
    how = kernel_windows(X.shape[1:3], W.shape[:2], pads, stride, dilation)
    if dy.shape != (X.shape[0], *how.out, W.shape[3]) or X.shape[3] != W.shape[2] or 0 in X.shape:
        raise Unserved(f"a gradient of shape {dy.shape} for images of {X.shape}")
    dZ = dy * act_fn.grad(Z)
    dB = dZ.reshape(-1, W.shape[3]).sum(axis=0)
    dZ, X, W = promoted(dZ, X, W)
    left_over = tuple((size - (k - 1) * how.step - 1) % stride for size, k in zip(how.padded, how.kernel))
    dX, ctx = F.conv_transpose2d_forward(
        *(dZ, W),
        stride=stride,
        padding=pairs(pads),
        output_padding=left_over,
        dilation=how.step,
        layout="NHWC",
    )
    _, dW, _ = F.conv_transpose2d_backward(X, ctx, needs=("w",))
    assert dW is not None
    return dX, dW, dB


class Deconv2D:
    """Transposed convolution of (N, H, W, C) images."""

    parameters: dict[str, Array]
    kernel_shape: tuple[int, int]
    stride: int
    pad: Any
    act_fn: Any

    def _bwd(self, dLdY: Any, X: Any, Z: Any) -> Gradients:
        """Return (dX, dW, dB) from the gradient and from what went in and what came before the activation."""
        X, W = plain(X, 4), plain(self.parameters["W"], 4)
        _same_shape(dLdY, Z)
        pads = cut_off(X, W, self.stride, self.pad, 0)
        if self.kernel_shape != W.shape[:2] or dLdY.shape[3] != W.shape[3]:
            raise Unserved(f"a kernel of shape {W.shape}")
        dZ = dLdY * self.act_fn.grad(Z)
        dB = dZ.reshape(-1, W.shape[3]).sum(axis=0).reshape(1, 1, 1, -1)
        dZ, X, W = promoted(dZ, X, W)
        kernel = W.transpose(0, 1, 3, 2)
        dX, ctx = F.conv2d_forward(dZ, kernel, stride=self.stride, padding=pairs(pads), layout="NHWC")
        _, dW, _ = F.conv2d_backward(X, ctx, needs=("w",))
        assert dW is not None
        return dX, dW.transpose(0, 1, 3, 2), dB


class Softmax:
    """Softmax over the last axis."""

    dim: int

    def _bwd(self, dLdy: Any, X: Any) -> Array:
        """Return the gradient with respect to X, (N, C) or (N, T, C)."""
        X, dy = plain(X, None, "f"), plain(dLdy, None, "f")
        if X.ndim not in (2, 3) or self.dim not in (-1, 1) or dy.shape != X.shape or X.size == 0:
            raise Unserved(f"a softmax over axis {self.dim} of {X.shape}")
        if not np.isfinite(dy.sum()):
            raise Unserved("a gradient that is not finite")
        dy, X = promoted(dy, X)
        _, ctx = F.softmax_forward(X)
        return F.softmax_backward(dy, ctx)


class Embedding:
    """Rows of a table, taken by number."""

    parameters: dict[str, Array]
    pool: str | None
    n_out: int

    def _bwd(self, dLdy: Any, X: Any) -> Array:
        """Return the gradient with respect to the table.

        Row by row of X the gradient is added in the order of the numbers; where a row is pooled, a number
        that it has twice counts once.
        """
        W, ids, dy = plain(self.parameters["W"], 2, "f"), plain(X, None, "iu"), plain(dLdy, None, "f")
        dy = dy.reshape(-1, self.n_out)
        if W.dtype != dy.dtype or W.shape[1] != self.n_out or ids.size == 0:
            raise Unserved(f"a gradient of {dy.dtype} for a table of {W.dtype}")
        if ids.min() < -len(W) or ids.max() >= len(W):
            raise Unserved("a number outside the table")
        rows = np.where(ids < 0, ids + len(W), ids).astype(np.int64)
        if self.pool is not None:
            rows, dy = _once_a_row(rows, dy, self.pool)
        elif len(dy) != rows.size:
            raise Unserved(f"{len(dy)} gradients for {rows.size} numbers")
        in_order()
        return engine().scatter_add(np.ascontiguousarray(dy), rows.reshape(-1), len(W))


def _once_a_row(ids: Array, dy: Array, pool: str) -> tuple[Array, Array]:
    """Return the numbers, each once a row, and beside each the gradient of its row."""
    if ids.ndim != 2 or len(dy) != len(ids) or pool not in ("sum", "mean"):
        raise Unserved(f"pooling by {pool!r} of numbers of shape {ids.shape}")
    ordered = np.sort(ids, axis=1)
    first = np.ones(ordered.shape, bool)
    np.not_equal(ordered[:, 1:], ordered[:, :-1], out=first[:, 1:])
    share = dy / ids.shape[1] if pool == "mean" else dy
    return ordered[first], np.repeat(share, first.sum(axis=1), axis=0)


def _same_shape(dy: Any, Z: Any) -> None:
    if plain(dy).shape != plain(Z).shape:
        raise Unserved(f"a gradient of shape {dy.shape} for a result of {Z.shape}")
