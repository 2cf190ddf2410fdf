"""Models: layers put together, which can be trained and saved."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from . import nested
from .layers.base import Layer, Shape
from .layers.chain import Chain
from .layers.symbolic import Input, Tensor
from .training import Trainer

__all__ = ["Input", "Model", "Sequential"]


class Model(Trainer):
    """A graph of layers, from one or several inputs to one or several outputs.

    Calling layers on an `Input`, and on what that returns, makes the graph. A layer that is called more than
    once is shared, and so is one that stands in several models: its gradients add up. A model is a layer: it
    can be called, on arrays and on symbolic tensors, and be differentiated with `vjp`.

    Parameters
    ----------
    inputs, outputs : Tensor, or a list or dict of them
        The model takes and returns arrays in the same form. An input may be any tensor of the graph: what
        lies before it is then no part of the model.
    **options
        name, seed and dtype as for every `Layer`.

    Attributes
    ----------
    layers : list of Layer
        Each once, in Keras's order: those farthest from the outputs first. An `Input` is no layer.

    Raises
    ------
    ValueError
        If an output depends on an `Input` that is not given, an input leads to no output, or two layers have
        the same name.

    Examples
    --------
    >>> import numpy as np
    >>> from fastdl import Input, Model
    >>> from fastdl.layers import Add, Dense
    >>> x = Input((4,))
    >>> h = Dense(4, activation="relu")(x)
    >>> model = Model(x, Dense(1)(Add()([x, h])))
    >>> model(np.ones((2, 4), np.float32)).shape
    (2, 1)
    >>> model.compile("adam", loss="mse")
    """

    def __init__(self, inputs: Any, outputs: Any, **options: Any) -> None:
        super().__init__(**options)
        layers = self.connect(inputs, outputs)
        self.check_names(layers)
        self.layers = layers
        self.built = True
        if not options.get("trainable", True):
            self.trainable = False

    def get_config(self) -> dict[str, Any]:
        numbers: dict[Tensor, int] = {tensor: number for number, tensor in enumerate(self.inputs)}
        calls = []
        for call in self.calls:
            reads = nested.apply(numbers.__getitem__, call.inputs)
            mask = None if call.mask is None else numbers[call.mask]
            calls.append({"layer": call.layer.name, "reads": reads, "training": call.training, "mask": mask})
            for tensor in nested.parts(call.outputs):
                numbers.setdefault(tensor, len(numbers))
        sources = [
            {"name": tensor.name, "shape": tensor.shape[1:], "dtype": getattr(tensor, "dtype", None)}
            for tensor in self.inputs
        ]
        return {
            "name": self.name,
            "seed": self.seed,
            "dtype": self.dtype,
            "layers": self.layers,
            "sources": sources,
            "calls": calls,
            "inputs": nested.apply(numbers.__getitem__, self.input),
            "outputs": nested.apply(numbers.__getitem__, self.output),
        }

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Model:
        """Make the model that `get_config` describes. Its tensors are numbered: inputs, then each call's."""
        layers = {layer.name: layer for layer in config["layers"]}
        tensors: list[Tensor] = [Input(**source) for source in config["sources"]]

        def tensor(number: Any) -> Tensor:
            if not isinstance(number, int) or not 0 <= number < len(tensors):
                raise ValueError(
                    f"{config['name']}: a call needs tensor {number!r} when there are {len(tensors)}:"
                    " the graph has a cycle, or is damaged"
                )
            return tensors[number]

        for call in config["calls"]:
            layer = layers[call["layer"]]
            mask = None if call["mask"] is None else tensor(call["mask"])
            reads = nested.apply(tensor, call["reads"])
            tensors += nested.parts(layer(reads, training=call["training"], mask=mask))
        inputs, outputs = (nested.apply(tensor, config[end]) for end in ("inputs", "outputs"))
        return cls(inputs, outputs, **{key: config[key] for key in ("name", "seed", "dtype")})


class Sequential(Chain, Trainer):
    """Layers one after another.

    A model is a layer: it can be called, on arrays and on symbolic tensors, differentiated with `vjp`, and
    put into another model.

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
        if self._sample_shape is not None:
            self._source = Input(self._sample_shape)
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
            If it does not fit behind the last one, has the name of another one, or contains this model. The
            model is then unchanged.
        """
        if isinstance(layer, Input):
            if self.layers or self._source is not None:
                raise ValueError(f"{self.name}: an Input can only be the first entry")
            self._source = layer
            return
        if not isinstance(layer, Layer):
            raise TypeError(f"{self.name}: add expects a layer; got {layer!r}")
        self.check_names([*self.layers, layer])
        source = self._source
        if not self.layers and source is None and layer._sample_shape is not None:
            source = Input(layer._sample_shape)
        if source is not None:
            self.connect(source, layer(self.output if self.layers else source))
            self._source = source
            self.built = True
        self.layers.append(layer)

    def pop(self) -> None:
        """Take the last layer away."""
        if not self.layers:
            raise ValueError(f"{self.name}: there is no layer to take away")
        self.layers.pop()
        if self.built:
            self.built = bool(self.layers)
            if self.built:
                self.connect(self._source, self.calls[-1].inputs)

    def get_config(self) -> dict[str, Any]:
        return {
            "layers": self.layers,
            "input_shape": self.input_shape and self.input_shape[1:],
            "name": self.name,
            "seed": self.seed,
            "dtype": self.dtype,
        }

    @property
    def input_shape(self) -> Shape | None:
        """The shape of a batch, whose first size is None; None before it is known."""
        return None if self._source is None else self._source.shape
