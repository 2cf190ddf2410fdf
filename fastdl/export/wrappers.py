"""Layers around a layer in ONNX."""

from __future__ import annotations

from ..layers.wrappers import Bidirectional, TimeDistributed
from .graph import Converter, OnnxGraph, Value
from .recurrent import run


def bidirectional(graph: OnnxGraph, layer: Bidirectional, x: Value) -> str:
    """Both directions, and what merges their outputs."""
    sides = []
    for side in layer.directions:
        with graph.scope(side):
            sequence, last = run(graph, side, graph.cast(x, side.dtype))
        sides.append(sequence if side.return_sequences else last[0])
    if layer.merge_mode == "concat":
        return graph.emit("Concat", *sides, axis=-1)
    y = graph.emit("Mul" if layer.merge_mode == "mul" else "Add", *sides)
    return graph.emit("Div", y, graph.constant(2, layer.dtype)) if layer.merge_mode == "ave" else y


def time_distributed(graph: OnnxGraph, layer: TimeDistributed, x: Value) -> str:
    """The layer, on samples and steps as one axis."""
    _, steps, *sizes = x.shape
    inner = graph.emit("Reshape", x.name, graph.constant([-1, *_known(layer, sizes)]))
    y = graph.apply(layer.layer, Value(inner, (None, *sizes), x.dtype))
    lengths = graph.emit("Shape", x.name, start=0, end=2)
    whole = graph.emit("Concat", lengths, graph.constant(_known(layer, y.shape[1:])), axis=0)
    return graph.emit("Reshape", y.name, whole)


def _known(layer: TimeDistributed, sizes: list[int | None]) -> list[int]:
    """Return the sizes of one step, all of which have to be known."""
    if None in sizes:
        raise ValueError(
            f"export: layer {layer.name!r} takes steps of open sizes {tuple(sizes)}; ONNX needs them"
        )
    return [size for size in sizes if size is not None]


CONVERTERS: dict[type, Converter] = {Bidirectional: bidirectional, TimeDistributed: time_distributed}
