"""What layers that are made of layers share."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from numpy.typing import DTypeLike

from .arrays import ArrayDict
from .base import Layer


class Composite(Layer):
    """Base of the layers that are made of others.

    It has no arrays of its own; `params`, `grads` and `state` gather those of its layers under
    ``layer/name``.

    Attributes
    ----------
    layers : list of Layer
        Each once.
    """

    def __init__(self, **options: Any) -> None:
        self.layers: list[Layer] = []
        super().__init__(**options)

    def check_names(self, layers: Sequence[Layer]) -> None:
        """Refuse to be made of these layers if two have one name, or if one is made of this one."""
        named: dict[str, Layer] = {}
        for layer in layers:
            if named.setdefault(layer.name, layer) is not layer:
                raise ValueError(
                    f"{self.name}: there is a layer named {layer.name!r} already; give this one another name="
                )
            if self._is_in(layer):
                raise ValueError(f"{self.name}: {layer.name!r} contains this model; the graph has a cycle")

    def _is_in(self, layer: Layer) -> bool:
        return layer is self or (isinstance(layer, Composite) and any(map(self._is_in, layer.layers)))

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

    def await_grads(self) -> None:
        for layer in self.layers:
            layer.await_grads()

    def reset_states(self) -> None:
        for layer in self.layers:
            layer.reset_states()

    @property
    def learns(self) -> bool:
        return any(layer.learns for layer in self.layers)

    def leaves(self) -> Iterator[tuple[str, Layer]]:
        seen = set()
        for layer in self.layers:
            for prefix, leaf in layer.leaves():
                if leaf not in seen:
                    seen.add(leaf)
                    yield f"{layer.name}/{prefix}", leaf

    def astype(self, dtype: DTypeLike) -> Layer:
        for layer in self.layers:
            layer.astype(dtype)
        return super().astype(dtype)
