"""Optimizers: Keras's steps, and what they do with the arrays they are given."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest

import fastdl
from fastdl import Input, Sequential, optimizers, schedules
from fastdl.layers import Dense
from harness import ENGINES
from keras_cases import OPTIMIZERS, RECORDED, gradients, wave

ALL = [optimizers.get(name) for name in optimizers.NAMES]


def steps(optimizer: optimizers.Optimizer, parameter: np.ndarray) -> np.ndarray:
    params = {"p": parameter}
    for gradient in gradients():
        optimizer.update(params, {"p": gradient})
    assert params["p"] is parameter
    return parameter


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("index", range(len(OPTIMIZERS)), ids=lambda i: f"{OPTIMIZERS[i][0]}{i}")
def test_steps_as_keras(index: int, engine: str) -> None:
    name, arguments = OPTIMIZERS[index]
    with np.load(RECORDED) as answers:
        expected = answers[f"optimizer_{index}"]
    with fastdl.use(backend=engine):
        found = steps(getattr(optimizers, name)(**arguments), wave((3, 5), start=9))
    # Keras subtracts 0.999^t from 1 in float32: that is off by u / 0.001, and half of it passes the root.
    # In six steps of 0.01 it is 1.8e-6.
    np.testing.assert_allclose(found, expected, rtol=2e-6, atol=2e-6)


@pytest.mark.parametrize("engine", ENGINES)
def test_amsgrad_remembers_the_largest(engine: str) -> None:
    """By hand: v is 2 and then 1.5, the largest stays 2, and the second rate is √(1 - 1/4)."""
    optimizer = optimizers.Adam(1.0, beta_1=0.0, beta_2=0.5, epsilon=0.0, amsgrad=True)
    params = {"p": np.zeros(1)}
    with fastdl.use(backend=engine):
        for gradient in (2.0, 1.0):
            optimizer.update(params, {"p": np.array([gradient])})
    np.testing.assert_allclose(params["p"], -1 - np.sqrt(0.75 / 2), rtol=1e-12)


@pytest.mark.parametrize("name", ["SGD", "AdamW"])
def test_weight_decay_goes_by_the_rate_of_its_step(name: str) -> None:
    """By hand: half of a rate that is halved at each step, of parameters without a gradient."""
    halved = schedules.ExponentialDecay(0.5, decay_steps=1, decay_rate=0.5)
    optimizer = getattr(optimizers, name)(halved, weight_decay=0.5)
    params = {"p": np.ones(3)}
    for _ in range(2):
        optimizer.update(params, {"p": np.zeros(3)})
    np.testing.assert_allclose(params["p"], (1 - 0.25) * (1 - 0.125), rtol=1e-15)


@pytest.mark.parametrize("optimizer", ALL, ids=optimizers.NAMES)
class TestUpdate:
    def test_goes_downhill(self, optimizer: optimizers.Optimizer) -> None:
        optimizer = copy.deepcopy(optimizer)
        optimizer.learning_rate = 0.1
        params = {"p": np.array([1.0, -2.0])}
        first = float((params["p"] ** 2).sum())
        for _ in range(50):
            optimizer.update(params, {"p": 2 * params["p"]})
        assert (params["p"] ** 2).sum() < first
        assert optimizer.iterations == 50

    def test_any_array_gives_the_same(self, optimizer: optimizers.Optimizer) -> None:
        plain = steps(copy.deepcopy(optimizer), wave((3, 5)))
        strided = np.zeros((3, 10), np.float32)[:, ::2]
        fortran = np.asfortranarray(wave((3, 5)))
        swapped = wave((3, 5)).astype(np.dtype(np.float32).newbyteorder())
        strided[:] = wave((3, 5))
        for other in (strided, fortran, swapped):
            np.testing.assert_array_equal(steps(copy.deepcopy(optimizer), other), plain)

    def test_large_array_as_its_parts(self, optimizer: optimizers.Optimizer) -> None:
        """So large that the work is divided: a thousand copies take the steps of one."""
        large, optimizer = {"p": np.tile(wave((3, 5)), (1001, 1))}, copy.deepcopy(optimizer)
        one = steps(copy.deepcopy(optimizer), wave((3, 5)))
        for gradient in gradients():
            optimizer.update(large, {"p": np.tile(gradient, (1001, 1))})
        np.testing.assert_array_equal(large["p"], np.tile(one, (1001, 1)))

    def test_float16(self, optimizer: optimizers.Optimizer) -> None:
        found = steps(copy.deepcopy(optimizer), wave((3, 5)).astype(np.float16))
        assert found.dtype == np.float16
        # It is rounded to float16 after each of six steps.
        np.testing.assert_allclose(
            found, steps(copy.deepcopy(optimizer), wave((3, 5))), rtol=0, atol=6 * 2**-10
        )

    def test_description_makes_it_again(self, optimizer: optimizers.Optimizer) -> None:
        again = type(optimizer).from_config(optimizer.get_config())
        np.testing.assert_array_equal(
            steps(again, wave((3, 5))), steps(copy.deepcopy(optimizer), wave((3, 5)))
        )

    def test_state_goes_by_key(self, optimizer: optimizers.Optimizer) -> None:
        together, apart = copy.deepcopy(optimizer), [copy.deepcopy(optimizer) for _ in range(2)]
        params = {"a": wave((3, 5)), "b": wave((3, 5))}
        for gradient in gradients():
            together.update(params, {"b": 2 * gradient, "a": gradient})
        for one, key, factor in zip(apart, "ab", (1, 2)):
            alone = {"p": wave((3, 5))}
            for gradient in gradients():
                one.update(alone, {"p": factor * gradient})
            np.testing.assert_array_equal(params[key], alone["p"])


class TestNames:
    @pytest.mark.parametrize("name", ["adam", "Adam", "RMSprop", "rmsprop", "SGD", "AdaDelta", "nesterov"])
    def test_get(self, name: str) -> None:
        assert type(optimizers.get(name)).__name__.lower() == name.lower()

    def test_unknown(self) -> None:
        with pytest.raises(
            ValueError, match="unknown optimizer 'adan'; there are adadelta, adagrad, adam, adamw"
        ):
            optimizers.get("adan")
        with pytest.raises(TypeError, match="a name or a Optimizer; got 3"):
            optimizers.get(3)  # type: ignore[arg-type]

    def test_momentum_and_nesterov_are_sgd(self) -> None:
        for by_name, options in (
            ("momentum", {"momentum": 0.9}),
            ("nesterov", {"momentum": 0.9, "nesterov": True}),
        ):
            expected = steps(optimizers.SGD(**options), wave((3, 5)))  # type: ignore[arg-type]
            np.testing.assert_array_equal(steps(optimizers.get(by_name), wave((3, 5))), expected)


class TestStep:
    def test_is_an_update_of_what_is_trainable(self) -> None:
        model = Sequential([Input((4,)), Dense(3), Dense(2, trainable=False), Dense(1)])
        other = copy.deepcopy(model)
        for chosen in (model, other):
            y, back = chosen.vjp(wave((5, 4)))
            back(np.ones_like(y))
        optimizers.Adam(0.1).step(model)
        params = {name: array for name, array in other.params.items() if other.layers[1].name not in name}
        optimizers.Adam(0.1).update(params, other.grads)
        for name, array in model.params.items():
            np.testing.assert_array_equal(array, other.params[name])

    def test_shared_layer_is_stepped_once(self) -> None:
        shared = Dense(4)
        model = Sequential([Input((4,)), shared, shared])
        before = shared.get_weights()[0]
        shared.grads["kernel"][:] = 1
        optimizers.SGD(0.5).step(model)
        np.testing.assert_array_equal(shared.params["kernel"], before - np.float32(0.5))


@pytest.mark.parametrize(
    "error, message, params, grads",
    [
        (ValueError, "there is no gradient for 'b'", {"a": np.ones(2), "b": np.ones(2)}, {"a": np.ones(2)}),
        (ValueError, r"the gradient of 'b' must have the shape of the parameter, \(2,\); got \(3,\)",
         {"a": np.ones(2), "b": np.ones(2)}, {"a": np.ones(2), "b": np.ones(3)}),
        (TypeError, "'b' must be a writable array of floats", {"a": np.ones(2), "b": np.ones(2, int)},
         {"a": np.ones(2), "b": np.ones(2)}),
        (TypeError, "'b' must be a writable array of floats", {"a": np.ones(2), "b": [1.0]},
         {"a": np.ones(2), "b": np.ones(1)}),
        (TypeError, "'b' must be a writable array of floats",
         {"a": np.ones(2), "b": np.broadcast_to(np.ones(1), (2,))}, {"a": np.ones(2), "b": np.ones(2)}),
    ],
)  # fmt: skip
def test_mistakes_change_nothing(error: type[Exception], message: str, params: Any, grads: Any) -> None:
    optimizer = optimizers.Adam()
    with pytest.raises(error, match=message):
        optimizer.update(params, grads)
    np.testing.assert_array_equal(params["a"], 1)
    assert optimizer.iterations == 0


def test_another_network_is_refused() -> None:
    optimizer = optimizers.Adam()
    optimizer.update({"w": np.ones(3)}, {"w": np.ones(3)})
    with pytest.raises(ValueError, match=r"'w' has shape \(4,\), but had \(3,\) before"):
        optimizer.update({"w": np.ones(4)}, {"w": np.ones(4)})


@pytest.mark.parametrize(
    "message, call",
    [
        ("learning_rate must be at least 0", lambda: optimizers.Adam(-1.0)),
        (
            "learning_rate must be at least 0",
            lambda: setattr(optimizers.Adam(), "learning_rate", float("nan")),
        ),
        ("momentum must be at most 1", lambda: optimizers.SGD(momentum=1.5)),
        ("beta_1 must be at least 0 and below 1", lambda: optimizers.Adam(beta_1=1.0)),
        ("rho must be at most 1", lambda: optimizers.RMSprop(rho=2.0)),
    ],
)
def test_impossible_settings(message: str, call: Any) -> None:
    with pytest.raises(ValueError, match=message):
        call()
