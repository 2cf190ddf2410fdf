"""Layers one after another, as one layer."""

from __future__ import annotations

from typing import Any

import numpy as np

from .base import Shape
from .graph import Graph
from .symbolic import Input, Tensor


class Chain(Graph):
    """y = layers[-1](... layers[0](x)): a graph that is a line.

    The shape of the samples may become known with the first data.
    """

    _source: Input | None = None

    def build(self, input_shape: Shape) -> None:
        if not self.layers:
            raise ValueError(f"{self.name}: the model has no layers")
        source = Input(input_shape[1:])
        tensor: Tensor = source
        for layer in self.layers:
            tensor = layer(tensor)
        self.connect(source, tensor)
        self._source = source

    def accept(self, x: Any) -> Any:
        if not self.built:
            self.build((None, *np.shape(x)[1:]))
        return super().accept(x)

    @property
    def output_names(self) -> list[str]:
        return [self.layers[-1].name if self.layers else "output"]

    @property
    def final_activations(self) -> list[str]:
        return [self.layers[-1].final_activation if self.layers else "linear"]
