"""What shows how a training is getting on: a bar or a line an epoch."""

from __future__ import annotations

import time
from collections.abc import Iterable
from importlib.util import find_spec
from typing import TypeVar, cast

from .. import checks
from .base import Callback, Logs

T = TypeVar("T")


class EpochLines(Callback):
    """Prints a line after each epoch."""

    def on_epoch_begin(self, epoch: int, logs: Logs) -> None:
        self.title = f"Epoch {epoch + 1}/{self.params['epochs']}"
        self.start = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        print(f"{self.title} - {time.perf_counter() - self.start:.2f}s - {describe_logs(logs)}", flush=True)

    def close(self) -> None:
        """Leave the line alone from here on, whatever state it is in."""


class ProgressBar(EpochLines):
    """Shows a tqdm bar an epoch, with the loss and the metrics so far."""

    def on_epoch_begin(self, epoch: int, logs: Logs) -> None:
        from tqdm import tqdm

        super().on_epoch_begin(epoch, logs)
        self.bar = tqdm(total=self.params["steps"], desc=self.title, unit="batch")
        self.shown = self.start

    def on_train_batch_end(self, batch: int, logs: Logs) -> None:
        self.bar.update()
        now = time.perf_counter()
        if now - self.shown > 0.1:  # writing the numbers costs more than a small batch
            self.bar.set_postfix_str(describe_logs(logs))
            self.shown = now

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        self.bar.set_postfix_str(describe_logs(logs))
        self.bar.close()

    def close(self) -> None:
        if hasattr(self, "bar"):
            self.bar.close()


def progress(verbose: int | str) -> list[EpochLines]:
    """Return what shows the progress: nothing for 0, lines for 2, else a bar where tqdm is installed."""
    checks.verbosity("fit", verbose)
    if verbose == 0:
        return []
    if verbose != 2 and find_spec("tqdm"):
        return [ProgressBar()]
    return [EpochLines()]


def bar(items: Iterable[T], title: str, total: int | None) -> Iterable[T]:
    """Return `items`, `total` of them, so that going through them shows a bar where tqdm is installed."""
    if not find_spec("tqdm"):
        return items
    from tqdm import tqdm

    return cast(Iterable[T], tqdm(items, desc=title, total=total, unit="batch"))


def describe_logs(logs: Logs) -> str:
    """Return a line of names and numbers."""
    return " - ".join(f"{name}: {value:.4g}" for name, value in logs.items())
