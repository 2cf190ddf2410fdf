"""ONNX operators in terms of `fastdl.functional`: what every attribute means, and a tiny interpreter.

The names of the attributes and their defaults are those of https://onnx.ai/onnx/operators/.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from . import normalization, pooling
from .calls import Array, Result, call

REASON = "ONNX's test cases need the onnx package"
helper = pytest.importorskip("onnx.helper", reason=REASON)
numpy_helper = pytest.importorskip("onnx.numpy_helper", reason=REASON)


@dataclass(frozen=True)
class Spatial:
    """The attributes that convolutions and poolings share, defaults filled in, one entry an axis."""

    length: Sequence[int]
    kernel: Sequence[int]
    strides: Sequence[int]
    dilations: Sequence[int]
    pads: list[tuple[int, int]]
    auto_pad: str
    ceil_mode: bool

    @classmethod
    def read(cls, x: Array, kernel: Sequence[int], attributes: dict[str, Any]) -> Spatial:
        axes = len(kernel)
        pads = attributes.get("pads", [0] * 2 * axes)
        return cls(
            length=x.shape[2:],
            kernel=kernel,
            strides=attributes.get("strides", [1] * axes),
            dilations=attributes.get("dilations", [1] * axes),
            pads=list(zip(pads[:axes], pads[axes:])),
            auto_pad=attributes.get("auto_pad", "NOTSET"),
            ceil_mode=bool(attributes.get("ceil_mode", 0)),
        )

    def extents(self) -> list[int]:
        """Return the lengths that the dilated kernel covers."""
        return [(k - 1) * d + 1 for k, d in zip(self.kernel, self.dilations)]

    def split(self, total: int) -> tuple[int, int]:
        """Share padding among both sides, the odd one at the end (SAME_UPPER) or at the start."""
        small, large = total // 2, total - total // 2
        return (small, large) if self.auto_pad == "SAME_UPPER" else (large, small)

    def forward_pads(self) -> list[tuple[int, int]]:
        """Return the (before, after) padding of a convolution or a pooling."""
        if self.auto_pad == "NOTSET":
            return self.pads
        if self.auto_pad == "VALID":
            return [(0, 0)] * len(self.kernel)
        axes = zip(self.length, self.strides, self.extents())
        return [self.split(max(0, (-(-n // s) - 1) * s + e - n)) for n, s, e in axes]

    def windows(self) -> list[pooling.Window]:
        """Place the windows of a pooling."""
        axes = zip(self.length, self.kernel, self.strides, self.dilations, self.forward_pads())
        return [pooling.Window.place(n, k, s, d, *pads, self.ceil_mode) for n, k, s, d, pads in axes]


def conv(attributes: dict[str, Any], layout: str, x: Array, w: Array, b: Array | None = None) -> list[Array]:
    spatial = Spatial.read(x, w.shape[2:], attributes)
    result = call(
        f"conv{w.ndim - 2}d", x, w, b,
        layout=layout,
        stride=tuple(spatial.strides),
        padding=tuple(spatial.forward_pads()),
        dilation=tuple(spatial.dilations),
        groups=attributes.get("group", 1),
    )  # fmt: skip
    return [result.y]


def conv_transpose(
    attributes: dict[str, Any], layout: str, x: Array, w: Array, b: Array | None = None
) -> list[Array]:
    spatial = Spatial.read(x, w.shape[2:], attributes)
    pads = spatial.pads
    extra = attributes.get("output_padding", [0] * (w.ndim - 2))
    wanted = attributes.get("output_shape")
    if wanted is None and spatial.auto_pad.startswith("SAME"):
        wanted = [n * s for n, s in zip(spatial.length, spatial.strides)]
    if wanted is not None:
        # A size asked for is reached by cropping; where that is not enough, by the zeros of output_padding.
        full = [(n - 1) * s + e for n, s, e in zip(spatial.length, spatial.strides, spatial.extents())]
        pads = [spatial.split(max(0, f + o - size)) for f, o, size in zip(full, extra, wanted)]
        extra = [size - f + sum(pad) for size, f, pad in zip(wanted, full, pads)]
    result = call(
        f"conv_transpose{w.ndim - 2}d", x, w, b,
        layout=layout,
        stride=tuple(spatial.strides),
        padding=tuple(pads),
        output_padding=tuple(extra),
        dilation=tuple(spatial.dilations),
        groups=attributes.get("group", 1),
    )  # fmt: skip
    return [result.y]


def window_pool(op: str, x: Array, spatial: Spatial, layout: str, **options: Any) -> Result | None:
    """Pool in one call of fastdl, or return None where its arguments cannot say what is wanted."""
    if any(w.dilation > 1 or max(w.before, w.after) >= w.size for w in spatial.windows()):
        return None
    return call(
        op, x,
        layout=layout,
        size=tuple(spatial.kernel),
        stride=tuple(spatial.strides),
        padding=tuple(spatial.forward_pads()),
        ceil_mode=spatial.ceil_mode,
        **options,
    )  # fmt: skip


def max_pool(attributes: dict[str, Any], layout: str, x: Array) -> list[Array]:
    op = f"max_pool{x.ndim - 2}d"
    spatial = Spatial.read(x, attributes["kernel_shape"], attributes)
    # fastdl pools floating point; every uint8 is a float32.
    values = x if x.dtype.kind == "f" else x.astype(np.float32)
    result = window_pool(op, values, spatial, layout)
    if result is None:
        result = pooling.lattice_pool(op, values, spatial.windows(), fill=-np.inf, layout=layout)
    indices = max_indices(result.taps, spatial.windows(), attributes.get("storage_order", 0))
    return [result.y.astype(x.dtype), indices]


def max_indices(taps: Array, windows: Sequence[pooling.Window], storage_order: int) -> Array:
    """ONNX's second output: offsets into the whole of x, each channel row-major (0) or column-major (1)."""
    lengths = [w.length for w in windows]
    before = [math.prod(lengths[:i]) for i in range(len(lengths))]
    after = [math.prod(lengths[i + 1 :]) for i in range(len(lengths))]
    inside = pooling.flat_indices(taps, windows, before if storage_order else after)
    channel = np.arange(math.prod(taps.shape[:2])).reshape(taps.shape[:2] + (1,) * len(windows))
    return inside + channel * math.prod(lengths)


