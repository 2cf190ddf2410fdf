"""An activation that a product applies to what it writes."""

from __future__ import annotations

import numpy as np
import pytest

import fastdl.functional as F


@pytest.mark.parametrize(
    "activation", ["relu", "leaky_relu", "elu", "sigmoid", "tanh", "softplus", "gelu", "silu"]
)
@pytest.mark.parametrize(
    "name",
    [
        "linear",
        "conv2d",
        "conv_transpose2d",
        "conv_transpose2d of apart taps",
        "conv_transpose2d of one pixel, NCHW",
        "conv_transpose2d of one pixel, NHWC",
    ],
)
def test_fused_activation(name: str, activation: str) -> None:
    """As the operation and then the activation, forward and backward."""
    rng = np.random.default_rng(2)
    shapes = {
        "linear": ((5, 200), (200, 7), (7,)),
        "conv2d": ((2, 4, 5, 5), (7, 4, 3, 3), (7,)),
        "conv_transpose2d": ((2, 4, 5, 5), (4, 7, 3, 3), (7,)),
        "conv_transpose2d of apart taps": ((2, 16, 5, 5), (16, 9, 2, 2), (9,)),
        "conv_transpose2d of one pixel, NCHW": ((2, 16, 5, 5), (16, 9, 1, 1), (9,)),
        "conv_transpose2d of one pixel, NHWC": ((2, 5, 5, 16), (1, 1, 9, 16), (9,)),
    }
    arguments = [rng.normal(size=shape) for shape in shapes[name]]
    options = {}
    if " of " in name:
        options = {"stride": 2, "layout": "NHWC" if name.endswith("NHWC") else "NCHW"}
        name = "conv_transpose2d"
    z, ctx = getattr(F, f"{name}_forward")(*arguments, **options)
    y, act_ctx = getattr(F, f"{activation}_forward")(z)
    dy = rng.normal(size=y.shape)
    gradients = getattr(F, f"{name}_backward")(getattr(F, f"{activation}_backward")(dy, act_ctx), ctx)

    fused, fused_ctx = getattr(F, f"{name}_forward")(*arguments, activation=activation, **options)
    np.testing.assert_allclose(fused, y, rtol=1e-12, atol=1e-12)
    inferred = getattr(F, name)(*arguments, activation=activation, **options)
    np.testing.assert_allclose(inferred, y, rtol=1e-12, atol=1e-12)
    for came, expected in zip(getattr(F, f"{name}_backward")(dy, fused_ctx), gradients):
        np.testing.assert_allclose(came, expected, rtol=1e-10, atol=1e-12)
