"""Callbacks that watch a number: they stop, slow down or save by it."""

from __future__ import annotations

import warnings
from os import PathLike, makedirs
from pathlib import Path
from typing import Any

from .. import archive, checks
from ..layers.base import Array
from .base import Callback, Logs

# Parts of the names of metrics that are better the larger they are.
_LARGER_IS_BETTER = ("acc", "auc", "f1", "iou", "precision", "r2", "recall")


class Monitor(Callback):
    """Base of the callbacks that watch a number and remember the best one.

    Parameters
    ----------
    monitor : str
        Its name in the logs, such as "val_loss" or "accuracy".
    mode : {"auto", "min", "max"}
        What is better; "auto" is "max" for what is called an accuracy, AUC, precision, recall and the like.
    min_delta : float
        By how much more a number must be better to count.
    best : float, optional
        What the first number is held against.
    """

    def __init__(
        self, monitor: str, mode: str = "auto", min_delta: float = 0.0, best: float | None = None
    ) -> None:
        kind = type(self).__name__
        checks.one_of(kind, "mode", mode, ("auto", "min", "max"))
        self.monitor = monitor
        self.mode = mode
        self.min_delta = abs(checks.real(kind, "min_delta", min_delta))
        self.best = best
        larger = mode == "max" or (mode == "auto" and any(part in monitor for part in _LARGER_IS_BETTER))
        self._sign = 1 if larger else -1

    def improves(self, value: float, reference: float | None) -> bool:
        """Whether `value` is better than another one."""
        return reference is None or self._sign * (value - reference) > self.min_delta

    def watched(self, logs: Logs) -> float | None:
        """Return the number, or warn and return None if it is not in the logs."""
        if self.monitor not in logs:
            warnings.warn(
                f"{type(self).__name__}: there is no {self.monitor!r} to watch; there are {', '.join(logs)}",
                stacklevel=2,
            )
        return logs.get(self.monitor)


class EarlyStopping(Monitor):
    """Ends the training when a number has stopped getting better (Prechelt, 1998).

    Parameters
    ----------
    monitor : str
        Its name in the logs.
    min_delta : float
        Smallest change that is an improvement.
    patience : int
        How many epochs without one are waited for.
    verbose : {0, 1}
        Whether to say so.
    mode : {"auto", "min", "max"}
        What is better; "auto" goes by the name.
    baseline : float, optional
        An epoch that is no better than this counts as one without improvement.
    restore_best_weights : bool
        Whether the model is given the weights of the best epoch at the end.
    start_from_epoch : int
        The epochs before it are not looked at.
    """

    def __init__(
        self,
        monitor: str = "val_loss",
        min_delta: float = 0.0,
        patience: int = 0,
        verbose: int = 0,
        mode: str = "auto",
        baseline: float | None = None,
        restore_best_weights: bool = False,
        start_from_epoch: int = 0,
    ) -> None:
        super().__init__(monitor, mode, min_delta)
        self.patience = checks.integer("EarlyStopping", "patience", patience, minimum=0)
        self.verbose = verbose
        self.baseline = baseline
        self.restore_best_weights = bool(restore_best_weights)
        self.start_from_epoch = checks.integer(
            "EarlyStopping", "start_from_epoch", start_from_epoch, minimum=0
        )

    def on_train_begin(self, logs: Logs) -> None:
        self.wait = self.stopped_epoch = self.best_epoch = 0
        self.best = None
        self.best_weights: list[Array] | None = None

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        current = self.watched(logs)
        if current is None or epoch < self.start_from_epoch:
            return
        self.wait += 1
        if self.improves(current, self.best):
            self.best, self.best_epoch = current, epoch
            if self.restore_best_weights:
                self.best_weights = self.model.get_weights()
            if self.improves(current, self.baseline):
                self.wait = 0
        elif self.wait >= self.patience and epoch > 0:
            self.stopped_epoch = epoch
            self.model.stop_training = True

    def on_train_end(self, logs: Logs) -> None:
        if self.stopped_epoch and self.verbose:
            print(f"Epoch {self.stopped_epoch + 1}: early stopping", flush=True)
        if self.best_weights is not None:
            if self.verbose:
                print(f"The weights are those of the best epoch, {self.best_epoch + 1}", flush=True)
            self.model.set_weights(self.best_weights)


