"""compile, fit, evaluate, predict: what is trained, what is reported, and what is refused."""

from __future__ import annotations

import subprocess
import sys
import threading
from typing import Any

import numpy as np
import pytest

import fastdl
from fastdl import Input, Sequential, losses
from fastdl.callbacks import Callback
from fastdl.layers import Activation, Conv2D, Dense, Dropout, Flatten, MaxPooling2D, Softmax
from fastdl.optimizers import SGD, Adam
from keras_cases import wave

RNG = np.random.default_rng(0)
X = RNG.standard_normal((90, 4)).astype(np.float32)
Y = (X[:, 0] + X[:, 1] > 0).astype(int) + (X[:, 2] > 0.5)


def network(*, optimizer: Any = "adam", metrics: Any = ("accuracy",), dropout: float = 0.0) -> Sequential:
    model = Sequential(
        [Input((4,)), Dense(16, "relu", seed=1), Dropout(dropout, seed=2), Dense(3, "softmax", seed=3)]
    )
    model.compile(optimizer, "sparse_categorical_crossentropy", metrics=metrics)
    return model


def weights_of(model: Sequential) -> np.ndarray:
    return np.concatenate([weight.ravel() for weight in model.get_weights()])


class TestFit:
    def test_learns(self) -> None:
        model = network(optimizer=Adam(0.02))
        history = model.fit(X, Y, epochs=60, batch_size=16, verbose=0)
        assert history.history["loss"][-1] < 0.5 * history.history["loss"][0]
        assert history.history["accuracy"][-1] > 0.9
        assert model.evaluate(X, Y, verbose=0)[1] > 0.9

    def test_history(self) -> None:
        model = network(metrics=["acc"])
        history = model.fit(X, Y, epochs=3, validation_split=0.2, verbose=0)
        assert list(history.history) == ["loss", "acc", "val_loss", "val_acc"]
        assert history.epoch == [0, 1, 2]
        assert all(len(values) == 3 for values in history.history.values())
        assert history.model is model
        assert model.history is history

    def test_loss_is_the_mean_over_samples(self) -> None:
        # Without a learning rate each batch sees the same model, the last of 10 samples as well.
        model = network(optimizer=SGD(0.0))
        history = model.fit(X, Y, batch_size=40, verbose=0)
        whole = model.evaluate(X, Y, batch_size=90, verbose=0)
        assert history.history["loss"][0] == pytest.approx(whole[0], rel=1e-6)
        assert history.history["accuracy"][0] == pytest.approx(whole[1])

    def test_validation_takes_the_last_samples(self) -> None:
        first, last = network(), network()
        split = first.fit(X, Y, epochs=2, validation_split=0.2, shuffle=False, verbose=0).history
        given = last.fit(
            X[:72], Y[:72], epochs=2, validation_data=(X[72:], Y[72:]), shuffle=False, verbose=0
        ).history
        assert split == given

    def test_sample_weights_of_zero_leave_samples_out(self) -> None:
        # The mean is over all samples, so that the learning rate makes up for those that do not count.
        weighted, part = (
            network(optimizer=SGD(0.3)),
            network(optimizer=SGD(0.1)),
        )
        weighted.fit(X, Y, batch_size=90, sample_weight=np.arange(90) < 30, verbose=0)
        part.fit(X[:30], Y[:30], batch_size=30, verbose=0)
        np.testing.assert_allclose(weights_of(weighted), weights_of(part), rtol=0, atol=1e-6)

    @pytest.mark.parametrize("one_hot", [False, True])
    def test_class_weights_are_sample_weights(self, one_hot: bool) -> None:
        by_class, by_sample = network(), network()
        loss = "categorical_crossentropy" if one_hot else "sparse_categorical_crossentropy"
        y = np.eye(3)[Y] if one_hot else Y
        for model in (by_class, by_sample):
            model.compile("sgd", loss)
        by_class.fit(X, y, class_weight={0: 2.0, 2: 0.5}, shuffle=False, verbose=0)
        by_sample.fit(X, y, sample_weight=np.array([2.0, 1.0, 0.5])[Y], shuffle=False, verbose=0)
        np.testing.assert_array_equal(weights_of(by_class), weights_of(by_sample))

    def test_epochs_are_counted_on(self) -> None:
        history = network().fit(X, Y, epochs=5, initial_epoch=3, verbose=0)
        assert history.epoch == [3, 4]
        assert network().fit(X, Y, epochs=0, verbose=0).history == {}

    def test_each_sample_once_an_epoch(self) -> None:
        seen: list[float] = []

        class Spy(Sequential):
            def masked_vjp(self, x: np.ndarray, training: bool = True, **options: bool) -> Any:
                seen.extend(x[:, 0])
                return super().masked_vjp(x, training, **options)

        model = Spy([Input((4,)), Dense(1)])
        model.compile("sgd", "mse")
        model.fit(X, Y, batch_size=32, verbose=0)
        assert seen != list(X[:, 0])
        assert sorted(seen) == sorted(X[:, 0])
        seen.clear()
        model.fit(X, Y, batch_size=32, shuffle=False, verbose=0)
        assert seen == list(X[:, 0])

    def test_takes_lists_and_float64(self) -> None:
        model = network()
        model.fit(X.astype(np.float64), Y.tolist(), verbose=0)
        model.fit(X.tolist(), Y, verbose=0)

    def test_x_is_left_alone(self) -> None:
        before = X.copy(), Y.copy()
        network(dropout=0.5).fit(X, Y, epochs=2, verbose=0)
        np.testing.assert_array_equal(X, before[0])
        np.testing.assert_array_equal(Y, before[1])

    def test_convolutional(self) -> None:
        rng = np.random.default_rng(1)
        labels = rng.integers(0, 2, 60)
        images = rng.standard_normal((60, 8, 8, 1)) * 0.1
        images[labels == 1, 2:5, 3] += 1
        images[labels == 0, 3, 2:5] += 1
        model = Sequential(
            [Conv2D(4, 3, activation="relu", seed=0), MaxPooling2D(), Flatten(), Dense(2, "softmax", seed=1)]
        )
        model.compile(Adam(0.02), "sparse_categorical_crossentropy", metrics=["accuracy"])
        assert model.fit(images, labels, epochs=20, verbose=0).history["accuracy"][-1] == 1.0


