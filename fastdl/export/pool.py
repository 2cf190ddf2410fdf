"""Pooling and upsampling in ONNX."""

from __future__ import annotations

from typing import Any

from ..layers import pool
from .graph import Converter, OnnxGraph, Value


def max_pool(graph: OnnxGraph, layer: Any, x: Value) -> str:
    """MaxPool."""
    return _pooled(graph, layer, x, "MaxPool")


def average_pool(graph: OnnxGraph, layer: Any, x: Value) -> str:
    """AveragePool, of what lies inside the border."""
    return _pooled(graph, layer, x, "AveragePool", count_include_pad=0)


def _pooled(graph: OnnxGraph, layer: Any, x: Value, operator: str, **attributes: Any) -> str:
    axes, last = layer.ndim + 2, layer.data_format == "channels_last"
    y = graph.emit(
        operator,
        graph.moved(x.name, axes, axes - 1, 1) if last else x.name,
        kernel_shape=layer.pool_size,
        strides=layer.strides,
        auto_pad="SAME_UPPER" if layer.padding == "same" else "VALID",
        **attributes,
    )
    return graph.moved(y, axes, 1, axes - 1) if last else y


def global_max(graph: OnnxGraph, layer: Any, x: Value) -> str:
    """ReduceMax over the axes of the image."""
    return _reduced(graph, layer, x, "ReduceMax")


def global_average(graph: OnnxGraph, layer: Any, x: Value) -> str:
    """ReduceMean over the axes of the image."""
    return _reduced(graph, layer, x, "ReduceMean")


def _reduced(graph: OnnxGraph, layer: Any, x: Value, operator: str) -> str:
    first = 1 if layer.data_format == "channels_last" else 2
    axes = range(first, first + layer.ndim)
    return graph.emit(operator, x.name, axes=axes, keepdims=int(layer.keepdims))


def upsampling(graph: OnnxGraph, layer: pool.UpSampling2D, x: Value) -> str:
    """Resize; what lies between two pixels is seen from their centres."""
    last = layer.data_format == "channels_last"
    bilinear = layer.interpolation == "bilinear"
    y = graph.emit(
        "Resize",
        graph.moved(x.name, 4, 3, 1) if last else x.name,
        "",
        graph.constant([1, 1, *layer.size], "float32"),
        mode="linear" if bilinear else "nearest",
        coordinate_transformation_mode="half_pixel" if bilinear else "asymmetric",
        nearest_mode="floor",
    )
    return graph.moved(y, 4, 1, 3) if last else y


CONVERTERS: dict[type, Converter] = {
    **dict.fromkeys((pool.MaxPooling1D, pool.MaxPooling2D, pool.MaxPooling3D), max_pool),
    **dict.fromkeys((pool.AveragePooling1D, pool.AveragePooling2D, pool.AveragePooling3D), average_pool),
    **dict.fromkeys((pool.GlobalMaxPooling1D, pool.GlobalMaxPooling2D, pool.GlobalMaxPooling3D), global_max),
    **dict.fromkeys(
        (pool.GlobalAveragePooling1D, pool.GlobalAveragePooling2D, pool.GlobalAveragePooling3D),
        global_average,
    ),
    pool.UpSampling2D: upsampling,
}
