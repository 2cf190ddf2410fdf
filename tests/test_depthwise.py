"""Convolution of each channel on its own: the check matrix, and what its kernels leave to others."""

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


class TestDepthwise(Matrix):
    operations = [
        row(
            "conv1d",
            [
                case((2, 3, 21), (6, 1, 3), (6,), groups=3, padding=1),
                case((1, 3, 19), (3, 1, 4), (3,), groups=3, padding=2, stride=2, dilation=2),
                case((2, 11, 5), (3, 1, 10), (10,), groups=5, padding=1, layout="NHWC"),
            ],
            large=[
                case((2, 5, 700), (10, 1, 7), (10,), groups=5, padding=3),
                case((2, 300, 35), (5, 1, 35), groups=35, padding=3, stride=2, layout="NHWC"),
            ],
        ),
        row(
            "conv2d",
            [
                # Between the first planes and the last, whose vectors would leave the array, lie some
                # that are not copied: of 6 x 8 pixels, the last two with vectors of 16.
                case((1, 5, 6, 8), (5, 1, 3, 3), (5,), groups=5, padding=1),
                case((2, 5, 7, 6), (5, 1, 5, 5), (5,), groups=5, padding=2),
                case((1, 4, 6, 9), (8, 1, 3, 3), (8,), groups=4, padding=1, stride=2),
                case((1, 4, 6, 7), (4, 1, 5, 5), (4,), groups=4, padding=2, stride=2),
                # 3x3 with stride 2, by rows: the middle tap meets odd columns or even ones, and rows as well.
                case((1, 5, 7, 8), (5, 1, 3, 3), (5,), groups=5, padding=1, stride=2),
                case((1, 5, 8, 7), (5, 1, 3, 3), (5,), groups=5, padding=(0, 1), stride=2),
                case((1, 5, 5, 6), (5, 1, 3, 3), groups=5, padding=((0, 1), (3, 2)), stride=2),
                case((1, 3, 7, 8), (6, 1, 2, 7), (6,), groups=3, padding=(0, 3), dilation=(3, 1)),
                case((1, 3, 9, 7), (3, 1, 4, 3), groups=3, padding=((2, 3), (2, 0)), stride=(1, 3)),
                case((1, 3, 5, 4), (3, 1, 1, 1), (3,), groups=3, stride=2),
                case((1, 2, 3, 3), (2, 1, 3, 3), (2,), groups=2, padding=3, stride=4),
                case((1, 5, 4, 17), (3, 3, 1, 17), (17,), groups=17, padding=1, layout="NHWC"),
                case((1, 5, 6, 3), (3, 3, 1, 6), (6,), groups=3, padding=1, stride=2, layout="NHWC"),
                case((1, 5, 9, 5), (3, 5, 1, 5), (5,), groups=5, padding=(0, 3), dilation=2, layout="NHWC"),
                case((1, 3, 6, 8), (2, 2, 1, 24), groups=8, padding=1, stride=(3, 1), layout="NHWC"),
            ],
            large=[
                case((3, 17, 29, 31), (17, 1, 3, 3), (17,), groups=17, padding=1),
                case((2, 9, 30, 35), (36, 1, 5, 5), (36,), groups=9, padding=2, stride=2),
                case((2, 6, 30, 71), (6, 1, 3, 3), (6,), groups=6, padding=1, stride=2),
                case((2, 3, 131, 70), (3, 1, 3, 3), (3,), groups=3, padding=(1, 2), stride=2),
                case((2, 3, 131, 70), (3, 1, 3, 3), (3,), groups=3, padding=((0, 3), (2, 0))),
                case((2, 6, 71, 70), (6, 1, 7, 7), groups=6, padding=3),
                case((2, 6, 31, 30), (6, 1, 3, 3), groups=6, padding=2, dilation=2),
                case((2, 31, 29, 37), (3, 3, 1, 37), (37,), groups=37, padding=1, layout="NHWC"),
                case((2, 30, 33, 9), (5, 5, 1, 18), (18,), groups=9, padding=2, stride=2, layout="NHWC"),
                case((2, 20, 23, 40), (7, 7, 1, 40), groups=40, padding=3, layout="NHWC"),
                case((2, 20, 23, 16), (3, 3, 1, 16), groups=16, padding=3, dilation=3, layout="NHWC"),
            ],
            refusals=[
                (
                    ValueError,
                    "groups must divide the channels",
                    lambda: F.conv2d(np.ones((1, 4, 5, 5)), np.ones((6, 1, 3, 3)), groups=4),
                ),
            ],
        ),
        row(
            "conv3d",
            [
                case((1, 3, 3, 4, 5), (3, 1, 1, 3, 3), (3,), groups=3, padding=1),
                case((1, 2, 3, 4, 5), (4, 1, 3, 3, 2), (4,), groups=2, padding=1, stride=(2, 1, 2)),
                case((1, 3, 3, 3, 5), (2, 3, 3, 1, 5), (5,), groups=5, padding=1, layout="NHWC"),
            ],
        ),
        row(
            "conv_transpose2d",
            [
                case((1, 3, 4, 5), (3, 1, 3, 3), (3,), groups=3, stride=2, padding=1, output_padding=1),
                case((1, 4, 3, 2), (4, 4, 1, 2), (2,), groups=2, stride=2, padding=1, layout="NHWC"),
            ],
            large=[case((2, 9, 17, 19), (9, 2, 3, 3), (18,), groups=9, stride=(3, 2))],
        ),
    ]


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("activation", ["relu", "tanh"])
@pytest.mark.parametrize("stride", [1, 2])
def test_fused_activation(stride: int, activation: str, layout: str) -> None:
    x, w, b = drawn(0, (2, 18, 17, 19), (36, 1, 3, 3), (36,), dtype="float32")
    if layout == "NHWC":
        x, w = to_last(x), w_to_last(w)
    options = {"padding": 1, "groups": 18, "stride": stride, "layout": layout}
    expected = getattr(F, activation)(F.conv2d(x, w, b, **options))
    np.testing.assert_array_equal(F.conv2d(x, w, b, activation=activation, **options), expected)


