"""Schedules, clipping, regularizers and constraints: Keras's numbers, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fastdl import (
    Input,
    Sequential,
    constraints,
    layers,
    numerical_gradient,
    optimizers,
    regularizers,
    schedules,
)
from fastdl.layers import Dense, PReLU
from fastdl.layers.rows import RowGradient
from fastdl.layers.weights import add_penalty_gradients, constrain, penalised, penalty
from keras_cases import wave
from keras_training import (
    CLIPPING,
    CONSTRAINTS,
    RECORDED,
    REGULARIZERS,
    SCHEDULES,
    STEPS,
    gradients,
    parameters,
)

ROUNDING = 1e-6  # Keras computed in float32; nothing here takes more than a few operations


@pytest.fixture(scope="module")
def keras() -> Any:
    with np.load(RECORDED) as answers:
        return dict(answers)


def ids(cases: list[Any]) -> Any:
    return {"argvalues": range(len(cases)), "ids": lambda i: f"{cases[i][0]}{i}"}


class TestSchedules:
    @pytest.mark.parametrize("index", **ids(SCHEDULES))
    def test_as_keras(self, keras: Any, index: int) -> None:
        name, arguments = SCHEDULES[index]
        schedule = getattr(schedules, name)(**arguments)
        np.testing.assert_allclose(
            [schedule(step) for step in STEPS], keras[f"schedule_{index}"], rtol=ROUNDING, atol=1e-8
        )
        assert schedule.from_config(schedule.get_config()).get_config() == schedule.get_config()

    def test_first_step_is_step_zero(self, keras: Any) -> None:
        optimizer = optimizers.SGD(schedules.ExponentialDecay(0.1, 2, 0.5))
        params = dict(zip("ab", parameters()))
        rates = []
        for pair in gradients():
            rates.append(optimizer.learning_rate)
            optimizer.update(params, dict(zip("ab", pair)))
        np.testing.assert_allclose(rates, 0.1 * 0.5 ** (np.arange(4) / 2))
        for which, array in enumerate(params.values()):
            np.testing.assert_allclose(array, keras[f"clipped_{len(CLIPPING)}_{which}"], rtol=ROUNDING)

    def test_description_holds_the_schedule(self) -> None:
        optimizer = optimizers.Adam(schedules.CosineDecay(0.1, 10), clipnorm=2.0)
        again = optimizers.Adam.from_config(optimizer.get_config())
        assert (again.learning_rate, again.clipnorm) == (0.1, 2.0)
        with pytest.raises(TypeError, match="follows CosineDecay.*cannot be set"):
            again.learning_rate = 0.5


class TestClipping:
    @pytest.mark.parametrize("index", range(len(CLIPPING)))
    def test_as_keras(self, keras: Any, index: int) -> None:
        optimizer = optimizers.SGD(0.1, **CLIPPING[index])
        params = dict(zip("ab", parameters()))
        for pair in gradients():
            before = [gradient.copy() for gradient in pair]
            optimizer.update(params, dict(zip("ab", pair)))
            np.testing.assert_array_equal(np.concatenate(pair, axis=None), np.concatenate(before, axis=None))
        for which, array in enumerate(params.values()):
            np.testing.assert_allclose(array, keras[f"clipped_{index}_{which}"], rtol=ROUNDING, atol=1e-7)

    @pytest.mark.parametrize("arguments", CLIPPING, ids=str)
    def test_rows_count_as_the_whole(self, arguments: dict[str, float]) -> None:
        table, rows, values = wave((6, 4)), np.array([1, 5]), 3 * wave((2, 4))
        whole = np.zeros_like(table)
        whole[rows] = values
        results = []
        for gradient in (whole, RowGradient(rows, values, table.shape)):
            params = {"t": table.copy()}
            optimizers.SGD(0.1, **arguments).update(params, {"t": gradient})
            results.append(params["t"])
        np.testing.assert_array_equal(*results)

    def test_short_gradients_pass(self) -> None:
        params, plain = {"w": wave((3,))}, {"w": wave((3,))}
        optimizers.SGD(0.1, clipnorm=100.0).update(params, {"w": wave((3,))})
        optimizers.SGD(0.1).update(plain, {"w": wave((3,))})
        np.testing.assert_array_equal(params["w"], plain["w"])

    @pytest.mark.parametrize("name", ["clipnorm", "global_clipnorm"])
    @pytest.mark.parametrize("value", [np.nan, np.inf])
    def test_what_has_no_norm_changes_nothing(self, name: str, value: float) -> None:
        optimizer = optimizers.Adam(**{name: 1.0})
        params = {"a": np.ones(2), "b": np.ones(2)}
        with pytest.raises(ValueError, match="the gradient of 'b' holds NaN or Inf"):
            optimizer.update(params, {"a": np.ones(2), "b": np.array([1.0, value])})
        np.testing.assert_array_equal(params["a"], 1)
        assert optimizer.iterations == 0

    @pytest.mark.parametrize("name", optimizers.NAMES)
    def test_every_optimizer_takes_it(self, name: str) -> None:
        optimizer = optimizers.NAMES[name](clipvalue=0.5)
        assert type(optimizer).from_config(optimizer.get_config()).clipvalue == 0.5


class TestRegularizers:
    @pytest.mark.parametrize("index", **ids(REGULARIZERS))
    def test_as_keras(self, keras: Any, index: int) -> None:
        name, arguments = REGULARIZERS[index]
        penalty = getattr(regularizers, name)(**arguments)(2 * wave((4, 3)))
        assert penalty == pytest.approx(float(keras[f"regularizer_{index}"]), rel=ROUNDING)

    @pytest.mark.parametrize("regularizer", [regularizers.L1(0.3), regularizers.L1L2(0.1, 0.2)])
    def test_gradient_is_the_slope(self, regularizer: regularizers.Regularizer) -> None:
        weights = wave((4, 3)).astype(np.float64)
        slope = numerical_gradient(regularizer, weights)
        np.testing.assert_allclose(regularizer.vjp(weights)[1], slope, atol=1e-8)

    def test_frozen_weights_cost_nothing(self) -> None:
        model = Sequential([Input((4,)), Dense(3, kernel_regularizer="l2", trainable=False)])
        model.compile("sgd", "mse")
        zero = model.predict(wave((6, 4)))
        assert model.evaluate(wave((6, 4)), zero, verbose=0) == 0


class TestConstraints:
    @pytest.mark.parametrize("index", **ids(CONSTRAINTS))
    def test_as_keras(self, keras: Any, index: int) -> None:
        name, arguments = CONSTRAINTS[index]
        constraint = getattr(constraints, name)(**arguments)
        np.testing.assert_allclose(constraint(2 * wave((4, 3))), keras[f"constraint_{index}"], rtol=ROUNDING)

    def test_a_vector_of_zeros_stays_one(self) -> None:
        np.testing.assert_array_equal(constraints.UnitNorm()(np.zeros((2, 2))), 0)


def test_training_with_all_of_them_as_keras(keras: Any) -> None:
    layer = Dense(
        3,
        kernel_regularizer=regularizers.L1L2(0.01, 0.02),
        bias_regularizer="l2",
        kernel_constraint=constraints.MaxNorm(0.9),
        bias_constraint="non_neg",
    )
    model = Sequential([Input((4,)), layer])
    layer.set_weights([wave((4, 3)), wave((3,))])
    model.compile(optimizers.SGD(0.1, global_clipnorm=0.5), "mse")
    x, y = wave((6, 4), start=3), wave((6, 3), start=4)
    history = model.fit(x, y, batch_size=6, epochs=5, verbose=0, shuffle=False).history["loss"]
    found = np.concatenate([history, [model.evaluate(x, y, verbose=0)], *map(np.ravel, layer.get_weights())])
    np.testing.assert_allclose(found, keras["penalized"], rtol=1e-5, atol=1e-6)  # five steps


@pytest.mark.parametrize(
    "kind, arguments, shape, names",
    [
        ("Dense", (3,), (4,), {"kernel": "kernel", "bias": "bias"}),
        ("Conv2D", (3, 2), (5, 5, 2), {"kernel": "kernel", "bias": "bias"}),
        ("Conv1DTranspose", (3, 2), (5, 2), {"kernel": "kernel", "bias": "bias"}),
        ("DepthwiseConv2D", (2,), (5, 5, 2), {"depthwise": "kernel", "bias": "bias"}),
        ("SeparableConv2D", (3, 2), (5, 5, 2), {
            "depthwise": "depthwise/kernel", "pointwise": "pointwise/kernel", "bias": "pointwise/bias"}),
        ("PReLU", (), (4,), {"alpha": "alpha"}),
        ("Embedding", (7, 3), (4,), {"embeddings": "embeddings"}),
        ("BatchNormalization", (), (4,), {"gamma": "gamma", "beta": "beta"}),
        ("LayerNormalization", (), (4,), {"gamma": "gamma", "beta": "beta"}),
        ("LSTM", (3,), (5, 2), {"kernel": "kernel", "recurrent": "recurrent_kernel", "bias": "bias"}),
        ("GRU", (3,), (5, 2), {"kernel": "kernel", "recurrent": "recurrent_kernel", "bias": "bias"}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_every_weight_takes_its_own(kind: str, arguments: Any, shape: Any, names: dict[str, str]) -> None:
    for argument, name in names.items():
        layer = getattr(layers, kind)(
            *arguments,
            **{f"{argument}_regularizer": regularizers.L2(0.5), f"{argument}_constraint": "non_neg"},
        )
        again = layer.from_config(layer.get_config())
        for one in (layer, again):
            one.build((None, *shape))
            for number, weight in enumerate(one.params.values()):
                weight[...] = -abs(wave(weight.shape, start=number))
            own = one.params[name]
            assert penalty(penalised(one.leaves())) == pytest.approx(0.5 * float((own**2).sum()), rel=1e-6)
            add_penalty_gradients(penalised(one.leaves()))
            np.testing.assert_array_equal(one.grads[name], own)
            others = {key: array.copy() for key, array in one.params.items() if key != name}
            for _, leaf in one.leaves():
                constrain(leaf)
            assert not own.any()
            for key, before in others.items():
                np.testing.assert_array_equal(one.params[key], before)


def test_other_weights_take_them() -> None:
    layer = PReLU("ones", alpha_constraint="non_neg", alpha_regularizer="l1")
    model = Sequential([Input((4,)), layer])
    model.compile(optimizers.SGD(1000.0), "mse")
    model.fit(-np.ones((2, 4)), np.ones((2, 4)), verbose=0)
    np.testing.assert_array_equal(layer.params["alpha"], 0)


@pytest.mark.parametrize(
    "error, message, call",
    [
        (ValueError, "only one of .* got clipnorm and clipvalue",
         lambda: optimizers.SGD(clipnorm=1.0, clipvalue=1.0)),
        (ValueError, "clipnorm must be above 0", lambda: optimizers.SGD(clipnorm=0.0)),
        (ValueError, "clipvalue must be at least 0", lambda: optimizers.SGD(clipvalue=-1.0)),
        (TypeError, "clip", lambda: optimizers.SGD(clip=1.0)),
        (ValueError, "unknown regularizer 'l3'; there are l1, l1_l2, l2",
         lambda: Dense(3, kernel_regularizer="l3")),
        (TypeError, "a regularizer is a name", lambda: Dense(3, kernel_regularizer=0.1)),
        (ValueError, "unknown constraint 'max'", lambda: Dense(3, kernel_constraint="max")),
        (ValueError, "l2 must be at least 0", lambda: regularizers.L2(-1.0)),
        (ValueError, "max_value must be at least 2", lambda: constraints.MinMaxNorm(2.0, 1.0)),
        (ValueError, "rate must be at most 1", lambda: constraints.MinMaxNorm(rate=1.5)),
        (ValueError, "values must be one more", lambda: schedules.PiecewiseConstantDecay([1, 2], [0.1, 0.2])),
        (ValueError, "boundaries must ascend",
         lambda: schedules.PiecewiseConstantDecay([2, 1], [0.1, 0.2, 0.3])),
        (ValueError, "decay_steps must be at least 1", lambda: schedules.CosineDecay(0.1, 0)),
    ],
)  # fmt: skip
def test_impossible_settings(error: type[Exception], message: str, call: Any) -> None:
    with pytest.raises(error, match=message):
        call()


# ---- the gradients of a step


def classifier(*line: layers.Layer) -> Sequential:
    model = Sequential([Input((4,)), *line])
    model.compile("sgd", "sparse_categorical_crossentropy")
    return model


def test_gradients_are_those_of_the_step() -> None:
    """In the arrays that a person holds, whatever was in them; where a layer is frozen, they are zero."""
    x, labels = wave((6, 4)), np.array([0, 1, 2, 0, 1, 2])
    model = classifier(Dense(5, "relu", trainable=False), Dense(3, "softmax"))
    held = {name: grad for layer in model.layers for name, grad in layer.grads.items()}
    frozen = list(model.layers[0].grads.values())
    for grad in (*held.values(), *frozen):
        grad.fill(np.nan)
    before = model.get_weights()[2]
    model.train_on_batch(x, labels)
    assert not any(grad.any() for grad in frozen)
    np.testing.assert_allclose(before - 0.01 * held["kernel"], model.get_weights()[2], rtol=1e-6)
    first = held["kernel"].copy()
    model.set_weights([*model.get_weights()[:2], before, np.zeros(3)])
    model.train_on_batch(x, labels)
    np.testing.assert_array_equal(held["kernel"], first)  # they do not add up from step to step


def test_a_failed_step_leaves_zeros() -> None:
    def refuse(dy: np.ndarray) -> np.ndarray:
        raise RuntimeError("no way back")

    model = classifier(Dense(5), layers.Lambda(np.copy, vjp=lambda x: (x, refuse)), Dense(3, "softmax"))
    held = [grad for layer in model.layers for grad in layer.grads.values()]
    for grad in held:
        grad.fill(7)
    with pytest.raises(RuntimeError, match="no way back"):
        model.train_on_batch(wave((6, 4)), np.array([0, 1, 2, 0, 1, 2]))
    assert not any(grad.any() for grad in held)


def test_a_layer_may_clear_gradients_in_its_own_way() -> None:
    class Counted(Dense):
        cleared = 0

        def zero_grads(self) -> None:
            super().zero_grads()
            self.cleared += 1

    layer = Counted(3, "softmax")
    classifier(layer).train_on_batch(wave((6, 4)), np.array([0, 1, 2, 0, 1, 2]))
    assert layer.cleared == 1
