"""Activations in ONNX, and layers that do nothing outside training."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from numpy.typing import DTypeLike

from ..backends.constants import GELU_CUBE, GELU_SCALE, SELU_ALPHA, SELU_SCALE
from ..layers.pointwise import (
    ELU,
    Activation,
    Dropout,
    GaussianNoise,
    LeakyReLU,
    Pointwise,
    PReLU,
    ReLU,
    Softmax,
    SpatialDropout2D,
)
from ..shapes import DEFAULT_ALPHA
from .graph import Converter, OnnxGraph, Value

Kind = Callable[[OnnxGraph, str, DTypeLike], str]


def _one(operator: str, **attributes: Any) -> Kind:
    return lambda graph, x, dtype: graph.emit(operator, x, **attributes)


def _gelu(graph: OnnxGraph, x: str, dtype: DTypeLike) -> str:
    """x (1 + erf(x / √2)) / 2."""
    share = graph.emit("Erf", graph.emit("Mul", x, graph.constant(math.sqrt(0.5), dtype)))
    return _half_of_one_plus(graph, x, share, dtype)


def _gelu_tanh(graph: OnnxGraph, x: str, dtype: DTypeLike) -> str:
    """x (1 + tanh(scale x (1 + cube x²))) / 2."""
    cubic = graph.emit("Mul", graph.emit("Mul", x, x), graph.constant(GELU_CUBE, dtype))
    factor = graph.emit("Add", cubic, graph.constant(1, dtype))
    linear = graph.emit("Mul", x, graph.constant(GELU_SCALE, dtype))
    return _half_of_one_plus(graph, x, graph.emit("Tanh", graph.emit("Mul", linear, factor)), dtype)


def _half_of_one_plus(graph: OnnxGraph, x: str, share: str, dtype: DTypeLike) -> str:
    half = graph.emit("Mul", x, graph.constant(0.5, dtype))
    return graph.emit("Mul", half, graph.emit("Add", share, graph.constant(1, dtype)))


_KINDS: dict[str, Kind] = {
    "linear": lambda graph, x, dtype: x,
    "relu": _one("Relu"),
    "leaky_relu": _one("LeakyRelu", alpha=DEFAULT_ALPHA["leaky_relu"]),
    "elu": _one("Elu", alpha=DEFAULT_ALPHA["elu"]),
    "selu": _one("Selu", alpha=SELU_ALPHA, gamma=SELU_SCALE),
    "sigmoid": _one("Sigmoid"),
    "tanh": _one("Tanh"),
    "softplus": _one("Softplus"),
    "gelu": _gelu,
    "gelu_tanh": _gelu_tanh,
    "silu": lambda graph, x, dtype: graph.emit("Mul", x, graph.emit("Sigmoid", x)),
    "softmax": _one("Softmax", axis=-1),
    "log_softmax": _one("LogSoftmax", axis=-1),
}


def activate(graph: OnnxGraph, layer: Pointwise | None, x: str) -> str:
    """Return the activation of `x`; that of no layer is `x`."""
    if layer is None:
        return x
    if isinstance(layer, Softmax):
        return graph.emit("Softmax", x, axis=layer.axis)
    if layer.final_activation in ("softmax", "log_softmax"):
        return _KINDS[layer.final_activation](graph, x, layer.dtype)
    # Before the channels are moved to their place, where what comes next may move them back.
    source, moved_back = graph.before_transposition(x)
    return moved_back(_of_elements(graph, layer, source))


def _of_elements(graph: OnnxGraph, layer: Pointwise, x: str) -> str:
    if isinstance(layer, ELU):
        return graph.emit("Elu", x, alpha=layer.alpha)
    if isinstance(layer, (ReLU, LeakyReLU)):
        slope = layer.negative_slope
        y = graph.emit("LeakyRelu", x, alpha=slope) if slope else graph.emit("Relu", x)
        limit = getattr(layer, "max_value", None)
        return y if limit is None else graph.emit("Min", y, graph.constant(limit, layer.dtype))
    return _KINDS[layer.final_activation](graph, x, layer.dtype)


def pointwise(graph: OnnxGraph, layer: Pointwise, x: Value) -> str:
    """What `activate` makes."""
    return activate(graph, layer, x.name)


def prelu(graph: OnnxGraph, layer: PReLU, x: Value) -> str:
    """PRelu."""
    return graph.emit("PRelu", x.name, graph.weight(layer, "alpha", layer.params["alpha"]))


def identity(graph: OnnxGraph, layer: Any, x: Value) -> str:
    """Nothing: the layer disturbs its input in training alone."""
    return x.name


CONVERTERS: dict[type, Converter] = {
    **dict.fromkeys((Activation, ELU, LeakyReLU, ReLU, Softmax), pointwise),
    **dict.fromkeys((Dropout, GaussianNoise, SpatialDropout2D), identity),
    PReLU: prelu,
}
