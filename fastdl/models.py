"""Models: layers put together, which can be trained and saved."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from os import PathLike
from typing import Any

from . import checkpoint
from .layers.base import Array, Input, Layer, Shape
from .layers.chain import Chain
from .training import Trainer

__all__ = ["Input", "Sequential"]


class Sequential(Chain, Trainer):
    """Layers one after another.

    A model is a layer: it can be called, differentiated with `vjp`, and put into another model.

    Parameters
    ----------
    layers : sequence of Layer, optional
        May begin with an `Input`. Where the shape of the samples is known, from it or from the first layer's
        `input_shape`, each layer is built as it is added; else all of them with the first data.
    **options
        As for every `Layer`.

    Examples
    --------
    >>> import numpy as np
    >>> from fastdl import Input, Sequential
    >>> from fastdl.layers import Dense
    >>> model = Sequential([Input((2,)), Dense(8, activation="tanh", seed=1), Dense(1, seed=2)])
    >>> model.compile("adam", loss="mse")
    >>> x = np.random.default_rng(0).standard_normal((256, 2))
    >>> history = model.fit(x, x[:, :1] + x[:, 1:], epochs=3, verbose=0)
    >>> history.history["loss"][0] > history.history["loss"][-1]
    True
    """

    def __init__(self, layers: Sequence[Layer | Input] = (), **options: Any) -> None:
        super().__init__(**options)
        self.output_shape: Shape | None = None
        for layer in layers:
            self.add(layer)
        if not options.get("trainable", True):
            self.trainable = False

    def add(self, layer: Layer | Input) -> None:
        """Put a layer at the end.

        Raises
        ------
        TypeError
            If it is not a layer.
        ValueError
            If it does not fit behind the last one, or has the name of another one. The model is then
            unchanged.
        """
        if isinstance(layer, Input):
            if self.layers or self._sample_shape is not None:
                raise ValueError(f"{self.name}: an Input can only be the first entry")
            self._sample_shape = layer.shape
            return
        if not isinstance(layer, Layer):
            raise TypeError(f"{self.name}: add expects a layer; got {layer!r}")
        if any(other.name == layer.name and other is not layer for other in self.layers):
            raise ValueError(
                f"{self.name}: there is a layer named {layer.name!r} already; give this one another name="
            )
        before = self.output_shape
        if not self.layers:
            if self._sample_shape is None:
                self._sample_shape = layer._sample_shape
            before = None if self._sample_shape is None else (None, *self._sample_shape)
        if before is not None:
            self.output_shape = layer.compute_output_shape(before)
            self.built = True
        self.layers.append(layer)

    def pop(self) -> None:
        """Take the last layer away."""
        if not self.layers:
            raise ValueError(f"{self.name}: there is no layer to take away")
        self.layers.pop()
        if self.built:
            shape = (None, *(self._sample_shape or ()))
            for layer in self.layers:
                shape = layer.compute_output_shape(shape)
            self.output_shape = shape
            self.built = bool(self.layers)

    def build(self, input_shape: Shape) -> None:
        if not self.layers:
            raise ValueError(f"{self.name}: the model has no layers")
        self._sample_shape = input_shape[1:]
        for layer in self.layers:
            input_shape = layer.compute_output_shape(input_shape)
        self.output_shape = input_shape

    def accept(self, x: Any) -> Array:
        x = super().accept(x)
        expected = self._sample_shape
        if x.shape[1:] != expected and not _fits(x.shape[1:], expected):
            raise ValueError(f"{self.name}: x has shape {x.shape}, but the model expects {self.input_shape}")
        return x

    @property
    def input_shape(self) -> Shape | None:
        """The shape of a batch, whose first size is None; None before the model is built."""
        return None if self._sample_shape is None else (None, *self._sample_shape)

    def get_config(self) -> dict[str, Any]:
        if len(set(map(id, self.layers))) < len(self.layers):
            raise ValueError(
                f"{self.name}: a model in which a layer stands twice cannot be described as a list"
            )
        return super().get_config() | {"input_shape": self._sample_shape}

    def summary(self, line_length: int = 80, print_fn: Callable[[str], Any] = print) -> None:
        """Print a table of the layers, the shapes of their outputs and their numbers of parameters.

        Parameters
        ----------
        line_length : int
        print_fn : callable
            Is given the table line by line.
        """
        if not self.built:
            raise ValueError(
                f"{self.name}: summary needs a built model; begin it with an Input, or run it once"
            )
        widths = (line_length * 3 // 8, line_length * 3 // 8, line_length - 2 * (line_length * 3 // 8))

        def row(*cells: str) -> str:
            return "".join(cell[: width - 1].ljust(width) for cell, width in zip(cells, widths)).rstrip()

        print_fn(f'Model: "{self.name}"')
        print_fn("_" * line_length)
        print_fn(row("Layer (type)", "Output Shape", "Param #"))
        print_fn("=" * line_length)
        shape: Shape = (None, *(self._sample_shape or ()))
        for layer in self.layers:
            shape = layer.compute_output_shape(shape)
            print_fn(row(f"{layer.name} ({type(layer).__name__})", str(shape), f"{layer.count_params():,}"))
        print_fn("=" * line_length)
        total = self.count_params()
        trainable = sum(weight.size for weight in self.trainable_weights)
        print_fn(f"Total params: {total:,}")
        print_fn(f"Trainable params: {trainable:,}")
        print_fn(f"Non-trainable params: {total - trainable:,}")

    def save(self, path: str | PathLike[str]) -> None:
        """Write the architecture and the weights to one file; see `fastdl.checkpoint`."""
        checkpoint.save_model(self, path)


def _fits(shape: Shape, expected: Shape | None) -> bool:
    return (
        expected is not None
        and len(shape) == len(expected)
        and all(wanted in (None, came) for came, wanted in zip(shape, expected))
    )
