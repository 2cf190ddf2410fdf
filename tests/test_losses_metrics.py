"""Losses and metrics: Keras's numbers, right gradients, and shapes that do not fit."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from fastdl import losses, metrics, numerical_gradient
from keras_cases import LOSSES, RECORDED, loss_arrays, wave
from keras_training import BATCHES, METRICS
from keras_training import RECORDED as RECORDED_METRICS

ARRAYS = loss_arrays()


@pytest.mark.parametrize("index", range(len(LOSSES)), ids=lambda i: f"{LOSSES[i][0]}{i}")
class TestAsKeras:
    def test_values(self, index: int) -> None:
        name, arguments, target, prediction = LOSSES[index]
        loss = getattr(losses, name)(**arguments)
        with np.load(RECORDED) as answers:
            plain, weighted = answers[f"loss_{index}"]
        # Both sides add 24 float32 numbers and take as many logarithms.
        assert loss(ARRAYS[target], ARRAYS[prediction]) == pytest.approx(plain, rel=3e-6)
        assert loss(ARRAYS[target], ARRAYS[prediction], ARRAYS["weights"]) == pytest.approx(
            weighted, rel=3e-6
        )

    @pytest.mark.parametrize("weighted", [False, True])
    def test_gradients(self, index: int, weighted: bool) -> None:
        name, arguments, target, prediction = LOSSES[index]
        loss = getattr(losses, name)(**arguments)
        y_pred = ARRAYS[prediction].astype(np.float64)
        weight = ARRAYS["weights"] if weighted else None
        _, gradient = loss.vjp(ARRAYS[target], y_pred, weight)
        expected = numerical_gradient(lambda p: loss(ARRAYS[target], p, weight), y_pred.copy())
        # The step of 6e-6 is up to a five hundredth of a probability: log(p) is then off by its square.
        np.testing.assert_allclose(gradient(), expected, rtol=4e-6, atol=1e-9)


class TestContainedActivation:
    """A loss that takes the input of its activation means the same, and stays exact where that cannot."""

    CASES = [
        (losses.BinaryCrossentropy(), "one_hot"),
        (losses.BinaryCrossentropy(label_smoothing=0.1), "one_hot"),
        (losses.CategoricalCrossentropy(label_smoothing=0.1), "one_hot"),
        (losses.SparseCategoricalCrossentropy(), "classes"),
    ]

    @pytest.mark.parametrize("loss, target", CASES, ids=lambda value: str(getattr(value, "name", value)))
    def test_means_the_same(self, loss: Any, target: str) -> None:
        logits = ARRAYS["logits"].astype(np.float64)
        if loss.contains == "softmax":
            y_pred = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        else:
            y_pred = 1 / (1 + np.exp(-logits))
        for weight in (None, ARRAYS["weights"]):
            from_logits, _ = loss.vjp(ARRAYS[target], logits, weight, logits=True)
            assert from_logits == pytest.approx(loss(ARRAYS[target], y_pred, weight), rel=1e-12)

    def test_is_exact_where_probabilities_underflow(self) -> None:
        logits = np.array([[0.0, 1000.0]])
        value, gradient = losses.CategoricalCrossentropy().vjp([[1, 0]], logits, logits=True)
        assert value == 1000
        np.testing.assert_array_equal(gradient(), [[-1, 1]])
        # From the probabilities 0 and 1 there is no way back; the loss is Keras's limit and has no slope.
        value, gradient = losses.CategoricalCrossentropy().vjp([[1, 0]], np.array([[0.0, 1.0]]))
        assert value == pytest.approx(-math.log(1e-7), rel=1e-6)
        assert gradient()[0, 0] == 0


class TestShapes:
    def test_a_column_may_be_missing(self) -> None:
        y, column = np.array([1.0, 0.0, 1.0]), np.array([[0.5], [0.25], [1.0]])
        for name in ("mse", "mae", "binary_crossentropy", "huber"):
            loss = losses.get(name)
            assert loss(y, column) == loss(y[:, None], column) == loss(y[:, None], column[:, 0])
            assert loss.vjp(y, column)[1]().shape == column.shape

    def test_sequences_of_classes(self) -> None:
        logits, labels = wave((2, 3, 4)), np.array([[0, 1, 2], [3, 2, 1]])
        loss = losses.SparseCategoricalCrossentropy(from_logits=True)
        expected = loss(labels.reshape(6), logits.reshape(6, 4))
        assert loss(labels, logits) == loss(labels[..., None], logits) == expected
        weighted = loss(labels.reshape(6), logits.reshape(6, 4), np.repeat([1, 3], 3))
        assert loss(labels, logits, [1, 3]) == pytest.approx(weighted, rel=1e-6)

    def test_labels_may_be_whole_floats(self) -> None:
        loss = losses.SparseCategoricalCrossentropy()
        assert loss(ARRAYS["classes"].astype(float), ARRAYS["probabilities"]) == loss(
            ARRAYS["classes"], ARRAYS["probabilities"]
        )

    @pytest.mark.parametrize(
        "error, message, loss, y_true",
        [
            (ValueError, r"y_true must have y_pred's shape \(6, 4\); got \(6,\)", "mse", np.ones(6)),
            (ValueError, r"y_true must have y_pred's shape \(6, 4\); got \(4, 6\)", "mae", np.ones((4, 6))),
            (TypeError, "y_true must hold numbers", "mse", np.full((6, 4), "a")),
            (ValueError, "class numbers go with sparse_", "categorical_crossentropy", ARRAYS["classes"]),
            (
                ValueError,
                "y_true must be class numbers",
                "sparse_categorical_crossentropy",
                ARRAYS["one_hot"],
            ),
            (TypeError, "that are not whole", "sparse_categorical_crossentropy", np.full(6, 0.5)),
            (ValueError, "4", "sparse_categorical_crossentropy", np.full(6, 4)),
            (ValueError, "-1", "sparse_categorical_crossentropy", np.full(6, -1)),
        ],
    )
    def test_mistakes_are_named(self, error: type[Exception], message: str, loss: str, y_true: Any) -> None:
        with pytest.raises(error, match=message):
            losses.get(loss)(y_true, ARRAYS["probabilities"])

    def test_weights_fit_the_samples(self) -> None:
        with pytest.raises(ValueError, match=r"sample_weight must have shape \(6,\); got \(5,\)"):
            losses.get("mse")(ARRAYS["one_hot"], ARRAYS["logits"], np.ones(5))


class TestOwnLoss:
    def test_function_with_its_gradient(self) -> None:
        def squared(y_true: np.ndarray, y_pred: np.ndarray) -> Any:
            return ((y_pred - y_true) ** 2).mean(), 2 * (y_pred - y_true) / y_pred.size

        own, theirs = losses.get(squared), losses.get("mse")
        assert own.name == "squared"
        value, gradient = own.vjp(ARRAYS["one_hot"], ARRAYS["logits"])
        expected, expected_gradient = theirs.vjp(ARRAYS["one_hot"], ARRAYS["logits"])
        assert value == pytest.approx(expected, rel=1e-6)
        np.testing.assert_allclose(gradient(), expected_gradient(), rtol=1e-6)

    def test_mistakes_are_named(self) -> None:
        only_value = losses.get(lambda y_true, y_pred: 1.0)  # type: ignore[arg-type, return-value]
        with pytest.raises(TypeError, match="must return .loss, gradient of y_pred.; got 1.0"):
            only_value(ARRAYS["one_hot"], ARRAYS["logits"])
        wrong_shape = losses.get(lambda y_true, y_pred: (1.0, np.ones(3)))
        with pytest.raises(ValueError, match="the gradient must have the shape of y_pred"):
            wrong_shape(ARRAYS["one_hot"], ARRAYS["logits"])
        with pytest.raises(ValueError, match="takes no sample_weight"):
            wrong_shape(ARRAYS["one_hot"], ARRAYS["logits"], ARRAYS["weights"])

    def test_unknown_name(self) -> None:
        with pytest.raises(
            ValueError, match="unknown loss 'rmse'; there are binary_crossentropy, categorical"
        ):
            losses.get("rmse")


def result(metric: Any, y_true: Any, y_pred: Any) -> float:
    metric.reset_state()
    metric.update_state(np.asarray(y_true), np.asarray(y_pred))
    return metric.result()


class TestMetrics:
    THREE = np.array([[0.1, 0.7, 0.2], [0.5, 0.3, 0.2], [0.2, 0.2, 0.6], [0.3, 0.4, 0.3]])

    @pytest.mark.parametrize(
        "name, y_true, y_pred, expected",
        [
            ("accuracy", [1, 0, 0, 1], THREE, 0.75),
            ("accuracy", [[1], [0], [0], [1]], THREE, 0.75),
            ("acc", np.eye(3)[[1, 0, 0, 1]], THREE, 0.75),
            ("accuracy", [1, 0, 1, 0], [[0.9], [0.2], [0.4], [0.5]], 0.75),
            ("accuracy", [[1], [0], [1], [0]], [[0.9], [0.2], [0.4], [0.6]], 0.5),
            ("accuracy", [1, 0], [0.9, 0.8], 0.5),
            ("binary_accuracy", [[1, 0], [0, 1]], [[0.9, 0.9], [0.1, 0.6]], 0.75),
            ("sparse_categorical_accuracy", [[1, 0], [2, 1]], THREE.reshape(2, 2, 3), 1.0),
            ("mse", [[1.0], [2.0]], [[1.0], [4.0]], 2.0),
            ("mae", [1.0, 2.0], [[1.0], [4.0]], 1.0),
            ("root_mean_squared_error", [[1.0], [2.0]], [[1.0], [4.0]], math.sqrt(2)),
            ("precision", [1, 0, 1, 1], [[0.9], [0.8], [0.7], [0.1]], 2 / 3),
            ("recall", [1, 0, 1, 1], [[0.9], [0.8], [0.7], [0.1]], 2 / 3),
            ("recall", [1, 1, 1, 1], [[0.9], [0.8], [0.2], [0.1]], 0.5),
        ],
    )  # fmt: skip
    def test_values(self, name: str, y_true: Any, y_pred: Any, expected: float) -> None:
        assert result(metrics.get(name), y_true, y_pred) == pytest.approx(expected)

    @pytest.mark.parametrize("index", range(len(METRICS)), ids=lambda index: f"{METRICS[index][0]}{index}")
    def test_as_keras(self, index: int) -> None:
        name, arguments, target, prediction = METRICS[index]
        metric = getattr(metrics, name)(**arguments)
        for batch in BATCHES:
            metric.update_state(ARRAYS[target][batch], ARRAYS[prediction][batch])
        with np.load(RECORDED_METRICS) as answers:
            # Keras adds up in float32, at most 24 numbers.
            assert metric.result() == pytest.approx(answers[f"metric_{index}"], rel=24 * 2**-24)

    def test_top_k(self) -> None:
        for k, expected in ((1, 0.25), (2, 0.75), (3, 1.0)):
            sparse = metrics.SparseTopKCategoricalAccuracy(k)
            assert result(sparse, [0, 1, 0, 1], self.THREE) == expected
            assert result(metrics.TopKCategoricalAccuracy(k), np.eye(3)[[0, 1, 0, 1]], self.THREE) == expected

    def test_batches_count_by_their_size(self) -> None:
        for name in ("mse", "accuracy"):
            metric = metrics.get(name)
            y_true, y_pred = wave((7, 1)) > 0, wave((7, 1), start=2)
            whole = result(metric, y_true, y_pred)
            metric.reset_state()
            for part in (slice(0, 2), slice(2, 7)):
                metric.update_state(y_true[part], y_pred[part])
            assert metric.result() == pytest.approx(whole)

    def test_function(self) -> None:
        def largest_error(y_true: np.ndarray, y_pred: np.ndarray) -> Any:
            return np.abs(y_true - y_pred).max(axis=1)

        metric = metrics.get(largest_error)
        assert metric.name == "largest_error"
        assert result(metric, [[1, 2], [3, 4]], [[1, 4], [3, 4]]) == 1

    def test_any_loss_is_a_metric(self) -> None:
        metric = metrics.get("kl_divergence")
        assert metric.name == "kl_divergence"
        expected = losses.KLDivergence()(ARRAYS["one_hot"], ARRAYS["probabilities"])
        assert result(metric, ARRAYS["one_hot"], ARRAYS["probabilities"]) == pytest.approx(expected)

    def test_nothing_gives_nan(self) -> None:
        assert math.isnan(metrics.get("accuracy").result())

    def test_unknown_name(self) -> None:
        with pytest.raises(ValueError, match="unknown metric 'accurracy'; there are acc, accuracy"):
            metrics.get("accurracy")
