"""Epoch after epoch: the batches, the validation, and the callbacks between them."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Any

from . import callbacks as callbacks_
from . import step
from .callbacks import Callback, History, Logs
from .feed import Source
from .objective import NonFiniteLossError

if TYPE_CHECKING:
    from .training import Trainer


def run(
    model: Trainer,
    train: Source,
    validation: Source | None,
    epochs: range,
    verbose: int | str,
    callbacks: Sequence[Callback],
) -> History:
    """Train a model, and return how it went.

    Parameters
    ----------
    model : Trainer
        Compiled.
    train, validation : Source
    epochs : range
        Their numbers.
    verbose, callbacks
        As for `Trainer.fit`.
    """
    progress = callbacks_.progress(verbose)
    history = model.history = History()
    watchers: list[Any] = [*progress, *callbacks, history]
    for watcher in callbacks_.attached("fit", model, watchers):
        watcher.params = {"epochs": epochs.stop, "steps": train.steps, "verbose": verbose}
    model.stop_training = False
    logs: Logs = {}
    for watcher in watchers:
        watcher.on_train_begin(logs)
    try:
        for epoch in epochs:
            for watcher in watchers:
                watcher.on_epoch_begin(epoch, {})
            logs = _train(model, train, epoch, watchers)
            if validation is not None:
                results = step.judge(model, validation, epoch, watchers)
                logs |= {f"val_{name}": value for name, value in results.items()}
            for watcher in watchers:
                watcher.on_epoch_end(epoch, logs)
            if model.stop_training:
                break
    finally:  # an interrupted bar would go on writing over what comes after it
        for line in progress:
            line.close()
    for watcher in watchers:
        watcher.on_train_end(logs)
    return history


def _train(model: Trainer, source: Source, epoch: int, watchers: Sequence[Callback]) -> Logs:
    """Train for an epoch."""
    model.goals.start()
    logs: Logs = {}
    with closing(source.epoch(epoch)) as batches:
        for number, batch in enumerate(batches):
            for watcher in watchers:
                watcher.on_train_batch_begin(number, logs)
            try:
                logs = step.take(model, batch, "fit", f" in epoch {epoch + 1}, batch {number + 1}")
            except NonFiniteLossError as error:
                logs = {**logs, "loss": error.value}
                for watcher in watchers:
                    watcher.on_nonfinite_loss(number, logs, error)
                if not model.stop_training:
                    raise
                break
            for watcher in watchers:
                watcher.on_train_batch_end(number, logs)
            if model.stop_training:
                break
    return logs
