"""The plan of an enlargement; see `shapes`."""

from __future__ import annotations

from dataclasses import dataclass

from .checks import Ints, Shape, check_bytes, one_of, per_axis
from .geometry import join_x, split_x
from .shapes import _cached

UPSAMPLE_MODES = ("nearest", "bilinear")


@dataclass(frozen=True, slots=True)
class UpsamplePlan:
    """One enlargement of the two spatial axes by whole factors."""

    layout: str
    batch: int
    channels: int
    in_size: tuple[int, int]
    scale: tuple[int, int]
    mode: str
    x_shape: Shape
    y_shape: Shape


@_cached
def upsample_plan(
    op: str, x_shape: Shape, scale: Ints, *, mode: str = "nearest", layout: str = "NCHW"
) -> UpsamplePlan:
    """Plan the enlargement of x (N, C, H, W) to (N, C, scale·H, scale·W)."""
    batch, channels, in_size = split_x(op, x_shape, 2, layout)
    scale = per_axis(op, "scale", scale, 2)
    one_of(op, "mode", mode, UPSAMPLE_MODES)
    y_shape = join_x(batch, channels, [n * s for n, s in zip(in_size, scale)], layout)
    check_bytes(op, "x", x_shape)
    check_bytes(op, "the output", y_shape)
    return UpsamplePlan(
        layout=layout,
        batch=batch,
        channels=channels,
        in_size=(in_size[0], in_size[1]),
        scale=(scale[0], scale[1]),
        mode=mode,
        x_shape=x_shape,
        y_shape=y_shape,
    )
