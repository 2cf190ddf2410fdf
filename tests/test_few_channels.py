"""Convolutions of few channels, whose gradients have kernels of their own."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import fastdl
import fastdl.functional as F
from fastdl import backends
from harness import FAST_ENGINES, Matrix, Operation, case, drawn
from layouts import to_last, w_to_last


def row(name: str, cases: list[Any], **more: Any) -> Operation:
    return Operation(name, cases, arguments=("x", "w", "b"), exact=True, **more)


class TestFewChannels(Matrix):
    operations = [
        row(
            "conv1d",
            [case((1, 1, 35), (16, 1, 3), (16,), padding=1)],
            large=[
                case((2, 1, 3000), (17, 1, 7), (17,), padding=3),
                case((3, 2, 401), (18, 2, 5), stride=3, dilation=2, padding=((1, 4),)),
                case((2, 1025, 1), (9, 1, 19), padding=4, layout="NHWC"),
            ],
        ),
        row(
            "conv2d",
            [
                case((1, 1, 5, 8), (16, 1, 3, 3), (16,), padding=1),
                case((1, 2, 13, 11), (17, 2, 2, 3), (17,), stride=2, padding=((0, 1), (2, 1))),
                case((1, 7, 7, 3), (3, 2, 3, 16), (16,), padding=1, layout="NHWC"),
            ],
            large=[
                case((9, 1, 28, 28), (30, 1, 5, 5), (30,)),
                case((3, 3, 31, 33), (23, 3, 3, 3), (23,), padding=1),
                case((1, 3, 61, 150), (16, 3, 7, 7), padding=3),  # a channel at a time, and several bands
                case((2, 2, 47, 40), (19, 2, 4, 5), stride=(3, 2), padding=(2, 1)),
                case((2, 1, 40, 37), (40, 1, 3, 4), (40,), stride=2, dilation=(2, 3), padding=(1, 2)),
                case((150, 3, 9, 10), (20, 3, 3, 3)),  # many images side by side
                case((3, 30, 27, 3), (3, 3, 3, 34), (34,), padding=1, layout="NHWC"),
                case((2, 33, 30, 1), (5, 5, 1, 21), stride=2, padding=2, layout="NHWC"),
                case((19, 15, 14, 3), (4, 4, 3, 32), (32,), stride=2, padding=1, layout="NHWC"),
                case((2, 71, 70, 2), (3, 7, 2, 112), dilation=(3, 1), padding=(2, 3), layout="NHWC"),
            ],
        ),
        row(
            "conv_transpose2d",
            [
                case((1, 16, 3, 4), (16, 1, 4, 4), (1,), stride=2, padding=1),
                case((1, 3, 3, 16), (3, 3, 2, 16), (2,), stride=(1, 2), layout="NHWC"),
            ],
            large=[
                case((3, 20, 16, 17), (20, 3, 4, 4), (3,), stride=2, padding=1),
                case((2, 17, 13, 12), (17, 1, 5, 5), (1,), stride=3, padding=2, output_padding=1),
                case((2, 12, 14, 18), (4, 4, 2, 18), (2,), stride=2, padding=1, layout="NHWC"),
            ],
        ),
    ]


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_fused_activation_and_scale(activation: str, layout: str) -> None:
    x, w, b, scale = drawn(0, (2, 20, 9, 11), (20, 3, 4, 4), (3,), (3,), dtype="float32")
    channels: tuple[int, ...] = (1, 3, 1, 1)
    if layout == "NHWC":
        x, w, channels = to_last(x), w_to_last(w), (1, 1, 1, 3)
    options = {"stride": 2, "padding": 1, "layout": layout}
    plain = F.conv_transpose2d(x, w, **options) * scale.reshape(channels) + b.reshape(channels)
    came = F.conv_transpose2d(x, w, b, activation=activation, scale=scale, **options)
    np.testing.assert_allclose(came, getattr(F, activation)(plain), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("engine", FAST_ENGINES)
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_an_infinite_weight_meets_nothing_beyond_the_edge(value: float, layout: str, engine: str) -> None:
    """Its tap, the corner, reaches each pixel of dx but those of the last row and column."""
    x, w = np.ones((1, 1, 6, 9)), np.ones((16, 1, 3, 3))
    w[3, 0, 0, 0] = value
    dy = np.ones((1, 16, 6, 9))
    if layout == "NHWC":
        x, w, dy = to_last(x), w_to_last(w), to_last(dy)
    with fastdl.use(backend=engine), np.errstate(invalid="ignore"):
        _, ctx = F.conv2d_forward(x, w, padding=1, layout=layout)
        dx, _, _ = F.conv2d_backward(dy, ctx, needs=("x",))
    reached = ~np.isfinite(dx.reshape(6, 9))
    assert reached[:-1, :-1].all()
    assert not reached[-1].any()
    assert not reached[:, -1].any()


@pytest.mark.skipif(backends.native_error is not None, reason="BLAS promises no such thing")
@pytest.mark.parametrize("size, filters", [(28, 16), (70, 16), (130, 32)])
def test_an_image_has_the_same_gradient_alone_and_in_company(size: int, filters: int) -> None:
    """What computes it is no matter of the batch, though the bands of rows may be."""
    w, dy = drawn(0, (filters, 3, 7, 7), (17, filters, size, size), dtype="float32")

    def dx(dy: np.ndarray) -> np.ndarray:
        x = np.zeros((len(dy), 3, size, size), np.float32)
        _, ctx = F.conv2d_forward(x, w, padding=3)
        return F.conv2d_backward(dy, ctx, needs=("x",))[0]

    np.testing.assert_array_equal(dx(dy[:1]), dx(dy)[:1])
