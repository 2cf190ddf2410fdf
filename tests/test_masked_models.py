"""Masks through models: Keras's results and gradients, and what never counts."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest

import fastdl
from fastdl import Input, Model, Sequential, gradcheck, layers, load_model
from fastdl.layers import (
    GRU,
    LSTM,
    BatchNormalization,
    Bidirectional,
    Dense,
    Embedding,
    Flatten,
    GlobalAveragePooling1D,
    Layer,
    Masking,
    SimpleRNN,
    TimeDistributed,
)
from fastdl.layers.composite import Composite
from keras_cases import wave
from keras_masks import IDS, MASK, MODELS, RECORDED, SEQUENCES, TRAINED, inputs, sums
from keras_recurrent import flat, weights_like

X = wave((5, 5, 4), start=0.3)


def as_list(y: Any) -> list[np.ndarray]:
    return list(y) if isinstance(y, list) else [y]


def made(build: Any) -> Model:
    model = build(fastdl)
    model.set_weights(weights_like(model.get_weights()))
    return model


class UnderMask(Composite):
    """A layer that is always given the same mask."""

    def __init__(self, layer: Layer) -> None:
        super().__init__()
        self.layers = [layer]

    def accept(self, x: Any) -> Any:
        return self.layers[0].accept(x)

    def vjp(self, x: Any, training: bool = True) -> Any:
        several = isinstance(x, list) and isinstance(self.layers[0], Model)
        return self.layers[0].vjp(x, training, mask=[MASK, *[None] * 4] if several else MASK)


class TestAsKeras:
    @pytest.mark.parametrize("key", MODELS)
    def test_results_and_gradients(self, key: str) -> None:
        model = made(MODELS[key])
        with np.load(RECORDED) as answers:
            expected = answers[key]
        y, back = model.vjp(inputs(model), training=False)
        factors = sums(as_list(y))
        back(factors if isinstance(y, list) else factors[0])
        came = flat([*as_list(y), *model.grads.values()])
        # Sums of at most 50 products of numbers below 2, through two recurrences of five steps.
        np.testing.assert_allclose(came, expected, rtol=2e-5, atol=2e-5)
        np.testing.assert_allclose(flat(as_list(model(inputs(model)))), flat(as_list(y)), atol=1e-6)

    @pytest.mark.parametrize("key", TRAINED)
    def test_training(self, key: str) -> None:
        build, loss, target, weights = TRAINED[key]
        model = made(build)
        metrics = ["accuracy"] if key == "labels" else ["mae"]
        model.compile(fastdl.optimizers.SGD(0.1), loss, metrics=metrics)
        x = inputs(model)
        steps = [model.train_on_batch(x, target, sample_weight=weights)[0] for _ in range(3)]
        steps += model.evaluate(x, target, sample_weight=weights, verbose=0)
        with np.load(RECORDED) as answers:
            # As above, and three steps of a tenth of the gradient.
            np.testing.assert_allclose(steps, answers[f"{key}/steps"], rtol=2e-5, atol=2e-6)
            np.testing.assert_allclose(
                flat(model.get_weights()), answers[f"{key}/weights"], rtol=2e-5, atol=2e-5
            )


class TestRecurrent:
    @pytest.mark.parametrize("kind", [SimpleRNN, LSTM, GRU])
    @pytest.mark.parametrize("backwards", [False, True])
    def test_steps_that_are_left_out_might_not_be_there(self, kind: Any, backwards: bool) -> None:
        """Each sequence alone, without them, gives the same states, and the same gradient."""
        layer = kind(3, return_sequences=True, return_state=True, go_backwards=backwards, dtype="float64")
        x = np.where(MASK[:, :, None], X, np.nan)
        (y, *last), back = layer.vjp(x, mask=MASK)
        dx = back([wave(y.shape), *map(np.cos, last)])
        assert not dx[~MASK].any()
        order = slice(None, None, -1 if backwards else 1)
        for n, kept in enumerate(MASK):
            if not kept.any():
                assert not y[n].any()
                continue
            (alone, *states), _ = layer.vjp(X[n : n + 1, kept])
            np.testing.assert_allclose(y[n, order][kept], alone[0, order], rtol=1e-12)
            np.testing.assert_allclose([part[n] for part in last], [part[0] for part in states], rtol=1e-12)

    @pytest.mark.parametrize("kind", [SimpleRNN, LSTM, GRU])
    @pytest.mark.parametrize("backwards", [False, True])
    def test_before_the_first_step_that_counts_there_is_the_initial_state(
        self, kind: Any, backwards: bool
    ) -> None:
        layer = kind(3, return_sequences=True, go_backwards=backwards, seed=0)
        states = [wave((5, 3), start=index) for index in range(layer.states)]
        y = layer(X, mask=MASK, initial_state=states)
        taken = MASK[:, ::-1] if backwards else MASK  # the order in which the steps are taken and returned
        before = taken.cumsum(axis=1) == 0
        assert before.any()
        np.testing.assert_array_equal(y[before], states[0][np.nonzero(before)[0]])
        assert gradcheck(UnderMask(layer), [X, *states], samples=40)

    def test_backwards_the_mask_turns_with_the_steps(self) -> None:
        first, second = GRU(3, return_sequences=True, go_backwards=True, seed=0), GRU(2, seed=1)
        model = Sequential([Input((5, 4)), Masking(mask_value=-1.0), first, second])
        for n, kept in enumerate(MASK[:4]):
            alone = second(first(SEQUENCES[n : n + 1, kept]))
            np.testing.assert_allclose(model(SEQUENCES)[n], alone[0], rtol=1e-5, atol=1e-6)

    @pytest.mark.parametrize("mode", ["concat", "mul", None])
    @pytest.mark.parametrize("sequences", [False, True])
    def test_both_directions_and_states(self, mode: Any, sequences: bool) -> None:
        inner = LSTM(3, return_sequences=sequences, return_state=True)
        layer = Bidirectional(inner, merge_mode=mode)
        x, states = Input((5, 4)), [Input((3,)) for _ in range(4)]
        model = Model([x, *states], layer(x, initial_state=states))
        assert gradcheck(UnderMask(model), [X, *(wave((5, 3), start=i) for i in range(4))], samples=60)
        assert len(model.output) == 5 + (mode is None)

    def test_stateful_in_a_model_until_reset(self) -> None:
        model = Sequential(
            [Input((5, 4)), Sequential([Input((5, 4)), Bidirectional(GRU(3, stateful=True))]), Dense(1)]
        )
        first = model(X)
        assert (model(X) != first).any()
        with pytest.raises(ValueError, match="x holds 2 sequences, but the states are those of 5"):
            model(X[:2])
        model.reset_states()
        np.testing.assert_array_equal(model(X), first)

    def test_threads_share_no_mask(self) -> None:
        model = made(MODELS["GRU"])
        batches = [np.roll(IDS, shift, axis=0) for shift in range(5)]
        expected = [model(batch) for batch in batches]
        wrong: list[int] = []

        def work(number: int) -> None:
            for _ in range(20):
                if (model(batches[number]) != expected[number]).any():
                    wrong.append(number)

        threads = [threading.Thread(target=work, args=(number,)) for number in range(5)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not wrong


class TestLosses:
    @pytest.mark.parametrize("loss", ["mse", "mae", "huber", "log_cosh", "cosine_similarity"])
    def test_what_is_left_out_may_be_anything(self, loss: str) -> None:
        model = Sequential([Input((5, 4)), Masking(mask_value=-1.0), Dense(2, seed=1)])
        model.compile("sgd", loss, metrics=["mae"])
        target = wave((5, 5, 2))
        holes = np.where(MASK[:, :, None], target, np.nan)
        assert model.test_on_batch(SEQUENCES, holes) == model.test_on_batch(SEQUENCES, target)
        model.train_on_batch(SEQUENCES, holes)
        assert np.isfinite(model.get_weights()[0]).all()

    def test_labels_of_padding(self) -> None:
        model = Sequential([Input((5,)), Embedding(7, 4, mask_zero=True), Dense(3, "softmax")])
        model.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"])
        assert np.isfinite(model.train_on_batch(IDS, np.where(MASK, 1, -1))).all()

    def test_own_loss_sees_the_steps_that_count(self) -> None:
        def own(y_true: np.ndarray, y_pred: np.ndarray) -> Any:
            assert y_pred.shape == (MASK.sum(), 2)
            return float((y_pred - y_true).mean()), np.full_like(y_pred, 1 / y_pred.size)

        model = Sequential([Input((5, 4)), Masking(mask_value=-1.0), Dense(2)])
        model.compile("sgd", own)
        model.train_on_batch(SEQUENCES, wave((5, 5, 2)))

    def test_nothing_counts(self) -> None:
        model = Sequential([Input((5,)), Embedding(7, 4, mask_zero=True), Dense(2)])
        model.compile("sgd", "mse", metrics=["mae"])
        before = model.get_weights()
        assert model.train_on_batch(np.zeros((2, 5), int), np.ones((2, 5, 2)))[0] == 0
        for old, new in zip(before, model.get_weights()):
            np.testing.assert_array_equal(old, new)
        ids = np.array([[0] * 5, [1] * 5])
        told = model.evaluate(ids, np.ones((2, 5, 2)), batch_size=1, verbose=0)
        assert told[1] == pytest.approx(np.abs(model(ids)[1] - 1).mean(), rel=1e-6)

    def test_targets_have_the_steps(self) -> None:
        model = Sequential([Input((5,)), Embedding(7, 4, mask_zero=True), Dense(2, name="end")])
        model.compile("sgd", "mse")
        with pytest.raises(ValueError, match=r"end: y has shape \(5, 2\), but its mask has \(5, 5\)"):
            model.train_on_batch(IDS, wave((5, 2)))


class TestLayers:
    def test_masking_gradient(self) -> None:
        x = np.where(MASK[:, :, None], X, 0).astype(np.float64)
        layer = Masking(dtype="float64")
        y, back = layer.vjp(x)
        np.testing.assert_array_equal(y, x)
        np.testing.assert_array_equal(back(np.ones_like(x)), np.broadcast_to(MASK[:, :, None], x.shape))

    def test_batch_statistics(self) -> None:
        """Of the steps that count, exactly; and with them a gradient that reaches the others' outputs."""
        layer = BatchNormalization(momentum=0.0, epsilon=0.1, dtype="float64")
        layer.vjp(X, mask=MASK)
        np.testing.assert_allclose(layer.state["moving_mean"], X[MASK].mean(axis=0), rtol=1e-5)
        np.testing.assert_allclose(layer.state["moving_variance"], X[MASK].var(axis=0), rtol=1e-5)

        assert gradcheck(UnderMask(layer), X, samples=60)

    @pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
    def test_means_over_steps(self, data_format: str) -> None:
        layer = GlobalAveragePooling1D(data_format=data_format, keepdims=True)
        x = X if data_format == "channels_last" else np.ascontiguousarray(X.transpose(0, 2, 1))
        y, back = layer.vjp(
            np.where(np.broadcast_to(MASK[:, None] if x is not X else MASK[..., None], x.shape), x, np.nan),
            mask=MASK,
        )
        expected = np.array([row[kept].sum(axis=0) / max(kept.sum(), 1) for row, kept in zip(X, MASK)])
        np.testing.assert_allclose(y.reshape(5, 4), expected, rtol=1e-6, atol=1e-7)
        assert y.shape == ((5, 1, 4) if x is X else (5, 4, 1))
        dx = back(np.ones_like(y))
        dx = dx if x is X else dx.transpose(0, 2, 1)
        np.testing.assert_allclose(dx[..., 0], MASK / np.maximum(MASK.sum(axis=1, keepdims=True), 1))

    def test_sequences_of_sequences(self) -> None:
        layer = TimeDistributed(LSTM(3, seed=0))
        x = wave((2, 3, 5, 4))
        mask = np.arange(5) < np.array([[1, 5, 2], [3, 0, 4]])[..., None]
        y = layer(x, mask=mask)
        for place in np.ndindex(2, 3):
            alone = layer.layer(x[place][None], mask=mask[place][None])
            np.testing.assert_allclose(y[place], alone[0], rtol=1e-6, atol=1e-7)

    def test_each_step_may_be_numbers_of_rows(self) -> None:
        model = Sequential([Input((3, 5)), TimeDistributed(Embedding(7, 2, seed=0)), Flatten(), Dense(1)])
        model.compile("sgd", "mse")
        model.fit(np.arange(30).reshape(2, 3, 5) % 7, np.ones(2), verbose=0)
        assert model.layers[0].compute_output_shape((None, 3, 5)) == (None, 3, 5, 2)

    def test_a_layer_of_ones_own(self) -> None:
        class Sum(Layer):
            def vjp(self, x: np.ndarray, training: bool = True, mask: Any = None) -> Any:
                kept = np.ones(x.shape[:2], bool) if mask is None else mask
                return (x * kept[..., None]).sum(axis=1), lambda dy: dy[:, None] * kept[..., None]

        model = Sequential([Input((5, 4)), Masking(mask_value=-1.0), Sum()])
        expected = (SEQUENCES * MASK[..., None]).sum(axis=1)
        np.testing.assert_array_equal(model(SEQUENCES), expected)
        np.testing.assert_array_equal(model.vjp(SEQUENCES)[0], expected)

    def test_what_takes_no_mask_says_so(self) -> None:
        model = Sequential([Input((5,)), Embedding(7, 4, mask_zero=True), Flatten(name="flat"), Dense(1)])
        with pytest.warns(UserWarning, match="flat: takes no mask and hands none on"):
            model(IDS)
        with pytest.raises(TypeError, match="a Flatten takes no mask"):
            Flatten()(X, mask=MASK)

    def test_masks_of_a_model(self) -> None:
        """A model can be given a mask, and tells that of its output."""
        model = Sequential([Input((5, 4)), Dense(3), LSTM(2, return_sequences=True, seed=0)])
        y, mask = model.masked_call(X, mask=MASK)
        np.testing.assert_array_equal(mask, MASK)
        np.testing.assert_array_equal(model(X, mask=MASK), y)
        np.testing.assert_array_equal(model.vjp(X, mask=MASK)[0], y)
        assert (model(X) != y).any()


@pytest.mark.parametrize("key", ["both starts", "explicit", "nested", "Concatenate steps"])
def test_files_hold_all_of_it(key: str, tmp_path: Any) -> None:
    model = made(MODELS[key])
    model.save(tmp_path / "model.npz")
    again = load_model(tmp_path / "model.npz")
    for came, expected in zip(as_list(again(inputs(again))), as_list(model(inputs(model)))):
        np.testing.assert_array_equal(came, expected)


def test_mask_and_x_are_both_symbolic_or_both_arrays() -> None:
    with pytest.raises(TypeError, match="arrays and symbolic tensors cannot be mixed"):
        LSTM(3)(Input((5, 4)), mask=MASK)


def test_layers_are_all_there() -> None:
    assert "Masking" in layers.__all__