@pytest.mark.parametrize("engine", FAST_ENGINES)
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_an_infinite_weight_meets_the_padding_forward_and_nothing_backward(
    value: float, layout: str, engine: str
) -> None:
    """The kernels that leave the padding out do not serve then."""
    x, w = np.ones((1, 16, 6, 20)), np.ones((16, 1, 3, 3))
    w[3, 0, 0, 1] = value
    if layout == "NHWC":
        x, w = to_last(x), w_to_last(w)
    with fastdl.use(backend=engine), np.errstate(invalid="ignore"):
        y, ctx = F.conv2d_forward(x, w, padding=1, groups=16, layout=layout)
        dx, dw, _ = F.conv2d_backward(np.ones_like(y), ctx)
        dy = np.ones_like(y)
        dy[(0, 0, 5, 3) if layout == "NHWC" else (0, 3, 0, 5)] = value
        dw_of_bad = F.conv2d_backward(dy, ctx, needs=("w",))[1]
    if layout == "NHWC":
        y, dx = np.moveaxis(y, -1, 1), np.moveaxis(dx, -1, 1)
        dw_of_bad = np.moveaxis(dw_of_bad, (-1, -2), (0, 1))
    bad_y, bad_dx = np.zeros(y.shape, bool), np.zeros(dx.shape, bool)
    bad_y[0, 3] = True  # row 0 meets it on the padding, as 0 times infinity
    bad_dx[0, 3, :5] = True  # row 5 meets no output by the upper taps
    np.testing.assert_array_equal(~np.isfinite(y), bad_y)
    assert np.isnan(y[0, 3, 0]).all()
    np.testing.assert_array_equal(~np.isfinite(dx), bad_dx)
    assert np.isfinite(dw).all()
    assert np.isnan(dw_of_bad[3, 0, 0]).all()  # the first row of dy has the padding above it
    assert not np.isfinite(dw_of_bad[3]).any()
    assert np.isfinite(np.delete(dw_of_bad, 3, axis=0)).all()


@pytest.mark.skipif(backends.native_error is not None, reason="BLAS promises no such thing")
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize(("size", "stride"), [(3, 1), (3, 2), (5, 1)])
def test_an_image_gives_the_same_bits_alone_and_in_company(size: int, stride: int, layout: str) -> None:
    """Only the outer planes of an array are copied."""
    x, w = drawn(1, (5, 17, 9, 21), (17, 1, size, size), dtype="float32")
    if layout == "NHWC":
        x, w = to_last(x), w_to_last(w)
    options = {"padding": size // 2, "stride": stride, "groups": 17, "layout": layout}
    whole, ctx = F.conv2d_forward(x, w, **options)
    dx = F.conv2d_backward(whole, ctx, needs=("x",))[0]
    for n in range(len(x)):
        one, ctx = F.conv2d_forward(x[n : n + 1], w, **options)
        np.testing.assert_array_equal(one[0], whole[n])
        np.testing.assert_array_equal(F.conv2d_backward(one, ctx, needs=("x",))[0][0], dx[n])


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("size", [(5, 14), (19, 37)])
@pytest.mark.parametrize(("kernel", "stride"), [(3, 1), (3, 2), (5, 1)])
def test_what_is_not_finite_stays_in_its_windows(
    kernel: int, stride: int, size: tuple[int, int], layout: str
) -> None:
    """Vectors reach beyond a row, into the next and other planes, and leave out what is there."""
    height, width = size
    for row in (0, height // 2, height - 1):
        for column in (0, width - 1):
            x, w = np.ones((3, 17, height, width), "float32"), np.ones((17, 1, kernel, kernel), "float32")
            x[1, 8, row, column] = np.nan
            options = {"padding": kernel // 2, "stride": stride, "groups": 17}
            met = F.conv2d(np.isnan(x).astype("float32"), w, **options) > 0
            if layout == "NHWC":
                x, w, met = to_last(x), w_to_last(w), to_last(met)
            y, ctx = F.conv2d_forward(x, w, layout=layout, **options)
            np.testing.assert_array_equal(np.isnan(y), met)
            dx, dw, _ = F.conv2d_backward(np.ones_like(y), ctx)
            assert np.isfinite(dx).all()
            assert np.isfinite(np.delete(dw, 8, axis=-1 if layout == "NHWC" else 0)).all()
