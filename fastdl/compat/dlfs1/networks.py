"""The networks of chapters 7 and 8: whole passes, in which layers that follow one another are one.

What a layer's own passes would have left in it is left in it: masks, inputs, gradients of parameters, and
what its backward pass needs. What nobody reads is not made: sums before a ReLU, gradients between a pooling
and a convolution, and the gradient of the images.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np

import fastdl.functional as F
from fastdl.functional._affine import AffineContext
from fastdl.functional._arrays import engine
from fastdl.functional._pooling import PoolContext, maximum_gate_and_ctx, window

from ..tier import STATE, credit, recall, remember
from .arrays import Array, floats
from .layers import close_gate, convolve, pooling_gradient, window_of

__all__ = [
    "DEEP",
    "SIMPLE",
    "Block",
    "DeepConvNet",
    "SimpleConvNet",
    "Way",
    "go_back",
    "go_forward",
    "gradients",
    "last_was",
]

SIMPLE = ("Conv1", "Affine1", "Affine2")
"""The layers with parameters of chapter 7's network, and"""

DEEP = (0, 2, 5, 7, 10, 12, 15, 18)
"""chapter 8's."""


@dataclass
class Block:
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


class Way(NamedTuple):
    """How blocks are found, and their passes.

    Attributes
    ----------
    images : int
        Of how many a batch is at least that goes through blocks.
    size : callable
        Takes layers and a place; returns of how many layers the block is that begins there: 3, 2, or 0 where
        none does.
    forward : callable
        Takes the layers of a block, and x.
    backward : callable
        Takes a block, the gradient of its output, and whether it is the first: its images get no gradient.
    """

    images: int
    size: Callable[[Sequence[Any], int], int]
    forward: Callable[[Sequence[Any], Array], Block]
    backward: Callable[[Block, Any, bool], Any]


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
    blocks: dict[int, Block] = field(default_factory=dict)


class SimpleConvNet:
    """The convnet of chapter 7; ``layers`` is a dict of its layers in order."""

    layers: dict[str, Any]
    last_layer: Any

    def predict(self, x: Any) -> Array:
        """Return the scores of images (N, C, H, W)."""
        return go_forward(self, list(self.layers.values()), x, _FUSED)

    def gradient(self, x: Any, t: Any) -> dict[str, Array]:
        """Return the gradients of all parameters, by name, from images and labels."""
        go_back(self, list(self.layers.values()), x, t, _FUSED)
        return gradients(self.layers, SIMPLE)


class DeepConvNet:
    """The convnet of chapter 8; ``layers`` is a list."""

    layers: list[Any]
    last_layer: Any

    def predict(self, x: Any, train_flg: Any = False) -> Array:
        """Return the scores of images (N, C, H, W); in training, with dropout."""
        return go_forward(self, self.layers, x, _FUSED, train_flg)

    def gradient(self, x: Any, t: Any) -> dict[str, Array]:
        """Return the gradients of all parameters, by name, from images and labels."""
        go_back(self, self.layers, x, t, _FUSED)
        return gradients(self.layers, DEEP)


def gradients(layers: Any, places: Sequence[Any]) -> dict[str, Array]:
    """Return the gradients of parameters, by name, of the layers in these places."""
    found = {}
    for i, place in enumerate(places, 1):
        found[f"W{i}"], found[f"b{i}"] = layers[place].dW, layers[place].db
    return found


def go_forward(model: Any, layers: Sequence[Any], x: Any, way: Way, train_flg: Any = None) -> Array:
    """Go through the layers; from the second time on that images of a kind come, in blocks."""
    kind = (floats(x).shape, x.dtype)
    state = vars(model).get(STATE)
    passes: _Passes = _Passes() if state is None or state.value is None else state.value
    passes.blocks.clear()
    in_blocks = kind in passes.met and len(x) >= way.images
    i = 0
    while i < len(layers):
        size = way.size(layers, i) if in_blocks else 0
        if size:
            block = way.forward(layers[i : i + size], x)
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
    if not last_was(layers[i], "Convolution", AffineContext) or i + 1 == len(layers):
        return 0
    if not last_was(layers[i + 1], "Relu", type(None)) or "mask" not in vars(layers[i + 1]):
        return 0
    return 3 if i + 2 < len(layers) and last_was(layers[i + 2], "Pooling", PoolContext) else 2


def last_was(layer: Any, name: str, kind: type) -> bool:
    """Return whether fastdl did a layer's last forward pass, as what it left says."""
    state = vars(layer).get(STATE)
    return state is not None and type(layer).__name__ == name and isinstance(state.value, kind)


def _block_forward(layers: Sequence[Any], x: Array) -> Block:
    start = perf_counter()
    conv, relu, *pool = layers
    y, ctx = convolve(conv, x, "relu")
    if pool:
        call = window("max_pool2d", 2, y, window_of(pool[0]), pool[0].stride)
        out, relu.mask, pool_ctx = maximum_gate_and_ctx("max_pool2d", *call)
        pool[0].x = y
        remember(pool[0], pool_ctx)
    else:
        out = y
        _, relu.mask = engine().gate_fwd(y, want_y=False)
    conv.x = x
    conv.col_W = conv.W.reshape(conv.W.shape[0], -1).T
    ctx.call.activation, ctx.saved = "linear", None  # what comes back has gone through the mask
    remember(conv, ctx)
    credit(layers, 0, perf_counter() - start)
    return Block(layers, out)


def go_back(model: Any, layers: Sequence[Any], x: Any, t: Any, way: Way) -> None:
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
        dout = way.backward(block, dout, i < 0)
    blocks.clear()


def _block_backward(block: Block, dout: Any, first: bool) -> Any:
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
    if pool and first:
        pooling, dx = recall(pool[0]), None
        conv.dW = ops.conv_dw_pooled(dz, pooling.index, ctx.call.x, ctx.call.plan, pooling.plan)
    else:
        if pool:
            dz = pooling_gradient(dz, recall(pool[0]))
        dx, conv.dW, _ = F.conv2d_backward(dz, ctx, ("w",) if first else ("x", "w"))
    conv.db = db
    credit(block.layers, 1, perf_counter() - start)
    return dx


_FUSED = Way(1, _block_size, _block_forward, _block_backward)
