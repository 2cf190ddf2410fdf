"""Arrays take the memory of arrays that are gone: never shared, never much more than was once in use."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import textwrap
import threading
import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fastdl.functional as F
from fastdl import Input, Model, Sequential, backends
from fastdl.layers import LSTM, Add, BatchNormalization, Concatenate, Conv2D, Dense, Flatten, MaxPooling2D

native = pytest.importorskip("fastdl.backends._native", exc_type=ImportError)

LIKE = np.ones(1, np.float32)


def policy(array: np.ndarray) -> str:
    return np._core.multiarray.get_handler_name(array)


@pytest.mark.parametrize("elements", [257, 1000, 4096, 4097, 1 << 20])
def test_an_array_owns_memory_on_a_cache_line(elements: int) -> None:
    array = native.empty((elements,), LIKE)
    assert policy(array) == "fastdl"
    assert array.flags.owndata
    assert array.base is None
    assert array.ctypes.data % 64 == 0
    array[:] = np.arange(elements)
    assert array[-1] == elements - 1


def test_a_new_array_takes_the_memory_of_one_of_its_size_that_is_gone() -> None:
    first = native.empty((123_457,), LIKE)
    address = first.ctypes.data
    del first
    blocks = native.memory()[0]
    second = native.empty((123_450,), LIKE)
    assert second.ctypes.data == address
    assert native.memory()[0] == blocks


def test_arrays_that_live_share_nothing() -> None:
    rng = np.random.default_rng(0)
    live: list[np.ndarray] = []
    for number in range(600):
        size = int(rng.integers(1, 4_000 if number % 3 else 3_000_000))
        live.append(native.empty((size,), LIKE))
        live[-1][:] = number
        live[-1][-1] = -size
        if len(live) > 30:
            gone = live.pop(int(rng.integers(len(live))))
            assert len(set(gone[:-1].tolist())) <= 1
            assert gone[-1] == -gone.size


def test_what_is_in_use_and_what_waits_are_counted() -> None:
    gc.collect()
    _, in_use, waiting = native.memory()
    array = native.empty((3 << 20,), np.dtype(np.float64))
    assert native.memory()[1] - in_use == 24 << 20
    del array
    assert native.memory()[1] == in_use
    assert native.memory()[2] >= min(waiting + (24 << 20), 24 << 20)


def test_it_never_holds_much_more_than_was_once_in_use() -> None:
    """Arrays of ever other sizes, one at a time: what the earlier ones had goes back to the system."""
    script = """
    from fastdl.backends import _native
    import numpy as np

    largest = 0
    for elements in range(1 << 20, 3 << 20, 1 << 15):
        array = _native.empty((elements,), np.dtype(np.float32))
        _, in_use, waiting = _native.memory()
        largest = max(largest, in_use)
        assert in_use + waiting <= 1.5 * largest, (in_use, waiting, largest)
        del array
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(script)], check=True)


