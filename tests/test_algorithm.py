"""Which algorithm computes a convolution: visible, chosen by shape, and the one that is run."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import fastdl
import fastdl.functional as F
from fastdl import backends
from fastdl.shapes import CONV_ALGORITHMS, conv_plan
from harness import FAST_ENGINES

needs_native = pytest.mark.skipif(backends.native_error is not None, reason=str(backends.native_error))


def chosen(
    x: tuple[int, ...], w: tuple[int, ...], dtype: str = "float32", op: str = "conv2d", **options: Any
) -> tuple[str, str, str]:
    _, ctx = getattr(F, f"{op}_forward")(np.zeros(x, dtype), np.zeros(w, dtype), **options)
    return ctx.plan.algorithm, ctx.plan.dx_algorithm, ctx.plan.dw_algorithm


@needs_native
@pytest.mark.parametrize(
    "x, w, options, expected",
    [
        ((2, 64, 32, 32), (64, 64, 3, 3), {"padding": 1}, ("winograd",) * 3),
        ((2, 3, 32, 32), (8, 3, 3, 3), {}, ("direct",) * 3),
        ((2, 32, 16, 16), (64, 32, 1, 1), {}, ("gemm",) * 3),
        ((2, 32, 16, 16), (64, 32, 1, 1), {"stride": 2}, ("gemm",) * 3),
        ((2, 32, 16, 16), (64, 32, 1, 1), {"padding": 1}, ("direct", "gemm", "direct")),
        ((2, 32, 32, 32), (32, 1, 3, 3), {"groups": 32}, ("depthwise",) * 3),
        ((8, 64, 2, 2), (64, 64, 3, 3), {"padding": 1}, ("im2col",) * 3),
        ((8, 64, 8, 8), (64, 64, 1, 1), {"stride": 2}, ("im2col",) * 3),
        ((8, 64, 4, 4), (64, 64, 1, 1), {}, ("gemm",) * 3),
        ((2, 64, 32, 32), (64, 64, 3, 3), {"stride": 2, "padding": 1}, ("direct",) * 3),
        ((2, 64, 32, 32), (64, 64, 4, 4), {"stride": 2, "padding": 1}, ("winograd",) * 3),
        ((0, 3, 8, 8), (8, 3, 3, 3), {}, ("none",) * 2),
    ],
)
def test_by_shape(
    x: tuple[int, ...], w: tuple[int, ...], options: dict[str, Any], expected: tuple[str, ...]
) -> None:
    with fastdl.use(backend="native"):
        assert chosen(x, w, **options)[: len(expected)] == expected


@needs_native
def test_channels_last_have_a_kernel_of_their_own() -> None:
    with fastdl.use(backend="native"):
        assert chosen((2, 9, 9, 64), (1, 1, 64, 64), layout="NHWC")[0] == "direct-nhwc"
        few_pixels, few_channels = ((8, 2, 2, 64), (3, 3, 64, 64)), ((8, 32, 32, 3), (4, 4, 3, 64))
        assert chosen(*few_pixels, padding=1, layout="NHWC") == ("direct-nhwc",) * 3
        assert chosen(*few_channels, stride=2, padding=1, layout="NHWC")[2] == "direct-nhwc"


@needs_native
def test_precision_has_a_say_and_dtype_has_none() -> None:
    shapes = (2, 64, 32, 32), (64, 64, 3, 3)
    with fastdl.use(backend="native", precision="strict"):
        assert "winograd" not in chosen(*shapes)
    with fastdl.use(backend="native"):
        assert chosen(*shapes, dtype="float64") == chosen(*shapes) == ("winograd",) * 3


@needs_native
def test_transposed_convolution_goes_forward_as_the_other_comes_back() -> None:
    with fastdl.use(backend="native"):
        forward, dx, _ = chosen((2, 16, 9, 9), (16, 64, 1, 1), op="conv_transpose2d", layout="NCHW")
        plan = conv_plan("conv2d", (2, 64, 9, 9), (16, 64, 1, 1), None, 2, 1, 0, 1, 1, "NCHW")
        ops = backends.select("native")
        assert forward == ops.conv_algorithm("conv_dx", plan, np.dtype("f"))
        assert dx == ops.conv_algorithm("conv_fwd", plan, np.dtype("f"))


@pytest.mark.parametrize("engine", ["naive", *FAST_ENGINES])
def test_every_answer_is_among_those_that_info_lists(engine: str) -> None:
    with fastdl.use(backend=engine):
        listed = fastdl.info()["algorithms"].split(", ")
        assert set(listed) <= set(CONV_ALGORITHMS)
        assert set(chosen((1, 3, 6, 6), (2, 3, 3, 3))) <= set(listed)


def test_plans_are_equal_whoever_computes_them() -> None:
    _, ctx = F.conv2d_forward(np.zeros((1, 1, 4, 4), "f"), np.zeros((1, 1, 3, 3), "f"))
    plan = conv_plan("conv2d", (1, 1, 4, 4), (1, 1, 3, 3), None, 2, 1, 0, 1, 1, "NCHW")
    assert not plan.algorithm
    assert ctx.plan == plan
