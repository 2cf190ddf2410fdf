"""The gradient of a convolution's weights from that of a pooling behind it: two steps in one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fastdl import backends, shapes
from harness import FAST_ENGINES
from layouts import guarded

Case = tuple[tuple[int, ...], tuple[int, ...], dict[str, Any], dict[str, Any]]

CASES: list[Case] = [  # images and kernels, both NCHW; the options of the convolution and of the pooling
    ((9, 1, 12, 12), (3, 1, 5, 5), {}, {"size": 2}),
    ((2, 3, 9, 10), (5, 3, 3, 3), {"padding": 1}, {"size": 2}),
    (
        (3, 2, 14, 11),
        (4, 2, 2, 4),
        {"stride": (1, 2), "dilation": (2, 1)},
        {"size": (3, 2), "stride": (2, 1)},
    ),
    ((2, 1, 8, 20), (2, 1, 1, 19), {"padding": (0, 9)}, {"size": 3, "stride": 2, "padding": 1}),
    ((17, 4, 6, 6), (1, 4, 3, 3), {"padding": ((0, 1), (1, 0))}, {"size": (1, 2)}),
    ((2, 2, 8, 8), (3, 2, 3, 3), {"dilation": 2}, {"size": 2}),  # taps that are no neighbours,
    ((2, 4, 6, 6), (6, 2, 3, 3), {"groups": 2}, {"size": 2}),  # groups,
    ((2, 9, 6, 6), (3, 9, 3, 3), {}, {"size": 2}),  # and many channels: the map is written
    ((0, 1, 6, 6), (3, 1, 3, 3), {}, {"size": 2}),
    ((0, 2, 6, 6), (2, 1, 3, 3), {"groups": 2}, {"size": 2}),
    ((2, 0, 6, 6), (3, 0, 3, 3), {}, {"size": 2}),
]


def primitive(engine: str, name: str) -> Any:
    return getattr(backends.select(engine), name)


def drawn(case: Case, layout: str, dtype: str) -> tuple[Any, ...]:
    """Return dy, index, x and the plans; arrays end where no page follows."""
    x_shape, w_shape, conv_options, pool_options = case
    if layout == "NHWC":
        x_shape, w_shape = (x_shape[0], *x_shape[2:], x_shape[1]), (*w_shape[2:], w_shape[1], w_shape[0])
    rng = np.random.default_rng(len(x_shape) + sum(x_shape))
    conv = shapes.conv_plan("conv2d", x_shape, w_shape, None, ndim=2, layout=layout, **conv_options)
    pool = shapes.pool_plan("max_pool2d", conv.y_shape, ndim=2, layout=layout, **pool_options)
    _, index = primitive("naive", "maxpool_fwd")(rng.normal(size=conv.y_shape).astype(dtype), pool)
    dy, x = rng.normal(size=pool.y_shape).astype(dtype), rng.normal(size=x_shape).astype(dtype)
    return guarded(dy, at_end=True), guarded(index, at_end=True), guarded(x, at_end=True), conv, pool


def two_steps(dy: Any, index: Any, x: Any, conv: Any, pool: Any) -> Any:
    """The same in naive, in float64."""
    dy, x = dy.astype(np.float64), x.astype(np.float64)
    return primitive("naive", "conv_dw")(primitive("naive", "maxpool_bwd")(dy, index, pool), x, conv)


@pytest.mark.parametrize("engine", [*FAST_ENGINES, "naive"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("case", CASES, ids=str)
class TestPooledGradient:
    def test_values(self, engine: str, dtype: str, layout: str, case: Case) -> None:
        given = drawn(case, layout, dtype)
        came, expected = primitive(engine, "conv_dw_pooled")(*given), two_steps(*given)
        assert came.dtype == dtype
        bound = 1e-12 if dtype == "float64" else 1e-5
        np.testing.assert_allclose(came, expected, rtol=0, atol=bound * np.abs(expected).max(initial=1))


@pytest.mark.parametrize("engine", FAST_ENGINES)
@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("where", ["dy", "x"])
@pytest.mark.parametrize("case", CASES[:2], ids=str)
def test_numbers_that_are_not_finite(engine: str, value: float, where: str, case: Case) -> None:
    """They meet the zeros of the map, and of the padding, as in two steps."""
    dy, index, x, *plans = drawn(case, "NCHW", "float64")
    (dy if where == "dy" else x)[0, 0, 0, 0] = value
    with np.errstate(invalid="ignore"):
        came = primitive(engine, "conv_dw_pooled")(dy, index, x, *plans)
        steps = primitive(engine, "conv_dw")(
            primitive(engine, "maxpool_bwd")(dy, index, plans[1]), x, plans[0]
        )
    np.testing.assert_array_equal(np.isnan(came), np.isnan(steps))
    np.testing.assert_allclose(came, steps, rtol=1e-12)
