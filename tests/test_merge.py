"""Merges and Lambda: Keras's results, right gradients, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fastdl import Input, Model, gradcheck, layers
from fastdl.layers import Add, Concatenate, Dense, Dot, Lambda, Maximum, Minimum, Multiply, Subtract
from keras_cases import flat, wave
from keras_graphs import MERGES, RECORDED


def case_id(case: Any) -> str:
    return f"{case[0]}-{'-'.join(map(str, case[1].values()))}-{case[2]}"


def arrays(shapes: list[tuple[int, ...]], dtype: Any = np.float32) -> list[np.ndarray]:
    return [wave(shape, start).astype(dtype) for start, shape in enumerate(shapes)]


@pytest.mark.parametrize("index", range(len(MERGES)), ids=map(case_id, MERGES))
class TestAsKeras:
    def test_results_and_gradients(self, index: int) -> None:
        name, arguments, shapes = MERGES[index]
        layer = getattr(layers, name)(**arguments)
        with np.load(RECORDED) as answers:
            expected = answers[f"merge_{index}"]
        y, back = layer.vjp(arrays(shapes))
        # At most five products of numbers below 1 are added, or three factors multiplied; then all once more.
        np.testing.assert_allclose(flat([y, *back(wave(y.shape))]), expected, rtol=2e-6, atol=2e-6)
        np.testing.assert_array_equal(layer(arrays(shapes)), y)
        shape = (None, *y.shape[1:])
        assert layer.compute_output_shape([(None, *shape[1:]) for shape in shapes]) == shape
        tensor = getattr(layers, name.lower())([Input(shape[1:]) for shape in shapes], **arguments)
        assert tensor.shape == shape
        assert layer.get_weights() == []

    def test_gradients(self, index: int) -> None:
        name, arguments, shapes = MERGES[index]
        assert gradcheck(getattr(layers, name)(**arguments), arrays(shapes))

    @pytest.mark.parametrize("dtype", ["float32", "float64"])
    def test_dtype_and_inputs_stay(self, index: int, dtype: str) -> None:
        name, arguments, shapes = MERGES[index]
        x = arrays(shapes, dtype)
        before = [array.copy() for array in x]
        y, back = getattr(layers, name)(**arguments, dtype=dtype).vjp(x)
        dx = back(np.ones_like(y))
        assert [array.dtype.name for array in (y, *dx)] == [dtype] * (1 + len(x))
        assert [gradient.shape for gradient in dx] == shapes
        for array, then in zip(x, before):
            np.testing.assert_array_equal(array, then)

    def test_of_no_samples(self, index: int) -> None:
        name, arguments, shapes = MERGES[index]
        layer = getattr(layers, name)(**arguments)
        y, back = layer.vjp([np.empty((0, *shape[1:]), np.float32) for shape in shapes])
        assert len(y) == 0
        assert [gradient.shape for gradient in back(y)] == [(0, *shape[1:]) for shape in shapes]

    def test_description_makes_it_again(self, index: int) -> None:
        name, arguments, shapes = MERGES[index]
        layer = getattr(layers, name)(**arguments)
        again = type(layer).from_config(layer.get_config())
        np.testing.assert_array_equal(again(arrays(shapes)), layer(arrays(shapes)))


class TestNumbers:
    @pytest.mark.parametrize("layer", [Maximum(), Minimum()])
    def test_ties_go_to_the_first_and_nan_wins(self, layer: Any) -> None:
        nan = np.nan
        x = [np.array([[1.0, nan, 1.0, nan]]), np.array([[1.0, 1.0, nan, nan]]), np.array([[1.0, 1, 1, 1]])]
        y, back = layer.vjp(x)
        np.testing.assert_array_equal(y, [[1, nan, nan, nan]])
        np.testing.assert_array_equal(back(np.full((1, 4), np.inf, np.float32)), [
            [[np.inf, np.inf, 0, np.inf]], [[0, 0, np.inf, 0]], [[0, 0, 0, 0]]
        ])  # fmt: skip

    def test_a_product_with_zeros_has_a_gradient(self) -> None:
        _, back = Multiply().vjp([np.array([[0.0, 0.0]]), np.array([[3.0, 0.0]]), np.array([[2.0, 5.0]])])
        np.testing.assert_array_equal(np.stack(back(np.ones((1, 2)))), [[[6, 0]], [[0, 0]], [[0, 0]]])

    def test_a_vector_of_zeros_has_no_direction(self) -> None:
        y, back = Dot(1, normalize=True).vjp([np.zeros((1, 3)), np.ones((1, 3))])
        assert y == 0
        assert all(np.isfinite(gradient).all() for gradient in back(np.ones_like(y)))


@pytest.mark.parametrize(
    "message, call",
    [
        ("x must be a list of two or more arrays; got a single ndarray", lambda: Add()(np.ones((2, 3)))),
        ("x must be a list of two or more arrays; got 1", lambda: Add()([np.ones((2, 3))])),
        ("x must be a list of 2 arrays; got 3", lambda: Subtract()([np.ones((2, 3))] * 3)),
        ("must hold as many samples; got .2, 3., .3, 3.", lambda: Add()([np.ones((2, 3)), np.ones((3, 3))])),
        ("do not fit each other: .2, 3., .2, 4.", lambda: Add()([np.ones((2, 3)), np.ones((2, 4))])),
        ("must agree in all but axis 2; got .2, 3, 4., .2, 2, 4.",
         lambda: Concatenate()([np.ones((2, 3, 4)), np.ones((2, 2, 4))])),
        ("axis 0 is that of the batch", lambda: Concatenate(0)([np.ones((2, 3))] * 2)),
        ("axis 2 is out of range", lambda: Concatenate(2)([np.ones((2, 3))] * 2)),
        ("axes .2, 1. must be of one length", lambda: Dot((2, 1))([np.ones((2, 3, 4)), np.ones((2, 3))])),
        ("axes 0 name that of the batch", lambda: Dot(0)([np.ones((2, 3))] * 2)),
        ("axes must be an int or two of them", lambda: Dot((1, 1, 1))),
    ],
)  # fmt: skip
def test_mistakes_are_named(message: str, call: Any) -> None:
    with pytest.raises(ValueError, match=message):
        call()


def square(x: np.ndarray) -> np.ndarray:
    return x**2


def square_vjp(x: np.ndarray) -> Any:
    return x**2, lambda dy: 2 * x * dy


def gate_vjp(x: Any) -> Any:
    value, gate = x
    return value * gate, lambda dy: [dy * gate, dy * value]


class TestLambda:
    def test_gradients(self) -> None:
        assert gradcheck(Lambda(square, square_vjp), wave((2, 3)))

    def test_of_several_inputs(self) -> None:
        gate = Lambda(lambda x: x[0] * x[1], gate_vjp)
        assert gradcheck(gate, arrays([(2, 3), (2, 3)]))
        a, b = Input((3,)), Input((3,))
        model = Model([a, b], Dense(2)(gate([a, b])))
        assert gradcheck(model, arrays([(2, 3), (2, 3)]))

    def test_without_vjp_it_may_come_first(self) -> None:
        x = Input((3,))
        model = Model(x, Dense(1)(Lambda(lambda x: x / np.float32(255))(x)))
        model.compile("sgd", "mse")
        before = model.get_weights()
        model.train_on_batch(np.full((2, 3), 255, np.uint8), np.ones(2))
        assert (model.get_weights()[0] != before[0]).all()
        late = Model(x, Lambda(square, name="late")(Dense(1)(x)))
        late.compile("sgd", "mse")
        with pytest.raises(RuntimeError, match="late: a gradient needs the function's vjp"):
            late.train_on_batch(wave((2, 3)), np.ones(2))
