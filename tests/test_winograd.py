"""Convolution by Winograd's algorithm: how far off, what NaN reaches, and images that share a task."""

from __future__ import annotations

import numpy as np
import pytest

import fastdl
import fastdl.functional as F
from fastdl import backends
from harness import FAST_ENGINES
from layouts import to_last, w_to_last

needs_native = pytest.mark.skipif(backends.native_error is not None, reason=str(backends.native_error))


@needs_native
@pytest.mark.parametrize(
    "size, shape, options",
    [
        (32, (64, 64, 3, 3), {"padding": 1}),
        (9, (64, 64, 3, 3), {"padding": 1}),
        (32, (64, 64, 4, 4), {"stride": 2}),
        (32, (64, 64, 5, 5), {"stride": 2, "padding": 2}),
        (27, (64, 64, 3, 3), {"dilation": 2, "padding": 1}),
        (29, (64, 64, 5, 5), {"padding": 2}),
        (28, (64, 64, 7, 7), {"padding": 3}),
        (17, (16, 16, 3, 3), {"padding": 1}),
    ],
)
def test_winograd_errs_little_and_can_be_turned_off(
    size: int, shape: tuple[int, ...], options: dict[str, int]
) -> None:
    rng = np.random.default_rng(0)
    x, w = rng.normal(size=(2, shape[1], size, size)).astype("f"), rng.normal(size=shape).astype("f")

    def results(dtype: type) -> list[np.ndarray]:
        y, ctx = F.conv2d_forward(x.astype(dtype), w.astype(dtype), **options)
        dy = np.random.default_rng(1).normal(size=y.shape).astype(dtype)
        return [y, *F.conv2d_backward(dy, ctx)[:2]]

    with fastdl.use(backend="native"):
        exact, default = results(np.float64), results(np.float32)
        with fastdl.use(precision="strict"):
            strict = results(np.float32)

    for y, slow, fast in zip(exact, strict, default):
        errors = [float(np.sqrt(np.mean((came - y) ** 2) / np.mean(y**2))) for came in (slow, fast)]
        # Measured: up to 7e-7 and 2.5e-6; of dw, whose strict sums are longer, 8e-7 and 1.2e-6.
        assert errors[0] < errors[1] < 3e-6