class TestSeed:
    def test_a_run_repeats_bit_for_bit(self) -> None:
        runs = []
        for seed in (5, 5, 6):
            fastdl.set_random_seed(seed)
            model = Sequential([Dense(16, "relu"), Dropout(0.3), Dense(3, "softmax")])
            model.compile("adam", "sparse_categorical_crossentropy")
            history = model.fit(X, Y, epochs=3, verbose=0).history
            runs.append((weights_of(model), history))
        np.testing.assert_array_equal(runs[0][0], runs[1][0])
        assert runs[0][1] == runs[1][1]
        assert (runs[0][0] != runs[2][0]).any()

    def test_must_be_a_whole_number(self) -> None:
        with pytest.raises(TypeError, match="seed must be an integer"):
            fastdl.set_random_seed(1.5)  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="must not be negative"):
            fastdl.set_random_seed(-1)


class TestOneStep:
    def test_train_on_batch_is_a_step(self) -> None:
        stepped, fitted = network(), network()
        values = stepped.train_on_batch(X, Y)
        history = fitted.fit(X, Y, batch_size=90, shuffle=False, verbose=0).history
        assert values == [history["loss"][0], history["accuracy"][0]]
        np.testing.assert_array_equal(weights_of(stepped), weights_of(fitted))
        assert stepped.optimizer is not None
        assert stepped.optimizer.iterations == 1

    def test_what_comes_back(self) -> None:
        model = network()
        assert isinstance(model.test_on_batch(X, Y), list)
        assert list(model.test_on_batch(X, Y, return_dict=True)) == ["loss", "accuracy"]
        assert list(model.train_on_batch(X, Y, return_dict=True)) == ["loss", "accuracy"]
        alone = network(metrics=None)
        assert isinstance(alone.evaluate(X, Y, verbose=0), float)
        assert alone.evaluate(X, Y, verbose=0) == pytest.approx(alone.test_on_batch(X, Y), rel=1e-6)

    def test_gradients_of_before_do_not_count(self) -> None:
        clean, stale = network(optimizer="sgd"), network(optimizer="sgd")
        y, back = stale.vjp(X)
        back(100 * y)
        clean.train_on_batch(X, Y)
        stale.train_on_batch(X, Y)
        np.testing.assert_array_equal(weights_of(clean), weights_of(stale))

    @pytest.mark.parametrize(
        "loss, head, y, metrics",
        [
            ("sparse_categorical_crossentropy", "softmax", Y, ["accuracy"]),
            ("categorical_crossentropy", "softmax", np.eye(3)[Y], ["accuracy", "mse"]),
            ("binary_crossentropy", "sigmoid", np.eye(3)[Y], ["binary_accuracy", "mse"]),
        ],
    )
    @pytest.mark.parametrize("own_layer", [False, True])
    def test_contained_activations_change_nothing_but_rounding(
        self, loss: str, head: str, y: np.ndarray, metrics: list[str], own_layer: bool
    ) -> None:
        with fastdl.use(dtype="float64"):
            fused, plain = (
                Sequential(
                    [Input((4,)), Dense(3, seed=1), Activation(head)]
                    if own_layer
                    else [Input((4,)), Dense(3, head, seed=1)]
                )
                for _ in range(2)
            )
        separate = losses.get(loss)
        separate.contains = "linear"
        fused.compile("sgd", loss, metrics=metrics)
        plain.compile("sgd", separate, metrics=metrics)
        for _ in range(3):
            assert fused.train_on_batch(X, y) == pytest.approx(plain.train_on_batch(X, y), rel=1e-10)
        np.testing.assert_allclose(weights_of(fused), weights_of(plain), rtol=1e-9)
        assert fused.evaluate(X, y, verbose=0) == pytest.approx(plain.evaluate(X, y, verbose=0), rel=1e-10)

    def test_softmax_layer_ends_the_model(self) -> None:
        model = Sequential([Input((4,)), Dense(3), Softmax()])
        assert model.final_activation == "softmax"
        assert Sequential([Input((4, 2)), Softmax(axis=1)]).final_activation == "linear"

    def test_saturated_predictions_still_learn(self) -> None:
        model = Sequential([Input((1,)), Dense(2, "softmax")])
        model.layers[0].params["kernel"] = [[500.0, -500.0]]
        model.compile(SGD(1.0), "sparse_categorical_crossentropy")
        assert model.train_on_batch([[1.0]], [1]) == 1000
        np.testing.assert_allclose(model.get_weights()[0], [[499, -499]])


