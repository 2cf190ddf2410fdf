"""Convolutions in ONNX, which wants the channels first and the kernel's channels before its window."""

from __future__ import annotations

from typing import Any

from ..checks import per_axis
from ..geometry import pads, reach
from ..layers.conv import (
    Conv1D,
    Conv1DTranspose,
    Conv2D,
    Conv2DTranspose,
    Conv3D,
    Conv3DTranspose,
    Convolution,
)
from ..layers.depthwise import DepthwiseConv2D
from ..layers.pointwise import resolve_activation
from .dense import bias
from .graph import Converter, OnnxGraph, Value
from .pointwise import activate


def conv(graph: OnnxGraph, layer: Convolution, x: Value) -> str:
    """Conv."""
    channels = -1 if layer.data_format == "channels_last" else 1
    sizes = [size for axis, size in enumerate(x.shape) if axis not in (0, channels % len(x.shape))]
    border: dict[str, Any]
    if layer.padding == "same" and None in sizes and max(layer.strides) > 1:
        border = {"auto_pad": "SAME_UPPER"}
    else:  # with stride 1 the border does not depend on the size
        known = tuple(size or 1 for size in sizes)
        extent = reach(layer.kernel_size, layer.dilation_rate)
        before, after = pads(layer.name, layer.arguments["padding"], known, extent, layer.strides)
        border = {"pads": [*before, *after]}
    return _convolve(graph, layer, x, "Conv", group=layer.arguments["groups"], **border)


def conv_transpose(graph: OnnxGraph, layer: Convolution, x: Value) -> str:
    """ConvTranspose."""
    padding = layer.arguments["padding"]
    extra = layer.arguments.get("output_padding", 0)
    if padding == "same":  # the output is `strides` times as large as the input
        spare = [e - s for e, s in zip(reach(layer.kernel_size, layer.dilation_rate), layer.strides)]
        padding = [(max(n, 0) // 2, max(n, 0) - max(n, 0) // 2) for n in spare]
        extra = [max(-n, 0) for n in spare]
    before, after = pads(layer.name, padding, layer.kernel_size, layer.kernel_size, layer.strides)
    more = per_axis(layer.name, "output_padding", extra, layer.ndim, minimum=0)
    return _convolve(graph, layer, x, "ConvTranspose", pads=[*before, *after], output_padding=more)


def _convolve(graph: OnnxGraph, layer: Convolution, x: Value, operator: str, **attributes: Any) -> str:
    kernel = layer.params["kernel"]
    if isinstance(layer, DepthwiseConv2D):  # (KH, KW, C, M): C groups of one channel
        kernel = kernel.reshape(*layer.kernel_size, 1, -1)
    kernel = kernel.transpose(layer.ndim + 1, layer.ndim, *range(layer.ndim))
    axes, last = layer.ndim + 2, layer.data_format == "channels_last"
    y = graph.emit(
        operator,
        graph.moved(x.name, axes, axes - 1, 1) if last else x.name,
        graph.weight(layer, "kernel", kernel),
        *bias(graph, layer),
        kernel_shape=layer.kernel_size,
        strides=layer.strides,
        dilations=layer.dilation_rate,
        **attributes,
    )
    y = graph.moved(y, axes, 1, axes - 1) if last else y
    return activate(graph, resolve_activation(layer, layer.activation), y)


CONVERTERS: dict[type, Converter] = {
    **dict.fromkeys((Conv1D, Conv2D, Conv3D, DepthwiseConv2D), conv),
    **dict.fromkeys((Conv1DTranspose, Conv2DTranspose, Conv3DTranspose), conv_transpose),
}