class ReduceLROnPlateau(Monitor):
    """Lowers the learning rate when a number has stopped getting better.

    Parameters
    ----------
    monitor : str
        Its name in the logs.
    factor : float
        Below 1: what the learning rate is multiplied by.
    patience : int
        How many epochs without improvement are waited for.
    verbose : {0, 1}
        Whether to say so.
    mode : {"auto", "min", "max"}
        What is better; "auto" goes by the name.
    min_delta : float
        Smallest change that is an improvement.
    cooldown : int
        How many epochs after a reduction are not counted.
    min_lr : float
        Where the learning rate stays.
    """

    def __init__(
        self,
        monitor: str = "val_loss",
        factor: float = 0.1,
        patience: int = 10,
        verbose: int = 0,
        mode: str = "auto",
        min_delta: float = 1e-4,
        cooldown: int = 0,
        min_lr: float = 0.0,
    ) -> None:
        super().__init__(monitor, mode, min_delta)
        kind = "ReduceLROnPlateau"
        self.factor = checks.number(kind, "factor", factor, below=1.0)
        self.patience = checks.integer(kind, "patience", patience, minimum=0)
        self.verbose = verbose
        self.cooldown = checks.integer(kind, "cooldown", cooldown, minimum=0)
        self.min_lr = checks.number(kind, "min_lr", min_lr)

    def on_train_begin(self, logs: Logs) -> None:
        self.best = None
        self.wait = self.resting = 0

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        optimizer = self.model.optimizer
        assert optimizer is not None
        rate = logs["learning_rate"] = optimizer.learning_rate
        current = self.watched(logs)
        if current is None:
            return
        if self.resting:
            self.resting -= 1
            self.wait = 0
        if self.improves(current, self.best):
            self.best = current
            self.wait = 0
        elif not self.resting:
            self.wait += 1
            if self.wait >= self.patience and rate > self.min_lr:
                optimizer.learning_rate = max(rate * self.factor, self.min_lr)
                self.resting, self.wait = self.cooldown, 0
                if self.verbose:
                    print(
                        f"Epoch {epoch + 1}: the learning rate is {optimizer.learning_rate:.4g}", flush=True
                    )


class ModelCheckpoint(Monitor):
    """Saves the model, or its weights, as the training goes on.

    Parameters
    ----------
    filepath : str or path
        May have fields, such as ``"{epoch:02d}-{val_loss:.2f}.safetensors"``, for the epoch from 1 and what
        is in the logs. It ends in ".npz" or ".safetensors". Folders that are missing are made.
    monitor : str
        Name in the logs of what decides which model is best.
    verbose : {0, 1}
        Whether to say so.
    save_best_only : bool
        Whether only a model that is better than all before is saved.
    save_weights_only : bool
        Whether ``model.save_weights`` is called, and not ``model.save``.
    mode : {"auto", "min", "max"}
        What is better; "auto" goes by the name.
    save_freq : "epoch" or int
        After each epoch, or after so many batches.
    initial_value_threshold : float, optional
        What the first model must be better than.
    """

    def __init__(
        self,
        filepath: str | PathLike[str],
        monitor: str = "val_loss",
        verbose: int = 0,
        save_best_only: bool = False,
        save_weights_only: bool = False,
        mode: str = "auto",
        save_freq: str | int = "epoch",
        initial_value_threshold: float | None = None,
    ) -> None:
        super().__init__(monitor, mode, best=initial_value_threshold)
        archive.check_format(Path(filepath))  # now, and not after an epoch of training
        self.filepath = str(filepath)
        self.verbose = verbose
        self.save_best_only = bool(save_best_only)
        self.save_weights_only = bool(save_weights_only)
        self.save_freq = save_freq
        if save_freq != "epoch":
            self.save_freq = checks.integer("ModelCheckpoint", "save_freq", save_freq)
        self.epoch = self.batches = 0

    def on_epoch_begin(self, epoch: int, logs: Logs) -> None:
        self.epoch = epoch

    def on_train_batch_end(self, batch: int, logs: Logs) -> None:
        self.batches += 1
        if self.save_freq == self.batches:
            self.batches = 0
            self._save({"batch": batch + 1} | logs, logs)

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        if self.save_freq == "epoch":
            self._save({}, logs)

    def _save(self, fields: dict[str, Any], logs: Logs) -> None:
        if self.save_best_only:
            current = self.watched(logs)
            if current is not None:
                if not self.improves(current, self.best):
                    return
                self.best = current
        try:
            path = self.filepath.format(**{"epoch": self.epoch + 1} | fields | logs)
        except KeyError as error:
            raise ValueError(
                f"ModelCheckpoint: filepath {self.filepath!r} has the field {error}; there are"
                f" epoch, {', '.join(fields | logs)}"
            ) from None
        makedirs(Path(path).parent, exist_ok=True)
        getattr(self.model, "save_weights" if self.save_weights_only else "save")(path)
        if self.verbose:
            print(f"Epoch {self.epoch + 1}: saved to {path}", flush=True)