@needs_native
def test_winograd_in_float64_errs_no_more_than_its_roundings() -> None:
    rng = np.random.default_rng(0)
    x, dy = rng.normal(size=(2, 2, 64, 29, 29))
    w = rng.normal(size=(64, 64, 3, 3))

    def results() -> list[np.ndarray]:
        y, ctx = F.conv2d_forward(x, w, padding=1)
        return [y, *F.conv2d_backward(dy, ctx)[:2]]

    with fastdl.use(backend="native"):
        default = results()
        with fastdl.use(precision="strict"):
            strict = results()
    for slow, fast in zip(strict, default):
        error = np.sqrt(np.mean((fast - slow) ** 2) / np.mean(slow**2))
        # Measured: 4e-15. The bound of float32, 3e-6, times the ratio of the units of rounding.
        assert 0 < error < 3e-6 * 2.0**-29


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_fused_activation_of_large_images(activation: str, layout: str) -> None:
    """In float32, where Winograd's algorithm runs and is followed by an activation of its own."""
    rng = np.random.default_rng(2)
    x, w = (rng.normal(size=size).astype(np.float32) for size in ((2, 16, 17, 18), (17, 16, 3, 3)))
    if layout == "NHWC":
        x, w = to_last(x), w_to_last(w)
    expected = getattr(F, activation)(F.conv2d(x, w, padding=1, layout=layout))
    fused = F.conv2d(x, w, padding=1, layout=layout, activation=activation)
    np.testing.assert_allclose(fused, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("engine", FAST_ENGINES)
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_one_bad_pixel_of_a_large_image(engine: str, value: float) -> None:
    """Winograd's tiles would spread it over sixteen outputs and more."""
    rng = np.random.default_rng(8)
    x, w = rng.normal(size=(2, 16, 17, 18)).astype(np.float32), np.ones((16, 16, 3, 3), np.float32)
    x[1, 5, 7, 9] = value
    with fastdl.use(backend=engine):
        y = F.conv2d(x, w, padding=1)
    bad = np.zeros(y.shape, bool)
    bad[1, :, 6:9, 8:11] = True
    np.testing.assert_array_equal(np.isnan(y) if np.isnan(value) else np.isposinf(y), bad)
    assert np.isfinite(y[~bad]).all()


@pytest.mark.parametrize("engine", FAST_ENGINES)
def test_one_bad_pixel_and_the_gradient_of_the_weights(engine: str) -> None:
    """Each tap of its channel meets it, and no other channel does; of dy, each of its output."""
    rng = np.random.default_rng(9)
    x, w = rng.normal(size=(2, 16, 17, 18)).astype(np.float32), np.ones((17, 16, 3, 3), np.float32)
    with fastdl.use(backend=engine):
        y, ctx = F.conv2d_forward(x, w, padding=1)
        dy = rng.normal(size=y.shape).astype(np.float32)
        x[1, 5, 7, 9] = np.nan
        y, ctx = F.conv2d_forward(x, w, padding=1)
        bad_x = np.isnan(F.conv2d_backward(dy, ctx, needs=("w",))[1])
        x[1, 5, 7, 9] = 1
        dy[0, 3, 16, 0] = np.nan
        y, ctx = F.conv2d_forward(x, w, padding=1)
        bad_dy = np.isnan(F.conv2d_backward(dy, ctx, needs=("w",))[1])
    assert bad_x[:, 5].all()
    assert bad_x.sum() == bad_x[:, 5].size
    assert bad_dy[3].all()
    assert bad_dy.sum() == bad_dy[3].size


@needs_native
@pytest.mark.parametrize("size, channels", [((7, 8), 32), ((4, 4), 160)])
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_an_image_gives_the_same_bits_alone_and_in_company(
    layout: str, size: tuple[int, int], channels: int
) -> None:
    """Small images share a task of Winograd's algorithm; a tile's arithmetic is its own."""
    rng = np.random.default_rng(10)
    shapes = (9, channels, *size), (129, channels, 3, 3)
    x, w = (rng.normal(size=shape).astype(np.float32) for shape in shapes)
    if layout == "NHWC":
        x, w = to_last(x), w_to_last(w)
    with fastdl.use(backend="native"):
        whole = F.conv2d(np.concatenate([x] * 8), w, padding=1, layout=layout)
        np.testing.assert_array_equal(
            whole.reshape(8, *whole[:9].shape), [F.conv2d(x, w, padding=1, layout=layout)] * 8
        )
        for n in range(len(x)):
            np.testing.assert_array_equal(F.conv2d(x[n : n + 1], w, padding=1, layout=layout)[0], whole[n])


@needs_native
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize(
    "x_shape, w_shape, options",
    [
        ((3, 144, 7, 8), (150, 144, 3, 3), {"padding": 1}),
        ((2, 48, 9, 8), (80, 24, 3, 3), {"padding": 1, "groups": 2}),
        ((1, 40, 16, 16), (75, 40, 4, 4), {"padding": 1, "stride": 2}),
        ((7, 232, 22, 21), (240, 232, 3, 3), {"padding": 1}),  # many channels: of four images, then of three
        ((5, 90, 32, 31), (70, 90, 4, 4), {"padding": 1, "stride": 2}),
    ],
)
def test_shared_tiles_have_outputs_for_tasks(
    layout: str, x_shape: tuple[int, ...], w_shape: tuple[int, ...], options: dict[str, int]
) -> None:
    """Each of which transforms its own weights: right, and the same bits for any number of threads."""
    rng = np.random.default_rng(11)
    x, w = (rng.normal(size=shape).astype(np.float32) for shape in (x_shape, w_shape))
    b, scale = rng.normal(size=(2, len(w))).astype(np.float32)
    if layout == "NHWC":
        x, w = to_last(x), w_to_last(w)

    def results() -> list[np.ndarray]:
        y, ctx = F.conv2d_forward(x, w, b, layout=layout, **options)
        if fastdl.config.current().precision == "default":
            assert ctx.plan.algorithm == ctx.plan.dx_algorithm == "winograd"
        dy = np.random.default_rng(12).normal(size=y.shape).astype(np.float32)
        scaled = F.conv2d(x, w, b, layout=layout, activation="relu", scale=scale, **options)
        return [y, scaled, *F.conv2d_backward(dy, ctx)]

    with fastdl.use(backend="native", threads=1):
        one = results()
        with fastdl.use(precision="strict"):
            for came, slow in zip(one, results()):
                np.testing.assert_allclose(came, slow, rtol=0, atol=2e-5 * np.abs(slow).max())
    for threads in (2, 3, 7):
        with fastdl.use(backend="native", threads=threads):
            for came, first in zip(results(), one):
                np.testing.assert_array_equal(came, first)