class TestNotFinite:
    def test_names_the_place_and_changes_nothing(self) -> None:
        x = X.copy()
        x[50, 1] = np.nan
        model = network()
        with pytest.raises(
            ValueError, match="fit: the loss is nan in epoch 1, batch 4; the model is as it was"
        ):
            model.fit(x, Y, batch_size=16, shuffle=False, verbose=0)
        untouched = network()
        untouched.fit(X[:48], Y[:48], batch_size=16, shuffle=False, verbose=0)
        np.testing.assert_array_equal(weights_of(model), weights_of(untouched))
        assert model.optimizer is not None
        assert model.optimizer.iterations == 3

    def test_on_a_batch(self) -> None:
        model = network()
        before = weights_of(model)
        for value in (np.nan, np.inf):
            with pytest.raises(ValueError, match="train_on_batch: the loss is"), np.errstate(all="ignore"):
                model.train_on_batch(np.full((3, 4), value), [0, 1, 2])
        np.testing.assert_array_equal(weights_of(model), before)

    def test_a_label_out_of_range_changes_nothing(self) -> None:
        model = network()
        before = weights_of(model)
        with pytest.raises(ValueError, match="7"):
            model.train_on_batch(X[:2], [0, 7])
        np.testing.assert_array_equal(weights_of(model), before)


