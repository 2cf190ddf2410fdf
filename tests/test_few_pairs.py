"""3x3 convolutions with stride 2 and few input channels: their way back to the images."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import fastdl
import fastdl.functional as F

SIZES = [(7, 9), (8, 16), (15, 31), (34, 33), (3, 66)]
PADDINGS: list[Any] = [0, 1, ((1, 0), (0, 1)), (2, 3)]


def _gradient(engine: str, x: Any, w: Any, dy: Any, padding: Any) -> Any:
    with fastdl.use(backend=engine):
        _, ctx = F.conv2d_forward(x, w, stride=2, padding=padding)
        return F.conv2d_backward(dy, ctx, needs=("x",))[0]


@pytest.mark.parametrize("dtype", ["f", "d"])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("padding", PADDINGS)
def test_gradient_of_images(dtype: str, channels: int, size: tuple[int, int], padding: Any) -> None:
    rng = np.random.default_rng(0)
    x, w = (
        rng.normal(size=(2, channels, *size)).astype(dtype),
        rng.normal(size=(5, channels, 3, 3)).astype(dtype),
    )
    dy: Any = rng.normal(size=F.conv2d(x, w, stride=2, padding=padding).shape)
    dy = dy.astype(dtype)
    came, expected = (_gradient(engine, x, w, dy, padding) for engine in ("auto", "naive"))
    # Sums of 20 products at most: less than 20 units of rounding of the largest.
    tolerance = 20 * np.finfo(dtype).eps / 2
    np.testing.assert_allclose(came, expected, rtol=0, atol=tolerance * np.abs(expected).max())


@pytest.mark.parametrize("channels", [1, 2, 3])
@pytest.mark.parametrize("activation", [None, "relu", "tanh"])
def test_transposed_with_all_that_follows(channels: int, activation: Any) -> None:
    rng = np.random.default_rng(1)
    x, w = rng.normal(size=(2, 6, 9, 20)), rng.normal(size=(6, channels, 3, 3))
    b, scale = rng.normal(size=channels), rng.normal(size=channels)
    results: list[Any] = []
    for engine in ("auto", "naive"):
        with fastdl.use(backend=engine):
            results.append(
                F.conv_transpose2d(
                    x, w, b, stride=2, padding=1, output_padding=1, activation=activation, scale=scale
                )
            )
    came, expected = results
    np.testing.assert_allclose(came, expected, rtol=1e-12, atol=1e-12)  # as other fused activations


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_bad_weights_meet_nothing_outside(value: float) -> None:
    """A weight that is no number spoils what it meets; a pixel that is none meets all taps."""
    rng = np.random.default_rng(2)
    x, w, dy = rng.normal(size=(1, 2, 31, 19)), rng.normal(size=(5, 2, 3, 3)), rng.normal(size=(1, 5, 16, 10))
    for array, place in ((w, (1, 0, 2, 2)), (dy, (0, 3, 15, 9))):
        array[place] = value
        came, expected = (_gradient(engine, x, w, dy, 1) for engine in ("auto", "naive"))
        np.testing.assert_array_equal(np.isfinite(came), np.isfinite(expected))
        assert np.isfinite(came).any()
        array[place] = 1.0


def test_an_image_has_the_same_bits_alone_and_in_company() -> None:
    rng = np.random.default_rng(3)
    x, w, dy = rng.normal(size=(9, 3, 61, 31)), rng.normal(size=(5, 3, 3, 3)), rng.normal(size=(9, 5, 31, 16))
    together = _gradient("auto", x, w, dy, 1)
    for i in range(len(x)):
        np.testing.assert_array_equal(_gradient("auto", x[i : i + 1], w, dy[i : i + 1], 1)[0], together[i])
