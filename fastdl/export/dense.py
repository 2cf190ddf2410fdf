"""The dense layer in ONNX, and what it shares with convolution."""

from __future__ import annotations

from ..layers.affine import Affine
from ..layers.dense import Dense
from ..layers.pointwise import resolve_activation
from .graph import Converter, OnnxGraph, Value
from .pointwise import activate


def bias(graph: OnnxGraph, layer: Affine) -> list[str]:
    """Return the name of a layer's bias, or nothing."""
    return [graph.weight(layer, name, array) for name, array in layer.params.items() if name == "bias"]


def dense(graph: OnnxGraph, layer: Dense, x: Value) -> str:
    """MatMul, Add."""
    y = graph.emit("MatMul", x.name, graph.weight(layer, "kernel", layer.params["kernel"]))
    for name in bias(graph, layer):
        y = graph.emit("Add", y, name)
    return activate(graph, resolve_activation(layer, layer.activation), y)


CONVERTERS: dict[type, Converter] = {Dense: dense}
