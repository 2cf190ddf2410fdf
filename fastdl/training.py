"""Going over batches and epochs: compile, fit, evaluate, predict."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from . import callbacks as callbacks_
from . import checks, functional, losses, optimizers
from . import metrics as metrics_
from .layers.base import Array, Layer
from .random import generator

Verbose = int | str


class Data(NamedTuple):
    """Samples, their targets, and perhaps their weights."""

    x: Array
    y: Array
    weight: Array | None

    def take(self, which: Any) -> Data:
        """Return some of the samples: a copy for indices, a view for a slice."""
        return Data(self.x[which], self.y[which], None if self.weight is None else self.weight[which])


class Trainer(Layer):
    """A layer that can be trained."""

    loss: losses.Loss | None = None
    optimizer: optimizers.Optimizer | None = None
    metrics: Sequence[metrics_.Metric] = ()
    history: callbacks_.History | None = None
    stop_training = False

    def compile(
        self,
        optimizer: str | optimizers.Optimizer | type[optimizers.Optimizer] = "rmsprop",
        loss: str | losses.Loss | type[losses.Loss] | Callable[..., Any] | None = None,
        metrics: Sequence[Any] | None = None,
    ) -> None:
        """Choose how to train.

        Parameters
        ----------
        optimizer : str or Optimizer
        loss : str, Loss or function
            A function takes y_true and y_pred and returns the loss and its gradient; see
            `losses.FunctionLoss`.
        metrics : sequence of str, Metric or function, optional
            To report beside the loss. "accuracy" is the one that fits the shapes.

        Raises
        ------
        ValueError
            For a name that is not known; the message lists those that are.
        """
        if isinstance(metrics, str) or not isinstance(metrics, (Sequence, type(None))):
            raise TypeError(f"compile: metrics must be a list; got {metrics!r}")
        self.optimizer = optimizers.get(optimizer)
        self.loss = None if loss is None else losses.get(loss)
        self.metrics = [metrics_.get(metric) for metric in metrics or ()]

    def fit(
        self,
        x: Any,
        y: Any,
        batch_size: int | None = None,
        epochs: int = 1,
        verbose: Verbose = "auto",
        callbacks: Sequence[callbacks_.Callback] | None = None,
        validation_split: float = 0.0,
        validation_data: Sequence[Any] | None = None,
        shuffle: bool = True,
        class_weight: Mapping[int, float] | None = None,
        sample_weight: Any = None,
        initial_epoch: int = 0,
        validation_batch_size: int | None = None,
    ) -> callbacks_.History:
        """Train on samples.

        Parameters
        ----------
        x : array_like, (N, ...)
        y : array_like, (N, ...)
        batch_size : int, optional
            32 by default. The last batch of an epoch may be smaller.
        epochs : int
            The last epoch's number; with `initial_epoch` fewer are run.
        verbose : {"auto", 0, 1, 2}
            0 is silent, 1 shows a bar an epoch (where tqdm is installed), 2 prints a line an epoch; "auto"
            is 1.
        callbacks : sequence of Callback, optional
        validation_split : float
            Fraction of the samples, in [0, 1), to validate with and not to train on: the last ones, before
            shuffling.
        validation_data : (x, y) or (x, y, sample_weight), optional
            To validate with instead.
        shuffle : bool
            Whether each epoch takes the samples in another order; see `fastdl.set_random_seed`.
        class_weight : dict of int to float, optional
            Weights of samples by their class; a class that is missing has weight 1.
        sample_weight : array_like, (N,), optional
            Weights of the samples in the loss.
        initial_epoch : int
            Number of the first epoch, from 0.
        validation_batch_size : int, optional
            By default `batch_size`.

        Returns
        -------
        History
            Its `history` holds, for each name, a number an epoch: the mean over the epoch's samples, each
            taken when its batch was trained.

        Raises
        ------
        RuntimeError
            If the model is not compiled.
        ValueError, TypeError
            If the arguments do not fit the model or each other, or if the loss of a batch is NaN or
            infinite; the model is then as it was before that batch.
        """
        self._require("fit")
        batch_size = checks.integer("fit", "batch_size", 32 if batch_size is None else batch_size)
        epochs = checks.integer("fit", "epochs", epochs, minimum=0)
        initial_epoch = checks.integer("fit", "initial_epoch", initial_epoch, minimum=0)
        data = self._data("fit", x, y, sample_weight, class_weight)
        validation = None
        if validation_data is not None:
            if len(validation_data) not in (2, 3):
                raise ValueError("fit: validation_data must be (x, y) or (x, y, sample_weight)")
            validation = self._data("fit: validation_data", *validation_data)
        elif validation_split:
            data, validation = _split(data, validation_split)

        history = callbacks_.History()
        progress = callbacks_.progress(verbose)
        watchers = [history, *progress, *(callbacks or ())]
        steps = -(-len(data.x) // batch_size)
        for watcher in watchers:
            watcher.model = self
            watcher.params = {"epochs": epochs, "steps": steps, "verbose": verbose}
        rng = generator() if shuffle else None
        self.history = history
        self.stop_training = False
        logs: callbacks_.Logs = {}
        for watcher in watchers:
            watcher.on_train_begin(logs)
        try:
            for epoch in range(initial_epoch, epochs):
                for watcher in watchers:
                    watcher.on_epoch_begin(epoch, {})
                logs = self._run_epoch(data, batch_size, rng, epoch, watchers)
                if validation is not None:
                    results = self._evaluate(validation, validation_batch_size or batch_size)
                    logs |= {f"val_{name}": value for name, value in results.items()}
                for watcher in watchers:
                    watcher.on_epoch_end(epoch, logs)
                if self.stop_training:
                    break
        finally:  # an interrupted bar would go on writing over what comes after it
            for line in progress:
                line.close()
        for watcher in watchers:
            watcher.on_train_end(logs)
        return history

    def _run_epoch(
        self,
        data: Data,
        batch_size: int,
        rng: np.random.Generator | None,
        epoch: int,
        watchers: Sequence[callbacks_.Callback],
    ) -> callbacks_.Logs:
        mean = self._start()
        logs: callbacks_.Logs = {}
        for number, batch in enumerate(_batches(data, batch_size, rng)):
            for watcher in watchers:
                watcher.on_train_batch_begin(number, logs)
            value, y_pred = self._train(batch, "fit", epoch, number)
            logs = self._note(mean, value, batch, y_pred)
            for watcher in watchers:
                watcher.on_train_batch_end(number, logs)
        return logs

    def train_on_batch(
        self,
        x: Any,
        y: Any,
        sample_weight: Any = None,
        class_weight: Mapping[int, float] | None = None,
        return_dict: bool = False,
    ) -> Any:
        """Take one step with a batch; return its loss and metrics before the step, as `evaluate` does."""
        self._require("train_on_batch")
        batch = self._data("train_on_batch", x, y, sample_weight, class_weight)
        mean = self._start()
        value, y_pred = self._train(batch, "train_on_batch")
        return _results(self._note(mean, value, batch, y_pred), return_dict)

    def test_on_batch(self, x: Any, y: Any, sample_weight: Any = None, return_dict: bool = False) -> Any:
        """Return the loss and the metrics of a batch as `evaluate` does."""
        self._require("test_on_batch")
        batch = self._data("test_on_batch", x, y, sample_weight)
        return _results(self._evaluate(batch, len(batch.x)), return_dict)

    def evaluate(
        self,
        x: Any,
        y: Any,
        batch_size: int | None = None,
        verbose: Verbose = "auto",
        sample_weight: Any = None,
        return_dict: bool = False,
    ) -> Any:
        """Return the loss and the metrics over samples.

        Parameters
        ----------
        x, y, sample_weight
            As for `fit`.
        batch_size : int, optional
            32 by default; it changes the memory that is needed, not the result.
        verbose : {"auto", 0, 1, 2}
            Whether to print the result, too.
        return_dict : bool
            Whether to return a dict by name.

        Returns
        -------
        float, list of float or dict
            The loss alone if there are no metrics, else a list that begins with it.
        """
        self._require("evaluate")
        data = self._data("evaluate", x, y, sample_weight)
        batch_size = checks.integer("evaluate", "batch_size", 32 if batch_size is None else batch_size)
        logs = self._evaluate(data, batch_size)
        if verbose:
            print(callbacks_.describe_logs(logs), flush=True)
        return _results(logs, return_dict)

    def predict(self, x: Any, batch_size: int | None = None, verbose: Verbose = 0) -> Array:
        """Return the outputs for samples.

        Parameters
        ----------
        x : array_like, (N, ...)
        batch_size : int, optional
            32 by default; it changes the memory that is needed, not the result.
        verbose : {0, 1}
            Whether to show a bar, where tqdm is installed.

        Returns
        -------
        ndarray, (N, ...)
        """
        x = self.accept(x)
        batch_size = checks.integer("predict", "batch_size", 32 if batch_size is None else batch_size)
        if len(x) <= batch_size:
            return self(x)
        starts: Any = range(0, len(x), batch_size)
        if verbose:
            starts = callbacks_.bar(starts, "predict")
        y: Array | None = None
        for start in starts:
            part = self(x[start : start + batch_size])
            if y is None:
                y = np.empty((len(x), *part.shape[1:]), part.dtype)
            y[start : start + len(part)] = part
        assert y is not None
        return y

    def predict_on_batch(self, x: Any) -> Array:
        """Return the outputs for one batch."""
        return self(x)

    # -- one step ----------------------------------------------------------------------------------

    def _train(self, batch: Data, op: str, epoch: int | None = None, number: int = 0) -> tuple[float, Array]:
        """Take a step, and return the loss and the output before it."""
        assert self.loss is not None
        assert self.optimizer is not None
        self.zero_grads()
        fused = self._fused
        before = [(array, array.copy()) for array in self.state.values()]
        try:
            y_pred, back = self.partial_vjp(batch.x, True, wants_dx=False, logits=fused)
            value, gradient = self.loss.vjp(batch.y, y_pred, batch.weight, logits=fused)
            if not math.isfinite(value):
                place = "" if epoch is None else f" in epoch {epoch + 1}, batch {number + 1}"
                raise ValueError(
                    f"{op}: the loss is {value}{place}; the model is as it was before this batch."
                    " Look for NaN or Inf in x and y, or lower the learning rate"
                )
        except BaseException:
            for array, untouched in before:
                array[...] = untouched
            raise
        back(gradient())
        self.optimizer.step(self)
        return value, y_pred

    def _evaluate(self, data: Data, batch_size: int) -> callbacks_.Logs:
        assert self.loss is not None
        mean = self._start()
        fused = self._fused
        logs: callbacks_.Logs = {}
        for batch in _batches(data, batch_size, None):
            y_pred = self.partial_vjp(batch.x, False, logits=True)[0] if fused else self(batch.x)
            value, _ = self.loss.vjp(batch.y, y_pred, batch.weight, logits=fused)
            logs = self._note(mean, value, batch, y_pred)
        return logs

    @property
    def _fused(self) -> bool:
        """Whether the model ends with the activation its loss contains; the loss then takes its input."""
        assert self.loss is not None
        return self.loss.contains != "linear" and self.loss.contains == self.final_activation

    def _start(self) -> metrics_.RunningMean:
        for metric in self.metrics:
            metric.reset_state()
        return metrics_.RunningMean()

    def _note(self, mean: metrics_.RunningMean, value: float, batch: Data, y_pred: Array) -> callbacks_.Logs:
        """Add a batch to the loss and the metrics, and return all of them so far."""
        mean.add(value * len(batch.x), len(batch.x))
        logs = {"loss": mean.result()}
        if self.metrics:
            if self._fused:
                y_pred = getattr(functional, self.final_activation)(y_pred)
            for metric in self.metrics:
                metric.update_state(batch.y, y_pred)
                logs[metric.name] = metric.result()
        return logs

    # -- arguments ---------------------------------------------------------------------------------

    def _require(self, op: str) -> None:
        if self.optimizer is None or self.loss is None:
            raise RuntimeError(
                f"{op}: the model has no loss and optimizer yet; call compile(optimizer, loss) first"
            )

    def _data(
        self,
        op: str,
        x: Any,
        y: Any,
        sample_weight: Any = None,
        class_weight: Mapping[int, float] | None = None,
    ) -> Data:
        """Return the samples as arrays that the model takes."""
        x = self.accept(x)
        y = np.asarray(y)
        if y.dtype.kind not in "fiub":
            raise TypeError(f"{op}: y must hold numbers; got {y.dtype}")
        if y.ndim == 0 or len(x) != len(y):
            raise ValueError(f"{op}: x has {len(x)} samples but y has shape {y.shape}")
        if len(x) == 0:
            raise ValueError(f"{op}: x has no samples")
        if class_weight is not None:
            if sample_weight is not None:
                raise ValueError(f"{op}: give class_weight or sample_weight, not both")
            sample_weight = _weight_by_class(op, y, class_weight)
        if sample_weight is not None:
            sample_weight = np.asarray(sample_weight, np.float64)
            if sample_weight.shape != (len(x),):
                raise ValueError(
                    f"{op}: sample_weight must have shape ({len(x)},); got {sample_weight.shape}"
                )
        return Data(x, y, sample_weight)


def _batches(data: Data, size: int, rng: np.random.Generator | None) -> Iterator[Data]:
    count = len(data.x)
    if count <= size and rng is None:
        yield data
        return
    order = None if rng is None else rng.permutation(count)
    for start in range(0, count, size):
        which = slice(start, start + size)
        yield data.take(which if order is None else order[which])


def _split(data: Data, fraction: float) -> tuple[Data, Data]:
    """Return the first samples and the last, which are `fraction` of all."""
    fraction = checks.number("fit", "validation_split", fraction, below=1.0)
    first = math.floor(len(data.x) * (1 - fraction))
    if first in (0, len(data.x)):
        raise ValueError(
            f"fit: validation_split {fraction} of {len(data.x)} samples leaves none on one of the two sides"
        )
    return data.take(slice(first)), data.take(slice(first, None))


def _weight_by_class(op: str, y: Array, class_weight: Mapping[int, float]) -> Array:
    if y.ndim > 2:
        raise ValueError(f"{op}: class_weight needs one class a sample; y has shape {y.shape}")
    classes = y.argmax(axis=1) if y.ndim == 2 and y.shape[1] > 1 else y.reshape(-1)
    return np.array([class_weight.get(int(label), 1.0) for label in classes])


def _results(logs: callbacks_.Logs, return_dict: bool) -> Any:
    if return_dict:
        return logs
    values = list(logs.values())
    return values if len(values) > 1 else values[0]
