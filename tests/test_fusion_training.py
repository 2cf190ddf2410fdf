"""Training in fewer passes: the gradients of the layers one by one, and what goes together."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fastdl
from fastdl import Input, Model, Sequential, layers
from fastdl.layers import (
    ELU,
    Activation,
    BatchNormalization,
    Conv2D,
    Dense,
    Dropout,
    Layer,
    MaxPooling2D,
    ReLU,
)
from fusing import AFTER, HEADS, Clipped, filled, parts
from harness import DTYPES, FAST_ENGINES, drawn


class UpsideDown(Conv2D):
    def vjp(self, x: np.ndarray, training: bool = True) -> tuple[np.ndarray, Any]:
        y, back = super().vjp(x, training)
        return -y, lambda dy: back(-dy)


class TestTraining:
    @staticmethod
    def held(model: Sequential, x: np.ndarray, tolerance: float) -> None:
        """Output and gradients, against the layers one by one."""
        (dy,) = drawn(5, model(x).shape, dtype=str(x.dtype))
        found = []
        for in_one in (True, False):
            state = {name: weight.copy() for name, weight in model.named_weights().items()}
            model.zero_grads()
            backs, y = [], x
            for part in [model] if in_one else model.layers:
                y, back = part.vjp(y)
                backs.append(back)
            dx = dy
            for back in reversed(backs):
                dx = back(dx)
            grads = [grad.copy() for layer in model.layers for grad in layer.grads.values()]
            moved = [weight.copy() for weight in model.named_weights().values()]
            found.append([y, dx, *grads, *moved])
            for name, weight in model.named_weights().items():
                weight[...] = state[name]
        for one, other in zip(*found):
            np.testing.assert_allclose(one, other, rtol=tolerance, atol=tolerance * np.abs(other).max())

    @pytest.mark.parametrize("engine", FAST_ENGINES)
    @pytest.mark.parametrize("dtype", DTYPES)
    @pytest.mark.parametrize("after", AFTER)
    @pytest.mark.parametrize("head, shape, axis", HEADS)
    def test_every_activation(
        self, head: Any, shape: Any, axis: int, after: Callable[[], Layer], dtype: str, engine: str
    ) -> None:
        (x,) = drawn(2, (3, *shape), dtype=dtype)
        tolerance = {"float32": 1e-4, "float64": 1e-12}[dtype]
        line = [head(), after(), BatchNormalization(axis=axis), after()]
        model = filled(Sequential([Input(shape), *line]))
        model.astype(dtype)
        with fastdl.use(backend=engine):
            self.held(model, x, tolerance)

    def test_what_goes_together(self) -> None:
        def parts_of(*made: Layer) -> int:
            return len(Sequential([Input((8, 8, 3)), *made])._training)

        assert parts_of(Conv2D(4, 3), ReLU(), BatchNormalization(), ReLU()) == 2
        assert parts_of(Conv2D(4, 3), BatchNormalization(), ReLU()) == 2
        assert parts_of(Conv2D(4, 3), Dropout(0.5), ReLU()) == 3
        assert parts_of(Conv2D(4, 3, activation="relu"), ReLU()) == 2
        assert parts_of(Conv2D(4, 3), Clipped()) == 2
        assert parts_of(Conv2D(4, 3, activation="gelu"), MaxPooling2D()) == 2
        assert parts_of(Conv2D(4, 3, activation="relu"), MaxPooling2D(), ReLU()) == 2
        assert parts_of(Conv2D(4, 3), ReLU(max_value=1.0), MaxPooling2D()) == 3
        assert parts_of(UpsideDown(4, 3), MaxPooling2D()) == 2
        assert parts_of(UpsideDown(4, 3), ReLU()) == 2
        assert parts_of(Conv2D(4, 3), ReLU(dtype="float64")) == 2

    @pytest.mark.parametrize("engine", FAST_ENGINES)
    @pytest.mark.parametrize("first", [True, False])
    @pytest.mark.parametrize("after", ["relu", "tanh", "linear", "leaky_relu"])
    @pytest.mark.parametrize("window", [{}, {"pool_size": 3, "strides": 2, "padding": "same"}])
    @pytest.mark.parametrize("channels", ["channels_last", "channels_first"])
    def test_pooling(
        self, channels: str, window: dict[str, Any], after: str, first: bool, engine: str
    ) -> None:
        (x,) = drawn(2, (3, 9, 10, 11), dtype="float64")
        conv = Conv2D(4, 3, padding="same", data_format=channels)
        line = [
            Activation(after) if isinstance(after, str) else after,
            MaxPooling2D(data_format=channels, **window),
        ]
        model = filled(Sequential([Input(x.shape[1:]), *(() if first else [ELU()]), conv, *line]))
        assert len(model._training) == (1 if first else 2)
        model.astype("float64")
        with fastdl.use(backend=engine):
            self.held(model, x, 1e-12)
            y, back = model.partial_vjp(x, wants_dx=False)
            expected = conv.grads["kernel"].copy()
            model.zero_grads()
            back(*drawn(5, y.shape))
        np.testing.assert_allclose(conv.grads["kernel"], expected, rtol=1e-12, atol=1e-12)

    def test_what_is_read_twice(self) -> None:
        x = Input((6,))
        z = Dense(6)(x)
        assert len(Model(x, layers.Add()([ReLU()(z), z]))._training) == 3

    def test_frozen(self) -> None:
        model = parts(lambda: Conv2D(4, 3, trainable=False), (8, 7, 4), -1, ReLU())
        model.layers[1].trainable = False
        (x,) = drawn(2, (3, 8, 7, 4), dtype="float32")
        self.held(model, x, 1e-4)
        assert not any(layer.grads["kernel"].any() for layer in model.layers[:1])

    def test_without_the_last_activation(self) -> None:
        """A loss that contains the sigmoid asks for what goes into it."""
        model = filled(Sequential([Input((6,)), Dense(3), Activation("sigmoid")]))
        (x,) = drawn(2, (5, 6), dtype="float32")
        y, back = model.partial_vjp(x, logits=True)
        np.testing.assert_array_equal(y, model.layers[0](x))
        np.testing.assert_allclose(back(y), y @ model.layers[0].params["kernel"].T, rtol=1e-5, atol=1e-6)

    def test_parameters_that_have_changed(self) -> None:
        model = parts(lambda: Conv2D(4, 3), (8, 7, 4), -1, ReLU())
        (x,) = drawn(2, (3, 8, 7, 4), dtype="float32")
        y, back = model.vjp(x)
        model.layers[1].params["gamma"] = np.ones(4, np.float32)
        with pytest.raises(RuntimeError, match="have changed since"):
            back(y)
