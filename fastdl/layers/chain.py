"""Layers one after another, as one layer."""

from __future__ import annotations

from typing import Any

import numpy as np

from .arrays import Array
from .base import Back, Shape
from .composite import Composite


class Chain(Composite):
    """y = layers[-1](... layers[0](x))."""

    def build(self, input_shape: Shape) -> None:
        for layer in self.layers:
            input_shape = layer.compute_output_shape(input_shape)

    def accept(self, x: Any) -> Array:
        if not self.built:
            x = np.asarray(x)
            self.build((None, *x.shape[1:]))
        return self.layers[0].accept(x) if self.layers else super().accept(x)

    def call(self, x: Array) -> Array:
        for layer in self.layers:
            x = layer(x)
        return x

    def vjp(self, x: Array, training: bool = True) -> tuple[Array, Back]:
        return self.partial_vjp(x, training)

    def partial_vjp(
        self, x: Array, training: bool = True, *, wants_dx: bool = True, logits: bool = False
    ) -> tuple[Array, Back]:
        backs = []
        last = len(self.layers) - 1
        for position, layer in enumerate(self.layers):
            ends = logits and position == last
            if not (wants_dx or ends or layer.learns):
                x = layer(x, training)
                continue
            x, back = layer.partial_vjp(x, training, wants_dx=wants_dx, logits=ends)
            backs.append(back)
            wants_dx = True
        backs.reverse()

        def back_through(dy: Array) -> Array:
            for back in backs:
                dy = back(dy)
            return dy

        return x, back_through

    @property
    def final_activation(self) -> str:
        return self.layers[-1].final_activation if self.layers else "linear"
