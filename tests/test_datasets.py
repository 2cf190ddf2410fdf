"""The digits that come with the package: what they are, and how they are split."""

from __future__ import annotations

from importlib import resources

import numpy as np
import pytest

import fastdl
from fastdl.datasets import load_digits

COUNTS = (178, 182, 177, 183, 181, 182, 181, 179, 174, 180)  # of each digit, in the original


def in_order(x: np.ndarray) -> np.ndarray:
    """Return images as rows of numbers in an order of their own, so that sets of them can be compared."""
    return np.array(sorted(x.reshape(len(x), -1).tolist()))


def test_shapes_and_dtypes() -> None:
    for (x, y), count in zip(load_digits(), (1438, 359)):
        assert (x.shape, x.dtype) == ((count, 8, 8, 1), np.float32)
        assert (y.shape, y.dtype) == ((count,), np.int64)
        assert x.flags.c_contiguous
        assert (x.min(), x.max()) == (0, 1)
        np.testing.assert_array_equal(x * 16, np.round(x * 16))


def test_they_are_the_digits_of_scikit_learn() -> None:
    original = pytest.importorskip("sklearn.datasets", reason="it has the same digits").load_digits()
    (x, y), _ = load_digits(test_size=0)
    for digit in range(10):
        np.testing.assert_array_equal(
            in_order(x[y == digit] * 16), in_order(original.images[original.target == digit])
        )


def test_each_digit_is_split_in_the_same_proportion() -> None:
    (_, y_train), (_, y_test) = load_digits(test_size=0.25)
    trained, tested = np.bincount(y_train), np.bincount(y_test)
    np.testing.assert_array_equal(trained + tested, COUNTS)
    np.testing.assert_array_equal(tested, np.round(0.25 * np.array(COUNTS)))


@pytest.mark.parametrize("seed", [0, 5])
def test_no_image_is_lost_or_in_both_parts(seed: int) -> None:
    (x_train, _), (x_test, _) = load_digits(seed=seed)
    (everything, _), (nothing, _) = load_digits(test_size=0)
    assert nothing.shape == (0, 8, 8, 1)
    np.testing.assert_array_equal(in_order(np.concatenate([x_train, x_test])), in_order(everything))


def test_the_seed_is_the_split() -> None:
    (_, first), (_, held_out) = load_digits()
    (_, again), (_, held_out_again) = load_digits()
    np.testing.assert_array_equal(first, again)
    np.testing.assert_array_equal(held_out, held_out_again)
    assert (load_digits(seed=1)[1][1] != held_out).any()


def test_the_split_leaves_other_random_numbers_alone() -> None:
    np.random.seed(3)  # noqa: NPY002
    expected = np.random.random()  # noqa: NPY002
    np.random.seed(3)  # noqa: NPY002
    load_digits()
    assert np.random.random() == expected  # noqa: NPY002


def test_digits_are_mixed() -> None:
    """A training without shuffling must not meet the digits one after the other."""
    for _, y in load_digits():
        assert all(len(set(part)) >= 8 for part in np.array_split(y, len(y) // 32))


def test_each_call_returns_arrays_of_its_own() -> None:
    (x, _), _ = load_digits()
    x[...] = 0
    assert load_digits()[0][0].any()


@pytest.mark.parametrize("size", [-0.1, 1, 1.5, float("nan")])
def test_size_must_be_a_share(size: float) -> None:
    with pytest.raises(ValueError, match=r"load_digits: test_size must be at least 0 and less than 1, got"):
        load_digits(test_size=size)


def test_the_source_is_named() -> None:
    notice = resources.files(fastdl).joinpath("data", "README.md").read_text(encoding="utf-8")
    assert "Alpaydin" in notice
    assert "CC BY 4.0" in notice
