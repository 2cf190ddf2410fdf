"""Promises of docs/numerics.md that belong to no row of the check matrix."""

from __future__ import annotations

import numpy as np
import pytest

import fastdl
import fastdl.functional as F
from fastdl import backends
from harness import ENGINES, FAST_ENGINES

needs_native = pytest.mark.skipif(backends.native_error is not None, reason=str(backends.native_error))


@pytest.mark.parametrize("engine", FAST_ENGINES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_subnormal_numbers_survive(engine: str, dtype: type) -> None:
    """Neither importing nor computing turns on a mode that flushes them, in this thread or another."""
    tiny = np.finfo(dtype).smallest_subnormal
    x, w = np.full((8, 16, 32, 32), tiny, dtype), np.ones((1, 16, 1, 1), dtype)
    with fastdl.use(backend=engine, threads=2):
        np.testing.assert_array_equal(F.conv2d(x, w), np.full((8, 1, 32, 32), 16 * tiny))
        np.testing.assert_array_equal(F.relu(x), x)
    assert np.array([tiny]) * 1 == tiny


@needs_native
@pytest.mark.parametrize(
    "shape, options", [((64, 64, 3, 3), {"padding": 1}), ((64, 64, 4, 4), {"stride": 2})]
)
@pytest.mark.parametrize("size", [32, 9])
def test_winograd_errs_little_and_can_be_turned_off(
    shape: tuple[int, ...], options: dict[str, int], size: int
) -> None:
    rng = np.random.default_rng(0)
    x, w = rng.normal(size=(2, 64, size, size)).astype("f"), rng.normal(size=shape).astype("f")

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
        # Measured: up to 6e-7 strict and 1.9e-6 by default; of dw, whose strict sums are longer, 4e-7 and 2.5e-6.
        assert errors[0] < errors[1] < 3e-6


@pytest.mark.parametrize("engine", ENGINES)
class TestPadding:
    """It is zeros that take part in y and dw; what dx would be there is cropped."""

    def test_forward(self, engine: str) -> None:
        w = np.zeros((1, 1, 3, 3))
        w[0, 0, 0, 0] = np.nan
        with fastdl.use(backend=engine):
            y, ctx = F.conv2d_forward(np.ones((1, 1, 4, 4)), w, padding=1)
            dx, dw, _ = F.conv2d_backward(np.ones_like(y), ctx)
        assert np.isnan(y).all()  # at the border too, where the tap lies on a zero
        # The last row and column have no output that reaches them through this tap.
        assert np.isnan(dx[0, 0, :3, :3]).all()
        assert np.isfinite(dx[0, 0, 3]).all()
        assert np.isfinite(dx[0, 0, :, 3]).all()
        assert np.isfinite(dw).all()

    def test_weight_gradient(self, engine: str) -> None:
        dy = np.zeros((1, 1, 4, 4))
        dy[0, 0, 0, 0] = np.inf
        with fastdl.use(backend=engine), np.errstate(invalid="ignore"):
            _, ctx = F.conv2d_forward(np.ones((1, 1, 4, 4)), np.ones((1, 1, 3, 3)), padding=1)
            _, dw, _ = F.conv2d_backward(dy, ctx)
        assert np.isnan(dw[0, 0, 0]).all()  # an infinite dy times a padded zero
        assert np.isnan(dw[0, 0, :, 0]).all()
        assert np.isposinf(dw[0, 0, 1:, 1:]).all()
