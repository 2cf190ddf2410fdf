"""What `fit` calls on its way, and the callbacks that are a few lines."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..training import Trainer

Logs = dict[str, float]


class Callback:
    """Base of what a person may pass to ``fit(callbacks=[...])``: define the methods that are wanted.

    `logs` hold the loss and the metrics so far in the epoch, after an epoch also those of the validation;
    what is added to them after an epoch is in the history. Setting ``self.model.stop_training`` ends the
    training after the batch.

    Attributes
    ----------
    model : Model or Sequential
        The model that is trained.
    params : dict
        epochs, steps (batches in an epoch, None if that is not known), verbose.
    """

    model: Trainer
    params: dict[str, Any]

    def on_train_begin(self, logs: Logs) -> None:
        """Called before the first epoch."""

    def on_train_end(self, logs: Logs) -> None:
        """Called after the last epoch."""

    def on_epoch_begin(self, epoch: int, logs: Logs) -> None:
        """Called before an epoch; they are counted from 0."""

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        """Called after an epoch and its validation."""

    def on_train_batch_begin(self, batch: int, logs: Logs) -> None:
        """Called before a batch; they are counted from 0 in each epoch."""

    def on_train_batch_end(self, batch: int, logs: Logs) -> None:
        """Called after a batch."""

    def on_test_begin(self, logs: Logs) -> None:
        """Called before a validation, and by `evaluate`."""

    def on_test_end(self, logs: Logs) -> None:
        """Called after it."""

    def on_test_batch_begin(self, batch: int, logs: Logs) -> None:
        """Called before each of its batches."""

    def on_test_batch_end(self, batch: int, logs: Logs) -> None:
        """Called after each of its batches."""

    def on_predict_begin(self, logs: Logs) -> None:
        """Called by `predict` before the first batch."""

    def on_predict_end(self, logs: Logs) -> None:
        """Called by `predict` after the last batch."""

    def on_predict_batch_begin(self, batch: int, logs: Logs) -> None:
        """Called by `predict` before each batch."""

    def on_predict_batch_end(self, batch: int, logs: dict[str, Any]) -> None:
        """Called by `predict` after each batch; `logs` hold its "outputs"."""

    def on_nonfinite_loss(self, batch: int, logs: Logs, error: ValueError) -> None:
        """Called where the loss of a batch is NaN or infinite, before `fit` raises `error` and takes no step.

        If `stop_training` is set here, `fit` ends as usual instead.
        """


def attached(op: str, model: Trainer, callbacks: Any) -> Sequence[Any]:
    """Return what a person gave as callbacks, none for None, as a list that knows the model."""
    given = [] if callbacks is None else callbacks
    if not isinstance(given, (list, tuple)) or not all(isinstance(one, Callback) for one in given):
        raise TypeError(f"{op}: callbacks must be a list of callbacks; got {callbacks!r}")
    for callback in given:
        callback.model = model
    return given


class History(Callback):
    """What `fit` returns: how loss and metrics went.

    Attributes
    ----------
    epoch : list of int
        The epochs, from 0.
    history : dict of str to list of float
        "loss", the metrics, and with validation the same after "val_": one number an epoch.
    """

    def on_train_begin(self, logs: Logs) -> None:
        self.epoch: list[int] = []
        self.history: dict[str, list[float]] = {}

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        self.epoch.append(epoch)
        for name, value in logs.items():
            self.history.setdefault(name, []).append(value)


class LambdaCallback(Callback):
    """Functions as a callback.

    Parameters
    ----------
    on_epoch_begin, on_epoch_end, on_train_begin, on_train_end, on_train_batch_begin, on_train_batch_end
        In place of the methods of these names.

    Examples
    --------
    >>> import numpy as np
    >>> from fastdl import Input, Sequential
    >>> from fastdl.callbacks import LambdaCallback
    >>> from fastdl.layers import Dense
    >>> model = Sequential([Input((2,)), Dense(1)])
    >>> model.compile("sgd", "mse")
    >>> shout = LambdaCallback(on_epoch_end=lambda epoch, logs: print("epoch", epoch, "is over"))
    >>> _ = model.fit(np.ones((4, 2)), np.ones((4, 1)), epochs=2, verbose=0, callbacks=[shout])
    epoch 0 is over
    epoch 1 is over
    """

    def __init__(
        self,
        on_epoch_begin: Callable[..., Any] | None = None,
        on_epoch_end: Callable[..., Any] | None = None,
        on_train_begin: Callable[..., Any] | None = None,
        on_train_end: Callable[..., Any] | None = None,
        on_train_batch_begin: Callable[..., Any] | None = None,
        on_train_batch_end: Callable[..., Any] | None = None,
    ) -> None:
        given = {
            "on_epoch_begin": on_epoch_begin,
            "on_epoch_end": on_epoch_end,
            "on_train_begin": on_train_begin,
            "on_train_end": on_train_end,
            "on_train_batch_begin": on_train_batch_begin,
            "on_train_batch_end": on_train_batch_end,
        }
        vars(self).update({name: function for name, function in given.items() if function is not None})


class LearningRateScheduler(Callback):
    """Sets the learning rate before each epoch.

    Parameters
    ----------
    schedule : callable
        Takes the epoch, from 0, and the learning rate so far, or the epoch alone; returns the new one.
    verbose : {0, 1}
        Whether to say so.
    """

    def __init__(self, schedule: Callable[..., float], verbose: int = 0) -> None:
        self.schedule = schedule
        self.verbose = verbose

    def on_epoch_begin(self, epoch: int, logs: Logs) -> None:
        optimizer = self.model.optimizer
        assert optimizer is not None
        alone = len(inspect.signature(self.schedule).parameters) == 1
        rate = self.schedule(epoch) if alone else self.schedule(epoch, optimizer.learning_rate)
        optimizer.learning_rate = rate
        if self.verbose:
            print(f"Epoch {epoch + 1}: the learning rate is {rate:.4g}", flush=True)

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        assert self.model.optimizer is not None
        logs["learning_rate"] = self.model.optimizer.learning_rate


class TerminateOnNaN(Callback):
    """Ends the training where the loss is NaN or infinite, before the step; without it `fit` raises there.

    Either way it is said which layer made the first number that is not finite.
    """

    def on_nonfinite_loss(self, batch: int, logs: Logs, error: ValueError) -> None:
        print(f"Batch {batch + 1}: the training ends here. {error}", flush=True)
        self.model.stop_training = True
