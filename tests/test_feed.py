"""Batches from generators, loaders and files: fetched ahead, in order, whole or not at all."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastdl
from fastdl import Input, Sequential
from fastdl.batches import Batch
from fastdl.callbacks import LambdaCallback
from fastdl.feed import prefetched
from fastdl.layers import Dense
from keras_cases import wave

X, Y = wave((24, 3)), wave((24, 1), start=2)
BATCHES = [(X[i : i + 4], Y[i : i + 4]) for i in range(0, 24, 4)]


def network(built: bool = True) -> Sequential:
    model = Sequential([*([Input((3,))] if built else []), Dense(1, seed=1)])
    model.compile("adam", "mse", metrics=["mae"])
    return model


def trained(*args: Any, **options: Any) -> tuple[np.ndarray, dict[str, list[float]]]:
    model = network()
    history = model.fit(*args, verbose=0, **options)
    return model.get_weights()[0], history.history


def endless() -> Iterator[Any]:
    while True:
        yield from BATCHES


class Loader:
    """A length and an index, but no iterator and no IndexError: Keras's Sequence."""

    def __len__(self) -> int:
        return len(BATCHES)

    def __getitem__(self, index: int) -> Any:
        return BATCHES[index % 6]


def threads() -> int:
    return sum(thread.name == "fastdl prefetch" for thread in threading.enumerate())


class TestSources:
    @pytest.mark.parametrize(
        "source, options",
        [
            (BATCHES, {}),
            (Loader(), {}),
            (endless(), {"steps_per_epoch": 6}),
            ((batch for _ in range(3) for batch in BATCHES), {"steps_per_epoch": 6}),
            ([list(batch) for batch in BATCHES], {"steps_per_epoch": 6}),
        ],
        ids=["list", "loader", "endless", "generator", "lists"],
    )
    def test_give_what_arrays_give(self, source: Any, options: Any) -> None:
        expected = trained(X, Y, batch_size=4, epochs=3, shuffle=False)
        found = trained(source, epochs=3, **options)
        np.testing.assert_array_equal(found[0], expected[0])
        assert found[1] == expected[1]
        assert threads() == 0

    def test_a_generator_is_one_epoch(self) -> None:
        found = trained(batch for batch in BATCHES)
        np.testing.assert_array_equal(found[0], trained(X, Y, batch_size=4, shuffle=False)[0])

    def test_a_generator_is_read_no_further_than_needed(self) -> None:
        left = iter(BATCHES)
        network().fit(left, epochs=2, steps_per_epoch=2, verbose=0)
        assert len(list(left)) == 2

    def test_sample_weights(self) -> None:
        weights = np.linspace(0, 1, 24)
        expected = trained(X, Y, batch_size=4, sample_weight=weights, shuffle=False)
        batches = [(x, y, weights[4 * i : 4 * i + 4]) for i, (x, y) in enumerate(BATCHES)]
        np.testing.assert_array_equal(trained(batches)[0], expected[0])

    def test_validation(self) -> None:
        expected = trained(X, Y, batch_size=4, shuffle=False, epochs=2, validation_data=(X, Y))
        for given in (
            {"validation_data": BATCHES},
            {"validation_data": endless(), "validation_steps": 6},
        ):
            found = trained(BATCHES, epochs=2, **given)
            # The mean over batches is made in another order.
            np.testing.assert_allclose(found[1]["val_loss"], expected[1]["val_loss"], rtol=1e-6)
            np.testing.assert_allclose(found[1]["val_mae"], expected[1]["val_mae"], rtol=1e-6)

    def test_evaluate(self) -> None:
        model = network()
        expected = model.evaluate(X, Y, batch_size=4, verbose=0)
        assert model.evaluate(BATCHES, verbose=0) == expected
        assert model.evaluate(endless(), steps=6, verbose=0) == expected

    def test_builds_the_model(self) -> None:
        network(built=False).fit(BATCHES, verbose=0)

    def test_tensors_of_torch(self) -> None:
        torch = pytest.importorskip("torch")
        data = torch.utils.data.TensorDataset(torch.tensor(X), torch.tensor(Y))
        found = trained(torch.utils.data.DataLoader(data, batch_size=4))
        np.testing.assert_array_equal(found[0], trained(BATCHES)[0])

    def test_settings_reach_the_generator(self) -> None:
        seen = []

        def asking() -> Iterator[Any]:
            seen.append(fastdl.config.current().threads)
            yield BATCHES[0]

        with fastdl.use(threads=1):
            network().fit(asking(), verbose=0)
        assert seen == [1]


