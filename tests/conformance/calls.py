"""One way to call any operation of `fastdl.functional` on channels-first arrays, in either layout.

ONNX and PyTorch are channels-first throughout. Running each of their cases in fastdl's channels-last
layout as well costs two transpositions and tests the other half of the kernels.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

import fastdl.functional as F

Array = np.ndarray
LAYOUTS = ("NCHW", "NHWC")
ROLES = ("x", "w", "b")


@dataclass(frozen=True)
class Result:
    """What one operation gave.

    Attributes
    ----------
    y : ndarray, (N, C, *out)
    back : callable
        ``back(dy)`` returns the gradients of x and of each weight, in the order of the arguments.
    taps : ndarray of int, (N, C, *out), or None
        Max-pooling only: the number of the winning element inside its window, row by row.
    """

    y: Array
    back: Callable[[Array], tuple[Array, ...]]
    taps: Array | None = None


def call(op: str, x: Array, *weights: Array | None, layout: str = "NCHW", **options: Any) -> Result:
    """Run ``F.<op>_forward`` and keep ``F.<op>_backward`` for later.

    Parameters
    ----------
    op : str
        A name in `fastdl.functional` that takes `layout`.
    x : ndarray, (N, C, *spatial)
    *weights : ndarray or None
        Kernel as OIHW (transposed convolution: IOHW) and bias.
    layout : {"NCHW", "NHWC"}
        The layout in which fastdl is called. Arrays given and returned stay channels-first.
    """
    enter, leave = (channels_last, channels_first) if layout == "NHWC" else (unchanged, unchanged)
    y, ctx = getattr(F, f"{op}_forward")(*map(enter, (x, *weights), ROLES), layout=layout, **options)

    def back(dy: Array) -> tuple[Array, ...]:
        grads = getattr(F, f"{op}_backward")(enter(dy, "x"), ctx)
        grads = grads if isinstance(grads, tuple) else (grads,)
        return tuple(map(leave, grads, ROLES))

    taps = getattr(ctx, "index", None)
    return Result(leave(y, "x"), back, None if taps is None else leave(taps, "x"))


def unchanged(a: Array | None, role: str) -> Array | None:
    """Leave an argument or a gradient as it is."""
    return a


def channels_last(a: Array | None, role: str) -> Array | None:
    """Turn x (N, C, *spatial) into (N, *spatial, C), and w (O, I, *size) into (*size, I, O)."""
    if a is None or a.ndim < 3 or role == "b":
        return a
    return np.moveaxis(a, 1, -1) if role == "x" else np.moveaxis(a, (0, 1), (-1, -2))


def channels_first(a: Array | None, role: str) -> Array | None:
    """Undo `channels_last`."""
    if a is None or a.ndim < 3 or role == "b":
        return a
    return np.moveaxis(a, -1, 1) if role == "x" else np.moveaxis(a, (-1, -2), (0, 1))
