"""The checker itself: right gradients pass, each kind of wrong one is found, where it is."""

from __future__ import annotations

import copy

import numpy as np
import pytest

import fastdl
from fastdl import gradcheck, numerical_gradient


class TestNumericalGradient:
    def test_any_shape(self) -> None:
        rng = np.random.default_rng(0)
        for shape in [(), (3,), (2, 3), (2, 0), (2, 3, 2, 2)]:
            x = np.array(rng.normal(size=shape))
            before = x.copy()
            gradient = numerical_gradient(lambda x: np.sum(x**3), x)
            assert gradient.shape == shape
            np.testing.assert_allclose(gradient, 3 * x**2, rtol=1e-6, atol=1e-8)
            np.testing.assert_array_equal(x, before)

    def test_without_argument(self) -> None:
        x = np.array([1.0, 2.0])
        np.testing.assert_allclose(numerical_gradient(lambda: x @ x, x), 2 * x, rtol=1e-8)

    def test_of_views(self) -> None:
        whole = np.arange(12.0).reshape(3, 4)
        view = whole[::-1, ::2].T
        np.testing.assert_allclose(
            numerical_gradient(lambda: (whole**2).sum(), view), 2 * view, rtol=1e-6, atol=1e-8
        )

    def test_dict(self) -> None:
        params = {"w": np.array([[1.0, 2.0]]), "b": np.array(3.0)}
        gradients = numerical_gradient(lambda p: (p["w"] ** 2).sum() * p["b"], params)
        np.testing.assert_allclose(gradients["w"], [[6.0, 12.0]], rtol=1e-8)
        np.testing.assert_allclose(gradients["b"], 5.0, rtol=1e-8)

    def test_float32(self) -> None:
        x = np.array([1.0, 2.0], np.float32)
        gradient = numerical_gradient(lambda x: (x**2).sum(), x)
        assert gradient.dtype == np.float32
        np.testing.assert_allclose(gradient, 2 * x, rtol=1e-3)  # rounding of f over the step: 1e-7 * 5 / 5e-3

    def test_own_step(self) -> None:
        gradient = numerical_gradient(abs, np.array([0.5]), eps=1.0)
        np.testing.assert_allclose(gradient, [0.5])  # (1.5 - 0.5) / 2

    def test_put_back_after_an_error(self) -> None:
        x = np.array([1.0])

        def f() -> float:
            raise KeyError

        with pytest.raises(KeyError):
            numerical_gradient(f, x)
        assert x[0] == 1.0

    @pytest.mark.parametrize(
        "f, x, words",
        [
            (np.sum, [1.0], "x must be an array of floats; got a list"),
            (np.sum, np.array([1]), "x must be an array of floats; got an array of int64"),
            (lambda p: 0.0, {"w": [1.0]}, "x['w'] must be an array of floats; got a list"),
            (lambda x: x, np.ones(2), "f must return one number; got float64 of shape (2,)"),
        ],
    )
    def test_refused(self, f, x, words: str) -> None:
        with pytest.raises(TypeError) as caught:
            numerical_gradient(f, x)
        assert words in str(caught.value)

    def test_read_only(self) -> None:
        x = np.ones(2)
        x.flags.writeable = False
        with pytest.raises(ValueError, match="x is read-only"):
            numerical_gradient(np.sum, x)


