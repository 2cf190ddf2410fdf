"""Poolings that ONNX or PyTorch can ask for and one call of fastdl cannot express, built from several.

* dilation: on every d-th element of its input a dilated pooling is an ordinary one (`lattices`);
* padding as large as a window: it is written out (``-inf`` for a maximum, 0 for a mean);
* another divisor: the mean times the number of elements it was taken over, divided by the one asked for.

Only where the elements lie and how many there are is computed here. Every maximum and every sum is
fastdl's, and so is its gradient.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from .calls import Array, Result, call


@dataclass(frozen=True)
class Window:
    """The windows along one axis: output o reads ``o * stride + t * dilation - before`` for t < size."""

    length: int
    size: int
    stride: int
    dilation: int
    before: int
    after: int
    outputs: int

    @classmethod
    def place(
        cls, length: int, size: int, stride: int, dilation: int, before: int, after: int, ceil_mode: bool
    ) -> Window:
        """Count the windows as PyTorch and ONNX do: in ceil mode none may start in the padding behind."""
        room = length + before + after - dilation * (size - 1) - 1
        outputs = (-(-room // stride) if ceil_mode else room // stride) + 1
        if ceil_mode and (outputs - 1) * stride >= length + before:
            outputs -= 1
        return cls(length, size, stride, dilation, before, after, outputs)

    def positions(self) -> Array:
        """Return where every tap lies, (outputs, size); padding is outside ``range(length)``."""
        starts = np.arange(self.outputs) * self.stride - self.before
        return starts[:, None] + np.arange(self.size) * self.dilation

    def counts(self, include_padding: bool) -> Array:
        """Return how many taps of each output lie in the input, with or without its padding, (outputs,)."""
        low, high = (-self.before, self.length + self.after) if include_padding else (0, self.length)
        at = self.positions()
        return ((low <= at) & (at < high)).sum(axis=1)


def divisors(windows: Sequence[Window], include_padding: bool) -> Array:
    """Return the number of elements under each window of the whole pooling, of shape out."""
    return math.prod(np.ix_(*(w.counts(include_padding) for w in windows)))


def flat_indices(taps: Array, windows: Sequence[Window], strides: Sequence[int]) -> Array:
    """Turn tap numbers, (N, C, *out), into offsets of the winning elements inside one channel of the input.

    `strides` says how far apart neighbours along each spatial axis are: row-major or, in ONNX, column-major.
    """
    offsets = np.zeros(taps.shape, dtype=np.int64)
    per_axis = np.unravel_index(taps, [w.size for w in windows])
    for axis, (window, tap, stride) in enumerate(zip(windows, per_axis, strides)):
        start = np.arange(window.outputs) * window.stride - window.before
        start = start.reshape([-1 if axis == i else 1 for i in range(len(windows))])
        offsets += (start + tap * window.dilation) * stride
    return offsets


def lattices(windows: Sequence[Window]) -> Iterator[tuple[tuple, tuple, tuple[int, ...]]]:
    """Split a dilated pooling into ordinary ones; yield where each reads, where it writes, and its strides.

    Along an axis with stride s and dilation d, outputs j, j + p, j + 2p, ... with p = d / gcd(s, d) start a
    multiple of d apart. All their taps lie on every d-th element from ``j * s`` on, and there they are an
    undilated pooling with stride s / gcd(s, d).
    """
    per_axis = []
    for w in windows:
        common = math.gcd(w.stride, w.dilation)
        period, step = w.dilation // common, w.stride // common
        choices = []
        for j in range(min(period, w.outputs)):
            written = len(range(j, w.outputs, period))
            read = (written - 1) * step + w.size
            inside = slice(j * w.stride, j * w.stride + (read - 1) * w.dilation + 1, w.dilation)
            choices.append((inside, slice(j, None, period), step))
        per_axis.append(choices)
    for chosen in itertools.product(*per_axis):
        inside, outputs, steps = zip(*chosen)
        yield (..., *inside), (..., *outputs), steps


def lattice_pool(op: str, x: Array, windows: Sequence[Window], fill: float, layout: str) -> Result:
    """Pool with padding written out and dilation undone: `op` is ``max_pool<n>d`` or ``avg_pool<n>d``.

    A mean is taken over whole windows, `fill` included; see `rescaled` for other divisors.
    """
    # The last window decides how much is needed behind: less than the padding, or more in ceil mode.
    ends = [(w.outputs - 1) * w.stride + (w.size - 1) * w.dilation + 1 - w.before for w in windows]
    behind = [max(0, end - w.length) for end, w in zip(ends, windows)]
    widths = [(0, 0), (0, 0), *((w.before, extra) for w, extra in zip(windows, behind))]
    padded = np.pad(x, widths, constant_values=fill)
    size = tuple(w.size for w in windows)
    y = np.empty(x.shape[:2] + tuple(w.outputs for w in windows), dtype=x.dtype)
    taps = np.zeros(y.shape, dtype=np.int64)
    parts = []
    for inside, outputs, strides in lattices(windows):
        part = call(op, padded[inside], size=size, stride=strides, layout=layout)
        y[outputs] = part.y
        if part.taps is not None:  # a maximum
            taps[outputs] = part.taps
        parts.append((inside, outputs, part.back))

    def back(dy: Array) -> tuple[Array, ...]:
        dpadded = np.zeros_like(padded)
        for inside, outputs, part_back in parts:
            dpadded[inside] += part_back(dy[outputs])[0]
        crop = tuple(slice(w.before, w.before + w.length) for w in windows)
        return (dpadded[(..., *crop)],)

    return Result(y, back, taps if op.startswith("max") else None)


def rescaled(mean: Result, counted: Array | float, divisor: Array | float) -> Result:
    """Divide the sums behind a mean over `counted` elements by `divisor` instead."""
    factor = np.divide(counted, divisor, dtype=mean.y.dtype)
    return Result(mean.y * factor, lambda dy: mean.back(dy * factor))