class TestMistakes:
    def same_after(
        self, source: Any, message: str, error: type[Exception], taken: int, **options: Any
    ) -> None:
        """The model is what the batches before made of it."""
        model = network()
        with pytest.raises(error, match=message):
            model.fit(source, verbose=0, **options)
        expected = network()
        if taken:
            expected.fit(BATCHES[:taken], verbose=0)
        np.testing.assert_array_equal(model.get_weights()[0], expected.get_weights()[0])
        assert model.optimizer is not None
        assert model.optimizer.iterations == taken
        assert threads() == 0

    def test_ends_early(self) -> None:
        self.same_after(
            iter(BATCHES[:3]), "fit: the list_iterator ended after 3 of 5 batches of epoch 1", ValueError, 3,
            steps_per_epoch=5, epochs=2,
        )  # fmt: skip
        self.same_after([], "ended after 0 batches of epoch 1", ValueError, 0)

    def test_raises(self) -> None:
        def failing() -> Iterator[Any]:
            yield from BATCHES[:2]
            raise OSError("the disk is gone")

        message = r"fit: the generator raised OSError \(the disk is gone\) where batch 3 of epoch 1 was due"
        self.same_after(failing(), message, RuntimeError, 2)
        with pytest.raises(RuntimeError) as caught:
            network().fit(failing(), verbose=0)
        assert isinstance(caught.value.__cause__, OSError)

    @pytest.mark.parametrize(
        "batch, message, error",
        [
            (
                X[:4],
                r"batch 3 of epoch 1 must be \(x, y\) or \(x, y, sample_weight\); got the ndarray",
                ValueError,
            ),
            (
                (X[:4], Y[:3]),
                r"fit: batch 3 of epoch 1: x has 4 samples but y has shape \(3, 1\)",
                ValueError,
            ),
            ((X[:4, :2], Y[:4]), r"x has shape \(4, 2\), but the model expects", ValueError),
            ((X[:4].astype(int), Y[:4]), "x must hold floating-point numbers", TypeError),
            ((X[:4] * np.nan, Y[:4]), "the loss is nan in epoch 1, batch 3", ValueError),
        ],
        ids=["no-pair", "sizes", "shape", "dtype", "nan"],
    )
    def test_a_batch_is_wrong(self, batch: Any, message: str, error: type[Exception]) -> None:
        self.same_after([*BATCHES[:2], batch, BATCHES[3]], message, error, 2)

    def test_an_iterator_ends_with_the_first_epoch(self) -> None:
        with pytest.raises(ValueError, match="the generator ends with the first epoch; .*steps_per_epoch"):
            network().fit((batch for batch in BATCHES), epochs=2)

    @pytest.mark.parametrize("source", [X, 3, None])
    def test_no_batches(self, source: Any) -> None:
        with pytest.raises(TypeError, match=r"fit: without y, x must be an iterable of batches \(x, y\)"):
            network().fit(source)

    @pytest.mark.parametrize(
        "message, args, options",
        [
            ("validation_split, .* are for arrays", (BATCHES,), {"validation_split": 0.5}),
            ("steps_per_epoch is for an iterable", (X, Y), {"steps_per_epoch": 2}),
            ("validation_data must be", (X, Y), {"validation_data": (X,)}),
            ("validation_data: .*ended after 6 of 9", (X, Y),
             {"validation_data": iter(BATCHES), "validation_steps": 9}),
        ],
    )  # fmt: skip
    def test_arguments_that_do_not_go_together(self, message: str, args: Any, options: Any) -> None:
        with pytest.raises(ValueError, match=message):
            network().fit(*args, verbose=0, **options)


class TestPrefetched:
    def test_works_ahead(self) -> None:
        """The next item is made while the caller is busy with the one before."""
        made: list[int] = []

        def items() -> Iterator[int]:
            for i in range(5):
                made.append(i)
                yield i

        ahead = prefetched(items())
        assert next(ahead) == 0
        deadline = time.monotonic() + 5
        while len(made) < 3 and time.monotonic() < deadline:
            time.sleep(0.001)
        assert len(made) >= 3
        assert list(ahead) == [1, 2, 3, 4]

    def test_stops_when_the_caller_does(self) -> None:
        made: list[int] = []

        def items() -> Iterator[int]:
            for i in range(1000):
                made.append(i)
                yield i

        ahead = prefetched(items())
        next(ahead)
        ahead.close()
        assert threads() == 0
        assert len(made) < 10

    def test_training_that_stops_leaves_no_thread(self) -> None:
        def stop(batch: int, logs: Any) -> None:
            model.stop_training = True

        model = network()
        model.fit(
            endless(), steps_per_epoch=100, verbose=0, callbacks=[LambdaCallback(on_train_batch_end=stop)]
        )
        assert threads() == 0


class TestFiles:
    @pytest.fixture
    def files(self, tmp_path: Path) -> tuple[np.memmap, np.memmap]:
        """Arrays in files, in the dtype that the model does not compute in."""
        made = []
        for name, array in (("x", X), ("y", Y)):
            file = np.memmap(tmp_path / name, np.float64, "w+", shape=array.shape)
            file[:] = array
            file.flush()
            made.append(np.memmap(tmp_path / name, np.float64, "r", shape=array.shape))
        return made[0], made[1]

    @pytest.mark.parametrize("options", [{}, {"validation_split": 0.25}, {"shuffle": False}], ids=str)
    def test_fit_as_in_memory(self, files: Any, options: Any) -> None:
        results = []
        for x, y in (files, (X, Y)):
            fastdl.set_random_seed(0)
            results.append(trained(x, y, batch_size=5, epochs=2, **options))
        np.testing.assert_array_equal(results[0][0], results[1][0])
        assert results[0][1] == results[1][1]

    def test_evaluate_and_predict(self, files: Any) -> None:
        model = network()
        assert model.evaluate(*files, batch_size=5, verbose=0) == model.evaluate(
            X, Y, batch_size=5, verbose=0
        )
        np.testing.assert_array_equal(model.predict(files[0], batch_size=5), model.predict(X, batch_size=5))

    def test_are_never_read_whole(self, files: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        model = network()
        largest = []
        accept = Sequential.accept
        monkeypatch.setattr(Sequential, "accept", lambda self, x: largest.append(len(x)) or accept(self, x))
        model.fit(*files, batch_size=5, verbose=0)
        model.predict(files[0], batch_size=5)
        assert max(largest) == 5

    def test_are_read_ahead(self, files: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        readers = set()
        loaded = Batch.loaded
        monkeypatch.setattr(
            Batch, "loaded", lambda self: readers.add(threading.current_thread().name) or loaded(self)
        )
        network().fit(*files, batch_size=5, verbose=0)
        assert readers == {"fastdl prefetch"}
