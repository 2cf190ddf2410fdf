"""Every argument check and every size computation, turned into frozen plans.

# Design: a plan is made once a signature (shapes and arguments) and cached, so a repeated call
# costs one dictionary look-up. It holds Python integers only: nothing can overflow here, and what
# would overflow later is refused here, before any array exists. Kernels trust a plan and check
# nothing. One- and two-dimensional calls are three-dimensional ones with leading axes of size 1, so
# there is one convolution and one pooling to write. Arguments stand in the order of the public
# functions, and messages speak of the person's own call.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache, wraps
from itertools import chain
from typing import TYPE_CHECKING, Any, NoReturn, TypeAlias, TypeVar

from .checks import Ints, Padding, Shape, axis_index, check_bytes, integer, per_axis, shape
from .geometry import Triple, channel_axis, join_x, pads, reach, split_w, split_x, triple, windows

if TYPE_CHECKING:
    import numpy as np

REDUCTIONS = ("mean", "sum", "none")

# What an activation's derivative is computed from: its output "y", its input "x", or nothing.
ACTIVATIONS = {
    "linear": "",
    "relu": "y",
    "leaky_relu": "y",
    "elu": "y",
    "selu": "y",
    "sigmoid": "y",
    "tanh": "y",
    "softplus": "y",
    "gelu": "x",
    "gelu_tanh": "x",
    "silu": "x",
}
# Keras's defaults for the slope or scale on the negative side.
DEFAULT_ALPHA = {"leaky_relu": 0.2, "elu": 1.0}

LOSSES = (
    "mean_squared_error",
    "mean_absolute_error",
    "huber",
    "hinge",
    "binary_cross_entropy",
    "binary_cross_entropy_logits",
    "kl_divergence",
    "log_cosh",
    "squared_hinge",
    "poisson",
)

UPDATES = ("sgd", "momentum", "nesterov", "adagrad", "adadelta", "rmsprop", "adam")
# A parameter, its gradient, what is remembered beside it, and the rows that the gradient is of, or None.
Updated: TypeAlias = "tuple[np.ndarray, np.ndarray, Sequence[np.ndarray], np.ndarray | None]"
CONV_ALGORITHMS = ("none", "direct", "direct-nhwc", "depthwise", "winograd", "im2col", "gemm")

_Plan = TypeVar("_Plan")


@dataclass(frozen=True, slots=True)
class ConvPlan:
    """One convolution: y = x ⋆ w. A transposed one holds the convolution it is the adjoint of.

    The tuples of three are (D, H, W); the shapes are the person's, with ``ndim + 2`` axes. ``ctx.plan`` alone
    has algorithms: the engine's choice, for the call itself and for its gradients.
    """

    ndim: int
    layout: str
    batch: int
    in_channels: int
    out_channels: int
    groups: int
    in_size: Triple
    kernel: Triple
    stride: Triple
    dilation: Triple
    pad_before: Triple
    pad_after: Triple
    out_size: Triple
    x_shape: Shape
    w_shape: Shape
    y_shape: Shape
    algorithm: str = field(default="", compare=False)
    dx_algorithm: str = field(default="", compare=False)
    dw_algorithm: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class PoolPlan:
    """One max or average pooling. The overhang of ``ceil_mode`` is not part of ``pad_after``."""

    ndim: int
    layout: str
    batch: int
    channels: int
    in_size: Triple
    size: Triple
    stride: Triple
    pad_before: Triple
    pad_after: Triple
    out_size: Triple
    count_include_pad: bool
    x_shape: Shape
    y_shape: Shape
    sizes: Shape = field(init=False, repr=False, compare=False)  # as fd_pool of csrc/fastdl.h has them

    def __post_init__(self) -> None:
        spatial = (self.in_size, self.size, self.stride, self.pad_before, self.pad_after, self.out_size)
        flags = (self.layout == "NHWC", self.count_include_pad)
        sizes = (self.batch, self.channels, *chain(*spatial), *map(int, flags))
        object.__setattr__(self, "sizes", sizes)


@dataclass(frozen=True, slots=True)
class LinearPlan:
    """One matrix product: (rows, in_features) times (in_features, out_features)."""

    rows: int
    in_features: int
    out_features: int
    x_shape: Shape
    y_shape: Shape


@dataclass(frozen=True, slots=True)
class AxisPlan:
    """One axis singled out: `split` is (outer, size, inner), the shape with the other axes merged."""

    shape: Shape
    size: int
    split: Triple


def _cached(make: Callable[..., _Plan]) -> Callable[..., _Plan]:
    """Cache plans by signature; lists, which have no hash, are planned anew each time."""
    remembered = lru_cache(maxsize=1024, typed=True)(make)

    @wraps(make)
    def plan(*args: Any, **kwargs: Any) -> _Plan:
        try:
            return remembered(*args, **kwargs) if kwargs else remembered(*args)
        except TypeError:
            pass  # no hash, or an argument of a wrong type, which `make` will name
        return make(*args, **kwargs)

    return plan


@_cached
def conv_plan(
    op: str,
    x_shape: Shape,
    w_shape: Shape,
    b_shape: Shape | None,
    ndim: int,
    stride: Ints = 1,
    padding: Padding = 0,
    dilation: Ints = 1,
    groups: int = 1,
    layout: str = "NCHW",
) -> ConvPlan:
    """Plan a convolution of x (N, C, *spatial) with w (O, C / groups, *kernel).

    Raises
    ------
    ValueError, TypeError
        Naming `op`, the argument, what was expected and what came.
    """
    batch, channels, in_size = split_x(op, x_shape, ndim, layout)
    out_channels, group_channels, kernel = split_w(op, w_shape, ndim, layout, "OI")
    stride = per_axis(op, "stride", stride, ndim)
    dilation = per_axis(op, "dilation", dilation, ndim)
    groups = integer(op, "groups", groups)
    _check_groups(op, "x", channels, x_shape, groups)
    if channels != group_channels * groups:
        _refuse_channels(op, channels, x_shape, layout, group_channels * groups, w_shape, groups)
    _check_groups(op, "w (output)", out_channels, w_shape, groups)
    _check_bias(op, b_shape, out_channels)

    extent = reach(kernel, dilation)
    before, after = pads(op, padding, in_size, extent, stride)
    out_size = windows(op, "kernel", x_shape, in_size, extent, stride, before, after)
    y_shape = join_x(batch, out_channels, out_size, layout)
    check_bytes(op, "x", x_shape)
    check_bytes(op, "the output", y_shape)
    return ConvPlan(
        ndim=ndim,
        layout=layout,
        batch=batch,
        in_channels=channels,
        out_channels=out_channels,
        groups=groups,
        in_size=triple(in_size, 1),
        kernel=triple(kernel, 1),
        stride=triple(stride, 1),
        dilation=triple(dilation, 1),
        pad_before=triple(before, 0),
        pad_after=triple(after, 0),
        out_size=triple(out_size, 1),
        x_shape=x_shape,
        w_shape=w_shape,
        y_shape=y_shape,
    )


@_cached
def conv_transpose_plan(
    op: str,
    x_shape: Shape,
    w_shape: Shape,
    b_shape: Shape | None,
    ndim: int,
    stride: Ints = 1,
    padding: Padding = 0,
    output_padding: Ints = 0,
    dilation: Ints = 1,
    groups: int = 1,
    layout: str = "NCHW",
) -> ConvPlan:
    """Plan the convolution whose adjoint takes x (N, I, *spatial) with w (I, O / groups, *kernel).

    In the plan that comes back x and y have changed places: its ``y_shape`` is the shape of the
    person's x, its ``x_shape`` the shape of their output, and their w already is its w.
    """
    batch, channels, size = split_x(op, x_shape, ndim, layout)
    w_channels, group_channels, kernel = split_w(op, w_shape, ndim, layout, "IO")
    stride = per_axis(op, "stride", stride, ndim)
    dilation = per_axis(op, "dilation", dilation, ndim)
    output_padding = per_axis(op, "output_padding", output_padding, ndim, minimum=0)
    groups = integer(op, "groups", groups)
    _check_groups(op, "x", channels, x_shape, groups)
    if channels != w_channels:
        _refuse_channels(op, channels, x_shape, layout, w_channels, w_shape)
    out_channels = group_channels * groups
    _check_bias(op, b_shape, out_channels)

    extent = reach(kernel, dilation)
    if padding == "same":
        if any(output_padding):
            raise ValueError(
                f"{op}: padding='same' fixes the output size, so output_padding must be 0; "
                f"got {output_padding}"
            )
        out_size = tuple(n * s for n, s in zip(size, stride))
        before, after = pads(op, padding, out_size, extent, stride)
    else:
        for extra, s, d in zip(output_padding, stride, dilation):
            if extra >= max(s, d):
                raise ValueError(
                    f"{op}: output_padding must be smaller than stride or dilation; "
                    f"got output_padding {output_padding}, stride {stride}, dilation {dilation}"
                )
        before, after = pads(op, padding, size, extent, stride)
        out_size = tuple(
            (n - 1) * s + e + extra - lo - hi
            for n, s, e, extra, lo, hi in zip(size, stride, extent, output_padding, before, after)
        )
        if min(out_size) < 1:
            raise ValueError(
                f"{op}: padding {padding!r} crops the whole output: its size would be {out_size} "
                f"(x is {x_shape}, the kernel {kernel})"
            )
    full_shape = join_x(batch, out_channels, out_size, layout)
    check_bytes(op, "x", x_shape)
    check_bytes(op, "the output", full_shape)
    return ConvPlan(
        ndim=ndim,
        layout=layout,
        batch=batch,
        in_channels=out_channels,
        out_channels=channels,
        groups=groups,
        in_size=triple(out_size, 1),
        kernel=triple(kernel, 1),
        stride=triple(stride, 1),
        dilation=triple(dilation, 1),
        pad_before=triple(before, 0),
        pad_after=triple(after, 0),
        out_size=triple(size, 1),
        x_shape=full_shape,
        w_shape=w_shape,
        y_shape=x_shape,
    )


@_cached
def im2col_plan(
    op: str,
    x_shape: Shape,
    size: Ints,
    *,
    stride: Ints = 1,
    padding: Padding = 0,
    dilation: Ints = 1,
    layout: str = "NCHW",
) -> ConvPlan:
    """Plan the patches of x (N, C, H, W) as the inputs of a convolution with one output channel."""
    x_shape = shape(op, "x_shape", x_shape)
    _, channels, _ = split_x(op, x_shape, 2, layout)
    kernel = per_axis(op, "size", size, 2)
    w_shape = (1, channels, *kernel) if layout == "NCHW" else (*kernel, channels, 1)
    plan = conv_plan(
        op, x_shape, w_shape, None, ndim=2, stride=stride, padding=padding, dilation=dilation, layout=layout
    )
    check_bytes(op, "the column matrix", columns_shape(plan))
    return plan


def columns_shape(plan: ConvPlan) -> tuple[int, int]:
    """Shape of the matrix of patches: one row an output position, one column a kernel entry."""
    return plan.batch * math.prod(plan.out_size), plan.in_channels * math.prod(plan.kernel)


@_cached
def pool_plan(
    op: str,
    x_shape: Shape,
    size: Ints,
    ndim: int,
    stride: Ints | None = None,
    padding: Padding = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = False,
    layout: str = "NCHW",
) -> PoolPlan:
    """Plan a pooling of x (N, C, *spatial) in windows of `size`.

    The padding must be smaller than the window; then every window holds at least one real cell.
    """
    batch, channels, in_size = split_x(op, x_shape, ndim, layout)
    size = per_axis(op, "size", size, ndim)
    stride = size if stride is None else per_axis(op, "stride", stride, ndim)
    before, after = pads(op, padding, in_size, size, stride)
    if any(max(lo, hi) >= k for lo, hi, k in zip(before, after, size)):
        raise ValueError(
            f"{op}: padding must be smaller than the window; got padding {padding!r}, size {size}"
        )
    out_size = windows(op, "window", x_shape, in_size, size, stride, before, after, ceil_mode=bool(ceil_mode))
    y_shape = join_x(batch, channels, out_size, layout)
    check_bytes(op, "x", x_shape)
    check_bytes(op, "the output", y_shape)
    return PoolPlan(
        ndim=ndim,
        layout=layout,
        batch=batch,
        channels=channels,
        in_size=triple(in_size, 1),
        size=triple(size, 1),
        stride=triple(stride, 1),
        pad_before=triple(before, 0),
        pad_after=triple(after, 0),
        out_size=triple(out_size, 1),
        count_include_pad=bool(count_include_pad),
        x_shape=x_shape,
        y_shape=y_shape,
    )


@_cached
def linear_plan(op: str, x_shape: Shape, w_shape: Shape, b_shape: Shape | None) -> LinearPlan:
    """Plan y = x·w + b for x (..., I), w (I, O), b (O,)."""
    if len(x_shape) < 1:
        raise ValueError(f"{op}: x must be (..., in_features); got a scalar")
    if len(w_shape) != 2:
        raise ValueError(f"{op}: w must be (in_features, out_features); got shape {w_shape}")
    in_features, out_features = w_shape
    if x_shape[-1] != in_features:
        raise ValueError(
            f"{op}: x has {x_shape[-1]} features (last axis of {x_shape}) "
            f"but w expects {in_features} (w is {w_shape})"
        )
    if b_shape is not None and b_shape != (out_features,):
        raise ValueError(f"{op}: b must have shape ({out_features},), one entry an output; got {b_shape}")
    y_shape = (*x_shape[:-1], out_features)
    check_bytes(op, "x", x_shape)
    check_bytes(op, "the output", y_shape)
    return LinearPlan(
        rows=math.prod(x_shape[:-1]),
        in_features=in_features,
        out_features=out_features,
        x_shape=x_shape,
        y_shape=y_shape,
    )


@_cached
def axis_plan(op: str, x_shape: Shape, axis: int) -> AxisPlan:
    """Plan an operation along one axis of x, or with one parameter an entry of that axis."""
    index = axis_index(op, axis, x_shape)
    size = x_shape[index]
    check_bytes(op, "x", x_shape)
    return AxisPlan(
        shape=x_shape,
        size=size,
        split=(math.prod(x_shape[:index]), size, math.prod(x_shape[index + 1 :])),
    )


def _check_groups(op: str, name: str, channels: int, of: Shape, groups: int) -> None:
    if channels % groups:
        raise ValueError(
            f"{op}: groups must divide the channels; {name} has {channels} in {of} and groups is {groups}"
        )


def _check_bias(op: str, b_shape: Shape | None, channels: int) -> None:
    if b_shape is not None and b_shape != (channels,):
        raise ValueError(f"{op}: b must have shape ({channels},), one entry an output channel; got {b_shape}")


def _refuse_channels(
    op: str, channels: int, x_shape: Shape, layout: str, expected: int, w_shape: Shape, groups: int = 1
) -> NoReturn:
    grouped = f" and groups is {groups}" if groups > 1 else ""
    raise ValueError(
        f"{op}: x has {channels} channels (axis {channel_axis(x_shape, layout)} of {x_shape}) "
        f"but w expects {expected} (w is {w_shape}{grouped})"
    )
