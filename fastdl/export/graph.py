"""An ONNX graph as it grows, and the way through a model that makes it grow."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from .. import nested
from ..layers.base import Array, Layer, Shape
from ..layers.embedding import Embedding
from ..layers.graph import Graph

Names: TypeAlias = str | list[str]


@dataclass(frozen=True)
class Value:
    """An array that will be there when the graph runs.

    Attributes
    ----------
    name : str
        Of the input or of the node's output that it is.
    shape : tuple of int or None
        None where an axis may have any length, as the first one, the batch.
    dtype : dtype
    """

    name: str
    shape: Shape
    dtype: np.dtype[Any]


Converter: TypeAlias = Callable[["OnnxGraph", Any, Any], Names]
"""Adds the nodes of a layer that is given a `Value` or a list of them; returns the names of its outputs."""


class OnnxGraph:
    """Nodes and arrays, and what is known about the arrays in between.

    Parameters
    ----------
    converters : dict of class to Converter
        For each class of layers that can be converted.
    """

    def __init__(self, converters: Mapping[type, Converter]) -> None:
        self.nodes: list[Any] = []
        self.arrays: dict[str, Array] = {}
        self._converters = converters
        self._scope: tuple[str, ...] = ()
        self._taken: set[str] = set()
        self._weights: dict[tuple[Layer, str], str] = {}
        self._transposed: dict[str, tuple[str, tuple[int, ...]]] = {}

    # -- nodes and arrays --------------------------------------------------------------------------

    def new_name(self, wish: str) -> str:
        """Return a name that nothing has: the wish, with a number if that is taken."""
        name, number = wish, 1
        while name in self._taken:
            name, number = f"{wish}_{number}", number + 1
        self._taken.add(name)
        return name

    @contextmanager
    def scope(self, layer: Layer) -> Iterator[None]:
        """Put the name of a layer before those of what is added."""
        outer, self._scope = self._scope, (*self._scope, layer.name)
        yield
        self._scope = outer

    def emit(self, operator: str, *inputs: str, **attributes: Any) -> str:
        """Add a node, and return the name of its output."""
        return self.emit_several(operator, 1, *inputs, **attributes)[0]

    def emit_several(self, operator: str, count: int, *inputs: str, **attributes: Any) -> list[str]:
        """Add a node of several outputs, and return their names."""
        from onnx import helper

        name = self.new_name("/".join([*self._scope, operator]))
        outputs = [name, *(self.new_name(f"{name}:{place}") for place in range(1, count))]
        self.nodes.append(helper.make_node(operator, inputs, outputs, name, **attributes))
        return outputs

    def constant(self, values: Any, dtype: Any = np.int64) -> str:
        """Return the name of an array; by default of integers, such as axes and sizes."""
        array = np.asarray(values, dtype)
        name = self.new_name("/".join([*self._scope, "constant"]))
        self.arrays[name] = array
        return name

    def weight(self, layer: Layer, name: str, array: Array) -> str:
        """Return the name of an array that belongs to a layer, the same each time the layer is used."""
        if (layer, name) not in self._weights:
            self._weights[layer, name] = self.new_name("/".join([*self._scope, name]))
            self.arrays[self._weights[layer, name]] = np.ascontiguousarray(array)
        return self._weights[layer, name]

    # -- small things that many layers need --------------------------------------------------------

    def transpose(self, x: str, axes: Sequence[int]) -> str:
        """Return `x` with its axes in another order. What one transposition does, the next can undo."""
        source, before = self._transposed.get(x, (x, tuple(range(len(axes)))))
        together = tuple(before[axis] for axis in axes)
        if together == tuple(range(len(axes))):
            return source
        y = self.emit("Transpose", source, perm=together)
        self._transposed[y] = source, together
        return y

    def moved(self, x: str, ndim: int, source: int, target: int) -> str:
        """Return `x`, of `ndim` axes, with one of them in another place."""
        axes = [axis for axis in range(ndim) if axis != source]
        return self.transpose(x, [*axes[:target], source, *axes[target:]])

    def before_transposition(self, x: str) -> tuple[str, Callable[[str], str]]:
        """Return what `x` is a transposition of, and how to transpose what is made of that.

        What changes each element by itself may so go first, and leave the transposition for the next to undo.
        """
        source, axes = self._transposed.get(x, (x, ()))
        return source, lambda y: self.transpose(y, axes) if axes else y

    def reshape(self, x: str, sizes: Sequence[int | None]) -> str:
        """Return `x` in another shape, of which the first size is that of `x` and one more may be open."""
        return self.emit("Reshape", x, self.constant([0, *(-1 if n is None else n for n in sizes[1:])]))

    def insert_axes(self, x: str, axes: Sequence[int]) -> str:
        """Return `x` with axes of size 1 in these places."""
        return self.emit("Unsqueeze", x, self.constant(list(axes))) if axes else x

    def cast(self, x: Value, dtype: np.dtype[Any]) -> Value:
        """Return the value as one of another dtype."""
        if x.dtype == dtype:
            return x
        return Value(self.emit("Cast", x.name, to=onnx_type(dtype)), x.shape, dtype)

    # -- layers ------------------------------------------------------------------------------------

    def apply(self, layer: Layer, x: Any) -> Any:
        """Add the nodes of a layer, or of a graph of layers, and return its output or list of outputs.

        Raises
        ------
        ValueError
            If it has no form in ONNX.
        """
        if isinstance(layer, Graph) and type(layer).call is Graph.call:
            return self._apply_graph(layer, x)
        if layer.makes_mask:
            raise ValueError(f"export: layer {layer.name!r} makes a mask, which has no form in ONNX")
        convert = self._converters.get(type(layer))
        if convert is None:
            raise ValueError(
                f"export: layer {layer.name!r} is a {type(layer).__name__}, which has no form in ONNX"
            )
        with self.scope(layer):
            if not isinstance(layer, Embedding):
                x = nested.apply(lambda value: self.cast(value, layer.dtype), x)
            names = convert(self, layer, x)
        shapes = layer.compute_output_shape(nested.apply(lambda value: value.shape, x))
        if isinstance(names, str):
            return Value(names, shapes, layer.dtype)
        return [Value(name, shape, layer.dtype) for name, shape in zip(names, shapes)]

    def _apply_graph(self, graph: Graph, x: Any) -> Any:
        values = dict(zip(graph.inputs, nested.parts(x)))
        with self.scope(graph):
            for call in graph.calls:
                if call.training:
                    raise ValueError(
                        f"export: layer {call.layer.name!r} is called with training=True, which has no form"
                        " in ONNX"
                    )
                if call.mask is not None:
                    raise ValueError(
                        f"export: layer {call.layer.name!r} is called with a mask, which has no form in ONNX"
                    )
                y = self.apply(call.layer, nested.apply(values.__getitem__, call.inputs))
                for tensor, value in zip(nested.parts(call.outputs), nested.parts(y)):
                    values.setdefault(tensor, value)  # what is given as an input is not computed, too
        return nested.apply(values.__getitem__, graph.output)

    def finish(self, x: Value, name: str) -> Value:
        """Return the value under the name of one of the graph's outputs."""
        from onnx import helper

        self.nodes.append(helper.make_node("Identity", [x.name], [name], name))
        return Value(name, x.shape, x.dtype)

    def prune(self, outputs: Sequence[str]) -> None:
        """Leave out the nodes and arrays that the outputs do not need."""
        needed = set(outputs)
        for node in reversed(self.nodes):
            if needed.intersection(node.output):
                needed.update(node.input)
        self.nodes = [node for node in self.nodes if needed.intersection(node.output)]
        self.arrays = {name: array for name, array in self.arrays.items() if name in needed}


def onnx_type(dtype: np.dtype[Any]) -> int:
    """Return ONNX's number for a dtype."""
    from onnx import helper

    return helper.np_dtype_to_tensor_dtype(dtype)