class TestCallbacks:
    def test_are_called_in_order(self) -> None:
        calls: list[Any] = []

        class Spy(Callback):
            def on_train_begin(self, logs: Any) -> None:
                calls.append(("begin", self.params["epochs"], self.params["steps"]))

            def on_epoch_begin(self, epoch: int, logs: Any) -> None:
                calls.append(("epoch", epoch))

            def on_train_batch_end(self, batch: int, logs: Any) -> None:
                calls.append(("batch", batch, sorted(logs)))

            def on_epoch_end(self, epoch: int, logs: Any) -> None:
                calls.append(("end", epoch, sorted(logs)))
                self.model.stop_training = True

            def on_train_end(self, logs: Any) -> None:
                calls.append("end")

        network().fit(X, Y, batch_size=45, epochs=9, validation_split=0.0, callbacks=[Spy()], verbose=0)
        names = ["accuracy", "loss"]
        batches = [("batch", 0, names), ("batch", 1, names)]
        assert calls == [("begin", 9, 2), ("epoch", 0), *batches, ("end", 0, names), "end"]


class TestProgress:
    def test_silent(self, capsys: pytest.CaptureFixture[str]) -> None:
        model = network()
        model.fit(X, Y, verbose=0)
        model.evaluate(X, Y, verbose=0)
        model.predict(X)
        assert capsys.readouterr() == ("", "")

    def test_a_line_an_epoch(self, capsys: pytest.CaptureFixture[str]) -> None:
        network().fit(X, Y, epochs=2, validation_split=0.1, verbose=2)
        first, second = capsys.readouterr().out.splitlines()
        assert first.startswith("Epoch 1/2 - ")
        assert [part.split(":")[0] for part in second.split(" - ")[2:]] == [
            "loss",
            "accuracy",
            "val_loss",
            "val_accuracy",
        ]

    def test_a_bar_an_epoch(self, capsys: pytest.CaptureFixture[str]) -> None:
        pytest.importorskip("tqdm", reason="the bar is tqdm's")
        network().fit(X, Y, epochs=2, verbose=1)
        shown = capsys.readouterr().err
        assert "Epoch 2/2: 100%" in shown
        assert "3/3" in shown
        assert "accuracy: " in shown
        network().predict(X, batch_size=9, verbose=1)
        assert "predict: 100%" in capsys.readouterr().err

    def test_without_tqdm_lines(self) -> None:
        program = """
import sys
sys.modules["tqdm"] = None
from importlib.machinery import PathFinder
class NoTqdm:
    def find_spec(self, name, path=None, target=None):
        return None if name == "tqdm" else PathFinder.find_spec(name, path, target)
import numpy as np
from fastdl import Input, Sequential
from fastdl.layers import Dense
model = Sequential([Input((2,)), Dense(1)])
model.compile("sgd", "mse")
model.fit(np.ones((4, 2)), np.ones(4), epochs=2)
model.predict(np.ones((90, 2)), verbose=1)
"""
        result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
        assert result.returncode == 0, result.stderr
        assert [line.split(" - ")[0] for line in result.stdout.splitlines()] == ["Epoch 1/2", "Epoch 2/2"]


