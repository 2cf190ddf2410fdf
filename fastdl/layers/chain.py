"""Layers one after another, as one layer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from .arrays import Array, ArrayDict
from .base import Back, Layer, Shape


class Chain(Layer):
    """y = layers[-1](... layers[0](x)).

    It has no parameters of its own; `params` and `grads` gather those of its layers under ``layer/name``.
    """

    def __init__(self, **options: Any) -> None:
        self.layers: list[Layer] = []
        super().__init__(**options)

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

    @property
    def trainable(self) -> bool:
        """Whether any of the layers is; setting it sets all of them."""
        return any(layer.trainable for layer in self.layers)

    @trainable.setter
    def trainable(self, value: bool) -> None:
        for layer in self.layers:
            layer.trainable = value

    @property
    def params(self) -> ArrayDict:
        return ArrayDict.gather([(prefix, leaf.params) for prefix, leaf in self.leaves()])

    @property
    def grads(self) -> ArrayDict:
        return ArrayDict.gather([(prefix, leaf.grads) for prefix, leaf in self.leaves()])

    @property
    def state(self) -> ArrayDict:
        return ArrayDict.gather([(prefix, leaf.state) for prefix, leaf in self.leaves()])

    def zero_grads(self) -> None:
        for layer in self.layers:
            layer.zero_grads()

    def leaves(self) -> Iterator[tuple[str, Layer]]:
        seen = set()
        for layer in self.layers:
            for prefix, leaf in layer.leaves():
                if id(leaf) not in seen:
                    seen.add(id(leaf))
                    yield f"{layer.name}/{prefix}", leaf

    def astype(self, dtype: DTypeLike) -> Layer:
        for layer in self.layers:
            layer.astype(dtype)
        return super().astype(dtype)
