"""The gradient of weights in an array of the caller's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import fastdl
import fastdl.functional as F
from harness import ENGINES
from layouts import w_to_last

X = np.ones((2, 4, 5, 5))
W = np.ones((6, 4, 3, 3))
W_T = np.ones((4, 6, 3, 3))

INTO = {
    "linear": ((X[:, 0, 0], np.ones((5, 3))), {}),
    "conv1d": ((X[..., 0], W[..., 0]), {}),
    "conv2d": ((X, W), {"stride": 2}),
    "conv_transpose2d": ((X, W_T), {"stride": 2}),
    "conv3d": ((np.ones((1, 4, 3, 5, 5)), np.ones((6, 4, 2, 3, 3))), {"layout": "NHWC"}),
}


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", INTO)
class TestWeightGradientInto:
    """`dw_out`, an array of the caller's."""

    @pytest.fixture
    def backward(self, name: str, dtype: str, engine: str) -> Any:
        """The gradients, as a function of the arguments after dy and ctx; and w."""
        (x, w), options = INTO[name]
        rng = np.random.default_rng(3)
        x, w = rng.normal(size=x.shape).astype(dtype), rng.normal(size=w.shape).astype(dtype)
        if "layout" in options:
            x, w = np.moveaxis(x, 1, -1).copy(), w_to_last(w)
        with fastdl.use(backend=engine):
            y, ctx = getattr(F, f"{name}_forward")(x, w, activation="tanh", **options)
            yield lambda **keywords: getattr(F, f"{name}_backward")(y, ctx, **keywords), w

    def test_is_written_and_returned(self, backward: Any) -> None:
        gradients, w = backward
        expected = gradients()[1]
        out = np.full_like(w, np.nan)
        assert gradients(needs=("x", "w"), dw_out=out)[1] is out
        np.testing.assert_array_equal(out, expected)

    def test_must_fit(self, backward: Any) -> None:
        gradients, w = backward
        other = "float32" if w.dtype == "float64" else "float64"
        for wrong in (np.empty(w.size, w.dtype), w.astype(other), np.stack([w, w], -1)[..., 0]):
            with pytest.raises(ValueError, match="dw_out must be C-contiguous"):
                gradients(dw_out=wrong)
