"""The plans of normalisation: what is checked of a call, and how its array is seen.

A part of `shapes`, and of its design.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from .checks import Shape, axis_index, check_bytes, integer, is_sequence, number, one_of
from .geometry import LAYOUTS, channel_axis
from .shapes import _cached


@dataclass(frozen=True, slots=True)
class NormPlan:
    """One normalisation: x seen as (blocks, outer, groups, channels, inner).

    A mean and a variance belong to each block and group, and are those of its `outer`, `channels` and
    `inner`; a gamma and a beta belong to each group and channel. With S for the product of the spatial sizes:

    ==========  ===================  ===================
    of          channels first       channels last
    ==========  ===================  ===================
    batch       (1, N, C, 1, S)      (1, N·S, C, 1, 1)
    layer       (rows, 1, 1, n, 1)   the same
    instance    (N, 1, C, 1, S)      (N, S, C, 1, 1)
    group       (N, 1, G, C/G, S)    (N, S, G, C/G, 1)
    ==========  ===================  ===================
    """

    shape: Shape
    blocks: int
    outer: int
    groups: int
    channels: int
    inner: int
    eps: float
    affine_shape: Shape  # of gamma and beta
    fixed: bool = False  # mean and variance are given, and no functions of x
    split: tuple[int, int, int, int, int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Keep the five sizes x is seen with, which each call of an engine asks for."""
        sizes = (self.blocks, self.outer, self.groups, self.channels, self.inner)
        object.__setattr__(self, "split", sizes)


@_cached
def batch_norm_plan(
    op: str,
    x_shape: Shape,
    gamma_shape: Shape | None,
    beta_shape: Shape | None,
    mean_shape: Shape | None,
    var_shape: Shape | None,
    training: bool,
    eps: float,
    axis: int,
) -> NormPlan:
    """Plan the normalisation of each channel over everything else; `mean_shape` counts when not training."""
    index = axis_index(op, axis, x_shape)
    channels = x_shape[index]
    outer, inner = math.prod(x_shape[:index]), math.prod(x_shape[index + 1 :])
    each = f"one entry a channel (axis {axis} of {x_shape})"
    _check_affine(op, gamma_shape, beta_shape, (channels,), each)
    if training and outer * inner == 1:
        raise ValueError(
            f"{op}: training needs more than one value a channel, since one has no variance; x is {x_shape}"
        )
    if not training:
        for name, shape in (("running_mean", mean_shape), ("running_var", var_shape)):
            if shape != (channels,):
                came = "None" if shape is None else str(shape)
                raise ValueError(f"{op}: {name} must have shape ({channels},), {each}; got {came}")
    check_bytes(op, "x", x_shape)
    eps = number(op, "eps", eps)
    return NormPlan(x_shape, 1, outer, channels, 1, inner, eps, (channels,), fixed=not training)


@_cached
def layer_norm_plan(
    op: str, x_shape: Shape, gamma_shape: Shape | None, beta_shape: Shape | None, axes: int, eps: float
) -> NormPlan:
    """Plan the normalisation of each row, which is the last `axes` axes of x."""
    rows, row = x_shape[: len(x_shape) - axes], x_shape[len(x_shape) - axes :]
    _check_affine(op, gamma_shape, beta_shape, row, "the sizes of the axes that are normalised")
    check_bytes(op, "x", x_shape)
    eps = number(op, "eps", eps)
    return NormPlan(x_shape, math.prod(rows), 1, 1, math.prod(row), 1, eps, row)


@_cached
def group_norm_plan(
    op: str,
    x_shape: Shape,
    gamma_shape: Shape | None,
    beta_shape: Shape | None,
    groups: int | None,
    eps: float,
    layout: str,
) -> NormPlan:
    """Plan the normalisation of each sample's groups of channels; None makes each channel a group."""
    one_of(op, "layout", layout, LAYOUTS)
    if len(x_shape) < 2:
        raise ValueError(f"{op}: x must have a batch and channels, at least (N, C); got shape {x_shape}")
    axis = channel_axis(x_shape, layout)
    channels = x_shape[axis]
    groups = channels if groups is None else integer(op, "groups", groups)
    if channels % max(groups, 1):
        raise ValueError(
            f"{op}: groups must divide the channels; x has {channels} (axis {axis} of {x_shape}) "
            f"and groups is {groups}"
        )
    each = f"one entry a channel (axis {axis} of {x_shape})"
    _check_affine(op, gamma_shape, beta_shape, (channels,), each)
    check_bytes(op, "x", x_shape)
    outer, inner = math.prod(x_shape[1:axis]), math.prod(x_shape[axis + 1 :])
    split = (x_shape[0], outer, groups, channels // max(groups, 1), inner)
    return NormPlan(x_shape, *split, number(op, "eps", eps), (channels,))


@_cached
def normalised_axes(op: str, axis: Any, x_shape: Shape) -> Shape:
    """Return `axis`, one int or several, as ascending axes counted from the front."""
    axes = tuple(sorted(axis_index(op, a, x_shape) for a in (axis if is_sequence(axis) else (axis,))))
    if not axes or len(set(axes)) < len(axes):
        raise ValueError(f"{op}: axis must name one or several axes, each once; got {axis!r}")
    return axes


def _check_affine(op: str, gamma: Shape | None, beta: Shape | None, expected: Shape, meaning: str) -> None:
    for name, shape in (("gamma", gamma), ("beta", beta)):
        if shape is not None and shape != expected:
            raise ValueError(f"{op}: {name} must have shape {expected}, {meaning}; got {shape}")
