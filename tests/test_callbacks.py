"""Callbacks: Keras's decisions, and what they write."""

from __future__ import annotations

import csv
import struct
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fastdl import Input, Sequential, load_model, schedules
from fastdl.callbacks import (
    Callback,
    CSVLogger,
    EarlyStopping,
    LambdaCallback,
    LearningRateScheduler,
    ModelCheckpoint,
    ReduceLROnPlateau,
    TensorBoard,
    TerminateOnNaN,
)
from fastdl.layers import Dense
from fastdl.optimizers import SGD
from keras_cases import wave
from keras_training import COURSE, PLATEAUS, RECORDED, STOPS

X, Y = wave((12, 3)), wave((12, 1), start=2)


def network(learning_rate: Any = 0.1) -> Sequential:
    model = Sequential([Input((3,)), Dense(1, seed=1)])
    model.compile(SGD(learning_rate), "mse", metrics=["mae"])
    return model


def fit(*callbacks: Callback, model: Sequential | None = None, **options: Any) -> Any:
    model = model or network()
    return model.fit(X, Y, **{"batch_size": 4, "verbose": 0, "callbacks": callbacks} | options)


class Course(Callback):
    """Puts the losses of a course that somebody wrote down in the logs."""

    def on_epoch_end(self, epoch: int, logs: Any) -> None:
        logs["loss"] = COURSE[epoch]


class TestEarlyStopping:
    @pytest.mark.parametrize("index", range(len(STOPS)), ids=lambda i: str(STOPS[i]))
    def test_stops_where_keras_does(self, index: int) -> None:
        with np.load(RECORDED) as answers:
            expected = int(answers[f"stop_{index}"])
        stop = EarlyStopping(monitor="loss", **STOPS[index])
        epochs = fit(Course(), stop, epochs=len(COURSE)).epoch
        assert epochs[-1] == min(expected, len(COURSE) - 1)
        assert stop.stopped_epoch == (expected if expected < len(COURSE) else 0)

    @pytest.mark.parametrize("restore", [False, True])
    def test_weights_of_the_best_epoch(self, restore: bool) -> None:
        weights: list[np.ndarray] = []
        note = LambdaCallback(on_epoch_end=lambda epoch, logs: weights.append(model.get_weights()[0]))
        model = network()
        stop = EarlyStopping("loss", patience=2, restore_best_weights=restore)
        fit(Course(), note, stop, model=model, epochs=len(COURSE))
        assert (stop.best_epoch, stop.stopped_epoch) == (1, 4) or (stop.best_epoch, len(weights)) == (5, 8)
        kept = stop.best_epoch if restore else -1
        np.testing.assert_array_equal(model.get_weights()[0], weights[kept])
        assert not np.array_equal(weights[stop.best_epoch], weights[-1])

    def test_may_be_used_again(self) -> None:
        stop = EarlyStopping("loss", patience=2)
        first, second = (fit(Course(), stop, epochs=len(COURSE)).epoch for _ in range(2))
        assert first == second

    def test_says_so(self, capsys: pytest.CaptureFixture[str]) -> None:
        fit(Course(), EarlyStopping("loss", verbose=1, restore_best_weights=True), epochs=9)
        assert capsys.readouterr().out.splitlines() == [
            "Epoch 3: early stopping",
            "The weights are those of the best epoch, 2",
        ]

    @pytest.mark.parametrize("monitor", ["accuracy", "val_acc", "auc", "val_precision"])
    def test_what_is_better_the_larger_it_is(self, monitor: str) -> None:
        assert EarlyStopping(monitor).improves(0.9, 0.8)
        assert not EarlyStopping(monitor, mode="min").improves(0.9, 0.8)
        assert EarlyStopping("val_loss").improves(0.8, 0.9)

    def test_nan_is_no_improvement(self) -> None:
        assert not EarlyStopping("loss").improves(float("nan"), 1.0)

    def test_unknown_name_warns(self) -> None:
        with pytest.warns(UserWarning, match="there is no 'val_loss' to watch; there are loss, mae"):
            fit(EarlyStopping(), epochs=1)


class TestLearningRate:
    @pytest.mark.parametrize("index", range(len(PLATEAUS)), ids=lambda i: str(PLATEAUS[i]))
    def test_plateaus_as_keras(self, index: int) -> None:
        with np.load(RECORDED) as answers:
            expected = answers[f"plateau_{index}"]
        rates: list[float] = []
        note = LambdaCallback(on_epoch_end=lambda epoch, logs: rates.append(model.optimizer.learning_rate))
        model = network()
        plateau = ReduceLROnPlateau("loss", **PLATEAUS[index])
        history = fit(Course(), plateau, note, model=model, epochs=len(COURSE))
        np.testing.assert_allclose(rates, expected, rtol=1e-6)
        # The history has the rate that the epoch was trained with.
        np.testing.assert_allclose(history.history["learning_rate"], [0.1, *expected[:-1]], rtol=1e-6)

    @pytest.mark.parametrize(
        "schedule",
        [
            lambda epoch: 0.5 / (1 + epoch),
            lambda epoch, rate: 0.5 if epoch == 0 else rate * epoch / (1 + epoch),
        ],
        ids=["epoch", "epoch-and-rate"],
    )
    def test_scheduler(self, schedule: Any) -> None:
        history = fit(LearningRateScheduler(schedule), epochs=3)
        np.testing.assert_allclose(history.history["learning_rate"], [0.5, 0.25, 0.5 / 3])

    def test_an_error_in_a_schedule_is_not_hidden(self) -> None:
        with pytest.raises(TypeError, match="NoneType"):
            fit(LearningRateScheduler(lambda epoch, rate: None + 1))

    def test_a_schedule_cannot_be_reduced(self) -> None:
        model = network(schedules.ExponentialDecay(0.1, 10, 0.5))
        with pytest.raises(TypeError, match="follows ExponentialDecay.*cannot be set"):
            fit(Course(), ReduceLROnPlateau("loss", patience=0), model=model, epochs=9)


