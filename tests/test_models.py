"""Sequential: building, adding, nesting, tables."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import fastdl
from fastdl import Input, Sequential, gradcheck, layers
from fastdl.layers import Conv2D, Dense, Dropout, Flatten, MaxPooling2D
from keras_cases import wave


def network(**options: Any) -> Sequential:
    return Sequential(
        [
            Input((8, 8, 1)),
            Conv2D(4, 3, activation="relu", name="conv", **options),
            MaxPooling2D(name="pool"),
            Flatten(name="flat"),
            Dense(3, "softmax", name="head", **options),
        ],
        name="net",
    )


class TestBuilding:
    def test_with_input(self) -> None:
        model = network()
        assert model.built
        assert (model.input_shape, model.output_shape) == ((None, 8, 8, 1), (None, 3))
        assert model.count_params() == 9 * 4 + 4 + 36 * 3 + 3

    @pytest.mark.parametrize("shape", [{"input_shape": (4,)}, {"input_dim": 4}])
    def test_with_the_first_layers_shape(self, shape: Any) -> None:
        model = Sequential([Dense(3, **shape)])
        assert model.built
        assert model.input_shape == (None, 4)

    def test_with_data(self) -> None:
        model = Sequential([Dense(3)])
        assert not model.built
        assert model.input_shape is None
        model(wave((2, 4)))
        assert model.built
        assert (model.input_shape, model.output_shape) == ((None, 4), (None, 3))

    def test_by_hand(self) -> None:
        model = Sequential([Dense(3), Dense(2)])
        model.build((None, 4))
        assert [weight.shape for weight in model.get_weights()] == [(4, 3), (3,), (3, 2), (2,)]

    def test_add_builds_and_pop_undoes(self) -> None:
        model = Sequential()
        model.add(Input((4,)))
        assert not model.built
        model.add(Dense(3))
        assert model.output_shape == (None, 3)
        model.add(Dense(2))
        model.pop()
        assert model.output_shape == (None, 3)
        model.add(Dense(5))
        assert model(wave((2, 4))).shape == (2, 5)
        for _ in range(2):
            model.pop()
        assert not model.built
        with pytest.raises(ValueError, match="no layer to take away"):
            model.pop()

    def test_what_does_not_fit_is_not_added(self) -> None:
        model = Sequential([Input((4,)), Dense(3)])
        for wrong in (Conv2D(3, 3), layers.Reshape((2, 2))):
            with pytest.raises(ValueError, match="must have 4 axes|do not fit"):
                model.add(wrong)
        assert len(model.layers) == 1
        assert model(wave((2, 4))).shape == (2, 3)

    def test_names_are_unique(self) -> None:
        model = Sequential([Input((4,)), Dense(4, name="one")])
        with pytest.raises(ValueError, match="a layer named 'one' already"):
            model.add(Dense(4, name="one"))
        model.add(model.layers[0])  # the same layer again is a shared one
        assert model.count_params() == 20

    def test_mistakes_are_named(self) -> None:
        with pytest.raises(TypeError, match="add expects a layer; got 'relu'"):
            Sequential(["relu"])  # type: ignore[list-item]
        with pytest.raises(ValueError, match="an Input can only be the first"):
            Sequential([Dense(3), Input((4,))])
        with pytest.raises(ValueError, match="no layers"):
            Sequential()(wave((2, 4)))
        with pytest.raises(TypeError, match="shape must be a tuple"):
            Input(4)  # type: ignore[arg-type]
        with pytest.raises(
            ValueError, match=r"x has shape \(2, 8, 7, 1\), but the model expects \(None, 8, 8, 1\)"
        ):
            network()(wave((2, 8, 7, 1)))
        with pytest.raises(ValueError, match="the model expects"):
            network().predict(wave((2, 8, 8)))


class TestAsALayer:
    def test_is_its_layers(self) -> None:
        model, x = network(), wave((2, 8, 8, 1))
        y = x
        for layer in model.layers:
            y = layer(y)
        np.testing.assert_array_equal(model(x), y)

    def test_gradients(self) -> None:
        assert gradcheck(network(), wave((2, 8, 8, 1)), samples=40)

    def test_nested(self) -> None:
        inner = Sequential([Dense(3, "tanh", name="a"), Dense(3, name="b")], name="inner")
        outer = Sequential([Input((4,)), inner, Dense(2, "softmax", name="c")])
        assert list(outer.params) == [
            f"{n}/{p}" for n in ("inner/a", "inner/b", "c") for p in ("kernel", "bias")
        ]
        assert outer.final_activation == "softmax"
        assert gradcheck(outer, wave((2, 4)))
        nested_last = Sequential([Dense(4), Sequential([Dense(2, "softmax")])])
        assert nested_last.final_activation == "softmax"

    def test_the_same_layer_twice(self) -> None:
        shared = Dense(4, "tanh")
        model = Sequential([Input((4,)), shared, Dropout(0.3, seed=0), shared])
        assert len(model.params) == 2
        assert gradcheck(model, wave((3, 4)))

    def test_forward_and_backward(self) -> None:
        model, x = network(), wave((2, 8, 8, 1))
        y = model.forward(x)
        assert model.backward(y).shape == x.shape
        with pytest.raises(RuntimeError, match="net: backward needs a forward"):
            model.backward(y)

    def test_params_are_the_layers_own(self) -> None:
        model = network()
        model.params["head/kernel"] -= 1
        assert model.params["head/kernel"] is model.layers[-1].params["kernel"]
        model.params["head/bias"] = np.array([1, 2, 3])
        np.testing.assert_array_equal(model.layers[-1].params["bias"], [1, 2, 3])


class TestFreezing:
    def test_all_of_it(self) -> None:
        model = network()
        model.trainable = False
        assert not any(layer.trainable for layer in model.layers)
        assert model.trainable_weights == []
        model.compile("sgd", "sparse_categorical_crossentropy")
        before = model.get_weights()
        model.train_on_batch(wave((2, 8, 8, 1)), [0, 1])
        for now, then in zip(model.get_weights(), before):
            np.testing.assert_array_equal(now, then)
        assert not Sequential([Dense(3)], trainable=False).layers[0].trainable

    def test_the_first_layers(self) -> None:
        model = network()
        model.layers[0].trainable = False
        model.compile("sgd", "sparse_categorical_crossentropy")
        before = model.get_weights()
        model.train_on_batch(wave((2, 8, 8, 1)), [0, 1])
        changed = [bool((now != then).any()) for now, then in zip(model.get_weights(), before)]
        assert changed == [False, False, True, True]

    def test_a_frozen_layer_passes_the_gradient_on(self) -> None:
        model = network()
        model.layers[-1].trainable = False
        model.compile("sgd", "sparse_categorical_crossentropy")
        before = model.get_weights()
        model.train_on_batch(wave((2, 8, 8, 1)), [0, 1])
        changed = [bool((now != then).any()) for now, then in zip(model.get_weights(), before)]
        assert changed == [True, True, False, False]


class TestWeights:
    def test_round_trip(self) -> None:
        first, second = network(), network()
        second.set_weights(first.get_weights())
        x = wave((2, 8, 8, 1))
        np.testing.assert_array_equal(first(x), second(x))

    def test_float64(self) -> None:
        with fastdl.use(dtype="float64"):
            model = network()
        x = wave((2, 8, 8, 1)).astype(np.float64)
        assert model(x).dtype == np.float64
        assert network().astype("float64")(x).dtype == np.float64
        assert model.predict(x.astype(np.float32)).dtype == np.float64

    def test_predict_by_batches(self) -> None:
        model, x = network(), wave((10, 8, 8, 1))
        for size in (1, 3, 10, 100):
            # Engines may add in another order in batches of another size; a softmax is within 1.
            np.testing.assert_allclose(model.predict(x, batch_size=size), model(x), rtol=0, atol=1e-6)
        assert model.predict(x[:0]).shape == (0, 3)
        np.testing.assert_array_equal(model.predict_on_batch(x), model(x))


def test_summary() -> None:
    lines: list[str] = []
    network().summary(print_fn=lines.append)
    assert lines == [
        'Model: "net"',
        "_" * 80,
        "Layer (type)                  Output Shape                  Param #",
        "=" * 80,
        "conv (Conv2D)                 (None, 6, 6, 4)               40",
        "pool (MaxPooling2D)           (None, 3, 3, 4)               0",
        "flat (Flatten)                (None, 36)                    0",
        "head (Dense)                  (None, 3)                     111",
        "=" * 80,
        "Total params: 151",
        "Trainable params: 151",
        "Non-trainable params: 0",
    ]


def test_summary_counts_what_is_frozen() -> None:
    lines: list[str] = []
    model = network()
    model.layers[0].trainable = False
    model.summary(print_fn=lines.append)
    assert lines[-2:] == ["Trainable params: 111", "Non-trainable params: 40"]
    with pytest.raises(ValueError, match="summary needs a built model"):
        Sequential([Dense(3)]).summary()
