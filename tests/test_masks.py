"""What counts in a loss and what does not: masks, ignored labels, smoothing; torch and Keras."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import fastdl
import fastdl.functional as F
from fastdl import Input, Sequential, losses, numerical_gradient
from fastdl.layers import Dense
from harness import ENGINES
from keras_cases import loss_arrays, wave
from keras_training import LOSSES, RECORDED
from test_loss import ELEMENTWISE

ARRAYS = loss_arrays()
X = np.array([[0.25, 0.5, 0.75], [0.5, 0.125, 0.875]])
T = np.array([[1.0, 0.0, 1.0], [0.0, 1.0, 1.0]])
SEEN = np.array([[True, False, True], [False, False, True]])


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name", ELEMENTWISE)
class TestMask:
    def run(self, name: str, engine: str, dloss: Any = 1.0, x: Any = X, t: Any = T, **options: Any) -> Any:
        with fastdl.use(backend=engine):
            loss, ctx = getattr(F, f"{name}_forward")(x, t, **options)
            return loss, getattr(F, f"{name}_backward")(dloss, ctx)

    def test_the_mean_is_that_of_what_was_seen(self, name: str, engine: str) -> None:
        loss, dx = self.run(name, engine, mask=SEEN)
        alone, dalone = self.run(name, engine, x=X[SEEN], t=T[SEEN])
        assert loss == pytest.approx(alone, rel=1e-14)
        np.testing.assert_allclose(dx[SEEN], dalone, rtol=1e-14)
        assert not dx[~SEEN].any()

    @pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
    def test_what_was_not_seen_may_be_nan(self, name: str, engine: str, reduction: str) -> None:
        dloss = np.where(SEEN, 1.0, np.nan) if reduction == "none" else 1.0
        expected = self.run(name, engine, mask=SEEN, reduction=reduction)
        holes = np.where(SEEN, X, np.nan), np.where(SEEN, T, np.nan)
        found = self.run(name, engine, dloss, *holes, mask=SEEN, reduction=reduction)
        np.testing.assert_array_equal(found[0], expected[0])
        np.testing.assert_array_equal(found[1], expected[1])

    def test_weights(self, name: str, engine: str) -> None:
        weights = np.array([0.0, 1.0, 3.0])
        loss, dx = self.run(name, engine, mask=weights)
        each, slopes = self.run(name, engine, np.ones_like(X), reduction="none")
        assert loss == pytest.approx((each * weights).sum() / 8, rel=1e-14)
        np.testing.assert_allclose(dx, slopes * weights / 8, rtol=1e-14)

    def test_nothing_was_seen(self, name: str, engine: str) -> None:
        loss, dx = self.run(name, engine, mask=np.zeros_like(SEEN))
        assert np.isnan(loss)
        assert not dx.any()


@pytest.mark.parametrize("engine", ENGINES)
class TestIgnored:
    @pytest.mark.parametrize("ignored", [-100, 2, 255])
    @pytest.mark.parametrize("dtype", [np.int64, np.int32, np.int16])
    def test_rows_count_for_nothing_be_they_nan(self, engine: str, ignored: int, dtype: Any) -> None:
        x, labels = wave((4, 5)).astype(np.float64), np.array([0, ignored, 4, ignored], dtype)
        seen = labels != ignored
        x[~seen] = np.nan
        with fastdl.use(backend=engine):
            loss, ctx = F.softmax_cross_entropy_forward(x, labels, ignore_index=ignored)
            dx = F.softmax_cross_entropy_backward(1.0, ctx)
            alone, ctx = F.softmax_cross_entropy_forward(x[seen], labels[seen])
            dalone = F.softmax_cross_entropy_backward(1.0, ctx)
        assert loss == alone
        np.testing.assert_array_equal(dx[seen], dalone)
        assert not dx[~seen].any()

    def test_all_are_ignored(self, engine: str) -> None:
        with fastdl.use(backend=engine):
            loss, ctx = F.softmax_cross_entropy_forward(X, np.array([7, 7]), ignore_index=7)
            assert np.isnan(loss)
            assert not F.softmax_cross_entropy_backward(1.0, ctx).any()

    def test_labels_that_change_later_do_not_matter(self, engine: str) -> None:
        labels = np.array([0, 1])
        with fastdl.use(backend=engine):
            _, ctx = F.softmax_cross_entropy_forward(X, labels)
            expected = F.softmax_cross_entropy_backward(1.0, ctx)
            labels[:] = 10**9
            np.testing.assert_array_equal(F.softmax_cross_entropy_backward(1.0, ctx), expected)


class TestTorch:
    @pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
    @pytest.mark.parametrize("smoothing", [0.0, 0.3, 1.0])
    @pytest.mark.parametrize("labelled", [True, False])
    def test_cross_entropy(self, reduction: str, smoothing: float, labelled: bool) -> None:
        torch = pytest.importorskip("torch")
        rng = np.random.default_rng(2)
        x = 3 * rng.normal(size=(8, 11))
        target: Any = rng.dirichlet(np.ones(11), size=8)
        options: dict[str, Any] = {}
        if labelled:
            target = rng.integers(0, 11, 8)
            target[[2, 5]] = -100
            options = {"ignore_index": -100}
        theirs = torch.tensor(x, requires_grad=True)
        expected = torch.nn.functional.cross_entropy(
            theirs, torch.tensor(target), reduction=reduction, label_smoothing=smoothing, **options
        )
        dloss = rng.normal(size=tuple(expected.shape))
        expected.backward(torch.tensor(dloss))
        loss, ctx = F.softmax_cross_entropy_forward(
            x, target, reduction=reduction, label_smoothing=smoothing, **options
        )
        np.testing.assert_allclose(loss, expected.detach().numpy(), rtol=1e-12, atol=1e-12)
        dx = F.softmax_cross_entropy_backward(dloss, ctx)
        np.testing.assert_allclose(dx, theirs.grad.numpy(), rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("index", range(len(LOSSES)), ids=lambda i: f"{LOSSES[i][0]}{i}")
class TestAsKeras:
    def loss(self, index: int) -> tuple[Any, np.ndarray, np.ndarray, np.ndarray]:
        name, arguments, target, prediction = LOSSES[index]
        weights = ARRAYS["weights"][: 4 if arguments.get("axis") == 0 else 6]
        return getattr(losses, name)(**arguments), ARRAYS[target], ARRAYS[prediction], weights

    def test_values(self, index: int) -> None:
        loss, target, prediction, weights = self.loss(index)
        with np.load(RECORDED) as answers:
            plain, weighted = answers[f"loss_{index}"]
        # Both sides add 24 float32 numbers and take as many logarithms.
        assert loss(target, prediction) == pytest.approx(plain, rel=3e-6)
        assert loss(target, prediction, weights) == pytest.approx(weighted, rel=3e-6)

    @pytest.mark.parametrize("weighted", [False, True])
    def test_gradients(self, index: int, weighted: bool) -> None:
        loss, target, prediction, weights = self.loss(index)
        y_pred, weight = prediction.astype(np.float64), weights if weighted else None
        expected = numerical_gradient(lambda p: loss(target, p, weight), y_pred.copy())
        # As for the losses in test_losses_metrics.py.
        np.testing.assert_allclose(loss.vjp(target, y_pred, weight)[1](), expected, rtol=4e-6, atol=1e-9)


class TestMaskedLoss:
    RATINGS = np.array([[5.0, np.nan, 3.0], [np.nan, np.nan, 1.0]])

    @pytest.mark.parametrize("name", ["mse", "mae", "huber", "binary_crossentropy", "log_cosh"])
    @pytest.mark.parametrize("missing", [np.nan, 0.0])
    def test_is_the_loss_of_what_is_known(self, name: str, missing: float) -> None:
        known = ~np.isnan(self.RATINGS)
        target = np.where(known, self.RATINGS, missing)
        loss = losses.Masked(name, missing=missing)
        value, gradient = loss.vjp(target, X)
        alone, slope = losses.get(name).vjp(self.RATINGS[known], X[known])
        assert value == pytest.approx(alone, rel=1e-14)
        np.testing.assert_allclose(gradient()[known], slope(), rtol=1e-14)
        assert not gradient()[~known].any()

    def test_hinge_of_0_and_1(self) -> None:
        """What is missing does not keep the others from being understood as -1 and 1."""
        target = np.array([[1.0, np.nan, 0.0], [np.nan, np.nan, 1.0]])
        known = ~np.isnan(target)
        alone = losses.Hinge()(target[known], X[known])
        assert losses.Masked("hinge")(target, X) == pytest.approx(alone, rel=1e-14)

    def test_sample_weights(self) -> None:
        loss = losses.Masked("mse")
        plain = losses.MeanSquaredError()
        assert loss(self.RATINGS, X, [1.0, 0.0]) == plain(self.RATINGS[0, ::2], X[0, ::2])

    def test_a_batch_that_knows_nothing(self) -> None:
        value, gradient = losses.Masked("mse").vjp(np.full((2, 3), np.nan), X)
        assert value == 0
        assert not gradient().any()

    def test_trains_on_ratings(self) -> None:
        """A matrix of rank one, of which half is known, is found again."""
        rng = np.random.default_rng(0)
        ratings = np.outer(rng.uniform(1, 2, 40), rng.uniform(1, 2, 8))
        known = np.where(rng.random(ratings.shape) < 1 / 2, ratings, np.nan)
        model = Sequential([Input((40,)), Dense(1, use_bias=False, seed=1), Dense(8, use_bias=False, seed=2)])
        model.compile(fastdl.optimizers.Adam(0.05), losses.Masked("mse"))
        model.fit(np.eye(40), known, epochs=150, batch_size=40, verbose=0)
        assert np.abs(model.predict(np.eye(40)) - ratings).mean() < 0.05

    def test_only_means_over_elements(self) -> None:
        with pytest.raises(ValueError, match="a mean over elements.*got categorical_crossentropy"):
            losses.Masked("categorical_crossentropy")