class TestModelCheckpoint:
    def test_each_epoch(self, tmp_path: Path) -> None:
        model = network()
        fit(ModelCheckpoint(tmp_path / "new" / "{epoch:02d}-{loss:.2f}.npz"), Course(), model=model, epochs=2)
        fit(Course(), ModelCheckpoint(tmp_path / "{epoch}-{loss:.1f}.npz"), epochs=2)
        assert sorted(path.name for path in tmp_path.glob("*.npz")) == ["1-1.0.npz", "2-0.8.npz"]
        saved = sorted((tmp_path / "new").iterdir())
        assert len(saved) == 2
        np.testing.assert_array_equal(load_model(saved[1]).predict(X), model.predict(X))

    def test_best_only(self, tmp_path: Path) -> None:
        path = tmp_path / "{epoch}.npz"
        fit(Course(), ModelCheckpoint(path, "loss", save_best_only=True), epochs=len(COURSE))
        assert sorted(int(found.stem) for found in tmp_path.iterdir()) == [1, 2, 4, 6]

    def test_threshold(self, tmp_path: Path) -> None:
        best = ModelCheckpoint(
            tmp_path / "{epoch}.npz", "loss", save_best_only=True, initial_value_threshold=0.8
        )
        fit(Course(), best, epochs=len(COURSE))
        assert sorted(int(found.stem) for found in tmp_path.iterdir()) == [4, 6]

    def test_every_so_many_batches(self, tmp_path: Path) -> None:
        fit(ModelCheckpoint(tmp_path / "{epoch}-{batch}.npz", save_freq=2), epochs=3)  # of 3 batches
        assert sorted(found.stem for found in tmp_path.iterdir()) == ["1-2", "2-1", "2-3", "3-2"]

    def test_unknown_field(self, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match="has the field 'val_loss'; there are epoch, loss, mae"):
            fit(ModelCheckpoint(tmp_path / "{val_loss}.npz"))


class TestCSVLogger:
    def test_lines(self, tmp_path: Path) -> None:
        path = tmp_path / "log.csv"
        model = network()
        history = fit(CSVLogger(path), model=model, epochs=2, validation_data=(X, Y)).history
        fit(CSVLogger(path, append=True), model=model, epochs=3, initial_epoch=2, validation_data=(X, Y))
        with path.open(newline="") as file:
            rows = list(csv.DictReader(file))
        assert list(rows[0]) == ["epoch", "loss", "mae", "val_loss", "val_mae"]
        assert [row["epoch"] for row in rows] == ["0", "1", "2"]
        assert [float(row["val_mae"]) for row in rows[:2]] == history["val_mae"]

    def test_replaces(self, tmp_path: Path) -> None:
        path = tmp_path / "log.csv"
        for _ in range(2):
            fit(CSVLogger(path, separator=";"), epochs=1)
        assert len(path.read_text().splitlines()) == 2
        assert path.read_text().startswith("epoch;loss;mae\n")


class TestTerminateOnNaN:
    def test_ends_quietly(self, capsys: pytest.CaptureFixture[str]) -> None:
        model = network()
        before = model.get_weights()[0]
        x = X.copy()
        x[0, 0] = np.nan
        seen: list[int] = []
        note = LambdaCallback(on_train_end=lambda logs: seen.append(1))
        history = model.fit(x, Y, batch_size=12, epochs=3, verbose=0, callbacks=[TerminateOnNaN(), note])
        assert history.epoch == [0]
        assert np.isnan(history.history["loss"]).all()
        np.testing.assert_array_equal(model.get_weights()[0], before)
        assert seen == [1]
        told = capsys.readouterr().out
        assert "Batch 1: the training ends here. fit: the loss is nan in epoch 1, batch 1" in told
        assert f"{model.layers[0].name} is the first layer whose output is not finite" in told

    def test_without_it_fit_raises(self) -> None:
        with pytest.raises(ValueError, match="the loss is nan in epoch 1, batch 1; the model is as it was"):
            network().fit(X * np.nan, Y, verbose=0)


def records(data: bytes) -> Iterator[bytes]:
    """The records of a file of events: a length, its checksum, the record, its checksum."""
    while data:
        (size,) = struct.unpack("<Q", data[:8])
        yield data[12 : 12 + size]
        data = data[16 + size :]


