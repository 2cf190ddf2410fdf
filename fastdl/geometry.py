"""The arithmetic of windows that slide over an array: axes, pads, strides and counts.

The part of `shapes` that knows no operation. Sizes here are those of the person's call, one an axis.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

from .checks import Padding, Shape, is_sequence, one_of, per_axis

Triple: TypeAlias = tuple[int, int, int]

LAYOUTS = ("NCHW", "NHWC")


def split_x(op: str, x_shape: Shape, ndim: int, layout: str) -> tuple[int, int, Shape]:
    """Take a shape apart into batch, channels and spatial sizes."""
    one_of(op, "layout", layout, LAYOUTS)
    if len(x_shape) != ndim + 2:
        axes = "DHW"[3 - ndim :]
        axes = f"C{axes}" if layout == "NCHW" else f"{axes}C"
        raise ValueError(f"{op}: x must be (N, {', '.join(axes)}) for layout {layout!r}; got shape {x_shape}")
    spatial = x_shape[2:] if layout == "NCHW" else x_shape[1:-1]
    if 0 in spatial:
        raise ValueError(f"{op}: x has no positions to work on: a spatial size is 0 in {x_shape}")
    return x_shape[0], x_shape[channel_axis(x_shape, layout)], spatial


def channel_axis(x_shape: Shape, layout: str) -> int:
    """Which axis holds the channels."""
    return 1 if layout == "NCHW" else len(x_shape) - 1


def join_x(batch: int, channels: int, spatial: Sequence[int], layout: str) -> Shape:
    """Put a shape together again."""
    return (batch, channels, *spatial) if layout == "NCHW" else (batch, *spatial, channels)


def split_w(op: str, w_shape: Shape, ndim: int, layout: str, letters: str) -> tuple[int, int, Shape]:
    """Take the shape of a kernel apart into the sizes of its two channel axes and its extent.

    With channels first the axes are named by `letters`, with channels last by their reverse.
    """
    axes = "DHW"[3 - ndim :]
    first = layout == "NCHW"
    if len(w_shape) != ndim + 2:
        names = letters + axes if first else axes + letters[::-1]
        raise ValueError(f"{op}: w must be ({', '.join(names)}) for layout {layout!r}; got shape {w_shape}")
    kernel = w_shape[2:] if first else w_shape[:-2]
    if 0 in kernel:
        raise ValueError(f"{op}: w has a kernel of size 0: {w_shape}")
    return (w_shape[0], w_shape[1], kernel) if first else (w_shape[-1], w_shape[-2], kernel)


def reach(kernel: Shape, dilation: Shape) -> Shape:
    """How far a kernel reaches: the cells between its first tap and its last, both counted."""
    return tuple((k - 1) * d + 1 for k, d in zip(kernel, dilation))


def pads(op: str, padding: Padding, in_size: Shape, extent: Shape, stride: Shape) -> tuple[Shape, Shape]:
    """Return the pads before and after each axis.

    "same" is TensorFlow's rule: as many windows as strides begin in the input, the odd pad last.
    """
    ndim = len(in_size)
    if isinstance(padding, str):
        one_of(op, "padding", padding, ("same", "valid"))
        if padding == "valid":
            return (0,) * ndim, (0,) * ndim
        total = [max((-(-n // s) - 1) * s + e - n, 0) for n, e, s in zip(in_size, extent, stride)]
        return tuple(t // 2 for t in total), tuple(t - t // 2 for t in total)
    entries: Any = padding if is_sequence(padding) else (padding,) * ndim
    if len(entries) != ndim or any(is_sequence(entry) and len(entry) != 2 for entry in entries):
        raise ValueError(
            f"{op}: padding must be an int, {ndim} ints, {ndim} (before, after) pairs, 'valid' or 'same'; "
            f"got {padding!r}"
        )
    pairs = [per_axis(op, "padding", entry, 2, minimum=0) for entry in entries]
    return tuple(lo for lo, _ in pairs), tuple(hi for _, hi in pairs)


def windows(
    op: str,
    what: str,
    x_shape: Shape,
    in_size: Shape,
    extent: Shape,
    stride: Shape,
    before: Shape,
    after: Shape,
    *,
    ceil_mode: bool = False,
) -> Shape:
    """Count the windows along each axis; with `ceil_mode` the last may overhang the padded input.

    An overhanging window is dropped when it would begin past the input, as PyTorch does.
    """
    counts = []
    for n, e, s, lo, hi in zip(in_size, extent, stride, before, after):
        room = n + lo + hi - e
        count = (room + (s - 1 if ceil_mode else 0)) // s + 1
        if ceil_mode and (count - 1) * s >= n + lo:
            count -= 1
        if count < 1:
            raise ValueError(
                f"{op}: the {what} reaches over {extent} cells but x has {in_size} (x is {x_shape}), "
                f"with padding {before} before and {after} after"
            )
        counts.append(count)
    return tuple(counts)


def triple(sizes: Sequence[int], fill: int) -> Triple:
    """Give one or two sizes the leading axes they lack."""
    d, h, w = (fill,) * (3 - len(sizes)) + tuple(sizes)
    return d, h, w
