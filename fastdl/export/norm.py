"""Normalisation in ONNX."""

from __future__ import annotations

import numpy as np

from ..layers.norm import (
    BatchNormalization,
    GroupNormalization,
    InstanceNormalization,
    LayerNormalization,
)
from ..shapes_norm import normalised_axes
from .graph import Converter, OnnxGraph, Value


def batch_norm(graph: OnnxGraph, layer: BatchNormalization, x: Value) -> str:
    """BatchNormalization, with the channels in the place that it wants."""
    axes, axis = len(x.shape), layer.axis % len(x.shape)
    mean, variance = (layer.state[name] for name in ("moving_mean", "moving_variance"))
    gamma = layer.params.get("gamma", np.ones_like(mean))
    beta = layer.params.get("beta", np.zeros_like(mean))
    arrays = {"gamma": gamma, "beta": beta, "moving_mean": mean, "moving_variance": variance}
    y = graph.emit(
        "BatchNormalization",
        graph.moved(x.name, axes, axis, 1),
        *(graph.weight(layer, name, array) for name, array in arrays.items()),
        epsilon=layer.epsilon,
    )
    return graph.moved(y, axes, 1, axis)


def layer_norm(graph: OnnxGraph, layer: LayerNormalization, x: Value) -> str:
    """LayerNormalization, with what is normalised together at the end."""
    axes = normalised_axes(layer.name, layer.axis, x.shape)
    order = [axis for axis in range(len(x.shape)) if axis not in axes] + list(axes)
    weights = dict(layer.params)
    if not layer.scale:  # the operator always has one
        weights = {"gamma": np.ones([x.shape[axis] or 1 for axis in axes], layer.dtype), **weights}
    y = graph.emit(
        "LayerNormalization",
        graph.transpose(x.name, order),
        *(graph.weight(layer, name, array) for name, array in weights.items()),
        axis=-len(axes),
        epsilon=layer.epsilon,
    )
    return graph.transpose(y, [int(place) for place in np.argsort(order)])


def group_norm(graph: OnnxGraph, layer: GroupNormalization | InstanceNormalization, x: Value) -> str:
    """InstanceNormalization of groups that are made one channel each, then gamma and beta."""
    axes, axis = len(x.shape), layer.axis % len(x.shape)
    groups = layer.arguments.get("groups", x.shape[axis])
    first = graph.moved(x.name, axes, axis, 1)
    alone = graph.emit(
        "InstanceNormalization",
        graph.emit("Reshape", first, graph.constant([0, groups, -1])),
        graph.constant(np.ones(groups), layer.dtype),
        graph.constant(np.zeros(groups), layer.dtype),
        epsilon=layer.epsilon,
    )
    y = graph.emit("Reshape", alone, graph.emit("Shape", first))
    sizes = [-1, *[1] * (axes - 2)]
    for operator, name in (("Mul", "gamma"), ("Add", "beta")):
        if name in layer.params:
            y = graph.emit(operator, y, graph.weight(layer, name, layer.params[name].reshape(sizes)))
    return graph.moved(y, axes, 1, axis)


CONVERTERS: dict[type, Converter] = {
    BatchNormalization: batch_norm,
    LayerNormalization: layer_norm,
    GroupNormalization: group_norm,
    InstanceNormalization: group_norm,
}
