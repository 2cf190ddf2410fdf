"""Recurrent layers and their wrappers: Keras's results and gradients, states, masks, dropout."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import fastdl
from fastdl import Input, Model, Sequential, gradcheck, layers
from fastdl.layers import GRU, LSTM, Bidirectional, Dense, Layer, SimpleRNN, TimeDistributed
from keras_cases import wave
from keras_recurrent import CASES, MASK, RECORDED, SHAPE, flat, weights_like

X = wave(SHAPE)
ALL = [SimpleRNN, LSTM, GRU]


def made(key: str) -> Layer:
    layer = CASES[key](layers)
    layer.build((None, *SHAPE[1:]))
    layer.set_weights(weights_like(layer.get_weights()))
    return layer


@pytest.mark.parametrize("key", CASES)
class TestAsKeras:
    @pytest.mark.parametrize("kind", ["plain", "masked"])
    def test_results_and_gradients(self, key: str, kind: str) -> None:
        if kind == "masked" and key == "TimeDistributed":
            return
        layer = made(key)
        with np.load(RECORDED) as answers:
            shapes, expected = answers[f"{key}/shapes"], answers[f"{key}/{kind}"]
        assert [str(weight.shape) for weight in layer.get_weights()] == shapes.tolist()
        mask = {"mask": MASK} if kind == "masked" else {}
        y, back = layer.vjp(X, **mask)
        came = flat([y, back(wave(y.shape)), *layer.grads.values()])
        # Six steps of sums of at most 10 numbers below 1 and of gradients of 18 steps: below 1e-5 each way.
        np.testing.assert_allclose(came, expected, rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(layer(X, **mask), y, rtol=1e-6, atol=1e-6)

    def test_gradients(self, key: str) -> None:
        assert gradcheck(made(key), X, samples=40)

    def test_shapes_and_description(self, key: str) -> None:
        layer = made(key)
        assert layer.compute_output_shape((None, None, 4))[0] is None
        assert layer.compute_output_shape((None, *SHAPE[1:]))[1:] == layer(X).shape[1:]
        again = type(layer).from_config(layer.get_config())
        again.build((None, *SHAPE[1:]))
        again.set_weights(layer.get_weights())
        np.testing.assert_array_equal(again(X), layer(X))


@pytest.mark.parametrize("kind", ALL)
class TestRecurrent:
    def test_first_weights(self, kind: Any) -> None:
        layer = kind(5, seed=0)
        layer.build((None, None, 3))
        kernel, recurrent, bias = layer.params.values()
        assert list(layer.params) == ["kernel", "recurrent_kernel", "bias"]
        np.testing.assert_allclose(recurrent @ recurrent.T, np.eye(5), atol=1e-6)
        assert abs(kernel).max() <= np.sqrt(6 / sum(kernel.shape))
        forget = 5 if kind is LSTM else 0
        assert bias.sum() == forget
        assert not forget or bias[5:10].sum() == 5

    def test_return_state(self, kind: Any) -> None:
        """The last states, and gradients through each of them."""
        layer = kind(3, return_sequences=True, return_state=True, seed=1, dtype="float64")
        (y, *states), back = layer.vjp(X)
        np.testing.assert_array_equal(y[:, -1], states[0])
        nothing = [None] * (1 + len(states))
        for place, part in enumerate((y, *states)):
            dy = list(nothing)
            dy[place] = np.cos(np.arange(part.size)).reshape(part.shape)
            layer.zero_grads()
            dx = back(dy)
            step = 1e-5 * np.sin(np.arange(X.size)).reshape(X.shape)
            ahead, behind = (layer(X.astype(float) + sign * step)[place] for sign in (1, -1))
            slope = ((ahead - behind) * dy[place]).sum() / 2
            np.testing.assert_allclose((dx * step).sum(), slope, rtol=1e-6)
        both = [np.ones_like(part) for part in (y, *states)]
        parts = [
            back([one if i == place else None for i, one in enumerate(both)]) for place in range(len(both))
        ]
        np.testing.assert_allclose(back(both), sum(parts), rtol=1e-10, atol=1e-12)

    def test_initial_state(self, kind: Any) -> None:
        """As if a sequence went on, for arrays and in a graph, and with a gradient."""
        whole = kind(3, return_sequences=True, return_state=True, seed=2)
        layer = kind(3, return_sequences=True, seed=2)
        expected, *_ = whole(X)
        _, *states = whole(X[:, :4])
        np.testing.assert_allclose(
            layer(X[:, 4:], initial_state=states), expected[:, 4:], rtol=1e-6, atol=1e-6
        )
        x, starts = Input((2, 4)), [Input((3,)) for _ in states]
        model = Model([x, *starts], layer(x, initial_state=starts))
        assert model.output_shape == (None, 2, 3)
        np.testing.assert_array_equal(model([X[:, 4:], *states]), layer([X[:, 4:], *states]))
        assert gradcheck(model, [X[:, 4:], *states], samples=30)
        with pytest.raises(ValueError, match=f"the initial state must be {len(states)} arrays; got 3"):
            layer([X, *states[:1] * 3])

    def test_stateful_goes_on_where_it_ended(self, kind: Any) -> None:
        whole = kind(3, return_sequences=True, seed=2)
        layer = kind(3, return_sequences=True, stateful=True, seed=2)
        expected = whole(X)
        for _ in range(2):
            first, _ = layer.vjp(X[:, :4])
            np.testing.assert_allclose(first, expected[:, :4], rtol=1e-6, atol=1e-6)
            np.testing.assert_allclose(layer(X[:, 4:]), expected[:, 4:], rtol=1e-6, atol=1e-6)
            assert layer.compute_output_shape((None, 2, 4)) == (None, 2, 3)
            with pytest.raises(ValueError, match="x holds 1 sequences, but the states are those of 3"):
                layer(X[:1])
            layer.reset_states()

    def test_without_stateful_nothing_is_written(self, kind: Any) -> None:
        layer = kind(3)
        layer(X)
        before = dict(vars(layer))
        layer(X)
        layer.vjp(X)
        assert vars(layer) == before

    def test_dropout_is_the_same_at_all_steps(self, kind: Any) -> None:
        """The gradient says which inputs and which parts of the state count."""
        layer = kind(8, return_sequences=True, dropout=0.5, seed=3)
        y, back = layer.vjp(np.ones((4, 5, 6), np.float32))
        counts = back(np.ones_like(y)) != 0
        assert (counts == counts[:, :1]).all()
        assert 0 < counts.mean() < 1
        np.testing.assert_array_equal(layer(X[:, :, [0] * 6]), layer(X[:, :, [0] * 6]))
        layer = kind(8, recurrent_dropout=0.5, seed=3)
        y, back = layer.vjp(np.ones((1, 5, 6), np.float32))
        back(np.ones_like(y))
        counts = (layer.grads["recurrent_kernel"] != 0).any(axis=1)
        assert 0 < counts.mean() < 1

    @pytest.mark.parametrize("rates", [{"dropout": 0.4}, {"recurrent_dropout": 0.4}], ids=str)
    def test_dropout_gradients(self, kind: Any, rates: dict[str, float]) -> None:
        layer = kind(3, seed=4, **rates)
        assert (layer(X, training=True) != layer(X)).any()
        assert gradcheck(layer, X, samples=40)

    def test_frozen_and_without_dx(self, kind: Any) -> None:
        layer = kind(3, seed=5)
        y, back = layer.partial_vjp(X, wants_dx=False)
        assert back(np.ones_like(y)) is None
        kept = {name: gradient.copy() for name, gradient in layer.grads.items()}
        layer.trainable = False
        y, back = layer.vjp(X)
        assert back(np.ones_like(y)).shape == X.shape
        for name, gradient in layer.grads.items():
            np.testing.assert_array_equal(gradient, kept[name])

    def test_in_a_model(self, kind: Any) -> None:
        """Which of two halves of a sequence holds the larger sum: learnt in a few epochs."""
        x = np.random.default_rng(0).normal(size=(256, 6, 3)).astype(np.float32)
        labels = (x[:, :3].sum(axis=(1, 2)) > x[:, 3:].sum(axis=(1, 2))).astype(int)
        fastdl.set_random_seed(1)
        model = Sequential([Input((None, 3)), Bidirectional(kind(12)), Dense(2, activation="softmax")])
        model.compile("adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
        model.optimizer.learning_rate = 0.02
        history = model.fit(x, labels, epochs=12, verbose=0).history
        assert history["accuracy"][-1] > 0.9


class TestTimeDistributed:
    def test_logits_pass_through(self) -> None:
        layer = TimeDistributed(Dense(3, activation="softmax", seed=0))
        assert layer.final_activation == "softmax"
        y, _ = layer.partial_vjp(X, logits=True)
        np.testing.assert_allclose(layers.Softmax()(y), layer(X), rtol=1e-6)

    def test_images(self) -> None:
        layer = TimeDistributed(layers.Conv2D(2, 3))
        assert layer(wave((2, 3, 5, 5, 1))).shape == (2, 3, 3, 3, 2)


MISTAKES: list[tuple[type[Exception], str, Any]] = [
    (ValueError, "activation must be one of 'tanh'; got 'relu'", lambda: LSTM(3, activation="relu")),
    (ValueError, "activation must be one of 'tanh', 'relu'; got 'elu'", lambda: SimpleRNN(3, "elu")),
    (ValueError, "recurrent_activation must be one of 'sigmoid'; got 'hard_sigmoid'",
     lambda: GRU(3, recurrent_activation="hard_sigmoid")),
    (ValueError, "units must be at least 1; got 0", lambda: LSTM(0)),
    (ValueError, "dropout must be at least 0 and below 1; got 1", lambda: LSTM(3, dropout=1)),
    (ValueError, r"x must be \(batch, steps, features\); got shape \(None, 4\)", lambda: LSTM(3)(X[:, 0])),
    (ValueError, "mask must have the shape of x without its last axis", lambda: LSTM(3)(X, mask=MASK[:, 1:])),
    (TypeError, "layer must be a SimpleRNN, LSTM or GRU; got", lambda: Bidirectional(Dense(3))),
    (ValueError, "merge_mode must be one of .*; got 'max'", lambda: Bidirectional(GRU(3), merge_mode="max")),
    (ValueError, "both layers must have the same return_state",
     lambda: Bidirectional(GRU(3, return_state=True), backward_layer=GRU(3, go_backwards=True))),
    (ValueError, "the initial state must be 4 arrays; got 2",
     lambda: Bidirectional(LSTM(3))(X, initial_state=[X[:, 0], X[:, 0]])),
    (ValueError, "one layer must have go_backwards",
     lambda: Bidirectional(GRU(3), backward_layer=GRU(3))),
    (ValueError, "both layers must have the same return_sequences",
     lambda: Bidirectional(GRU(3), backward_layer=GRU(3, go_backwards=True, return_sequences=True))),
    (TypeError, "layer must be a layer; got 3", lambda: TimeDistributed(3)),
    (ValueError, r"x must be \(batch, steps, ...\); got shape \(None, 4\)",
     lambda: TimeDistributed(Dense(3))(X[:, 0])),
]  # fmt: skip


@pytest.mark.parametrize("error, message, call", MISTAKES, ids=[message for _, message, _ in MISTAKES])
def test_mistakes_are_named(error: type[Exception], message: str, call: Any) -> None:
    with pytest.raises(error, match=message):
        call()
