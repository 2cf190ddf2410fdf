"""The networks of chapters 7 and 8: whole passes, in which layers that follow one another are one.

What a layer's own passes would have left in it is left in it: masks, inputs, gradients of parameters, and
what its backward pass needs. What nobody reads is not made: sums before a ReLU, gradients between a pooling
and a convolution, and the gradient of the images.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any

import numpy as np

import fastdl.functional as F
from fastdl.functional._affine import AffineContext
from fastdl.functional._arrays import engine
from fastdl.functional._pooling import PoolContext, maximum_gate_and_ctx, window

from ..tier import STATE, credit, recall, remember
from .arrays import Array, floats
from .layers import close_gate, convolve, pooling_gradient, window_of

__all__ = ["DeepConvNet", "SimpleConvNet"]


@dataclass
class _Block:
    """A convolution, its ReLU, and the pooling of that, if there is one, as a forward pass left them.

    Attributes
    ----------
    layers : sequence
    relu : array
        What came out of the ReLU; of its pooling, where there is one.
    """

    layers: Sequence[Any]
    relu: Array

    def takes(self, dout: Any, layers: Sequence[Any]) -> bool:
        """Whether these are still the layers, and a gradient and a mask fit; else they go one by one."""
        mask = self.layers[1].mask
        return (
            len(self.layers) == len(layers)
            and all(one is two for one, two in zip(self.layers, layers))
            and type(dout) is np.ndarray
            and dout.dtype.kind == "f"
            and dout.shape == self.relu.shape
            and (len(self.layers) == 3 or np.shape(mask) == self.relu.shape)
        )


@dataclass
class _Passes:
    """What a network keeps between its passes.

    Attributes
    ----------
    met : set
        The kinds of images that the layers have met one by one.
    blocks : dict
        Of the last forward pass, by the place of their last layer.
    """

    met: set[Any] = field(default_factory=set)
    blocks: dict[int, _Block] = field(default_factory=dict)


class SimpleConvNet:
    """The convnet of chapter 7; ``layers`` is a dict of its layers in order."""

    layers: dict[str, Any]
    last_layer: Any

    def predict(self, x: Any) -> Array:
        """Return the scores of images (N, C, H, W)."""
        return _forward(self, list(self.layers.values()), x)

    def gradient(self, x: Any, t: Any) -> dict[str, Array]:
        """Return the gradients of all parameters, by name, from images and labels."""
        _backward(self, list(self.layers.values()), x, t)
        return _gradients([self.layers[name] for name in ("Conv1", "Affine1", "Affine2")])


class DeepConvNet:
    """The convnet of chapter 8; ``layers`` is a list."""

    layers: list[Any]
    last_layer: Any

    def predict(self, x: Any, train_flg: Any = False) -> Array:
        """Return the scores of images (N, C, H, W); in training, with dropout."""
        return _forward(self, self.layers, x, train_flg)

    def gradient(self, x: Any, t: Any) -> dict[str, Array]:
        """Return the gradients of all parameters, by name, from images and labels."""
        _backward(self, self.layers, x, t)
        return _gradients([self.layers[i] for i in (0, 2, 5, 7, 10, 12, 15, 18)])


def _gradients(layers: Sequence[Any]) -> dict[str, Array]:
    found = {}
    for i, layer in enumerate(layers, 1):
        found[f"W{i}"], found[f"b{i}"] = layer.dW, layer.db
    return found


def _forward(model: Any, layers: Sequence[Any], x: Any, train_flg: Any = None) -> Array:
    """Go through the layers; from the second time on that images of a kind come, in blocks."""
    kind = (floats(x).shape, x.dtype)
    state = vars(model).get(STATE)
    passes: _Passes = _Passes() if state is None or state.value is None else state.value
    passes.blocks.clear()
    i = 0
    while i < len(layers):
        size = _block_size(layers, i) if kind in passes.met else 0
        if size:
            block = _block_forward(layers[i : i + size], x)
            x = block.relu
            i += size
            passes.blocks[i - 1] = block
            continue
        layer = layers[i]
        flagged = train_flg is not None and type(layer).__name__ == "Dropout"
        x = layer.forward(x, train_flg) if flagged else layer.forward(x)
        i += 1
    passes.met.add(kind)
    remember(model, passes)
    return x


def _block_size(layers: Sequence[Any], i: int) -> int:
    """Return of how many layers the block is that begins at i: 3, 2, or 0 where none does."""
    if not _last_was(layers[i], "Convolution", AffineContext) or i + 1 == len(layers):
        return 0
    if not _last_was(layers[i + 1], "Relu", type(None)) or "mask" not in vars(layers[i + 1]):
        return 0
    return 3 if i + 2 < len(layers) and _last_was(layers[i + 2], "Pooling", PoolContext) else 2


def _last_was(layer: Any, name: str, kind: type) -> bool:
    """Return whether fastdl did a layer's last forward pass, as what it left says."""
    state = vars(layer).get(STATE)
    return state is not None and type(layer).__name__ == name and isinstance(state.value, kind)


def _block_forward(layers: Sequence[Any], x: Array) -> _Block:
    start = perf_counter()
    conv, relu, *pool = layers
    y, ctx = convolve(conv, x, "relu")
    if pool:
        call = window("max_pool2d", 2, y, window_of(pool[0]), pool[0].stride)
        out, relu.mask, pool_ctx = maximum_gate_and_ctx("max_pool2d", *call)
        pool[0].x = y
        remember(pool[0], pool_ctx)
    else:
        out, relu.mask = y, np.less_equal(y, 0)
    conv.x = x
    conv.col_W = conv.W.reshape(conv.W.shape[0], -1).T
    remember(conv, AffineContext(ctx.call._replace(activation="linear"), None))
    credit(layers, 0, perf_counter() - start)
    return _Block(layers, out)


def _backward(model: Any, layers: Sequence[Any], x: Any, t: Any) -> None:
    """Do a forward and a backward pass; the first convolution's images get no gradient."""
    recall(model)
    model.loss(x, t)
    blocks = recall(model).blocks
    dout = model.last_layer.backward(1)
    i = len(layers) - 1
    while i >= 0:
        block = blocks.get(i)
        if block is None or not block.takes(dout, layers[i + 1 - len(block.layers) : i + 1]):
            dout = layers[i].backward(dout)
            i -= 1
            continue
        i -= len(block.layers)
        dout = _block_backward(block, dout, first=i < 0)
    blocks.clear()


def _block_backward(block: _Block, dout: Any, first: bool) -> Any:
    start = perf_counter()
    conv, relu, *pool = block.layers
    ctx = recall(conv)
    dz = np.ascontiguousarray(floats(dout), ctx.call.dtype)
    ops = engine()
    if pool:  # the largest of a window is closed if its window's output is 0
        dz = ops.act_bwd(dz, block.relu, "relu")
    else:
        close_gate(dz, relu.mask)
    db = ops.bias_grad(dz, *dz.shape[:2], dz.shape[2] * dz.shape[3])
    if pool:
        dz = pooling_gradient(dz, recall(pool[0]))
    dx, conv.dW, _ = F.conv2d_backward(dz, ctx, ("w",) if first else ("x", "w"))
    conv.db = db
    credit(block.layers, 1, perf_counter() - start)
    return dx
