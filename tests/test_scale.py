"""A scale of each output channel, and an activation with its alpha, in the pass of a product."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import fastdl
import fastdl.functional as F
from harness import DTYPES, ENGINES, FAST_ENGINES, drawn, gamma

CALLS: list[tuple[str, tuple[int, ...], tuple[int, ...], int, dict[str, Any]]] = [
    ("linear", (5, 19), (19, 37), 37, {}),
    ("linear", (2, 3, 700), (700, 3), 3, {}),
    ("conv1d", (2, 3, 9), (5, 3, 3), 5, {"padding": 1}),
    ("conv2d", (2, 4, 7, 6), (18, 4, 3, 3), 18, {"padding": 1}),
    ("conv2d", (2, 4, 7, 6), (6, 2, 3, 2), 6, {"groups": 2, "stride": 2}),
    ("conv2d", (2, 7, 6, 4), (1, 1, 4, 5), 5, {"layout": "NHWC"}),
    ("conv2d", (2, 7, 6, 4), (3, 3, 1, 8), 8, {"layout": "NHWC", "groups": 4}),
    ("conv3d", (1, 2, 4, 3, 5), (3, 2, 2, 2, 2), 3, {}),
    ("conv_transpose1d", (2, 3, 5), (3, 4, 3), 4, {"stride": 2}),
    ("conv_transpose2d", (2, 4, 5, 3), (4, 3, 4, 4), 3, {"stride": 2, "padding": 1}),
    ("conv_transpose2d", (2, 5, 3, 4), (3, 3, 17, 4), 17, {"layout": "NHWC"}),
    ("conv_transpose3d", (1, 2, 3, 2, 2), (2, 3, 2, 2, 2), 3, {}),
]  # op, x, w, channels of y, options
TILED: list[tuple[str, tuple[int, ...], tuple[int, ...], int, dict[str, Any]]] = [
    ("conv2d", (2, 20, 19, 17), (37, 20, 3, 3), 37, {"padding": 1}),
    ("conv2d", (2, 19, 17, 20), (4, 4, 20, 18), 18, {"layout": "NHWC", "stride": 2}),
    ("conv_transpose2d", (2, 20, 17, 19), (20, 18, 4, 4), 18, {"stride": 2}),
]  # where Winograd's algorithm runs


def along_channels(values: np.ndarray, y: np.ndarray, options: dict[str, Any], op: str) -> np.ndarray:
    last = op == "linear" or options.get("layout") == "NHWC"
    return values if last else values.reshape(-1, *[1] * (y.ndim - 2))


@pytest.mark.parametrize("call", [*CALLS, *TILED], ids=lambda call: f"{call[0]}-{call[1]}-{call[4]}")
@pytest.mark.parametrize("dtype", DTYPES)
class TestScale:
    def reference(self, call: Any) -> tuple[list[np.ndarray], np.ndarray, np.ndarray, int]:
        op, x_shape, w_shape, channels, options = call
        x, w, b, scale = drawn(3, x_shape, w_shape, (channels,), (channels,))
        with fastdl.use(backend="numpy"):
            run = getattr(F, op)
            z, size = run(x, w, **options), run(np.abs(x), np.abs(w), **options)
            terms = int(run(np.ones_like(x), np.ones_like(w), **options).max())
        s, t = (along_channels(values, z, options, op) for values in (scale, b))
        return [x, w, b, scale], z * s + t, size * np.abs(s) + np.abs(t), terms

    @pytest.mark.parametrize("engine", FAST_ENGINES)
    def test_within_the_bound(self, call: Any, dtype: str, engine: str) -> None:
        arrays, expected, size, terms = self.reference(call)
        arrays = [array.astype(dtype) for array in arrays]
        with fastdl.use(backend=engine, threads=1):
            y = getattr(F, call[0])(*arrays[:3], scale=arrays[3], **call[4])
        assert y.dtype == dtype
        bound = gamma(terms + 3, dtype) * (size.max() if call in TILED else size)
        assert (np.abs(y - expected) <= bound).all()
        for threads in (2, 5) if engine == "native" else ():
            with fastdl.use(backend=engine, threads=threads):
                again = getattr(F, call[0])(*arrays[:3], scale=arrays[3], **call[4])
            assert again.tobytes() == y.tobytes()

    def test_without_bias_and_before_the_activation(self, call: Any, dtype: str) -> None:
        (x, w, _, scale), *_ = self.reference(call)
        x, w, scale = (array.astype(dtype) for array in (x, w, scale))
        z = getattr(F, call[0])(x, w, scale=scale, **call[4])
        y = getattr(F, call[0])(x, w, scale=scale, activation=("leaky_relu", 0.5), **call[4])
        np.testing.assert_array_equal(y, np.where(z <= 0, z / 2, z))

    @pytest.mark.parametrize("engine", FAST_ENGINES)
    def test_nan_stays_in_its_channel(self, call: Any, dtype: str, engine: str) -> None:
        op, options = call[0], call[4]
        (x, w, b, scale), y, *_ = self.reference(call)
        scale[1] = np.nan
        with fastdl.use(backend=engine):
            y = getattr(F, op)(
                *(array.astype(dtype) for array in (x, w, b)), scale=scale.astype(dtype), **options
            )
        expected = np.broadcast_to(along_channels(np.isnan(scale), y, options, op), y.shape)
        np.testing.assert_array_equal(np.isnan(y), expected)


@pytest.mark.parametrize("engine", ENGINES)
def test_scale_by_hand(engine: str) -> None:
    one, three = np.ones((1, 1, 2, 2)), np.array([3.0])
    with fastdl.use(backend=engine):
        assert F.conv2d(one, one, np.array([1.0]), scale=three).item() == 13
        assert F.conv_transpose2d(one, one, scale=three).max() == 12
        assert F.linear(one[0, 0], one[0, 0], np.ones(2), scale=np.array([2.0, 4.0])).tolist() == [[5, 9]] * 2
        half = F.linear(
            one[0, 0].astype(np.float16), one[0, 0].astype(np.float16), scale=np.ones(2, np.float16)
        )
        assert half.dtype == np.float16


@pytest.mark.parametrize(
    "exception, pattern, options",
    [
        (ValueError, r"linear: scale must have shape \(3,\), one entry an output channel; got \(2,\)",
         {"scale": np.ones(2)}),
        (TypeError, "linear: scale must hold float", {"scale": np.ones(3, int)}),
        (ValueError, "linear: activation 'relu' has no alpha", {"activation": ("relu", 0.5)}),
        (ValueError, "linear: the alpha of activation 'elu' must be at least 0", {"activation": ("elu", -1)}),
        (ValueError, "linear: activation must be one of", {"activation": ("elu", 1, 2)}),
    ],
)  # fmt: skip
def test_refusals(exception: type[Exception], pattern: str, options: dict[str, Any]) -> None:
    with pytest.raises(exception, match=pattern):
        F.linear(np.ones((2, 4)), np.ones((4, 3)), **options)


def test_alpha_in_training() -> None:
    x, w, dy = drawn(0, (3, 4), (4, 5), (3, 5))
    y, ctx = F.linear_forward(x, w, activation=("leaky_relu", 0.3))
    z = x @ w
    np.testing.assert_allclose(y, np.where(z <= 0, 0.3 * z, z), atol=1e-14)
    dw = F.linear_backward(dy, ctx, needs=("w",))[1]
    np.testing.assert_allclose(dw, x.T @ np.where(z <= 0, 0.3 * dy, dy), atol=1e-13)
