"""Layers around a layer in ONNX."""

from __future__ import annotations

from typing import Any

from .. import nested
from ..layers.wrappers import Bidirectional, TimeDistributed
from .graph import Converter, Names, OnnxGraph, Value
from .recurrent import run


def bidirectional(graph: OnnxGraph, layer: Bidirectional, given: Any) -> Names:
    """Both directions, what merges their outputs, and their states."""
    x, *starts = nested.parts(given)
    ends, states = [], []
    for side in layer.directions:
        own = starts[: side.states]
        del starts[: side.states]
        with graph.scope(side):
            inputs = [graph.cast(value, side.dtype) for value in (x, *own)]
            sequence, last = run(graph, side, inputs[0], inputs[1:])
        ends.append(sequence if side.return_sequences else last[0])
        states += last
    merged = ends if layer.merge_mode is None else [_merged(graph, layer, ends)]
    whole = merged + (states if layer.return_state else [])
    return whole if len(whole) > 1 else whole[0]


def _merged(graph: OnnxGraph, layer: Bidirectional, ends: list[str]) -> str:
    if layer.merge_mode == "concat":
        return graph.emit("Concat", *ends, axis=-1)
    y = graph.emit("Mul" if layer.merge_mode == "mul" else "Add", *ends)
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
