"""Layers of several inputs in ONNX."""

from __future__ import annotations

import string
from collections.abc import Callable, Sequence

from ..layers import merge
from .graph import Converter, OnnxGraph, Value


def _wide(graph: OnnxGraph, x: Sequence[Value]) -> list[str]:
    """Return the inputs with as many axes each: those that are missing stand behind the batch."""
    axes = max(len(value.shape) for value in x)
    return [graph.insert_axes(value.name, range(1, 1 + axes - len(value.shape))) for value in x]


def _elementwise(operator: str) -> Callable[[OnnxGraph, merge.Elementwise, Sequence[Value]], str]:
    """Return the converter of a layer that is one operator of all inputs, or of two and two."""

    def convert(graph: OnnxGraph, layer: merge.Elementwise, x: Sequence[Value]) -> str:
        y, *others = _wide(graph, x)
        for other in others:
            y = graph.emit(operator, y, other)
        return y

    return convert


_add = _elementwise("Add")


def average(graph: OnnxGraph, layer: merge.Average, x: Sequence[Value]) -> str:
    """Add, Div."""
    return graph.emit("Div", _add(graph, layer, x), graph.constant(len(x), layer.dtype))


def concatenate(graph: OnnxGraph, layer: merge.Concatenate, x: Sequence[Value]) -> str:
    """Concat."""
    return graph.emit("Concat", *(value.name for value in x), axis=layer.axis)


def dot(graph: OnnxGraph, layer: merge.Dot, x: Sequence[Value]) -> str:
    """Einsum, of vectors that may be divided by their lengths first."""
    given = (layer.axes, layer.axes) if isinstance(layer.axes, int) else layer.axes
    axes = [axis % len(value.shape) for axis, value in zip(given, x)]
    factors = [
        _unit(graph, layer, value.name, axis) if layer.normalize else value.name
        for axis, value in zip(axes, x)
    ]
    letters = iter(string.ascii_lowercase)
    batch, shared = next(letters), next(letters)
    terms = []
    for axis, value in zip(axes, x):
        own = {0: batch, axis: shared}
        terms.append("".join(own.get(place) or next(letters) for place in range(len(value.shape))))
    result = batch + "".join(terms).translate({ord(batch): None, ord(shared): None})
    y = graph.emit("Einsum", *factors, equation=f"{','.join(terms)}->{result}")
    return y if len(result) > 1 else graph.insert_axes(y, [1])


def _unit(graph: OnnxGraph, layer: merge.Dot, x: str, axis: int) -> str:
    square = graph.emit("ReduceSum", graph.emit("Mul", x, x), graph.constant([axis]), keepdims=1)
    least = graph.constant(merge.LEAST_SQUARE, layer.dtype)
    return graph.emit("Div", x, graph.emit("Sqrt", graph.emit("Max", square, least)))


CONVERTERS: dict[type, Converter] = {
    merge.Add: _add,
    merge.Subtract: _elementwise("Sub"),
    merge.Multiply: _elementwise("Mul"),
    merge.Maximum: _elementwise("Max"),
    merge.Minimum: _elementwise("Min"),
    merge.Average: average,
    merge.Concatenate: concatenate,
    merge.Dot: dot,
}
