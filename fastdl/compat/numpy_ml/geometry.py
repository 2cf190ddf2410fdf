"""Pads as numpy-ml counts them: numbers, tuples, "same" and "causal"."""

from __future__ import annotations

from typing import Any

from ..columns import Windows, windows
from ..tier import Unserved

__all__ = ["Four", "kernel_windows", "pads_1d", "pads_2d"]

Four = tuple[int, int, int, int]


def pads_2d(pad: Any, size: tuple[int, ...], kernel: tuple[int, ...], stride: Any, dilation: Any = 0) -> Four:
    """Return (top, bottom, left, right) for images of a size.

    "same" keeps the size for every stride; the odd zero goes to the end.
    """
    if isinstance(pad, str):
        if pad != "same":
            raise Unserved(f"pad={pad!r}")
        _whole(stride, dilation)
        return (*_same(size[0], kernel[0], stride, dilation), *_same(size[1], kernel[1], stride, dilation))
    if isinstance(pad, tuple):
        numbers = (pad[0], pad[0], pad[1], pad[1]) if len(pad) == 2 else pad
    else:
        numbers = (pad,) * 4
    _whole(*numbers)
    if len(numbers) != 4 or min(numbers) < 0:
        raise Unserved(f"pad={pad!r}")
    return numbers


def pads_1d(pad: Any, length: int, width: int, stride: Any, dilation: Any = 0) -> tuple[int, int]:
    """Return (before, after) for sequences of a length; "causal" puts all zeros before."""
    if isinstance(pad, str):
        if pad not in ("same", "causal"):
            raise Unserved(f"pad={pad!r}")
        _whole(stride, dilation)
        total = stride * (length - 1) + _reach(width, dilation) - length
        if min(total, stride - 1) < 0:
            raise Unserved(f"pad={pad!r} of {total}")
        return (total, 0) if pad == "causal" else _shared_out(total // 2, length, width, stride, dilation)
    numbers = pad if isinstance(pad, tuple) else (pad, pad)
    _whole(*numbers)
    if len(numbers) != 2 or min(numbers) < 0:
        raise Unserved(f"pad={pad!r}")
    return numbers


def kernel_windows(
    size: tuple[int, ...], kernel: tuple[int, ...], pads: Four, stride: Any, dilation: Any = 0
) -> Windows:
    """Return how a kernel slides over images; its taps are ``dilation + 1`` apart."""
    _whole(stride, dilation)
    return windows((size[0], size[1]), (kernel[0], kernel[1]), pads, stride, dilation + 1)


def _same(length: int, taps: int, stride: int, dilation: int) -> tuple[int, int]:
    total = stride * (length - 1) + _reach(taps, dilation) - length
    if min(total, stride - 1) < 0:
        raise Unserved("pads below zero")
    return _shared_out(total // 2, length, taps, stride, dilation)


def _shared_out(half: int, length: int, taps: int, stride: int, dilation: int) -> tuple[int, int]:
    """Return half of the zeros before and half after, and one more after if a window is missing."""
    missing = length - 1 - (length + 2 * half - _reach(taps, dilation)) // stride
    if missing not in (0, 1):
        raise Unserved("a padding that keeps no size")
    return half, half + missing


def _reach(taps: int, dilation: int) -> int:
    return taps * (dilation + 1) - dilation


def _whole(*numbers: Any) -> None:
    for number in numbers:
        if type(number) is not int:
            raise Unserved(f"{number!r} is no int")
