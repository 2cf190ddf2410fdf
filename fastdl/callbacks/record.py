"""Callbacks that write down how the training goes."""

from __future__ import annotations

import csv
from importlib.util import find_spec
from os import PathLike
from pathlib import Path
from typing import IO, Any

from .. import checks
from .base import Callback, Logs


class CSVLogger(Callback):
    """Writes the logs of each epoch as a line of a table.

    Parameters
    ----------
    filename : str or path
    separator : str
    append : bool
        Whether lines are added to a file that is there; else it is replaced.
    """

    def __init__(self, filename: str | PathLike[str], separator: str = ",", append: bool = False) -> None:
        self.filename = Path(filename)
        self.separator = separator
        self.append = append
        self.file: IO[str] | None = None

    def on_train_begin(self, logs: Logs) -> None:
        self.has_header = self.append and self.filename.exists() and self.filename.stat().st_size > 0
        self.file = self.filename.open("a" if self.append else "w", newline="", encoding="utf-8")
        self.writer: csv.DictWriter[str] | None = None

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        assert self.file is not None
        if self.writer is None:
            self.writer = csv.DictWriter(
                self.file, ["epoch", *sorted(logs)], "NA", "ignore", delimiter=self.separator
            )
            if not self.has_header:
                self.writer.writeheader()
        self.writer.writerow({"epoch": epoch, **logs})
        self.file.flush()  # whoever watches the file sees the epoch

    def on_train_end(self, logs: Logs) -> None:
        assert self.file is not None
        self.file.close()


class TensorBoard(Callback):
    """Writes the logs where TensorBoard looks for them; needs the package tensorboardX or tensorboard.

    As with Keras there is one run "train" and one "validation", which share their tags: epoch_loss and so on.

    Parameters
    ----------
    log_dir : str or path
    histogram_freq : int
        After how many epochs histograms of the weights are written; 0 for never. They need tensorboardX.
    update_freq : "epoch", "batch" or int
        Whether the logs are written within an epoch, too: after each batch, or after so many.
    """

    def __init__(
        self,
        log_dir: str | PathLike[str] = "logs",
        histogram_freq: int = 0,
        update_freq: str | int = "epoch",
    ) -> None:
        self.log_dir = Path(log_dir)
        self.histogram_freq = checks.integer("TensorBoard", "histogram_freq", histogram_freq, minimum=0)
        self.update_freq = update_freq
        named = {"epoch": 0, "batch": 1}
        if isinstance(update_freq, str):
            checks.one_of("TensorBoard", "update_freq", update_freq, named)
            self._every = named[update_freq]
        else:
            self._every = checks.integer("TensorBoard", "update_freq", update_freq)
        self.step = 0
        self._writer = _summary_writer(needs_histograms=bool(histogram_freq))
        self._writers: dict[str, Any] = {}

    def on_train_batch_end(self, batch: int, logs: Logs) -> None:
        self.step += 1
        if self._every and self.step % self._every == 0:
            self._write("train", "batch", logs, self.step)

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        assert self.model.optimizer is not None
        tested = {name.removeprefix("val_"): value for name, value in logs.items() if name[:4] == "val_"}
        trained = {name: value for name, value in logs.items() if name[:4] != "val_"}
        self._write("train", "epoch", {**trained, "learning_rate": self.model.optimizer.learning_rate}, epoch)
        self._write("validation", "epoch", tested, epoch)
        if self.histogram_freq and epoch % self.histogram_freq == 0:
            for name, weights in self.model.params.items():
                self._writers["train"].add_histogram(name, weights, epoch)
        for writer in self._writers.values():
            writer.flush()  # whoever looks sees the epoch, also after an error

    def on_train_end(self, logs: Logs) -> None:
        for writer in self._writers.values():
            writer.close()
        self._writers.clear()

    def _write(self, run: str, prefix: str, values: Logs, step: int) -> None:
        if values and run not in self._writers:
            self._writers[run] = self._writer(str(self.log_dir / run))
        for name, value in values.items():
            self._writers[run].add_scalar(f"{prefix}_{name}", value, step)


def _summary_writer(needs_histograms: bool) -> Any:
    """Return the class that writes, of the package that is installed."""
    if find_spec("tensorboardX"):
        from tensorboardX import SummaryWriter

        return SummaryWriter
    if find_spec("tensorboard") and not needs_histograms:
        from tensorboard.summary import Writer

        return Writer
    raise ImportError("TensorBoard needs the package tensorboardX: pip install tensorboardX")