def average_pool(attributes: dict[str, Any], layout: str, x: Array) -> list[Array]:
    op = f"avg_pool{x.ndim - 2}d"
    spatial = Spatial.read(x, attributes["kernel_shape"], attributes)
    include = bool(attributes.get("count_include_pad", 0))
    result = window_pool(op, x, spatial, layout, count_include_pad=include)
    if result is None:
        whole = pooling.lattice_pool(op, x, spatial.windows(), fill=0.0, layout=layout)
        counts = pooling.divisors(spatial.windows(), include)
        result = pooling.rescaled(whole, math.prod(spatial.kernel), counts)
    return [result.y]


def global_pool(op: str) -> Callable[..., list[Array]]:
    def run(attributes: dict[str, Any], layout: str, x: Array) -> list[Array]:
        y = call(op, x, layout=layout).y
        return [y.reshape(*y.shape[:2], 1, 1)]

    return run


OPERATORS: dict[str, Callable[..., list[Array]]] = {
    "Conv": conv,
    "ConvTranspose": conv_transpose,
    "MaxPool": max_pool,
    "AveragePool": average_pool,
    "GlobalAveragePool": global_pool("global_avg_pool2d"),
    "GlobalMaxPool": global_pool("global_max_pool2d"),
    **normalization.OPERATORS,
    # Recorded models of one-dimensional pooling wrap it in these.
    "Unsqueeze": lambda attributes, layout, x: [np.expand_dims(x, tuple(attributes["axes"]))],
    "Squeeze": lambda attributes, layout, x: [np.squeeze(x, tuple(attributes["axes"]))],
}


def run_model(model: Any, inputs: Sequence[Array], layout: str, dtype: type | None = None) -> list[Array]:
    """Run an ONNX model node by node.

    Parameters
    ----------
    model : onnx.ModelProto
        A graph over `OPERATORS`; anything else is a KeyError.
    inputs : sequence of ndarray
        One for each graph input that the model does not initialise itself.
    layout : {"NCHW", "NHWC"}
        The layout in which fastdl computes.
    dtype : type, optional
        When given, every input and weight enters as its absolute value in this dtype: the error bound of
        a linear model follows from that.
    """
    graph = model.graph
    values = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    fed = [value.name for value in graph.input if value.name not in values]
    values.update(zip(fed, inputs, strict=True))
    if dtype is not None:
        values = {name: np.abs(value.astype(dtype)) for name, value in values.items()}
    for node in graph.node:
        attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        attributes = {name: v.decode() if isinstance(v, bytes) else v for name, v in attributes.items()}
        outputs = OPERATORS[node.op_type](attributes, layout, *(values[name] for name in node.input))
        # A node names only the outputs it wants, MaxPool's indices for one.
        values.update(zip(node.output, outputs, strict=False))
    return [values[output.name] for output in graph.output]


def longest_sum(model: Any, inputs: Sequence[Array]) -> int:
    """The number of terms in the longest sum of any node; 0 where the result must be exact."""
    shapes = {tensor.name: tuple(tensor.dims) for tensor in model.graph.initializer}
    fed = [value.name for value in model.graph.input if value.name not in shapes]
    shapes.update((name, value.shape) for name, value in zip(fed, inputs, strict=True))

    def terms(node: Any) -> int:
        attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        if node.op_type == "Conv":
            return math.prod(shapes[node.input[1]][1:]) + 1
        if node.op_type == "ConvTranspose":
            channels, _, *kernel = shapes[node.input[1]]
            return channels // attributes.get("group", 1) * math.prod(kernel) + 1
        if node.op_type == "AveragePool":
            return math.prod(attributes["kernel_shape"]) + 3  # the division, and `pooling.rescaled`
        if node.op_type == "GlobalAveragePool":
            return math.prod(shapes[node.input[0]][2:]) + 1
        return 0

    return max(map(terms, model.graph.node))