class Affine:
    """The smallest thing that follows the protocol: y = tanh(x) * scale + shift."""

    def __init__(self, wrong: str = "") -> None:
        self.wrong = wrong
        self.params = {"scale": np.array([0.5, -1.0, 2.0]), "shift": np.zeros(3)}
        self.zero_grads()

    def zero_grads(self) -> None:
        self.grads = {name: np.zeros_like(array) for name, array in self.params.items()}

    def vjp(self, x, training=True):
        t = np.tanh(x)

        def back(dy):
            self.grads["scale"] += (dy * t).sum(axis=0)
            self.grads["shift"] += dy.sum(axis=0)
            dx = dy * self.params["scale"] * (1 - t**2)
            if self.wrong == "entry":
                self.grads["scale"][1] *= 1.0001
            if self.wrong == "x":
                dx[1, 2] = 0
            if self.wrong == "nan":
                self.grads["shift"][2] = np.nan
            if self.wrong == "shape":
                self.grads["shift"] = self.grads["shift"][None]
            return dx

        y = t * self.params["scale"] + self.params["shift"]
        return (y.astype(np.float32) if self.wrong == "dtype" else y), back


X = np.random.default_rng(1).normal(size=(2, 3))


class TestGradcheck:
    def test_right(self) -> None:
        report = gradcheck(Affine(), X)
        assert report
        assert report.ok
        assert report.max_error < 1e-7
        assert [entry.name for entry in report.errors] == ["x", "scale", "shift"]
        assert [entry.checked for entry in report.errors] == [6, 3, 3]

    @pytest.mark.parametrize(
        "wrong, name, index", [("entry", "scale", (1,)), ("x", "x", (1, 2)), ("nan", "shift", (2,))]
    )
    def test_wrong_is_found_where_it_is(self, wrong: str, name: str, index: tuple[int, ...]) -> None:
        report = gradcheck(Affine(wrong), X)
        assert not report
        bad = [entry for entry in report.errors if entry.error > report.tolerance]
        assert [(entry.name, entry.index) for entry in bad] == [(name, index)]
        line = next(line for line in str(report).splitlines() if line.startswith(name))
        assert line.endswith("wrong")
        assert str(index) in line

    def test_float32_is_refused(self) -> None:
        with pytest.raises(TypeError, match="must compute in float64 to be checked; it gives float32"):
            gradcheck(Affine("dtype"), X)

    def test_shape_is_refused(self) -> None:
        with pytest.raises(
            ValueError, match=r"the gradient of shift must have its shape \(3,\); got \(1, 3\)"
        ):
            gradcheck(Affine("shape"), X)

    def test_gradients_of_before_do_not_count(self) -> None:
        model = Affine()
        model.grads["shift"][:] = 1
        assert gradcheck(model, X)

    def test_samples(self) -> None:
        report = gradcheck(Affine(), np.random.default_rng(2).normal(size=(40, 3)), samples=7)
        assert [entry.checked for entry in report.errors] == [7, 3, 3]
        assert report

    def test_zero_gradients_are_right(self) -> None:
        model = Affine()
        model.params["scale"][:] = 0
        assert gradcheck(model, X)

    def test_the_model_is_left_alone(self) -> None:
        model = Affine()
        before = copy.deepcopy((model.params, model.grads))
        x = X.copy()
        gradcheck(model, x)
        for mine, old in zip((model.params, model.grads), before):
            for name in mine:
                np.testing.assert_array_equal(mine[name], old[name])
        np.testing.assert_array_equal(x, X)


class TestLayers:
    """With the real layers, which are float32 unless told otherwise."""

    def test_model_with_dropout(self) -> None:
        layers = pytest.importorskip("fastdl.layers")
        model = fastdl.Sequential(
            [
                layers.Conv2D(3, 3, activation="tanh"),
                layers.MaxPooling2D(2),
                layers.Dropout(0.4),
                layers.Flatten(),
                layers.Dense(4, activation="gelu"),
                layers.Dense(3),
            ]
        )
        report = gradcheck(
            model, np.random.default_rng(3).normal(size=(2, 6, 6, 2)).astype(np.float32), samples=20
        )
        assert report, str(report)

    def test_built_layer_keeps_its_dtype(self) -> None:
        layers = pytest.importorskip("fastdl.layers")
        layer = layers.Dense(3)
        layer(X.astype(np.float32))
        assert gradcheck(layer, X)
        assert layer.params["kernel"].dtype == np.float32
