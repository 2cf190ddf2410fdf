"""A step that fails leaves everything as it was: held against a run that never had it."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import fastdl
from fastdl import Input, Model, Sequential, batches, metrics, optimizers, step, stepping
from fastdl.interrupts import Held
from fastdl.layers import (
    GRU,
    BatchNormalization,
    Dense,
    Dropout,
    GaussianNoise,
    Lambda,
    Layer,
)
from fastdl.layers.finite import NonFiniteError
from keras_cases import wave

X, Y = wave((6, 4, 3)), wave((6, 1), start=1.0)


class Trap(Layer):
    """Hands on what it is given, and does `spring` at one moment of one step."""

    spring: Callable[[], Any] | None = None
    moment = ""

    def vjp(self, x: np.ndarray, training: bool = True) -> Any:
        self.meet("forward")

        def back(dy: np.ndarray) -> np.ndarray:
            self.meet("backward")
            return dy

        return x, back

    def meet(self, moment: str) -> None:
        if self.spring is not None and moment == self.moment:
            self.spring()


def failing(*args: Any) -> Any:
    raise OSError("it is broken")


def interrupted(*args: Any) -> None:
    signal.raise_signal(signal.SIGINT)


class Case:
    """A model that remembers in every way a model can, and each place where it can be made to fail."""

    def __init__(self) -> None:
        fastdl.set_random_seed(3)
        self.trap = Trap()
        self.loss: Callable[..., Any] | None = None
        self.metric: Callable[..., Any] | None = None
        self.model = Sequential(
            [
                Input((4, 3)),
                GaussianNoise(0.1),
                GRU(5, stateful=True, dropout=0.2, recurrent_dropout=0.2),
                BatchNormalization(),
                self.trap,
                Dropout(0.5),
                Dense(1),
            ]
        )

        def loss(y_true: np.ndarray, y_pred: np.ndarray) -> Any:
            if self.loss:
                self.loss()
            return float(((y_pred - y_true) ** 2).mean()), 2 * (y_pred - y_true) / y_pred.size

        def metric(y_true: np.ndarray, y_pred: np.ndarray) -> float:
            if self.metric:
                self.metric()
            return float(np.abs(y_true - y_pred).max())

        self.model.compile(optimizers.Adam(0.01), loss, metrics=[metrics.Precision(), metric])

    def step(self, x: np.ndarray = X) -> Any:
        return self.model.train_on_batch(x, Y)

    def everything(self) -> list[Any]:
        """All that a step changes and the next one depends on."""
        model, optimizer = self.model, self.model.optimizer
        assert optimizer is not None
        assert model.objective is not None
        return [
            *model.get_weights(),
            *(array for slots in optimizer.state.values() for array in slots),
            optimizer.iterations,
            *(str(leaf._rng.bit_generator.state) for _, leaf in model.leaves()),
            *self.model.layers[1]._last,
            *(metric.result() for goal in model.objective.goals for metric in goal.metrics),
            model.objective.mean.result(),
            *model.grads.values(),
        ]


def same(came: list[Any], expected: list[Any]) -> None:
    assert len(came) == len(expected)
    for one, other in zip(came, expected):
        np.testing.assert_array_equal(one, other)


def spring(case: Case, place: str, deed: Callable[[], Any]) -> None:
    if place in ("loss", "metric"):
        setattr(case, place, deed)
    else:
        case.trap.spring, case.trap.moment = deed, place


@pytest.mark.parametrize("place", ["forward", "loss", "backward", "metric"])
@pytest.mark.parametrize("deed, error", [(failing, OSError), (interrupted, KeyboardInterrupt)])
def test_a_step_that_fails_has_not_been(place: str, deed: Any, error: Any) -> None:
    case, expected = Case(), Case()
    for one in (case, expected):
        one.step()
    spring(case, place, deed)
    with pytest.raises(error):
        step.take(case.model, batches.gather("step", ["y"], [False], X, Y), "step")
    spring(case, place, lambda: None)
    # Where the way back has begun, gradients have been added to, and are cleared.
    count = len(case.model.grads) if place in ("backward", "metric") else 0
    came = case.everything()
    same(came[: len(came) - count], expected.everything()[: len(came) - count])
    assert not any(gradient.any() for gradient in came[len(came) - count :])
    for _ in range(3):
        assert case.step() == expected.step()
    same(case.everything(), expected.everything())


def test_a_loss_that_is_nan() -> None:
    case, expected = Case(), Case()
    for one in (case, expected):
        one.step()
    bad = X.copy()
    bad[2, 1, 0] = np.nan
    for _ in range(2):
        with pytest.raises(ValueError, match="train_on_batch: the loss is nan; the model is as it was"):
            case.step(bad)
    assert case.step() == expected.step()
    same(case.everything(), expected.everything())


def test_a_generator_that_raises_and_goes_on() -> None:
    def given(count: int) -> Iterator[Any]:
        for _ in range(count):
            yield X, Y
        raise OSError("the disk is gone")

    case, expected = Case(), Case()
    with pytest.raises(RuntimeError, match="the disk is gone"):
        case.model.fit(given(2), verbose=0)
    expected.model.fit([(X, Y)] * 2, verbose=0)
    assert case.step() == expected.step()
    same(case.everything(), expected.everything())


@pytest.mark.parametrize("engine", ["auto", "numpy"])
def test_ctrl_c_waits_for_the_parameters(engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It comes while they are changed; then all of them are, and the step counts."""
    with fastdl.use(backend=engine):
        case, expected = Case(), Case()
        for one in (case, expected):
            one.step()
        look, calls = stepping.backends.common_dtype, []  # once a parameter, before it is changed

        def interrupting(*args: Any) -> Any:
            calls.append(1)
            if len(calls) == 2:
                interrupted()
            return look(*args)

        with monkeypatch.context() as patch:
            patch.setattr(stepping.backends, "common_dtype", interrupting)
            with pytest.raises(KeyboardInterrupt):
                case.step()
        assert len(calls) == len(case.model.params)
        expected.step()
        same(case.everything(), expected.everything())
        assert case.step() == expected.step()


