"""What the poolings share: one window that slides, or one that covers everything."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ..backends import Ops
from ..checks import Ints, Padding, Shape
from ..shapes import PoolPlan, pool_plan
from ._arrays import Array, canonical, check_ctx, engine, floats, gradient, restored, shaped

if TYPE_CHECKING:
    from numpy.typing import ArrayLike


class PoolCall(NamedTuple):
    """One call whose arguments are checked."""

    op: str
    ops: Ops
    plan: PoolPlan
    dtype: np.dtype[Any]
    y_shape: Shape  # the plan's, or (N, C) when pooling globally


@dataclass(slots=True)
class PoolContext:
    """What a backward needs of its forward: the call, and for a maximum which cell it came from."""

    call: PoolCall
    index: Array | None = None

    @property
    def op(self) -> str:
        return self.call.op

    @property
    def ops(self) -> Ops:
        return self.call.ops

    @property
    def plan(self) -> PoolPlan:
        return self.call.plan


def window(
    op: str,
    ndim: int,
    x: Any,
    size: Ints,
    stride: Ints | None = None,
    padding: Padding = 0,
    ceil_mode: bool = False,
    layout: str = "NCHW",
    count_include_pad: bool = False,
) -> tuple[Array, PoolPlan, np.dtype[Any], Shape]:
    """Check a pooling in windows; return x, canonical, the plan, the dtype of y and its shape."""
    (x,), dtype, ready = floats(op, "x", x)
    plan = pool_plan(op, x.shape, size, ndim, stride, padding, ceil_mode, count_include_pad, layout)
    if not ready:
        (x,) = canonical((x,), dtype)
    return x, plan, dtype, plan.y_shape


def global_window(op: str, ndim: int, x: Any, layout: str) -> tuple[Array, PoolPlan, np.dtype[Any], Shape]:
    """Check a pooling in one window as large as x; return what `window` does."""
    (x,), dtype, ready = floats(op, "x", x)
    size = x.shape[1:-1] if layout == "NHWC" else x.shape[2:]
    plan = pool_plan(op, x.shape, size, ndim, None, 0, False, False, layout)
    if not ready:
        (x,) = canonical((x,), dtype)
    return x, plan, dtype, (plan.batch, plan.channels)


def maximum(x: Array, plan: PoolPlan, dtype: np.dtype[Any], y_shape: Shape) -> Array:
    """Compute the largest values and keep nothing."""
    y, _ = engine().maxpool_fwd(x, plan, False)
    return restored(shaped(y, y_shape), dtype)


def maximum_and_ctx(
    op: str, x: Array, plan: PoolPlan, dtype: np.dtype[Any], y_shape: Shape
) -> tuple[Array, PoolContext]:
    """Compute the largest values, and keep where they were."""
    ops = engine()
    y, index = ops.maxpool_fwd(x, plan)
    return restored(shaped(y, y_shape), dtype), PoolContext(PoolCall(op, ops, plan, dtype, y_shape), index)


def maximum_gate_and_ctx(
    op: str, x: Array, plan: PoolPlan, dtype: np.dtype[Any], y_shape: Shape
) -> tuple[Array, Array, PoolContext]:
    """Compute the largest values and where x is at most 0, and keep where the largest were."""
    ops = engine()
    y, index, closed = ops.maxpool_gated(x, plan)
    ctx = PoolContext(PoolCall(op, ops, plan, dtype, y_shape), index)
    return restored(shaped(y, y_shape), dtype), closed, ctx


def average(x: Array, plan: PoolPlan, dtype: np.dtype[Any], y_shape: Shape) -> Array:
    """Compute the means."""
    return restored(shaped(engine().avgpool_fwd(x, plan), y_shape), dtype)


def average_and_ctx(
    op: str, x: Array, plan: PoolPlan, dtype: np.dtype[Any], y_shape: Shape
) -> tuple[Array, PoolContext]:
    """Compute the means; their gradient needs the call alone."""
    return average(x, plan, dtype, y_shape), PoolContext(PoolCall(op, engine(), plan, dtype, y_shape))


def gradient_of_pool(op: str, dy: ArrayLike, ctx: PoolContext) -> Array:
    """Return dx: each dy goes to the cell it came from, or in equal parts to its window."""
    check_ctx(op, ctx)
    call, plan = ctx.call, ctx.plan
    dy = gradient(op, dy, call.y_shape, call.dtype).reshape(plan.y_shape)
    if ctx.index is None:
        return restored(call.ops.avgpool_bwd(dy, plan), call.dtype)
    return restored(call.ops.maxpool_bwd(dy, ctx.index, plan), call.dtype)
