"""Promises of docs/numerics.md that belong to no row of the check matrix."""

from __future__ import annotations

import numpy as np
import pytest

import fastdl
import fastdl.functional as F
from harness import ENGINES, FAST_ENGINES


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
