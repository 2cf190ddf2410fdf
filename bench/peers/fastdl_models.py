"""Whole models in fastdl: the answer for a batch, and a training step."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from case import FORWARD
from fastdl.layers.rows import RowGradient
from model_cases import ModelCase, leaves, networks

from . import Call, Results


def prepare(case: ModelCase, direction: str, arrays: Results) -> Call:
    x, y = arrays
    dtype = next(array.dtype.name for array in arrays if array.dtype.kind == "f")
    model = case.network(dtype)
    if direction == FORWARD:
        return Call(lambda: model.predict_on_batch(x), lambda y: (y,))

    def read(loss: float) -> Results:
        return np.asarray(loss, dtype), *gradients(networks(model)[0])

    return Call(lambda: model.train_on_batch(x, y), read)


def gradients(network: Any) -> Iterator[np.ndarray]:
    """The gradients of a network's parameters after a step, layer by layer."""
    for leaf in leaves(network):
        for name in leaf.params:
            gradient = leaf.gradients()[name]
            if isinstance(gradient, RowGradient):
                whole = np.zeros(gradient.shape, gradient.values.dtype)
                whole[gradient.rows] = gradient.values
                gradient = whole
            yield gradient
