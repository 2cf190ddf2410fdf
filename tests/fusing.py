"""Layers that go together, and those that come behind them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from fastdl import Input, Sequential, layers
from fastdl.layers import (
    ELU,
    Activation,
    BatchNormalization,
    Conv2D,
    Conv2DTranspose,
    Dense,
    DepthwiseConv2D,
    Layer,
    LeakyReLU,
    ReLU,
    SeparableConv2D,
)

FIRST = {"data_format": "channels_first"}
HEADS: list[tuple[Callable[[], Layer], tuple[int, ...], int]] = [
    (lambda: Dense(7), (12,), -1),
    (lambda: Dense(7, use_bias=False), (3, 12), -1),
    (lambda: layers.Conv1D(5, 3, padding="causal"), (9, 4), -1),
    (lambda: layers.Conv1D(5, 3, **FIRST), (4, 9), 1),
    (lambda: Conv2D(6, 3, padding="same"), (8, 7, 4), -1),
    (lambda: Conv2D(6, 3, strides=2, use_bias=False), (8, 7, 4), 3),
    (lambda: Conv2D(6, (3, 1), groups=2, **FIRST), (4, 8, 7), 1),
    (lambda: layers.Conv3D(3, 2), (4, 3, 5, 2), -1),
    (lambda: layers.Conv3D(3, 2, **FIRST), (2, 4, 3, 5), 1),
    (lambda: layers.Conv1DTranspose(3, 4, strides=2), (5, 2), -1),
    (lambda: Conv2DTranspose(3, 4, strides=2, padding="same"), (5, 4, 2), -1),
    (lambda: Conv2DTranspose(3, 3, **FIRST), (2, 5, 4), 1),
    (lambda: layers.Conv3DTranspose(3, 2, strides=2), (3, 2, 2, 2), -1),
    (lambda: DepthwiseConv2D(3, depth_multiplier=2), (8, 7, 4), -1),
    (lambda: DepthwiseConv2D(3, **FIRST), (4, 8, 7), -3),
    (lambda: SeparableConv2D(6, 3), (8, 7, 4), -1),
    (lambda: SeparableConv2D(6, 3, padding="same", **FIRST), (4, 8, 7), 1),
]
AFTER: list[Callable[[], Layer]] = [
    ReLU,
    lambda: ReLU(negative_slope=0.25),
    lambda: ReLU(max_value=1.5),
    lambda: LeakyReLU(0.4),
    lambda: ELU(0.7),
    lambda: Activation("tanh"),
    lambda: Activation("swish"),
]


def filled(model: Sequential) -> Sequential:
    """The model with weights that leave no part of the arithmetic out."""
    rng = np.random.default_rng(1)
    for name, weight in model.named_weights().items():
        weight[...] = rng.normal(size=weight.shape)
        if name.endswith("variance"):
            weight[...] = rng.uniform(0.5, 2, weight.shape)
    return model


def parts(head: Callable[[], Layer], shape: tuple[int, ...], axis: int, *more: Layer) -> Sequential:
    return filled(Sequential([Input(shape), head(), BatchNormalization(axis=axis), *more]))


class Clipped(ReLU):
    def call(self, x: np.ndarray) -> np.ndarray:
        return np.minimum(super().call(x), 1)
