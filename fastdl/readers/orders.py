"""Where a feature of a layer's input is in PyTorch, which has the channels of an image first.

Flattened, an image of (C, H, W) is another row than the same image as (H, W, C): a dense layer behind it has
its weights in another order. This follows images through a model to such layers, and to where the order is
lost.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .. import nested
from ..layers import pool
from ..layers.base import Array, Layer, Shape
from ..layers.conv import Convolution
from ..layers.dense import Dense
from ..layers.embedding import Embedding
from ..layers.graph import Graph
from ..layers.merge import Concatenate, Elementwise
from ..layers.norm import (
    BatchNormalization,
    GroupNormalization,
    InstanceNormalization,
    LayerNormalization,
)
from ..layers.pointwise import Dropout, GaussianNoise, Pointwise, PReLU
from ..layers.recurrent import Recurrent
from ..layers.structure import Cropping2D, Flatten, Reshape, ZeroPadding2D
from ..layers.symbolic import Tensor
from ..layers.wrappers import Bidirectional, TimeDistributed


@dataclass(frozen=True)
class Order:
    """How an array's axes, or the features in its last one, are arranged.

    Attributes
    ----------
    kind : {"same", "last", "features", "reshaped", "unclear"}
        "same" as in PyTorch; an image with its channels "last" instead; "features" of which each has another
        place there; "reshaped" from the same, which may have made an image of them; "unclear" is the rest.
    places : tuple of int
        For each feature its place in PyTorch.
    """

    kind: str
    places: tuple[int, ...] = ()


SAME, LAST, RESHAPED, UNCLEAR = (Order(kind) for kind in ("same", "last", "reshaped", "unclear"))

_IMAGES = (
    *(Convolution, pool.UpSampling2D, pool.MaxPooling1D, pool.MaxPooling2D, pool.MaxPooling3D),
    *(pool.AveragePooling1D, pool.AveragePooling2D, pool.AveragePooling3D),
)
_GLOBAL = (
    *(pool.GlobalMaxPooling1D, pool.GlobalMaxPooling2D, pool.GlobalMaxPooling3D),
    *(pool.GlobalAveragePooling1D, pool.GlobalAveragePooling2D, pool.GlobalAveragePooling3D),
)
_KEEPING = (
    *(Pointwise, PReLU, Dropout, GaussianNoise, ZeroPadding2D, Cropping2D, Elementwise),
    *(BatchNormalization, GroupNormalization, InstanceNormalization, LayerNormalization),
)


def input_orders(model: Graph) -> dict[Layer, Order]:
    """Return in which order each layer of a model finds what it is given."""
    found: dict[Layer, Order] = {}
    _follow(model, [SAME] * len(model.inputs), [tensor.shape for tensor in model.inputs], found)
    return found


def _follow(
    layer: Layer, orders: Sequence[Order], shapes: Sequence[Shape], found: dict[Layer, Order]
) -> list[Order]:
    """Return the orders of a layer's outputs, and note those of the inputs of all layers in it."""
    order, shape = orders[0], shapes[0]
    if isinstance(layer, Graph):
        return _follow_graph(layer, orders, found)
    if isinstance(layer, TimeDistributed):
        return _follow(layer.layer, orders, [(None, *shape[2:])], found)
    channels_last = isinstance(layer, _IMAGES) and layer.data_format == "channels_last"
    if channels_last and order == RESHAPED and not _is_one_order(shape):
        order, orders = UNCLEAR, [UNCLEAR]
    found[layer] = order if found.get(layer, order) == order else UNCLEAR
    return [_after(layer, orders, shapes)]


def _follow_graph(graph: Graph, orders: Sequence[Order], found: dict[Layer, Order]) -> list[Order]:
    known: dict[Tensor, Order] = dict(zip(graph.inputs, orders))
    for call in graph.calls:
        read = nested.parts(call.inputs)
        after = _follow(call.layer, [known[t] for t in read], [t.shape for t in read], found)
        written = nested.parts(call.outputs)
        known |= dict(zip(written, after * len(written) if len(after) == 1 else after))
    return [known[tensor] for tensor in graph.outputs]


def _after(layer: Layer, orders: Sequence[Order], shapes: Sequence[Shape]) -> Order:
    """Return the order of the output of a layer that is not made of layers, or is Bidirectional."""
    order = orders[0]
    if set(orders) == {SAME, LAST}:  # an image may be an input of the model, about which nothing is said
        orders = [order := LAST]
    if UNCLEAR in orders:
        return UNCLEAR
    if isinstance(layer, (Embedding, Recurrent, Bidirectional)):
        return SAME
    if isinstance(layer, _IMAGES):
        return LAST if layer.data_format == "channels_last" else SAME
    if isinstance(layer, _GLOBAL):
        return LAST if layer.keepdims and layer.data_format == "channels_last" else SAME
    if isinstance(layer, Flatten):
        return _flattened(layer, order, shapes[0])
    if isinstance(layer, Dense):
        return SAME if order.kind == "features" else order
    if isinstance(layer, Concatenate) and all(len(shape) == 2 for shape in shapes):
        return _joined(orders, shapes)
    if isinstance(layer, Reshape) and order in (SAME, RESHAPED):
        return RESHAPED
    if len(set(orders)) == 1 and (order == SAME or isinstance(layer, (*_KEEPING, Concatenate))):
        return order
    return UNCLEAR


def _is_one_order(shape: Shape) -> bool:
    """Whether an image, whichever axis its channels are in, is one and the same row."""
    return shape[-1] == 1 or all(size == 1 for size in shape[1:-1])


def _flattened(layer: Flatten, order: Order, shape: Shape) -> Order:
    """Return where the features of a row were, before it was made of an image."""
    first = layer.data_format == "channels_first" and len(shape) > 2
    if len(shape) == 2 or (order in (SAME, RESHAPED) and not first):
        return order if order.kind == "features" else SAME
    sizes = [size for size in shape[1:] if size is not None]
    if order not in (SAME, LAST) or len(sizes) < len(shape) - 1:
        return UNCLEAR
    places = np.arange(math.prod(sizes))
    if order == LAST:
        places = np.moveaxis(places.reshape(sizes[-1], *sizes[:-1]), 0, -1)
    places = places.reshape(sizes)
    return _features((np.moveaxis(places, 0, -1) if first else places).ravel())


def _joined(orders: Sequence[Order], shapes: Sequence[Shape]) -> Order:
    """Return where the features of several rows are, one after another."""
    if any(order.kind not in ("same", "features", "reshaped") for order in orders):
        return UNCLEAR
    ends = np.cumsum([0, *(shape[-1] or 0 for shape in shapes)])
    rows = [order.places or range(shape[-1] or 0) for order, shape in zip(orders, shapes)]
    return _features(np.concatenate([start + np.array(row) for start, row in zip(ends, rows)]))


def _features(places: Array) -> Order:
    in_place = bool((places == np.arange(len(places))).all())
    return SAME if in_place else Order("features", tuple(places.tolist()))
