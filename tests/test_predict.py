"""predict: batches of arrays, files, iterables and anything that gives slices; its callbacks."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fastdl import Input, Model, Sequential
from fastdl.callbacks import Callback
from fastdl.layers import Add, Dense, Embedding, Flatten
from keras_cases import wave

X = wave((50, 4))
BATCHES = [X[start : start + 8] for start in range(0, 50, 8)]


def network() -> Sequential:
    return Sequential([Input((4,)), Dense(3, "tanh", seed=1), Dense(2, seed=2)])


def two_by_two() -> Model:
    a, b = Input((4,), name="a"), Input((4,), name="b")
    joined = Add()([Dense(3, seed=1)(a), Dense(3, seed=2)(b)])
    return Model({"a": a, "b": b}, [joined, Dense(1, seed=3, name="one")(joined)])


class Slices:
    """Rows that come into being when they are asked for; more than any memory holds."""

    shape = (10**12, 4)
    asked: list[slice]

    def __init__(self) -> None:
        self.asked = []

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice) -> np.ndarray:
        self.asked.append(rows)
        return np.arange(rows.start, rows.stop)[:, None] * np.full(4, 1e-3)


class Loader:
    """A length and an index."""

    def __len__(self) -> int:
        return len(BATCHES)

    def __getitem__(self, index: int) -> np.ndarray:
        return BATCHES[index]


@pytest.mark.parametrize(
    "source",
    [
        lambda: (batch for batch in BATCHES),
        lambda: ((batch,) for batch in BATCHES),
        lambda: ((batch, np.ones(len(batch))) for batch in BATCHES),
        lambda: ((batch, np.ones(len(batch)), np.ones(len(batch))) for batch in BATCHES),
        lambda: map(list, BATCHES),
        Loader,
    ],
    ids=["arrays", "alone", "pairs", "weighted", "lists", "loader"],
)
def test_batches_of_an_iterable(source: Any) -> None:
    np.testing.assert_array_equal(network().predict(source()), network().predict(X, batch_size=8))


@pytest.mark.parametrize("given", [X, X.tolist(), X.astype(np.float64), {"in": X}], ids=str)
@pytest.mark.parametrize("batch_size", [7, 50, 100])
def test_samples_in_any_form(given: Any, batch_size: int) -> None:
    model = Sequential([Input((4,), name="in"), Dense(3, seed=1)])
    np.testing.assert_allclose(model.predict(given, batch_size=batch_size), model(X), rtol=1e-6)


def test_several_inputs_and_outputs() -> None:
    model = two_by_two()
    x = {"a": X, "b": X[::-1]}
    expected = model(x)
    batches = ({name: part[start : start + 8] for name, part in x.items()} for start in range(0, 50, 8))
    for came in (model.predict(x, batch_size=8), model.predict(batches)):
        assert isinstance(came, list)
        for one, other in zip(came, expected):
            np.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-7)
    assert [y.shape for y in model.predict(x, batch_size=8, steps=2)] == [(16, 3), (16, 1)]


def test_steps() -> None:
    def endless() -> Iterator[np.ndarray]:
        while True:
            yield BATCHES[0]

    model = network()
    assert model.predict(endless(), steps=3).shape == (24, 2)
    np.testing.assert_array_equal(
        model.predict(X, batch_size=8, steps=2), model.predict(X[:16], batch_size=8)
    )
    assert model.predict(X, batch_size=8, steps=100).shape == (50, 2)


def test_only_slices_are_asked_for() -> None:
    x = Slices()
    model = network()
    y = model.predict(x, batch_size=100, steps=3)
    assert [(rows.start, rows.stop) for rows in x.asked] == [(0, 100), (100, 200), (200, 300)]
    np.testing.assert_allclose(y, model(Slices()[0:300]), rtol=1e-6, atol=1e-7)


def test_a_file_is_never_copied(tmp_path: Path) -> None:
    """32 MB in another dtype, of which at most two batches are in memory at a time."""
    x = np.memmap(tmp_path / "x", np.float64, "w+", shape=(2**20, 4))
    x[::1000] = 1.0
    model = network()
    tracemalloc.start()
    y = model.predict(x, batch_size=2**13)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    # The outputs, 8 MB, are there twice where they are put together; a batch is 0.1 MB.
    assert peak < 2 * y.nbytes + 2**21 < x.nbytes
    np.testing.assert_allclose(y[:2001:1000], model(x[:2001:1000]), rtol=1e-6, atol=1e-7)


def test_numbers_of_rows_in_a_file(tmp_path: Path) -> None:
    ids = np.memmap(tmp_path / "ids", np.int16, "w+", shape=(100, 3))
    ids[:] = np.arange(300).reshape(100, 3) % 7
    model = Sequential([Input((3,)), Embedding(7, 2, seed=1), Flatten(), Dense(1, seed=2)])
    np.testing.assert_allclose(model.predict(ids, batch_size=9), model(np.array(ids)), rtol=1e-6, atol=1e-7)


def test_builds_a_model() -> None:
    model = Sequential([Dense(3)])
    assert model.predict(iter(BATCHES)).shape == (50, 3)
    assert Sequential([Dense(3)]).predict(X, batch_size=8).shape == (50, 3)


def test_no_samples() -> None:
    assert network().predict(X[:0]).shape == (0, 2)


class Seen(Callback):
    """Writes down what is called."""

    def __init__(self) -> None:
        self.calls: list[Any] = []

    def on_predict_begin(self, logs: Any) -> None:
        self.calls.append("begin")

    def on_predict_batch_begin(self, batch: int, logs: Any) -> None:
        self.calls.append(batch)

    def on_predict_batch_end(self, batch: int, logs: Any) -> None:
        self.calls.append((batch, logs["outputs"].shape, self.model.name))

    def on_predict_end(self, logs: Any) -> None:
        self.calls.append("end")

    def on_test_begin(self, logs: Any) -> None:
        self.calls.append("test")

    def on_test_batch_begin(self, batch: int, logs: Any) -> None:
        self.calls.append(batch)

    def on_test_batch_end(self, batch: int, logs: Any) -> None:
        self.calls.append(sorted(logs))

    def on_test_end(self, logs: Any) -> None:
        self.calls.append("tested")


def test_callbacks() -> None:
    seen, model = Seen(), network()
    model.predict(X[:12], batch_size=8, callbacks=[seen])
    assert seen.calls == [
        "begin", 0, (0, (8, 2), model.name), 1, (1, (4, 2), model.name), "end",
    ]  # fmt: skip
    model.compile("sgd", "mse", metrics=["mae"])
    names = ["loss", "mae"]
    for run in (
        lambda seen: model.evaluate(X[:12], wave((12, 2)), batch_size=8, verbose=0, callbacks=[seen]),
        lambda seen: model.fit(
            X, wave((50, 2)), validation_data=(X[:12], wave((12, 2))), validation_batch_size=8,
            verbose=0, callbacks=[seen],
        ),
    ):  # fmt: skip
        seen = Seen()
        run(seen)
        assert seen.calls == ["test", 0, names, 1, names, "tested"]


def test_bar(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("tqdm", reason="the bar is tqdm's")
    network().predict(iter(BATCHES), verbose=1, steps=7)
    assert "predict: 100%" in capsys.readouterr().err
    network().predict(X, batch_size=8, verbose=1)
    assert "7/7" in capsys.readouterr().err
    network().predict(X, batch_size=8)
    assert capsys.readouterr() == ("", "")


def raising() -> Iterator[np.ndarray]:
    yield X
    raise OSError("the disk is gone")


@pytest.mark.parametrize(
    "error, message, call",
    [
        (ValueError, r"x has shape \(50, 3\), but the model expects", lambda m: m.predict(X[:, 1:])),
        (TypeError, "x must hold floating-point numbers; got int64", lambda m: m.predict(X.astype("i8"))),
        (ValueError, "batch_size must be at least 1; got 0", lambda m: m.predict(X, batch_size=0)),
        (ValueError, "predict: steps must be at least 1; got 0", lambda m: m.predict(X, steps=0)),
        (ValueError, "predict: verbose must be 0, 1, 2 or 'auto'; got 3", lambda m: m.predict(X, verbose=3)),
        (ValueError, "predict: the list_iterator ended after 7 of 9 batches",
         lambda m: m.predict(iter(BATCHES), steps=9)),
        (ValueError, "predict: the generator ended after 0 batches", lambda m: m.predict(x for x in ())),
        (RuntimeError, r"predict: the generator raised OSError \(the disk is gone\) where batch 2",
         lambda m: m.predict(raising())),
        (ValueError, "x must have a first axis", lambda m: m.predict(3.0)),
    ],
)  # fmt: skip
def test_mistakes_are_named(error: type[Exception], message: str, call: Any) -> None:
    with pytest.raises(error, match=message):
        call(network())


def test_inputs_have_as_many_samples() -> None:
    with pytest.raises(ValueError, match="predict: the inputs in x have 50, 49 samples"):
        two_by_two().predict({"a": X, "b": X[1:]})
