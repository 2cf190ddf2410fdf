"""Inference in fewer passes: the numbers of the layers one by one, within a bound, and what goes together."""

from __future__ import annotations

import threading
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
    GaussianNoise,
    Layer,
    LeakyReLU,
    ReLU,
    SpatialDropout2D,
)
from fusing import AFTER, FIRST, HEADS, Clipped, filled, parts
from harness import DTYPES, FAST_ENGINES, drawn, gamma


def in_turn(model: Sequential, x: np.ndarray) -> np.ndarray:
    """The layers one by one."""
    for layer in model.layers:
        x = layer(x)
    return x


def sizes(model: Sequential, x: np.ndarray) -> np.ndarray:
    """What is added up before the activation, with no sign: the model of absolute values, and no mean."""
    for name, weight in model.named_weights().items():
        weight[...] = -np.abs(weight) if name.endswith("moving_mean") else np.abs(weight)
    x = np.abs(x)
    for layer in model.layers:
        if not isinstance(layer, layers.pointwise.Pointwise):
            x = layer(x)
    return x


@pytest.mark.parametrize("head, shape, axis", HEADS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("engine", FAST_ENGINES)
class TestNumbers:
    """At most 108 products, the two roundings of scale and shift, those of the fold and an activation's 4."""

    terms = 120

    def held(self, model: Sequential, dtype: str, engine: str, shape: tuple[int, ...]) -> None:
        (x,) = drawn(2, (3, *shape), dtype=dtype)
        model.astype(dtype)
        with fastdl.use(backend=engine):
            y, plain = model(x), in_turn(model, x)
        model.astype("float64")
        exact = in_turn(model, x.astype(np.float64))
        bound = gamma(self.terms, dtype) * (sizes(model, x.astype(np.float64)) + 1)
        assert y.dtype == dtype
        assert (np.abs(y - exact) <= bound).all()
        assert (np.abs(y - plain) <= 2 * bound).all()

    def test_norm(self, head: Any, shape: Any, axis: int, dtype: str, engine: str) -> None:
        model = parts(head, shape, axis)
        assert len(model.fused_calls) == 1
        self.held(model, dtype, engine, shape)

    def test_norm_and_activation(self, head: Any, shape: Any, axis: int, dtype: str, engine: str) -> None:
        model = parts(head, shape, axis, Dropout(0.5), LeakyReLU(0.4))
        assert len(model.fused_calls) == 3
        self.held(model, dtype, engine, shape)

    def test_activation_has_the_same_bits(
        self, head: Any, shape: Any, axis: int, dtype: str, engine: str
    ) -> None:
        (x,) = drawn(2, (3, *shape), dtype=dtype)
        model = filled(Sequential([Input(shape), head(), ELU(0.7)]))
        model.astype(dtype)
        with fastdl.use(backend=engine):
            assert model(x).tobytes() == in_turn(model, x).tobytes()
        assert len(model.fused_calls) == 1


@pytest.mark.parametrize("after", AFTER)
@pytest.mark.parametrize("options", [{}, {"center": False}, {"scale": False}, {"trainable": False}])
def test_every_activation(after: Callable[[], Layer], options: dict[str, Any]) -> None:
    """As above, in float64, where all roundings are far below 1e-12."""
    (x,) = drawn(2, (3, 6, 5, 4))
    model = Sequential([Input((6, 5, 4)), Conv2D(5, 3), BatchNormalization(**options), after()])
    filled(model).astype("float64")
    np.testing.assert_allclose(model(x), in_turn(model, x), atol=1e-12)
    alone = filled(Sequential([Input((6, 5, 4)), BatchNormalization(**options), after()]))
    alone.astype("float64")
    assert alone(x).tobytes() == in_turn(alone, x).tobytes()


def test_winograd() -> None:
    """The bound of the whole array, since a tile shares its roundings: 180 products and the rest."""
    (x,) = drawn(2, (2, 20, 20, 20), dtype="float32")
    model = parts(lambda: Conv2D(24, 3, padding="same"), (20, 20, 20), -1, ReLU())
    y = model(x)
    model.astype("float64")
    exact = in_turn(model, x.astype(np.float64))
    assert np.abs(y - exact).max() <= gamma(200, "float32") * sizes(model, x.astype(np.float64)).max()


# ---- what goes together


class Doubled(Conv2D):
    def call(self, x: np.ndarray) -> np.ndarray:
        return 2 * super().call(x)


class Shifted(BatchNormalization):
    def call(self, x: np.ndarray) -> np.ndarray:
        return super().call(x) + 1


def names(model: Any) -> list[str]:
    return [call.layer.name for call in model.fused_calls]


@pytest.mark.parametrize(
    "made, expected",
    [
        ([Conv2D(4, 3), BatchNormalization(name="n"), ReLU(name="a")], ["n", "a"]),
        ([Conv2D(4, 3), BatchNormalization(name="n"), SpatialDropout2D(0.5, name="d"), ReLU(name="a")],
         ["n", "d", "a"]),
        ([Conv2D(4, 3), BatchNormalization(name="n"), BatchNormalization(name="m")], ["n"]),
        ([Conv2D(4, 3), ReLU(name="a"), BatchNormalization(name="n"), ReLU(name="b")], ["a", "b"]),
        ([Conv2D(4, 3, activation="relu"), BatchNormalization(name="n"), ReLU(name="a")], ["a"]),
        ([Conv2D(4, 3, activation="relu"), ReLU(name="a")], []),
        ([Conv2D(4, 3), BatchNormalization(axis=1, name="n")], []),
        ([Conv2D(4, 3, **FIRST), BatchNormalization(name="n")], []),
        ([Conv2D(4, 3), BatchNormalization(name="n", dtype="float64")], []),
        ([Conv2D(4, 3), Activation("softmax", name="s")], []),
        ([Conv2D(4, 3), Activation("linear", name="l"), ReLU(name="a")], ["l", "a"]),
        ([layers.MaxPooling2D(), Dropout(0.5, name="d"), GaussianNoise(1.0, name="g"), ReLU()], ["d", "g"]),
        ([Sequential([Input((8, 8, 3)), Conv2D(4, 3)]), BatchNormalization(name="n"), ReLU(name="a")], ["a"]),
        ([Doubled(4, 3), BatchNormalization(name="n"), ReLU(name="a")], ["a"]),
        ([Conv2D(4, 3), Shifted(name="n"), ReLU(name="a")], []),
        ([Conv2D(4, 3), Clipped(name="a")], []),
    ],
)  # fmt: skip
def test_what_goes_together(made: list[Layer], expected: list[str]) -> None:
    model = filled(Sequential([Input((8, 8, 3)), *made]))
    assert names(model) == expected
    model.astype("float64")
    (x,) = drawn(0, (2, 8, 8, 3))
    np.testing.assert_allclose(model(x), in_turn(model, x), rtol=1e-10, atol=1e-10)


class TestGraph:
    def test_a_result_that_is_read_twice(self) -> None:
        x = Input((6,))
        z = Dense(6)(x)
        y = ReLU(name="a")(BatchNormalization(name="n")(z))
        assert names(Model(x, y)) == ["n", "a"]
        assert names(Model(x, layers.Add()([y, z]))) == ["a"]
        assert names(Model(x, [z, y])) == ["a"]

    def test_shared_layers(self) -> None:
        """Each call for itself: the norm is part of one convolution here, and stands alone there."""
        x = Input((6,))
        dense, norm = Dense(6, name="dense"), BatchNormalization(name="n")
        once = norm(dense(x))
        model = Model(x, layers.Add()([once, norm(once)]))
        assert names(model) == ["n"]
        for weight in model.named_weights().values():
            weight[...] = np.linspace(0.5, 2, weight.size).reshape(weight.shape)
        model.astype("float64")
        (data,) = drawn(0, (3, 6))
        z = norm(dense(data))
        np.testing.assert_allclose(model(data), z + norm(z), rtol=1e-13)

    def test_modes_that_calls_keep(self) -> None:
        x = Input((6,))
        for training, expected in ((None, ["n", "d"]), (False, ["n", "d"]), (True, [])):
            z = BatchNormalization(name="n")(Dense(6)(x), training=training)
            assert names(Model(x, Dropout(0.5, name="d")(z, training=training))) == expected

    def test_a_model_in_a_model(self) -> None:
        inner = Sequential([Input((8, 8, 3)), Conv2D(4, 3), BatchNormalization(name="n"), ReLU(name="a")])
        x = Input((8, 8, 3))
        outer = Model(x, layers.Flatten()(inner(x)))
        filled(inner).astype("float64")
        outer.astype("float64")
        (data,) = drawn(0, (2, 8, 8, 3))
        assert names(inner) == ["n", "a"]
        np.testing.assert_allclose(outer(data), in_turn(inner, data).reshape(2, -1), rtol=1e-12, atol=1e-12)

    def test_added_and_taken_away(self) -> None:
        model = Sequential([Input((6,)), Dense(6), BatchNormalization(name="n")])
        assert names(model) == ["n"]
        model.add(ReLU(name="a"))
        assert names(model) == ["n", "a"]
        model.pop()
        assert names(model) == ["n"]

    def test_training_is_as_ever(self) -> None:
        norm = BatchNormalization()
        model = filled(Sequential([Input((6,)), Dense(6), norm, Dropout(0.0), ReLU()]))
        (x,) = drawn(0, (5, 6), dtype="float32")
        before = norm.state["moving_mean"].copy()
        y, back = model.vjp(x)
        assert back(y).shape == x.shape
        assert (norm.state["moving_mean"] != before).all()


class TestNothingIsKept:
    def model(self) -> Sequential:
        return parts(lambda: Conv2D(6, 3), (8, 7, 4), -1, ReLU())

    def test_weights_changed_in_place_are_seen(self) -> None:
        model = self.model()
        (x,) = drawn(2, (3, 8, 7, 4), dtype="float32")
        for weight in model.named_weights().values():
            before = model(x)
            weight *= np.float32(1.5)
            np.testing.assert_allclose(model(x), in_turn(model, x), rtol=1e-4, atol=1e-4)
            assert (model(x) != before).any()

    def test_nothing_is_written(self) -> None:
        model = self.model()
        (x,) = drawn(2, (3, 8, 7, 4), dtype="float32")
        before = [{**vars(layer)} for layer in model.layers]
        weights = model.get_weights()
        model(x)
        assert all(vars(layer).items() == kept.items() for layer, kept in zip(model.layers, before))
        for one, other in zip(model.get_weights(), weights):
            np.testing.assert_array_equal(one, other)

    def test_many_threads(self) -> None:
        model = self.model()
        (x,) = drawn(2, (3, 8, 7, 4), dtype="float32")
        expected, wrong = model(x).tobytes(), []

        def run() -> None:
            wrong.extend(1 for _ in range(50) if model(x).tobytes() != expected)

        threads = [threading.Thread(target=run) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not wrong

    def test_from_a_file(self, tmp_path: Any) -> None:
        model = self.model()
        (x,) = drawn(2, (3, 8, 7, 4), dtype="float32")
        model.save(tmp_path / "model.npz")
        again = fastdl.load_model(tmp_path / "model.npz")
        assert len(again.fused_calls) == 2
        assert again(x).tobytes() == model(x).tobytes()

    @pytest.mark.skipif("native" not in FAST_ENGINES, reason="NumPy's BLAS promises no bits")
    def test_by_batches(self) -> None:
        """The size of the batch has no part in what is fused, nor in the bits."""
        model = self.model()
        (x,) = drawn(2, (7, 8, 7, 4), dtype="float32")
        with fastdl.use(backend="native"):
            assert model.predict(x, batch_size=2).tobytes() == model(x).tobytes()


@pytest.mark.parametrize("engine", FAST_ENGINES)
@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("place", ["x", "kernel", "bias", "gamma", "beta", "moving_mean", "moving_variance"])
def test_what_is_not_finite(engine: str, value: float, place: str) -> None:
    """NaN is where it is after one layer after another; one gamma is zero."""
    model = parts(lambda: Conv2D(5, 2), (4, 4, 3), -1)
    weights = {name.rpartition("/")[2]: weight for name, weight in model.named_weights().items()}
    (x,) = drawn(2, (2, 4, 4, 3), dtype="float32")
    weights["gamma"][0] = 0
    (x if place == "x" else weights[place]).flat[0] = value
    with fastdl.use(backend=engine), np.errstate(invalid="ignore"):
        np.testing.assert_array_equal(np.isnan(model(x)), np.isnan(in_turn(model, x)))


def test_summary_says_so() -> None:
    lines: list[str] = []
    line = [Input((6,)), Dense(6, name="dense"), BatchNormalization(name="norm"), Dropout(0.1, name="drop")]
    Sequential(line).summary(print_fn=lines.append)
    assert [row.partition(" (")[0] for row in lines[4:7]] == ["dense", "+ norm", "+ drop"]
    assert "+ at inference part of the layer before, or dropped" in lines
    lines.clear()
    Sequential(line[:2]).summary(print_fn=lines.append)
    assert not any(row.startswith("+") for row in lines)