class TestThreads:
    def test_predict_from_many(self) -> None:
        model = network()
        expected = model.predict(X)
        found: list[np.ndarray] = []
        threads = [threading.Thread(target=lambda: found.append(model.predict(X))) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(found) == 6
        for y in found:
            np.testing.assert_array_equal(y, expected)


@pytest.mark.parametrize(
    "error, message, call",
    [
        (ValueError, "fit: x has 90 samples but y has shape .89,.", lambda m: m.fit(X, Y[:-1])),
        (ValueError, "x has no samples", lambda m: m.fit(X[:0], Y[:0])),
        (ValueError, "x has no samples", lambda m: m.evaluate(X[:0], Y[:0])),
        (ValueError, r"x has shape \(90, 3\), but the model expects", lambda m: m.fit(X[:, 1:], Y)),
        (TypeError, "x must hold floating-point numbers; got int64", lambda m: m.fit(X.astype("i8"), Y)),
        (TypeError, "x must hold floating-point numbers; got object", lambda m: m.fit(X.astype(object), Y)),
        (TypeError, "y must hold numbers", lambda m: m.fit(X, np.full(90, "a"))),
        (ValueError, "batch_size must be at least 1; got 0", lambda m: m.fit(X, Y, batch_size=0)),
        (TypeError, "epochs must be an integer", lambda m: m.fit(X, Y, epochs=1.5)),
        (ValueError, "validation_split must be at least 0 and below 1; got 1.0",
         lambda m: m.fit(X, Y, validation_split=1.0)),
        (ValueError, "validation_split must be at least 0", lambda m: m.fit(X, Y, validation_split=-0.1)),
        (ValueError, "leaves none", lambda m: m.fit(X[:3], Y[:3], validation_split=0.9)),
        (ValueError, "validation_data must be", lambda m: m.fit(X, Y, validation_data=(X,))),
        (ValueError, "validation_data: x has 90 samples", lambda m: m.fit(X, Y, validation_data=(X, Y[1:]))),
        (ValueError, r"sample_weight must have shape \(90,\)", lambda m: m.fit(X, Y, sample_weight=[1, 2])),
        (ValueError, "class_weight or sample_weight, not both",
         lambda m: m.fit(X, Y, sample_weight=np.ones(90), class_weight={0: 1})),
        (ValueError, "verbose must be 0, 1, 2 or 'auto'; got 3", lambda m: m.fit(X, Y, verbose=3)),
        (ValueError, "fit: steps_per_epoch must be at least 1", lambda m: m.fit([], steps_per_epoch=0)),
        (TypeError, "fit: validation_steps must be an integer",
         lambda m: m.fit(X, Y, validation_steps="3")),
        (ValueError, "fit: validation_steps is for an iterable of batches",
         lambda m: m.fit(X, Y, validation_data=(X, Y), validation_steps=3)),
        (ValueError, "fit: validation_batch_size must be at least 1",
         lambda m: m.fit(X, Y, validation_batch_size=-1)),
        (TypeError, "fit: callbacks must be a list of callbacks; got 3", lambda m: m.fit(X, Y, callbacks=3)),
        (TypeError, "evaluate: callbacks must be a list of callbacks",
         lambda m: m.evaluate(X, Y, callbacks=[3])),
        (TypeError, "fit: class_weight must be a dict", lambda m: m.fit(X, Y, class_weight=[1, 2])),
        (ValueError, "fit: sparse_.*: y_true must be class numbers .* in epoch 1, batch 1",
         lambda m: m.fit(X, np.ones((90, 5)), verbose=0)),
        (ValueError, r"fit: batch 1 of epoch 1: .* x has shape \(90, 3\), but the model expects",
         lambda m: m.fit([(X[:, 1:], Y)], verbose=0)),
        (ValueError, "unknown loss 'entropy'", lambda m: m.compile("sgd", "entropy")),
        (ValueError, "unknown optimizer 'sdg'", lambda m: m.compile("sdg", "mse")),
        (ValueError, "unknown metric 'accurate'", lambda m: m.compile("sgd", "mse", metrics=["accurate"])),
        (TypeError, "metrics must be a list", lambda m: m.compile("sgd", "mse", metrics="accuracy")),
    ],
)  # fmt: skip
def test_mistakes_are_named(error: type[Exception], message: str, call: Any) -> None:
    model = network()
    before = weights_of(model)
    with pytest.raises(error, match=message):
        call(model)
    np.testing.assert_array_equal(weights_of(model), before)


@pytest.mark.parametrize("op", ["fit", "evaluate", "train_on_batch", "test_on_batch"])
def test_must_be_compiled(op: str) -> None:
    model = Sequential([Input((4,)), Dense(3)])
    with pytest.raises(RuntimeError, match=f"{op}: the model has no loss and optimizer yet; call compile"):
        getattr(model, op)(X, Y)
    model.compile("sgd")
    with pytest.raises(RuntimeError, match="call compile"):
        getattr(model, op)(X, Y)


def test_own_loss_and_metric() -> None:
    def absolute(y_true: np.ndarray, y_pred: np.ndarray) -> Any:
        return np.abs(y_pred - y_true).mean(), np.sign(y_pred - y_true) / y_pred.size

    def worst(y_true: np.ndarray, y_pred: np.ndarray) -> Any:
        return np.abs(y_pred - y_true).max()

    own, theirs = (Sequential([Input((4,)), Dense(1, seed=0)]) for _ in range(2))
    own.compile("sgd", absolute, metrics=[worst])
    theirs.compile("sgd", "mae")
    target = wave((90, 1))
    assert list(own.train_on_batch(X, target, return_dict=True)) == ["loss", "worst"]
    theirs.train_on_batch(X, target)
    np.testing.assert_allclose(weights_of(own), weights_of(theirs), rtol=0, atol=1e-7)
