"""Convolutions of a few pixels an image with channels last: a product for each tap, without padding."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import fastdl
import fastdl.functional as F
from fastdl import backends
from harness import FAST_ENGINES, Matrix, Operation, case, drawn

needs_native = pytest.mark.skipif(backends.native_error is not None, reason=str(backends.native_error))


def row(name: str, cases: list[Any], **more: Any) -> Operation:
    return Operation(name, cases, arguments=("x", "w", "b"), exact=True, **more)


class TestFewPixels(Matrix):
    operations = [
        row(
            "conv1d",
            [case((1, 3, 2), (2, 2, 3), (3,), layout="NHWC")],
            large=[case((11, 7, 64), (3, 64, 80), (80,), padding=1, layout="NHWC")],
        ),
        row(
            "conv2d",
            [case((1, 2, 1, 2), (2, 1, 2, 3), (3,), padding=((1, 0), (0, 0)), layout="NHWC")],
            large=[
                case((5, 2, 2, 48), (3, 3, 48, 64), (64,), padding=1, layout="NHWC"),
                case((16, 3, 4, 32), (3, 2, 32, 32), padding=((2, 0), (1, 1)), layout="NHWC"),
                case((7, 8, 8, 32), (4, 4, 32, 112), (112,), stride=2, padding=1, layout="NHWC"),
                case((30, 8, 8, 32), (4, 4, 32, 32), stride=2, padding=1, layout="NHWC"),
                case((3, 5, 7, 64), (1, 1, 64, 32), (32,), stride=2, layout="NHWC"),  # most of dx is zero
                case((2, 2, 2, 32), (5, 5, 32, 32), padding=2, layout="NHWC"),  # some taps meet no pixel
                case((9, 6, 6, 144), (3, 3, 144, 32), dilation=2, padding=1, layout="NHWC"),
                case((3, 4, 4, 288), (3, 3, 288, 48), (48,), padding=1, layout="NHWC"),  # dw alone
            ],
        ),
        row(
            "conv_transpose2d",
            [case((1, 2, 1, 2), (1, 1, 3, 2), (3,), stride=(2, 1), layout="NHWC")],
            large=[case((6, 3, 3, 32), (3, 3, 48, 32), (48,), stride=2, padding=1, layout="NHWC")],
        ),
        row(
            "conv3d",
            [case((1, 2, 1, 1, 2), (2, 1, 1, 2, 3), (3,), layout="NHWC")],
            large=[case((3, 2, 2, 2, 32), (3, 3, 2, 32, 48), (48,), padding=1, layout="NHWC")],
        ),
    ]


def images(batch: int) -> tuple[np.ndarray, ...]:
    return tuple(drawn(3, (batch, 2, 2, 32), (3, 3, 32, 48), (batch, 2, 2, 48), dtype="float32"))


@needs_native
def test_an_image_gives_the_same_bits_alone_and_in_company() -> None:
    x, w, dy = images(21)

    def both(some: slice) -> tuple[np.ndarray, np.ndarray]:
        y, ctx = F.conv2d_forward(x[some], w, padding=1, layout="NHWC")
        assert ctx.plan.algorithm == ctx.plan.dx_algorithm == ctx.plan.dw_algorithm == "direct-nhwc"
        return y, F.conv2d_backward(dy[some], ctx, needs=("x",))[0]

    with fastdl.use(backend="native"):
        whole = both(slice(None))
        for n in range(1, 12):
            for came, expected in zip(both(slice(n, 2 * n - n // 2)), whole):
                np.testing.assert_array_equal(came, expected[n : 2 * n - n // 2])


@needs_native
@pytest.mark.parametrize(("batch", "algorithm"), [(24, "direct-nhwc"), (25, "winograd")])
def test_whole_tiles_of_few_images_are_left_to_the_taps_in_dw(batch: int, algorithm: str) -> None:
    x, w = drawn(3, (batch, 4, 4, 32), (3, 3, 32, 48), dtype="float32")
    with fastdl.use(backend="native"):
        ctx = F.conv2d_forward(x, w, padding=1, layout="NHWC")[1]
    assert ctx.plan.algorithm == ctx.plan.dx_algorithm == "winograd"
    assert ctx.plan.dw_algorithm == algorithm


@pytest.mark.parametrize("engine", FAST_ENGINES)
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_padding_meets_what_is_not_finite(engine: str, value: float) -> None:
    """A zero at the edge takes part in y and dw, where it makes NaN of it, and has no part in dx."""
    x, w, dy = images(3)
    w[0, 0, 5, 7] = value  # this tap meets the pixel at (1, 1) alone
    dy[1, 0, 0, 3] = value
    with fastdl.use(backend=engine), np.errstate(invalid="ignore"):
        y, ctx = F.conv2d_forward(x, w, padding=1, layout="NHWC")
        dx, dw, _ = F.conv2d_backward(np.where(np.isfinite(dy), dy, 1), ctx)
        np.testing.assert_array_equal(np.isfinite(y), np.broadcast_to(np.arange(48) != 7, y.shape))
        bad = np.zeros(dx.shape, bool)
        bad[:, 0, 0, 5] = True
        np.testing.assert_array_equal(~np.isfinite(dx), bad)
        assert np.isfinite(dw).all()
        w[0, 0, 5, 7] = 1
        _, ctx = F.conv2d_forward(x, w, padding=1, layout="NHWC")
        dw = F.conv2d_backward(dy, ctx, needs=("w",))[1]
        np.testing.assert_array_equal(np.isfinite(dw), np.broadcast_to(np.arange(48) != 3, dw.shape))


@needs_native
@pytest.mark.parametrize("activation", [None, "relu", "tanh"])
def test_fused_activation_and_scale(activation: str | None) -> None:
    x, w, _ = images(5)
    b, scale = drawn(4, (48,), (48,), dtype="float32")
    with fastdl.use(backend="native"):
        plain = F.conv2d(x, w, padding=1, layout="NHWC") * scale + b
        came = F.conv2d(x, w, b, padding=1, layout="NHWC", activation=activation, scale=scale)
    expected = plain if activation is None else getattr(F, activation)(plain)
    np.testing.assert_allclose(came, expected, rtol=1e-5, atol=1e-5)