class TestTensorBoard:
    def test_scalars_and_histograms(self, tmp_path: Path) -> None:
        pytest.importorskip("tensorboardX")
        board = TensorBoard(tmp_path, histogram_freq=1, update_freq="batch")
        fit(board, epochs=2, validation_data=(X, Y))
        written = {run: b"".join(path.read_bytes() for path in (tmp_path / run).iterdir())
                   for run in ("train", "validation")}  # fmt: skip
        for tag in (b"epoch_loss", b"epoch_learning_rate", b"batch_loss", b"dense"):
            assert tag in written["train"], tag
        assert b"epoch_mae" in written["validation"]
        assert b"learning_rate" not in written["validation"]

    def test_what_is_in_the_files(self, tmp_path: Path) -> None:
        proto = pytest.importorskip("tensorboardX.proto.event_pb2")
        history = fit(TensorBoard(tmp_path, histogram_freq=2), epochs=3, validation_data=(X, Y)).history
        found: dict[tuple[str, str], list[Any]] = {}
        for run in ("train", "validation"):
            (path,) = (tmp_path / run).iterdir()
            for record in records(path.read_bytes()):
                event = proto.Event.FromString(record)
                for value in event.summary.value:
                    number = value.histo.num if value.HasField("histo") else value.simple_value
                    found.setdefault((run, value.tag), []).append((event.step, number))
        for run, prefix in (("train", ""), ("validation", "val_")):
            for name in ("loss", "mae"):
                steps, numbers = zip(*found[run, f"epoch_{name}"])
                assert steps == (0, 1, 2)
                # The file holds float32.
                np.testing.assert_allclose(numbers, history[prefix + name], rtol=1e-7)
        kernel = next(tag for _, tag in found if tag.endswith("/kernel"))
        assert found["train", kernel] == [(0, 3), (2, 3)]

    def test_writer_of_tensorboard(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """The package tensorboard has a writer of scalars."""
        calls: list[Any] = []

        class Writer:
            def __init__(self, folder: str) -> None:
                self.run = Path(folder).name

            def add_scalar(self, tag: str, data: float, step: int) -> None:
                calls.append((self.run, tag, step))

            def flush(self) -> None:
                calls.append("flush")

            def close(self) -> None:
                calls.append((self.run, "close"))

        fake = types.ModuleType("tensorboard.summary")
        vars(fake)["Writer"] = Writer
        monkeypatch.setitem(sys.modules, "tensorboard", types.ModuleType("tensorboard"))
        monkeypatch.setitem(sys.modules, "tensorboard.summary", fake)
        monkeypatch.setattr(
            "fastdl.callbacks.record.find_spec", lambda name: True if name == "tensorboard" else None
        )
        fit(TensorBoard(tmp_path, update_freq=2), validation_data=(X, Y))
        assert calls == [
            ("train", "batch_loss", 2), ("train", "batch_mae", 2), ("train", "epoch_loss", 0),
            ("train", "epoch_mae", 0), ("train", "epoch_learning_rate", 0),
            ("validation", "epoch_loss", 0), ("validation", "epoch_mae", 0), "flush", "flush",
            ("train", "close"), ("validation", "close"),
        ]  # fmt: skip
        with pytest.raises(ImportError, match="pip install tensorboardX"):
            TensorBoard(histogram_freq=1)

    def test_missing_package(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("fastdl.callbacks.record.find_spec", lambda name: None)
        with pytest.raises(ImportError, match="pip install tensorboardX"):
            TensorBoard()


class TestLambdaCallback:
    def test_all_functions(self) -> None:
        seen: list[Any] = []
        names = (
            "epoch_begin",
            "epoch_end",
            "train_begin",
            "train_end",
            "train_batch_begin",
            "train_batch_end",
        )
        functions: Any = {
            f"on_{name}": lambda *given, name=name: seen.append((name, *given[:-1])) for name in names
        }
        fit(LambdaCallback(**functions), batch_size=12)
        assert seen == [
            ("train_begin",), ("epoch_begin", 0), ("train_batch_begin", 0), ("train_batch_end", 0),
            ("epoch_end", 0), ("train_end",),
        ]  # fmt: skip


def test_stop_training_ends_the_epoch() -> None:
    seen: list[int] = []

    class Stop(Callback):
        def on_train_batch_end(self, batch: int, logs: Any) -> None:
            seen.append(batch)
            self.model.stop_training = batch == 1

    assert fit(Stop(), epochs=3).epoch == [0]
    assert seen == [0, 1]


@pytest.mark.parametrize(
    "message, call",
    [
        ("mode must be one of 'auto', 'min', 'max'", lambda: EarlyStopping(mode="best")),
        ("patience must be at least 0", lambda: EarlyStopping(patience=-1)),
        ("factor must be at least 0 and below 1", lambda: ReduceLROnPlateau(factor=1.0)),
        ("save_freq must be an integer", lambda: ModelCheckpoint("a.npz", save_freq="batch")),
    ],
)
def test_impossible_settings(message: str, call: Any) -> None:
    with pytest.raises((ValueError, TypeError), match=message):
        call()
