"""A whole model as an ONNX file."""

from __future__ import annotations

from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import archive, checks, nested
from ..layers.base import Layer
from ..layers.embedding import Embedding
from ..layers.graph import Graph
from . import conv, dense, embedding, merge, norm, pointwise, pool, recurrent, structure, wrappers
from .graph import OnnxGraph, Value, onnx_type

if TYPE_CHECKING:
    from ..portable import Portable

# The first version that has LayerNormalization, and the file format of its time: what reads ONNX reads these.
_OPSET, _IR_VERSION = 17, 8

_FAMILIES = (conv, dense, embedding, merge, norm, pointwise, pool, recurrent, structure, wrappers)


def export_onnx(model: Portable, filepath: str | PathLike[str], format: str = "onnx") -> None:
    """Write a model as an ONNX file; see `Portable.export`."""
    checks.one_of("export", "format", format, ("onnx",))
    if not model.built:
        raise ValueError(f"export: {model.name} has no weights yet; build it or run it once")
    try:
        import onnx
    except ImportError:
        raise ImportError("export needs the package onnx: pip install fastdl[onnx]") from None
    exported = _converted(model)
    onnx.checker.check_model(exported, full_check=True)
    archive.write_whole(Path(filepath), lambda file: file.write(exported.SerializeToString()))


def _converted(model: Portable) -> Any:
    from onnx import helper, numpy_helper

    graph = OnnxGraph({cls: convert for family in _FAMILIES for cls, convert in family.CONVERTERS.items()})
    inputs = [
        Value(graph.new_name(name), tensor.shape, _dtype_taken(model, place))
        for place, (name, tensor) in enumerate(zip(model.input_names, model.inputs))
    ]
    names = [graph.new_name(name) for name in model.output_names]
    computed = nested.parts(graph.apply(model, nested.rebuild(model.input, inputs)))
    outputs = [graph.finish(value, name) for value, name in zip(computed, names)]
    graph.prune(names)
    return helper.make_model(
        helper.make_graph(
            graph.nodes,
            model.name,
            [_described(value) for value in inputs],
            [_described(value) for value in outputs],
            [numpy_helper.from_array(array, name) for name, array in graph.arrays.items()],
        ),
        opset_imports=[helper.make_opsetid("", _OPSET)],
        ir_version=_IR_VERSION,
        producer_name="fastdl",
    )


def _described(value: Value) -> Any:
    """Return what a file says of an input or an output; axes whose length is open have names."""
    from onnx import helper

    sizes = [f"{value.name}_{axis}" if n is None else n for axis, n in enumerate(value.shape)]
    return helper.make_tensor_value_info(value.name, onnx_type(value.dtype), ["batch", *sizes[1:]])


def _dtype_taken(layer: Layer, place: int = 0) -> np.dtype[Any]:
    """Return what a layer's input at this place holds; of a model what was said, or what reads it takes."""
    if isinstance(layer, Embedding):
        return np.dtype(np.int64)
    if isinstance(layer, Graph):
        tensor = layer.inputs[place]
        given = getattr(tensor, "dtype", None)
        if given is not None:
            return given
        for call in layer.calls:
            read = nested.parts(call.inputs)
            if tensor in read:
                return _dtype_taken(call.layer, read.index(tensor))
    return layer.dtype
