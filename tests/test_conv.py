"""Convolution, transposed convolution and im2col: the check matrix, and torch."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest

import fastdl
import fastdl.functional as F
from fastdl import backends
from harness import ENGINES, FAST_ENGINES, TAILS, Matrix, Operation, case, drawn
from layouts import to_last, w_to_last

X = np.ones((2, 4, 5, 5))
W = np.ones((6, 4, 3, 3))
W_T = np.ones((4, 6, 3, 3))

CONV2D = [
    case((2, 3, 4, 5), (4, 3, 3, 2), (4,)),
    case((1, 1, 3, 3), (2, 1, 2, 2), (2,), padding=1),
    case((2, 3, 7, 6), (4, 3, 3, 3), (4,), stride=2, padding=1),
    case((2, 2, 5, 7), (3, 2, 2, 3), (3,), stride=(2, 3), padding=((0, 1), (2, 1))),
    case((1, 3, 7, 7), (2, 3, 3, 3), dilation=2, padding="same"),
    case((1, 2, 6, 5), (3, 2, 4, 4), stride=2, padding="same"),
    case((2, 4, 4, 5), (6, 2, 3, 3), (6,), groups=2, padding=1),
    case((2, 3, 5, 5), (6, 1, 3, 3), (6,), groups=3, padding="same"),
    case((2, 6, 3, 3), (4, 6, 1, 1), (4,)),
    case((2, 3, 5, 5), (4, 3, 5, 5), (4,), padding="valid"),
    case((1, 2, 2, 2), (2, 2, 3, 3), (2,), padding=3, stride=4),
    case((1, 1, 9, 3), (1, 1, 2, 1), stride=(4, 2), dilation=(3, 1)),
    case((1, 2, 3, 17), (3, 2, 2, 3), (3,), stride=(1, 5)),
    *(case((1, n, 3, 4), (2, n, 3, 3), (2,), padding=1) for n in TAILS),
    *(case((1, 2, 3, 4), (n, 2, 3, 3), (n,), padding=1) for n in TAILS),
    *(case((1, 1, 3, n), (2, 1, 3, 3), (2,), padding=1) for n in TAILS),
    *(case((1, n, 3, 3), (n, 1, 3, 3), (n,), padding=1, groups=n) for n in TAILS),
    case((2, 4, 5, 3), (3, 2, 3, 4), (4,), layout="NHWC"),
    case((2, 7, 6, 3), (3, 3, 3, 4), (4,), layout="NHWC", stride=2, padding="same"),
    case((2, 4, 5, 4), (3, 2, 2, 6), (6,), layout="NHWC", groups=2, padding=((1, 0), (0, 2))),
    case((2, 5, 5, 3), (3, 3, 1, 3), (3,), layout="NHWC", groups=3, dilation=2),
    *(case((1, 3, 3, n), (2, 3, n, 2), (2,), layout="NHWC") for n in TAILS),
    *(case((1, 3, 3, 2), (2, 3, 2, n), (n,), layout="NHWC") for n in TAILS),
]

CONV_TRANSPOSE2D = [
    case((2, 3, 3, 4), (3, 2, 3, 2), (2,)),
    case((1, 1, 2, 2), (1, 2, 2, 2), (2,)),
    case((2, 3, 3, 4), (3, 2, 3, 3), (2,), stride=2, padding=1, output_padding=1),
    case((1, 3, 4, 3), (3, 2, 3, 3), stride=2, padding="same"),
    case((1, 2, 3, 3), (2, 3, 2, 2), (3,), stride=(3, 2), padding=((0, 1), (1, 0)), output_padding=(2, 0)),
    case((2, 4, 3, 3), (4, 3, 3, 3), (6,), groups=2, dilation=2, padding=1),
    case((1, 3, 4, 4), (3, 1, 4, 4), (3,), groups=3, stride=2, padding=1),
    *(case((1, 2, 3, 3), (2, n, 2, 3), (n,), stride=2) for n in TAILS),
    *(case((1, n, 3, 3), (n, 2, 2, 3), (2,), stride=2) for n in TAILS),
    *(case((1, 1, 2, n), (1, 2, 3, 3), (2,), stride=2, padding=1) for n in TAILS),
    case((1, 16, 3, 7), (16, 9, 3, 2), (9,), stride=(3, 2)),  # each output has one tap
    case((3, 5, 1, 1), (5, 4, 3, 2), (4,)),  # images of one pixel
    case((1, 1, 1, 5), (2, 3, 4, 5), (4,), layout="NHWC"),
    case((2, 3, 4, 3), (3, 2, 2, 3), (2,), layout="NHWC"),
    case((1, 3, 4, 4), (3, 3, 3, 4), (6,), layout="NHWC", stride=2, padding="same", groups=2),
]


def row(name: str, cases: list[Any], **more: Any) -> Operation:
    return Operation(name, cases, arguments=("x", "w", "b"), exact=True, tiled=True, **more)


class TestConv(Matrix):
    operations = [
        row(
            "conv1d",
            [
                case((2, 2, 5), (3, 2, 3), (3,)),
                case((2, 4, 9), (4, 2, 3), (4,), stride=2, padding=1, dilation=2, groups=2),
                case((1, 2, 6), (3, 2, 4), padding="same"),
                case((2, 7, 3), (3, 3, 2), (2,), layout="NHWC", padding=((2, 0),)),
                *(case((1, 2, n), (2, 2, 3), (2,), padding=1) for n in TAILS),
            ],
            large=[case((1, 70, 1500), (9, 70, 3), (9,), padding=1)],  # several pieces of one row
            refusals=[
                (ValueError, r"x must be \(N, C, W\)", lambda: F.conv1d(X, W)),
                (ValueError, "stride must be an int or 1", lambda: F.conv1d(X[0], W[0], stride=(1, 1))),
            ],
        ),
        row(
            "conv2d",
            CONV2D,
            large=[
                case((9, 20, 33, 35), (36, 20, 3, 3), (36,), padding=1),
                case((5, 26, 25, 19), (3, 3, 19, 35), (35,), padding=1, layout="NHWC"),
                case((3, 18, 33, 34), (40, 18, 4, 4), stride=2, padding=1),
                case((2, 18, 35, 31), (33, 18, 3, 3), (33,), padding=2, dilation=2),
                case((2, 35, 38, 17), (3, 3, 17, 18), padding=3, dilation=3, layout="NHWC"),
                case((2, 17, 22, 27), (18, 17, 5, 5), (18,), padding=2),
                case((1, 19, 26, 33), (16, 19, 7, 7), padding=3),
                case((2, 30, 31, 66), (3, 3, 33, 34), (34,), groups=2, layout="NHWC"),
                case((1, 16, 3, 47), (600, 16, 3, 3), (600,), padding=1),
                case((1, 16, 30, 34), (16, 16, 6, 6), stride=2, padding=2),
                case((1, 16, 32, 44), (16, 16, 8, 8), stride=3),
                case((4, 3, 40, 41), (24, 3, 7, 7), (24,), stride=2, padding=3),
                case((2, 33, 29, 31), (33, 1, 3, 3), (33,), padding=1, groups=33),
                case((1, 1, 131, 99), (2, 1, 3, 3), (2,)),
                case((3, 40, 37, 31), (70, 40, 1, 1), (70,)),
                case((23, 17, 5, 7), (40, 17, 1, 1), (40,)),  # vectors of several images
                case((7, 34, 17, 16), (42, 17, 1, 1), (42,), stride=(2, 3), groups=2),
                case((5, 18, 21, 39), (33, 18, 1, 1), (33,), stride=2),
                case((3, 9, 20, 17), (1, 1, 17, 33), (33,), stride=(2, 3), layout="NHWC"),
                case((37, 20, 9, 7), (42, 20, 3, 3), (42,), stride=2, padding=1),  # two images a task
                case((2, 36, 41, 83), (96, 18, 3, 3), stride=(1, 2), dilation=(2, 1), groups=2),
                case((1, 300, 7, 45), (40, 300, 3, 4), (40,), stride=(2, 3), padding=2),  # bands of columns
                case((3, 20, 9, 11), (24, 20, 1, 1), padding=(1, 2)),
                case((2, 2100, 5, 7), (9, 2100, 1, 1), (9,)),  # panels of two vectors
                case((3, 37, 31, 20), (1, 1, 20, 70), (70,), layout="NHWC"),
                case((2, 21, 23, 29), (5, 5, 29, 40), (40,), stride=2, padding=2, layout="NHWC"),
                case((5, 33, 3, 4), (34, 33, 3, 3), (34,), padding=1),
                case((7, 20, 5, 6), (33, 20, 5, 6), (33,)),  # the kernel sees all of an image
                case((1, 5, 6, 20), (5, 6, 20, 33), (33,), layout="NHWC"),
                case((155, 64, 3, 4), (32, 64, 3, 3), (32,), padding=1),  # windows of 151 images at a time
                case((3, 7, 8, 32), (3, 3, 32, 33), (33,), stride=2, padding=1, layout="NHWC"),
                case((2, 19, 30, 6), (3, 3, 3, 50), dilation=2, groups=2, padding="same", layout="NHWC"),
            ],
            refusals=[
                (
                    ValueError,
                    r"x has 3 channels \(axis 1 of \(32, 3, 28, 28\)\) but w expects 1 \(w is \(32, 1, ",
                    lambda: F.conv2d(np.ones((32, 3, 28, 28)), np.ones((32, 1, 3, 3))),
                ),
                (ValueError, r"x has 5 channels \(axis 3", lambda: F.conv2d(X, W, layout="NHWC")),
                (ValueError, r"x must be \(N, C, H, W\)", lambda: F.conv2d(X[0], W)),
                (ValueError, r"w must be \(O, I, H, W\)", lambda: F.conv2d(X, W[0])),
                (ValueError, r"b must have shape \(6,\).*\(1,\)", lambda: F.conv2d(X, W, np.ones(1))),
                (ValueError, "kernel reaches over", lambda: F.conv2d(X, np.ones((6, 4, 7, 3)))),
                (ValueError, "kernel reaches over", lambda: F.conv2d(X, W, dilation=3)),
                (ValueError, "w has a kernel of size 0", lambda: F.conv2d(X, W[:, :, :0])),
                (ValueError, "a spatial size is 0", lambda: F.conv2d(X[:, :, :0], W)),
                (ValueError, "stride must be at least 1; got 0", lambda: F.conv2d(X, W, stride=0)),
                (ValueError, "dilation must be at least 1; got -1", lambda: F.conv2d(X, W, dilation=-1)),
                (ValueError, "padding must be at least 0; got -1", lambda: F.conv2d(X, W, padding=-1)),
                (ValueError, "padding must be one of.*'full'", lambda: F.conv2d(X, W, padding="full")),
                (ValueError, "padding must be an int", lambda: F.conv2d(X, W, padding=(1, 1, 1))),
                (ValueError, "groups must divide the channels", lambda: F.conv2d(X, W, groups=3)),
                (ValueError, "groups must be at least 1; got 0", lambda: F.conv2d(X, W, groups=0)),
                (ValueError, "layout must be one of.*'NWHC'", lambda: F.conv2d(X, W, layout="NWHC")),
                (
                    ValueError,
                    "activation must be one of.*'relu6'",
                    lambda: F.conv2d(X, W, activation="relu6"),
                ),
                (TypeError, "stride must be an integer; got 1.5", lambda: F.conv2d(X, W, stride=1.5)),
                (TypeError, "x must hold float.*got object", lambda: F.conv2d(X.astype(object), W)),
                (TypeError, "w must hold float.*got complex128", lambda: F.conv2d(X, W.astype(complex))),
                (TypeError, "b must hold float.*got bool", lambda: F.conv2d(X, W, np.ones(6, bool))),
            ],
        ),
        row(
            "conv3d",
            [
                case((1, 2, 3, 3, 3), (2, 2, 2, 2, 2), (2,)),
                case((1, 2, 3, 4, 5), (4, 1, 3, 3, 3), (4,), padding=1, groups=2, stride=(1, 2, 1)),
                case((1, 3, 4, 4, 2), (2, 3, 1, 2, 2), layout="NHWC", padding="same", dilation=(2, 1, 1)),
                case((1, 17, 3, 1, 4), (2, 17, 2, 1, 2), dilation=(1, 1, 2)),
            ],
            large=[
                case((1, 16, 3, 14, 13), (16, 16, 1, 3, 3), padding=(0, 1, 1)),
                case((2, 17, 7, 8, 9), (15, 17, 2, 3, 3), (15,), stride=(2, 1, 2), padding=1),
                case((3, 18, 5, 7, 9), (17, 18, 1, 1, 1), (17,), stride=(2, 1, 2)),
            ],
            refusals=[(ValueError, r"x must be \(N, C, D, H, W\)", lambda: F.conv3d(X, W))],
        ),
    ]


class TestConvTranspose(Matrix):
    operations = [
        row(
            "conv_transpose1d",
            [
                case((2, 3, 4), (3, 2, 3), (2,)),
                case((1, 4, 4), (4, 2, 3), (4,), stride=3, padding=1, output_padding=2, groups=2),
                case((1, 16, 19), (16, 8, 2), (8,), stride=2),
            ],
        ),
        row(
            "conv_transpose2d",
            CONV_TRANSPOSE2D,
            large=[
                case((9, 20, 17, 19), (20, 12, 4, 4), (12,), stride=2, padding=1),
                case((3, 18, 23, 21), (18, 35, 2, 2), (35,), stride=2),
                case((2, 18, 9, 21), (18, 35, 1, 1), (35,), stride=(3, 2), output_padding=1),
                case((2, 9, 11, 18), (1, 1, 35, 18), (35,), stride=2, layout="NHWC"),
            ],
            refusals=[
                (ValueError, r"x has 4 channels.*w expects 6", lambda: F.conv_transpose2d(X, W)),
                (
                    ValueError,
                    "output_padding must be smaller than stride or dilation",
                    lambda: F.conv_transpose2d(X, W_T, output_padding=1),
                ),
                (
                    ValueError,
                    "padding='same' fixes the output size",
                    lambda: F.conv_transpose2d(X, W_T, stride=2, padding="same", output_padding=1),
                ),
                (ValueError, "crops the whole output", lambda: F.conv_transpose2d(X, W_T, padding=4)),
                (ValueError, r"b must have shape \(6,\)", lambda: F.conv_transpose2d(X, W_T, np.ones(4))),
            ],
        ),
        row(
            "conv_transpose3d",
            [case((1, 2, 2, 3, 2), (2, 2, 3, 2, 2), (2,), stride=(1, 2, 2), padding=(1, 0, 1))],
        ),
    ]


class TestPatches(Matrix):
    operations = [
        Operation(
            "im2col",
            [
                case((2, 2, 3, 4), size=2),
                case((2, 3, 5, 4), size=(3, 2), stride=(2, 1), padding=1, dilation=(1, 2)),
                case((2, 5, 4, 3), size=3, padding="same", layout="NHWC"),
                *(case((1, 2, 3, n), size=3, padding=1) for n in TAILS),
            ],
            exact=True,
            trusted=False,  # a patch repeats the cells of its neighbours
            large=[
                case((8, 8, 64, 64), size=3, padding=1),
                case((3, 3, 97, 101), size=5, padding=2),  # past the caches, in windows of odd length
                case((3, 97, 101, 3), size=5, stride=(1, 1), layout="NHWC"),
            ],
            refusals=[
                (ValueError, "kernel reaches over", lambda: F.im2col(X, 6)),
                (ValueError, "size must be at least 1", lambda: F.im2col(X, 0)),
            ],
        ),
        Operation(
            "col2im",
            [
                case((12, 8), x_shape=(2, 2, 3, 4), size=2),
                case((30, 18), x_shape=(2, 3, 5, 4), size=(3, 2), stride=(2, 1), padding=1),
                case((40, 27), x_shape=(2, 5, 4, 3), size=3, padding="same", layout="NHWC"),
            ],
            arguments=("cols",),
            exact=True,
            batched=(),
            refusals=[
                (
                    ValueError,
                    r"cols must have the shape of.*\(12, 8\); got \(5, 5\)",
                    lambda: F.col2im(X[0, 0], (2, 2, 3, 4), 2),
                ),
            ],
        ),
    ]


# ---- torch

GRID = [
    {"stride": s, "padding": p, "dilation": d, "groups": g}
    for s, p, d, g in product((1, 2, 3), (0, 1, 2), (1, 2), (1, 2, 4))
]


def held_against_torch(
    name: str,
    x: np.ndarray,
    w: np.ndarray,
    b: np.ndarray,
    layout: str,
    options: dict[str, Any],
) -> None:
    torch = pytest.importorskip("torch")
    torch.set_num_threads(1)
    xs = [torch.tensor(a, requires_grad=True) for a in (x, w, b)]
    y = getattr(torch.nn.functional, name)(*xs, **options)
    dy = np.random.default_rng(0).normal(size=tuple(y.shape))
    y.backward(torch.tensor(dy))
    dx, dw, db = (a.grad.numpy() for a in xs)
    expected = [y.detach().numpy(), dx, dw, db]
    if layout == "NHWC":
        x, w, dy = to_last(x), w_to_last(w), to_last(dy)
        expected = [to_last(expected[0]), to_last(dx), w_to_last(dw), db]
    y, ctx = getattr(F, f"{name}_forward")(x, w, b, layout=layout, **options)
    came = [y, *getattr(F, f"{name}_backward")(dy, ctx)]
    for what, value, reference in zip(("y", "dx", "dw", "db"), came, expected):
        np.testing.assert_allclose(value, reference, rtol=1e-10, atol=1e-10, err_msg=what)


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
class TestTorch:
    """In float64, whose rounding is far below the 1e-10 allowed: a wrong product is not."""

    @pytest.mark.parametrize("options", GRID, ids=str)
    def test_conv2d(self, layout: str, options: dict[str, Any]) -> None:
        rng = np.random.default_rng(1)
        x, w = rng.normal(size=(2, 4, 9, 8)), rng.normal(size=(8, 4 // options["groups"], 3, 2))
        held_against_torch("conv2d", x, w, rng.normal(size=8), layout, options)

    @pytest.mark.parametrize("options", GRID[::5], ids=str)
    def test_conv1d(self, layout: str, options: dict[str, Any]) -> None:
        rng = np.random.default_rng(1)
        x, w = rng.normal(size=(2, 4, 17)), rng.normal(size=(8, 4 // options["groups"], 3))
        held_against_torch("conv1d", x, w, rng.normal(size=8), layout, options)

    @pytest.mark.parametrize("options", GRID[::5], ids=str)
    def test_conv3d(self, layout: str, options: dict[str, Any]) -> None:
        rng = np.random.default_rng(1)
        x, w = rng.normal(size=(2, 4, 5, 6, 7)), rng.normal(size=(4, 4 // options["groups"], 3, 2, 3))
        held_against_torch("conv3d", x, w, rng.normal(size=4), layout, options)

    @pytest.mark.parametrize("name", ["conv_transpose1d", "conv_transpose2d", "conv_transpose3d"])
    @pytest.mark.parametrize("options", GRID[::4], ids=str)
    @pytest.mark.parametrize("output_padding", [0, 1])
    def test_conv_transpose(
        self, layout: str, name: str, options: dict[str, Any], output_padding: int
    ) -> None:
        if output_padding >= max(options["stride"], options["dilation"]):
            pytest.skip("refused: such an output_padding would be a stride")
        ndim = int(name[-2])
        rng = np.random.default_rng(1)
        x = rng.normal(size=(2, 4, 5, 4, 5)[: ndim + 2])
        w = rng.normal(size=(4, 8 // options["groups"], 3, 3, 2)[: ndim + 2])
        held_against_torch(
            name, x, w, rng.normal(size=8), layout, {**options, "output_padding": output_padding}
        )


@pytest.mark.skipif(backends.native_error is not None, reason="BLAS promises no such thing")
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_an_image_under_one_kernel_gives_the_same_bits_alone_and_in_company(layout: str) -> None:
    x, w, b = drawn(3, (3, 70, 4, 5), (90, 70, 4, 5), (90,), dtype="float32")
    if layout == "NHWC":
        x, w = to_last(x), w_to_last(w)
    whole, ctx = F.conv2d_forward(x, w, b, layout=layout)
    dx = F.conv2d_backward(whole, ctx)[0]
    for n in range(len(x)):
        one, ctx = F.conv2d_forward(x[n : n + 1], w, b, layout=layout)
        np.testing.assert_array_equal(one[0], whole[n])
        np.testing.assert_array_equal(F.conv2d_backward(one, ctx)[0][0], dx[n])


@pytest.mark.skipif(backends.native_error is not None, reason="no compiled engine")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("channels", "outputs"), [(37, 19), (300, 33), (21, 5)])
def test_one_pixel_of_many_images(dtype: str, channels: int, outputs: int) -> None:
    """So many that a task packs several panels: those in one image as they are multiplied."""
    batch, groups = 21, 2
    x, w, b = drawn(
        3,
        (batch, groups * channels, 13, 11),
        (groups * outputs, channels, 1, 1),
        (groups * outputs,),
        dtype=dtype,
    )
    unit = np.finfo(dtype).eps / 2
    y, ctx = F.conv2d_forward(x, w, b, groups=groups, activation="relu")
    dy = np.ones_like(y) - y
    dx = F.conv2d_backward(dy, ctx, needs=("x",))[0]
    gated = np.where(y > 0, dy, 0).reshape(batch, groups, outputs, -1).astype(np.float64)
    shaped = x.reshape(batch, groups, channels, -1).astype(np.float64)
    matrix = w.reshape(groups, outputs, channels).astype(np.float64)

    def held(came: np.ndarray, m: np.ndarray, v: np.ndarray, bias: np.ndarray) -> None:
        exact = np.maximum(m @ v + bias, 0) if came is y else m @ v
        terms = m.shape[-1] + 1
        bound = terms * unit / (1 - terms * unit) * (abs(m) @ abs(v) + abs(bias))
        assert (abs(came.reshape(exact.shape) - exact) <= bound).all()

    held(y, matrix, shaped, b.reshape(groups, outputs, 1).astype(np.float64))
    held(dx, matrix.swapaxes(1, 2), gated, np.zeros(()))
    for n in (0, 7, batch - 1):
        np.testing.assert_array_equal(F.conv2d(x[n : n + 1], w, b, groups=groups, activation="relu")[0], y[n])


@pytest.mark.parametrize("block_bytes", [1, 1600, 2500, 8000])
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_block_size_of_the_numpy_engine(
    monkeypatch: pytest.MonkeyPatch, layout: str, block_bytes: int
) -> None:
    """Blocks of images, or of rows of one, cover everything once: whole numbers come out the same."""
    shapes = {"NCHW": ((3, 4, 5, 6), (6, 2, 3, 2)), "NHWC": ((3, 5, 6, 4), (3, 2, 2, 6))}[layout]
    x, w = (np.random.default_rng(4).integers(-3, 4, size=shape).astype(np.float64) for shape in shapes)

    def results() -> list[np.ndarray]:
        with fastdl.use(backend="numpy"):
            y, ctx = F.conv2d_forward(x, w, stride=(1, 2), padding=1, groups=2, layout=layout)
            dx, dw, _ = F.conv2d_backward(y, ctx)
        return [y, dx, dw]

    expected = results()
    monkeypatch.setattr("fastdl.backends.numpy_.conv.BLOCK_BYTES", block_bytes)
    for came, reference in zip(results(), expected):
        np.testing.assert_array_equal(came, reference)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("ndim", [1, 2, 3])
def test_padding_is_a_frame_of_zeros(engine: str, layout: str, ndim: int) -> None:
    """As the same convolution, unpadded, of an x that NumPy padded, differently on each side."""
    pairs = ((2, 0), (0, 1), (1, 3))[:ndim]
    rng = np.random.default_rng(6)
    x, w = rng.normal(size=(2, 3, 4, 3, 2)[: ndim + 2]), rng.normal(size=(2, 3, 2, 3, 2)[: ndim + 2])
    frame = ((0, 0), (0, 0), *pairs)
    if layout == "NHWC":
        x, w, frame = to_last(x), w_to_last(w), ((0, 0), *pairs, (0, 0))
    wide = np.pad(x, frame)
    inside = tuple(slice(low, low + size) for (low, _), size in zip(frame, x.shape))
    forward, backward = getattr(F, f"conv{ndim}d_forward"), getattr(F, f"conv{ndim}d_backward")
    with fastdl.use(backend=engine):
        y, ctx = forward(x, w, padding=pairs, layout=layout)
        dx, dw, _ = backward(y, ctx)
        wide_y, wide_ctx = forward(wide, w, layout=layout)
        wide_dx, wide_dw, _ = backward(wide_y, wide_ctx)
    for came, expected in ((y, wide_y), (dx, wide_dx[inside]), (dw, wide_dw)):
        np.testing.assert_allclose(came, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("engine", FAST_ENGINES)
@pytest.mark.parametrize("place", [(0, 0), (2, 1)])
def test_one_bad_weight_of_a_tall_image(engine: str, place: tuple[int, int]) -> None:
    """Its gradient is NaN where that weight met an output, and not where there was none."""
    x, w = np.ones((1, 2, 40, 7)), np.ones((3, 2, 3, 3))
    w[1, 1][place] = np.nan
    with fastdl.use(backend=engine):
        y, ctx = F.conv2d_forward(x, w, padding=1)
        dx = F.conv2d_backward(np.ones_like(y), ctx)[0]
    met = np.zeros((42, 9), bool)
    met[place[0] : place[0] + 40, place[1] : place[1] + 7] = True
    np.testing.assert_array_equal(np.isnan(dx), np.stack([np.zeros((40, 7), bool), met[1:-1, 1:-1]])[None])


def test_no_input_channels_give_the_bias() -> None:
    y = F.conv2d(np.ones((2, 0, 4, 4)), np.ones((3, 0, 3, 3)), np.arange(3.0))
    np.testing.assert_array_equal(y, np.broadcast_to(np.arange(3.0)[:, None, None], (2, 3, 2, 2)))


def test_gradients_that_are_not_needed_are_not_made() -> None:
    y, ctx = F.conv2d_forward(X, W, np.ones(6))
    dx, dw, db = F.conv2d_backward(y, ctx, needs=("w",))
    assert dx is None
    assert db is None
    np.testing.assert_array_equal(dw, F.conv2d_backward(y, ctx)[1])
