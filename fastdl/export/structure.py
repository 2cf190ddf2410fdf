"""Layers in ONNX that move numbers about."""

from __future__ import annotations

import math

from ..layers.structure import Cropping2D, Flatten, Permute, RepeatVector, Reshape, ZeroPadding2D
from .graph import Converter, OnnxGraph, Value

_END = 2**63 - 1  # of an axis, however long it is


def flatten(graph: OnnxGraph, layer: Flatten, x: Value) -> str:
    """Reshape, of what has its channels at the end."""
    axes = len(x.shape)
    moved = axes > 2 and layer.data_format == "channels_first"
    source = graph.moved(x.name, axes, 1, axes - 1) if moved else x.name
    sizes = [size for size in x.shape[1:] if size is not None]
    return graph.reshape(source, [None, math.prod(sizes) if len(sizes) == axes - 1 else None])


def reshape(graph: OnnxGraph, layer: Reshape, x: Value) -> str:
    """Reshape."""
    return graph.reshape(x.name, [None, *(None if size == -1 else size for size in layer.target_shape)])


def permute(graph: OnnxGraph, layer: Permute, x: Value) -> str:
    """Transpose."""
    return graph.transpose(x.name, (0, *layer.dims))


def repeat(graph: OnnxGraph, layer: RepeatVector, x: Value) -> str:
    """Unsqueeze, Expand."""
    return graph.emit("Expand", graph.insert_axes(x.name, [1]), graph.constant([1, layer.n, 1]))


def pad(graph: OnnxGraph, layer: ZeroPadding2D, x: Value) -> str:
    """Pad."""
    before, after = zip(*layer.sides)
    return graph.emit("Pad", x.name, graph.constant([*before, *after]))


def crop(graph: OnnxGraph, layer: Cropping2D, x: Value) -> str:
    """Slice."""
    before, after = zip(*layer.sides)
    ends = [-size if size else _END for size in after]
    return graph.emit("Slice", x.name, graph.constant(before), graph.constant(ends))


CONVERTERS: dict[type, Converter] = {
    Flatten: flatten,
    Reshape: reshape,
    Permute: permute,
    RepeatVector: repeat,
    ZeroPadding2D: pad,
    Cropping2D: crop,
}