class TestInterrupts:
    def test_other_threads_are_left_alone(self) -> None:
        found: list[Any] = []

        def work() -> None:
            with Held():
                found.append(signal.getsignal(signal.SIGINT))

        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        assert found == [signal.getsignal(signal.SIGINT)]

    def test_an_error_inside_is_not_lost(self) -> None:
        def both() -> None:
            with Held():
                interrupted()
                raise OSError("first")

        with pytest.raises(KeyboardInterrupt) as caught:
            both()
        assert isinstance(caught.value.__context__, OSError)
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler

    def test_an_ignored_signal_stays_ignored(self) -> None:
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            with Held():
                interrupted()
        finally:
            signal.signal(signal.SIGINT, before)


def exploding(x: np.ndarray) -> Any:
    """Infinity forward."""
    return x / np.float32(0), lambda dy: dy


def exploding_back(x: np.ndarray) -> Any:
    """Infinity on the way back."""
    return x, lambda dy: dy / np.float32(0)


def deep(function: Any) -> Model:
    """A model in a model in a model, with a Lambda inside."""
    inner = Sequential([Input((3,)), Dense(3, name="first"), Lambda(lambda x: function(x)[0], function,
                        name="bang"), Dense(2, name="last")], name="inner")  # fmt: skip
    middle = Sequential([Input((3,)), inner], name="middle")
    x = Input((3,))
    model = Model(x, Dense(1, name="end")(middle(Dense(3, name="begin")(x))))
    model.compile("sgd", "mse")
    return model


@pytest.mark.filterwarnings("ignore:divide by zero", "ignore:invalid value")
class TestFirstLayer:
    x, y = wave((4, 3)), wave((4, 1))

    def test_is_named_with_its_path(self) -> None:
        message = (
            r"the loss is (nan|inf|-inf); the model is as it was before this batch\. middle/inner/bang is the"
            " first layer whose output is not finite: its input is finite, its weights are finite"
        )
        with pytest.raises(ValueError, match=message):
            deep(exploding).train_on_batch(self.x, self.y)

    def test_bad_weights_and_bad_input_are_told_apart(self) -> None:
        model = deep(exploding_back)
        model.get_layer("middle").get_layer("inner").get_layer("last").params["bias"][0] = np.nan
        with pytest.raises(
            ValueError, match="middle/inner/last is .* its input is finite, of its weights bias are not"
        ):
            model.train_on_batch(self.x, self.y)
        with pytest.raises(ValueError, match="begin is .* its input is not finite either, its weights are"):
            model.train_on_batch(self.x * np.inf, self.y)

    def test_the_loss_itself(self) -> None:
        model = Sequential([Input((3,)), Dense(1)])
        model.compile("sgd", "mse")
        with pytest.raises(ValueError, match="What every layer returns is finite: look at the loss"):
            model.train_on_batch(self.x, np.full((4, 1), np.nan))

    def test_a_gradient_when_asked(self) -> None:
        model = deep(exploding_back)
        with fastdl.use(check_finite=True):
            before = model.get_weights()
            message = (
                "fit: middle/inner/bang is the first layer, on the way back, whose gradient is not finite:"
                " its dy is finite, its weights are finite in epoch 1, batch 1; the model is as it was"
            )
            with pytest.raises(ValueError, match=message):
                model.fit(self.x, self.y, verbose=0)
            for old, new in zip(before, model.get_weights()):
                np.testing.assert_array_equal(old, new)
            with pytest.raises(NonFiniteError) as caught:
                model.vjp(self.x)[1](np.ones((4, 1)))
            assert caught.value.path == ("middle", "inner", "bang")
        model.train_on_batch(self.x, self.y)  # nobody asks, the loss is finite

    def test_in_inference_when_asked(self) -> None:
        model = deep(exploding)
        assert not np.isfinite(model(self.x)).all()
        with (
            fastdl.use(check_finite=True),
            pytest.raises(NonFiniteError, match="middle/inner/bang is the first"),
        ):
            model.predict(self.x)

    def test_nothing_else_changes_when_asked(self) -> None:
        def trained(**options: Any) -> list[np.ndarray]:
            with fastdl.use(**options):
                case = Case()
                case.model.fit(X, Y, epochs=3, verbose=0)
                return case.everything()

        same(trained(check_finite=True), trained())
