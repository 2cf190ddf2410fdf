"""ONNX's normalisations in terms of `fastdl.functional`, and how far two results may be apart."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import fastdl.functional as F

from .bounds import gamma
from .calls import Array, call, channels_first, channels_last

EPSILON = 1e-5  # ONNX's default


def batch(
    attributes: dict[str, Any], layout: str, x: Array, scale: Array, b: Array, mean: Array, var: Array
) -> list[Array]:
    last = layout == "NHWC"
    training = bool(attributes.get("training_mode", 0))
    y, ctx = F.batch_norm_forward(
        channels_last(x, "x") if last else x, scale, b, mean, var,
        training=training, eps=attributes.get("epsilon", EPSILON), axis=-1 if last else 1,
    )  # fmt: skip
    momentum = np.float32(attributes.get("momentum", 0.9))
    moved = [momentum * old + (1 - momentum) * new for old, new in ((mean, ctx.mean), (var, ctx.var))]
    return [channels_first(y, "x") if last else y, *(moved if training else ())]


def instance(attributes: dict[str, Any], layout: str, x: Array, scale: Array, b: Array) -> list[Array]:
    return [call("instance_norm", x, scale, b, layout=layout, eps=attributes.get("epsilon", EPSILON)).y]


def group(attributes: dict[str, Any], layout: str, x: Array, scale: Array, b: Array) -> list[Array]:
    options = {"groups": attributes["num_groups"], "eps": attributes.get("epsilon", EPSILON)}
    return [call("group_norm", x, scale, b, layout=layout, **options).y]


def layer(attributes: dict[str, Any], layout: str, x: Array, scale: Array, b: Array) -> list[Array]:
    """The axes from `axis` on; further outputs are the mean and 1/sqrt(var + epsilon)."""
    eps, first = attributes.get("epsilon", EPSILON), attributes.get("axis", -1) % x.ndim
    y, ctx = F.layer_norm_forward(x, scale, b, axis=tuple(range(first, x.ndim)), eps=eps)
    rows = (*x.shape[:first], *(1,) * (x.ndim - first))
    return [y, ctx.mean.reshape(rows), (1 / np.sqrt(ctx.var + np.float32(eps))).reshape(rows)]


OPERATORS: dict[str, Callable[..., list[Array]]] = {
    "BatchNormalization": batch,
    "InstanceNormalization": instance,
    "GroupNormalization": group,
    "LayerNormalization": layer,
}


def error_bounds(x: Array, outputs: list[Array]) -> list[Array]:
    """Bound how far two float32 results may be apart.

    The mean and the variance are sums of at most as many terms as x has. What follows is eight roundings
    more, of numbers of the size of the output and of 1, which gamma and beta are near.
    """
    unit = 2 * gamma(x.size + 8, np.dtype("float32"))
    return [unit * (np.abs(y) + 1) for y in outputs]
