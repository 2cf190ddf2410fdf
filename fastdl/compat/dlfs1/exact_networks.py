"""The networks of chapters 7 and 8 in the exact tier: NumPy's products and sums, and less between them.

From a convolution to its pooling, numbers stay as the product leaves them, channels last, instead of being
copied into planes and back. That and the gradient of the images, which is not made, are all that differs from
the layers one by one: what is added to what, and in which order, is the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from time import perf_counter
from typing import Any

import numpy as np

from ...functional._arrays import engine
from ...functional._pooling import PoolContext, maximum_and_ctx, window
from ..tier import STATE, credit, recall, remember
from .arrays import FLOAT64, Array, floats
from .exact import convolve
from .exact import gradients as gradients_of_convolution
from .layers import close_gate, window_of
from .networks import DEEP, SIMPLE, Block, Way, go_back, go_forward, gradients, last_was

__all__ = ["DeepConvNet", "SimpleConvNet"]


class SimpleConvNet:
    """The convnet of chapter 7; ``layers`` is a dict of its layers in order."""

    layers: dict[str, Any]
    last_layer: Any

    def predict(self, x: Any) -> Array:
        """Return the scores of images (N, C, H, W)."""
        return go_forward(self, list(self.layers.values()), x, _MOVED)

    def gradient(self, x: Any, t: Any) -> dict[str, Array]:
        """Return the gradients of all parameters, by name, from images and labels."""
        go_back(self, list(self.layers.values()), x, t, _MOVED)
        return gradients(self.layers, SIMPLE)


class DeepConvNet:
    """The convnet of chapter 8; ``layers`` is a list."""

    layers: list[Any]
    last_layer: Any

    def predict(self, x: Any, train_flg: Any = False) -> Array:
        """Return the scores of images (N, C, H, W); in training, with dropout."""
        return go_forward(self, self.layers, x, _MOVED, train_flg)

    def gradient(self, x: Any, t: Any) -> dict[str, Array]:
        """Return the gradients of all parameters, by name, from images and labels."""
        go_back(self, self.layers, x, t, _MOVED)
        return gradients(self.layers, DEEP)


def _size(layers: Sequence[Any], i: int) -> int:
    if not last_was(layers[i], "Convolution", np.ndarray) or i + 1 == len(layers):
        return 0
    if not _is_relu(layers[i + 1]):
        return 0
    if i + 2 == len(layers) or not last_was(layers[i + 2], "Pooling", PoolContext):
        return 2
    pool = layers[i + 2]
    tiles = pool.pool_h <= pool.stride and pool.pool_w <= pool.stride
    return 3 if tiles and pool.pad == 0 else 2


def _is_relu(layer: Any) -> bool:
    """Whether a layer is the book's ReLU, which the original may have been the faster to do."""
    if "mask" not in vars(layer):
        return False
    served = getattr(getattr(type(layer), "forward", None), "__fastdl__", None)
    known = served is not None and served.owner.service.found.known
    return last_was(layer, "Relu", type(None)) or (known and type(layer).__name__ == "Relu")


def _forward(layers: Sequence[Any], x: Array) -> Block:
    start = perf_counter()
    conv, relu, *pool = layers
    y = convolve(conv, x)
    closed = np.less_equal(y, 0)
    engine().gate_bwd(y, closed)
    out = planes = y.transpose(0, 3, 1, 2)
    if pool:
        call = window("max_pool2d", 2, y, window_of(pool[0]), pool[0].stride, layout="NHWC")
        largest, pool_ctx = maximum_and_ctx("max_pool2d", *call)
        out = largest.transpose(0, 3, 1, 2)
        pool[0].x = planes
        remember(pool[0], pool_ctx)
    relu.mask = closed.transpose(0, 3, 1, 2)
    credit([layer for layer in layers if STATE in vars(layer)], 0, perf_counter() - start)
    return Block(layers, np.ascontiguousarray(out))


def _backward(block: Block, dout: Any, first: bool) -> Any:
    start = perf_counter()
    conv, relu, *pool = block.layers
    rows = floats(dout).transpose(0, 2, 3, 1).astype(FLOAT64, order="C")
    if pool:  # the largest of a window is closed if its window's output is
        closed = np.less_equal(block.relu.transpose(0, 2, 3, 1), 0, order="C")
    else:
        closed = np.ascontiguousarray(relu.mask.transpose(0, 2, 3, 1))
    close_gate(rows, closed)
    if pool:
        ctx = recall(pool[0])
        rows = ctx.ops.maxpool_bwd(rows, ctx.index, ctx.plan)
    dx = gradients_of_convolution(conv, rows.reshape(-1, rows.shape[3]), not first)
    credit([layer for layer in block.layers if STATE in vars(layer)], 1, perf_counter() - start)
    return dx


_MOVED = Way(2, _size, _forward, _backward)  # of one image, products read another order in memory