@pytest.mark.skipif(sys.platform != "linux", reason="the process's own pages are counted on Linux")
def test_pages_go_back_to_the_system() -> None:
    """Arrays of 1, then of 3 MB, then none: of the memory that is resident there is twice as much at most."""
    script = """
    import re
    from fastdl.backends import _native
    import numpy as np

    def resident():
        with open("/proc/self/status") as status:
            return int(re.search(r"VmRSS:\\s+(\\d+) kB", status.read())[1]) << 10

    def filled(elements):
        array = _native.empty((elements,), np.dtype(np.float32))
        array.fill(1)
        return array

    before = resident()
    for megabytes in (1, 3):
        arrays = [filled(megabytes << 18) for _ in range(192 // megabytes)]
        assert 180 << 20 <= resident() - before <= 420 << 20, resident() - before
        del arrays
    large = filled(96 << 20)  # for which what waits makes room
    del large
    assert resident() - before <= 520 << 20
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(script)], check=True)


def test_waiting_memory_is_bounded() -> None:
    arrays = [native.empty((32 << 20,), LIKE) for _ in range(6)]
    assert native.memory()[1] >= 6 * (128 << 20)
    arrays.clear()
    assert native.memory()[2] <= 512 << 20


def test_resize_keeps_the_numbers() -> None:
    array = native.empty((500,), LIKE)
    array[:] = np.arange(500)
    array.resize((100_000,), refcheck=False)
    np.testing.assert_array_equal(array[:500], np.arange(500))
    assert not array[500:].any()
    array.resize((300,), refcheck=False)
    np.testing.assert_array_equal(array, np.arange(300))


def test_too_large_an_array_is_an_error_in_numpys_words() -> None:
    for shape in ((1 << 62, 1 << 62), (1 << 61,)):
        with pytest.raises(ValueError, match="array is too big|Maximum allowed dimension|maximum supported"):
            native.empty(shape, LIKE)
    with pytest.raises(MemoryError):
        native.empty((1 << 45,), LIKE)
    with pytest.raises(ValueError, match="negative"):
        native.empty((-1, 3), LIKE)


class TestRecycledMemory:
    def test_numpys_own_arrays_take_part_inside_and_not_outside(self) -> None:
        with backends.RecycledMemory():
            with backends.RecycledMemory():
                inner = np.ones((3, 1000))
            still = inner + inner
        after = inner + inner
        assert [policy(array) for array in (inner, still, after)] == ["fastdl", "fastdl", "default_allocator"]
        np.testing.assert_array_equal(after, np.full((3, 1000), 2.0))

    def test_zeros_are_zeros_in_memory_that_held_numbers(self) -> None:
        with backends.RecycledMemory():
            for elements in (3, 1000, 100_000):
                np.full(elements, np.nan)
                assert not np.zeros(elements).any()

    def test_it_ends_with_an_exception(self) -> None:
        with pytest.raises(KeyError), backends.RecycledMemory():
            raise KeyError
        assert policy(np.ones(3)) == "default_allocator"

    def test_arrays_may_outlive_it_in_other_threads(self) -> None:
        made: list[np.ndarray] = []

        def make() -> None:
            with backends.RecycledMemory():
                made.extend(np.full(5000, float(i)) for i in range(50))

        threads = [threading.Thread(target=make) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(array[0] for array in made) == sorted(4 * [float(i) for i in range(50)])
        assert all((array == array[0]).all() for array in made)


def test_tracemalloc_sees_the_arrays() -> None:
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        array = native.empty((1 << 18,), LIKE)
        assert tracemalloc.get_traced_memory()[0] - before >= array.nbytes
        del array
        assert tracemalloc.get_traced_memory()[0] - before < 1 << 16
    finally:
        tracemalloc.stop()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_forked_child_has_its_own() -> None:
    array = native.empty((10_000,), LIKE)
    array[:] = 1.0
    child = os.fork()
    if child == 0:
        array[:] = 2.0
        del array
        other = native.empty((10_000,), LIKE)
        other[:] = 3.0
        os._exit(0 if (other == 3.0).all() else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert (array == 1.0).all()


def convnet() -> Any:
    layers = [Conv2D(8, 3, activation="relu"), BatchNormalization(), MaxPooling2D(), Flatten(), Dense(4)]
    return Sequential([Input((16, 16, 1)), *layers])


def branches() -> Any:
    x = Input((16, 16, 1))
    left, right = Conv2D(8, 3, padding="same")(x), Conv2D(8, 3, padding="same", activation="relu")(x)
    return Model(x, Dense(4)(Flatten()(Concatenate()([Add()([left, right]), left]))))


def recurrent() -> Any:
    return Sequential([Input((16, 16)), LSTM(32, return_sequences=True), LSTM(8), Dense(4)])


@pytest.mark.parametrize("build", [convnet, branches, recurrent])
def test_no_step_after_the_first_ones_asks_the_system_for_memory(build: Callable[[], Any]) -> None:
    model = build()
    model.compile("adam", "mse")
    rng = np.random.default_rng(0)
    x = rng.random((32, *model.input_shape[1:]), dtype=np.float32)
    y = rng.random((32, 4), dtype=np.float32)
    for _ in range(4):
        model.train_on_batch(x, y)
    gc.collect()
    blocks = native.memory()[0]
    for _ in range(5):
        model.train_on_batch(x, y)
    assert native.memory()[0] == blocks


def test_the_results_of_functions_are_in_such_memory() -> None:
    x = np.ones((4, 8, 16, 16), np.float32)
    assert policy(F.relu(x)) == "fastdl"
    assert policy(F.conv2d(x, np.ones((8, 8, 3, 3), np.float32))) == "fastdl"


def test_weights_begin_on_a_cache_line() -> None:
    """A product reads their rows as they lie; a vector that straddles two lines is loaded twice."""
    model = Sequential([Input((30,)), Dense(50), BatchNormalization(), Dense(9)])
    for array in (*model.named_weights().values(), *model.grads.values()):
        assert array.ctypes.data % 64 == 0
