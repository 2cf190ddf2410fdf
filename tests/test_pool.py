"""Pooling and upsampling: the check matrix, ties and NaN by hand, and torch."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest

import fastdl
import fastdl.functional as F
from harness import ENGINES, TAILS, Matrix, Operation, case, distinct

X = np.ones((2, 3, 5, 5))

MAX2D = [
    case((2, 3, 4, 5), size=2),
    case((1, 2, 2, 3), size=2, stride=1, padding=1),
    case((2, 2, 7, 6), size=3, stride=2, padding=1),
    case((1, 3, 6, 7), size=(2, 3), stride=(3, 2), padding=((0, 1), (1, 0))),
    case((2, 2, 6, 7), size=3, stride=2, ceil_mode=True),
    case((1, 2, 5, 5), size=2, padding=1, ceil_mode=True),
    case((1, 2, 5, 5), size=3, stride=2, padding="same"),
    case((1, 2, 4, 4), size=4),
    *(case((1, n, 4, 3), size=2) for n in TAILS),
    *(case((1, 2, 2, 2 * n), size=2) for n in TAILS),
    *(case((1, 1, 3, n), size=3, stride=1, padding=1) for n in TAILS),
    case((2, 5, 4, 3), size=2, layout="NHWC"),
    case((2, 7, 6, 2), size=3, stride=2, padding=1, layout="NHWC"),
    *(case((1, 4, 4, n), size=2, layout="NHWC") for n in TAILS),
    *(case((1, 3, 3, n), size=3, stride=2, padding=1, layout="NHWC") for n in TAILS),
]
AVG2D = [
    *MAX2D,
    case((2, 2, 6, 5), size=3, stride=2, padding=1, count_include_pad=True),
    case((2, 6, 5, 2), size=3, stride=2, padding=1, ceil_mode=True, count_include_pad=True, layout="NHWC"),
]
ONE = [
    case((2, 3, 6), size=2),
    case((1, 2, 9), size=3, stride=2, padding=1),
    case((2, 7, 3), size=2, layout="NHWC"),
]
THREE = [
    case((1, 2, 3, 4, 5), size=2),
    case((1, 2, 3, 5, 4), size=(1, 3, 2), stride=(1, 2, 1), padding=(0, 1, 1)),
    case((2, 4, 3, 4, 3), size=2, layout="NHWC"),
]
WHOLE = {
    1: [case((2, 3, 5)), case((2, 5, 3), layout="NHWC")],
    2: [case((3, 2, 5, 4)), case((2, 3, 3, 5), layout="NHWC"), *(case((1, 2, 1, n)) for n in TAILS)],
    3: [case((2, 2, 3, 2, 2)), case((2, 2, 3, 2, 2), layout="NHWC")],
}
QUARTERS = [case((2, 3, 6, 4), size=2), case((2, 6, 4, 3), size=2, layout="NHWC")]
LARGEST_WINDOW = 16
MANY_TAPS = case((1, 1, 41, 33), size=(40, 16), stride=(1, 17))  # more than a byte counts
LARGE = [
    case((8, 16, 33, 41), size=3, stride=2, padding=1),
    # Images that are cut:
    case((1, 1, 500, 140), size=3, stride=2, padding=1),
    case((1, 110, 40, 16), size=3, stride=2, padding=1, layout="NHWC"),
]


def windows_refused(name: str) -> list[Any]:
    pool = getattr(F, name)
    return [
        (ValueError, r"x must be \(N, C, H, W\)", lambda: pool(X[0], 2)),
        (ValueError, "window reaches over", lambda: pool(X, 6)),
        (ValueError, "size must be at least 1; got 0", lambda: pool(X, 0)),
        (ValueError, "size must be an int or 2", lambda: pool(X, (2, 2, 2))),
        (ValueError, "stride must be at least 1; got 0", lambda: pool(X, 2, stride=0)),
        (ValueError, "padding must be smaller than the window", lambda: pool(X, 2, padding=2)),
        (ValueError, "padding must be one of", lambda: pool(X, 2, padding="full")),
        (ValueError, "a spatial size is 0", lambda: pool(X[:, :, :0], 2)),
        (ValueError, "layout must be one of", lambda: pool(X, 2, layout="CHWN")),
        (TypeError, "x must hold float", lambda: pool(X.astype(object), 2)),
    ]


def max_row(name: str, cases: list[Any], **more: Any) -> Operation:
    # Overlapping windows share their maximum, so equal outputs are no sign of a vacuous case.
    return Operation(name, cases, kind="choice", draw=distinct, exact=True, trusted=False, **more)


def avg_row(name: str, cases: list[Any], **more: Any) -> Operation:
    return Operation(
        name, cases, terms=LARGEST_WINDOW + 2, **more
    )  # the sum, the division and its reciprocal


class TestMaxPool(Matrix):
    operations = [
        max_row("max_pool1d", ONE),
        max_row("max_pool2d", [*MAX2D, MANY_TAPS], large=LARGE,
                refusals=windows_refused("max_pool2d")),
        max_row("max_pool3d", THREE),
        *(max_row(f"global_max_pool{ndim}d", cases) for ndim, cases in WHOLE.items()),
    ]  # fmt: skip


class TestAvgPool(Matrix):
    operations = [
        avg_row("avg_pool1d", ONE),
        avg_row("avg_pool2d", AVG2D, large=LARGE,
                refusals=windows_refused("avg_pool2d")),
        avg_row("avg_pool2d", QUARTERS, exact=True),
        avg_row("avg_pool3d", THREE),
        *(
            Operation(f"global_avg_pool{ndim}d", cases, terms=max(TAILS) + 2) for ndim, cases in WHOLE.items()
        ),
    ]  # fmt: skip


class TestUpsample(Matrix):
    operations = [
        Operation(
            "upsample2d",
            [
                case((2, 3, 3, 4), scale=2),
                case((1, 2, 2, 3), scale=(3, 1)),
                case((2, 3, 4, 2), scale=(2, 3), layout="NHWC"),
                *(case((1, 1, 2, n), scale=2) for n in TAILS),
                *(case((1, 2, 2, n), scale=2, layout="NHWC") for n in TAILS),
            ],
            exact=True,
            trusted=False,  # each pixel is repeated
            large=[case((8, 16, 20, 30), scale=3)],
            refusals=[
                (ValueError, "scale must be at least 1; got 0", lambda: F.upsample2d(X, 0)),
                (ValueError, "mode must be one of.*'cubic'", lambda: F.upsample2d(X, 2, "cubic")),
                (ValueError, r"x must be \(N, C, H, W\)", lambda: F.upsample2d(X[0], 2)),
            ],
        ),
        Operation(
            "upsample2d",
            [
                case((2, 2, 3, 4), scale=2, mode="bilinear"),
                case((1, 2, 1, 3), scale=3, mode="bilinear"),
                case((2, 3, 4, 2), scale=(2, 3), mode="bilinear", layout="NHWC"),
                *(case((1, 1, 2, n), scale=2, mode="bilinear") for n in TAILS),
                *(case((1, 2, 2, n), scale=2, mode="bilinear", layout="NHWC") for n in TAILS),
            ],
            trusted=False,
            terms=42,  # up to 6x6 outputs see one pixel, their weights have three roundings, each product one
            large=[case((8, 16, 20, 30), scale=3, mode="bilinear")],
        ),
    ]


# ---- by hand


@pytest.mark.parametrize("engine", ENGINES)
class TestWhoWins:
    def gradient(self, engine: str, x: list[list[float]], **options: Any) -> np.ndarray:
        """The gradient of the sum of the maxima: how many windows each pixel won."""
        with fastdl.use(backend=engine):
            y, ctx = F.max_pool2d_forward(np.array([[x]], np.float64), **options)
            return F.max_pool2d_backward(np.ones_like(y), ctx)[0, 0]

    def test_the_first_of_equals(self, engine: str) -> None:
        np.testing.assert_array_equal(self.gradient(engine, [[5, 5], [5, 5]], size=2), [[1, 0], [0, 0]])
        np.testing.assert_array_equal(self.gradient(engine, [[1, 5], [5, 5]], size=2), [[0, 1], [0, 0]])

    def test_the_first_nan(self, engine: str) -> None:
        nan, inf = np.nan, np.inf
        np.testing.assert_array_equal(self.gradient(engine, [[inf, nan], [nan, 9]], size=2), [[0, 1], [0, 0]])

    def test_minus_infinity_over_padding(self, engine: str) -> None:
        low = -np.inf
        won = self.gradient(engine, [[low, low], [low, low]], size=2, stride=2, padding=1)
        np.testing.assert_array_equal(won, [[1, 1], [1, 1]])
        won = self.gradient(engine, [[low, low], [low, low]], size=3, padding=1)
        np.testing.assert_array_equal(won, [[1, 0], [0, 0]])

    def test_no_zero_from_the_padding(self, engine: str) -> None:
        with fastdl.use(backend=engine):
            y = F.max_pool2d(-np.ones((1, 1, 2, 2)), 2, padding=1)
        np.testing.assert_array_equal(y, -np.ones((1, 1, 2, 2)))

    def test_infinity_between_pixels(self, engine: str) -> None:
        """Bilinear: an infinite pixel makes infinities, no NaN, and only where it is seen."""
        x = np.zeros((1, 1, 1, 4))
        x[..., 1] = np.inf
        with fastdl.use(backend=engine):
            y = F.upsample2d(x, (1, 3), "bilinear")[0, 0, 0]
        np.testing.assert_array_equal(np.isinf(y), [c in "x" for c in "..xxxxx....."])
        assert not np.isnan(y).any()


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("name, fill", [("max_pool2d", -np.inf), ("avg_pool2d", 0.0)])
def test_padding_is_a_frame(engine: str, layout: str, name: str, fill: float) -> None:
    """As the pooling, unpadded, of an x that NumPy padded, differently on each side."""
    pairs = ((2, 0), (1, 2))
    frame = ((0, 0), *pairs, (0, 0)) if layout == "NHWC" else ((0, 0), (0, 0), *pairs)
    x = to_layout(distinct(np.random.default_rng(6), (2, 3, 5, 4)), layout)
    inside = tuple(slice(low, low + size) for (low, _), size in zip(frame, x.shape))
    forward, backward = getattr(F, f"{name}_forward"), getattr(F, f"{name}_backward")
    counted = {"count_include_pad": True} if name == "avg_pool2d" else {}
    with fastdl.use(backend=engine):
        y, ctx = forward(x, 3, stride=2, padding=pairs, layout=layout, **counted)
        wide_y, wide_ctx = forward(np.pad(x, frame, constant_values=fill), 3, stride=2, layout=layout)
        np.testing.assert_allclose(y, wide_y, rtol=1e-12)
        np.testing.assert_allclose(
            backward(y, ctx), backward(wide_y, wide_ctx)[inside], rtol=1e-12, atol=1e-12
        )


# ---- torch

GRID = [
    {"size": k, "stride": s, "padding": p, "ceil_mode": c}
    for k, s, p, c in product((1, 2, 3, 4), (1, 2, 3), (0, 1, 2), (False, True))
    if 2 * p <= k
]


def torch_call(
    name: str, x: np.ndarray, *arguments: Any, **options: Any
) -> tuple[Any, np.ndarray, np.ndarray]:
    """y, dy and dx of a function of torch.nn.functional."""
    torch = pytest.importorskip("torch")
    torch.set_num_threads(1)
    t = torch.tensor(x, requires_grad=True)
    y = getattr(torch.nn.functional, name)(t, *arguments, **options)
    dy = np.random.default_rng(0).normal(size=tuple(y.shape))
    y.backward(torch.tensor(dy))
    return y.detach().numpy(), dy, t.grad.numpy()


def to_layout(x: np.ndarray, layout: str) -> np.ndarray:
    return np.ascontiguousarray(np.moveaxis(x, 1, -1)) if layout == "NHWC" else x


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
class TestTorch:
    """In float64, whose rounding is far below the 1e-12 allowed."""

    def held_against(
        self,
        expected: tuple[Any, np.ndarray, np.ndarray],
        name: str,
        x: np.ndarray,
        layout: str,
        **options: Any,
    ) -> None:
        y, dy, dx = (to_layout(array, layout) for array in expected)
        came, ctx = getattr(F, f"{name}_forward")(to_layout(x, layout), layout=layout, **options)
        np.testing.assert_allclose(came, y, rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(getattr(F, f"{name}_backward")(dy, ctx), dx, rtol=1e-12, atol=1e-12)

    @pytest.mark.parametrize("ndim", [1, 2, 3])
    @pytest.mark.parametrize("options", GRID, ids=str)
    def test_max(self, layout: str, ndim: int, options: dict[str, Any]) -> None:
        x = distinct(np.random.default_rng(1), (2, 3, 7, 6, 5)[: ndim + 2])
        k, s, p, ceil = options.values()
        expected = torch_call(f"max_pool{ndim}d", x, k, s, p, ceil_mode=ceil)
        self.held_against(expected, f"max_pool{ndim}d", x, layout, **options)

    @pytest.mark.parametrize("ndim", [1, 2, 3])
    @pytest.mark.parametrize("count_include_pad", [False, True])
    @pytest.mark.parametrize("options", GRID, ids=str)
    def test_avg(self, layout: str, ndim: int, count_include_pad: bool, options: dict[str, Any]) -> None:
        x = np.random.default_rng(1).normal(size=(2, 3, 7, 6, 5)[: ndim + 2])
        expected = torch_call(f"avg_pool{ndim}d", x, *options.values(), count_include_pad)
        self.held_against(
            expected, f"avg_pool{ndim}d", x, layout, count_include_pad=count_include_pad, **options
        )

    @pytest.mark.parametrize("scale", [1, 2, 3, 4, (2, 5)])
    @pytest.mark.parametrize("mode", ["nearest", "bilinear"])
    def test_upsample(self, layout: str, mode: str, scale: Any) -> None:
        x = np.random.default_rng(1).normal(size=(2, 3, 4, 5))
        corners = {"align_corners": False} if mode == "bilinear" else {}
        expected = torch_call("interpolate", x, scale_factor=scale, mode=mode, **corners)
        self.held_against(expected, "upsample2d", x, layout, scale=scale, mode=mode)
