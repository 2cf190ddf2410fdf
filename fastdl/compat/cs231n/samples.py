"""Small inputs for trials: a few windows, images and filters, which loops get through in a millisecond.

Some inputs are also made harder than the first real one may be: with equal maxima, scores far apart, a
regularisation that is not zero; so that what another author does differently shows.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .arrays import Array

__all__ = [
    "conv_backward",
    "conv_forward",
    "linear_loss",
    "pool_backward",
    "pool_forward",
    "queries",
    "rule",
    "scores",
    "sequence_scores",
    "tied",
    "tied_backward",
]

_WINDOWS = 3  # an axis
_IMAGES, _FILTERS = 2, 3
_ROWS = 8
_ELEMENTS = 1 << 16
_FAR = 2000.0  # beyond it exp(-x) is 0 in float64


def conv_forward(arguments: dict[str, Any]) -> float:
    """Take a few images, filters and windows of a convolution's x, w, b and conv_param."""
    x, w, b, conv_param = (arguments[name] for name in ("x", "w", "b", "conv_param"))
    stride, pad = conv_param["stride"], conv_param["pad"]
    sizes = [_size(n, tap, stride, pad) for n, tap in zip(x.shape[2:], w.shape[2:])]
    (high, _), (wide, _) = sizes
    arguments.update(x=x[:_IMAGES, :, :high, :wide], w=w[:_FILTERS], b=b[:_FILTERS])
    return _share(x, _IMAGES) * _share(w, _FILTERS) * sizes[0][1] * sizes[1][1]


def conv_backward(arguments: dict[str, Any]) -> float:
    """Take the same of dout and of a cache that is (x, w, b, conv_param); another one is taken whole."""
    dout, cache = arguments["dout"], arguments["cache"]
    if len(cache) != 4:
        return 1.0
    inner = dict(zip(("x", "w", "b", "conv_param"), cache))
    share = conv_forward(inner)
    x, w, b, conv_param = inner.values()
    arguments["cache"] = (x, w, b, conv_param)
    high, wide = (
        (n + 2 * conv_param["pad"] - tap) // conv_param["stride"] + 1
        for n, tap in zip(x.shape[2:], w.shape[2:])
    )
    arguments["dout"] = dout[:_IMAGES, :_FILTERS, :high, :wide]
    return share


def pool_forward(arguments: dict[str, Any]) -> float:
    """Take a few windows of each image's corner, and a few images and channels where there are many."""
    x, pool_param = arguments["x"], arguments["pool_param"]
    taps = pool_param["pool_height"], pool_param["pool_width"]
    (high, down), (wide, right) = (
        _size(n, tap, pool_param["stride"], 0) for n, tap in zip(x.shape[2:], taps)
    )
    arguments["x"] = x[:, :, :high, :wide]
    return down * right


def pool_backward(arguments: dict[str, Any]) -> float:
    """Take the same of dout and of a cache that is (x, pool_param); another one is taken whole."""
    dout, cache = arguments["dout"], arguments["cache"]
    if len(cache) != 2:
        return 1.0
    x, pool_param = cache
    inner = {"x": x, "pool_param": pool_param}
    share = pool_forward(inner)
    arguments["cache"] = (inner["x"], pool_param)
    arguments["dout"] = dout[:, :, : min(_WINDOWS, dout.shape[2]), : min(_WINDOWS, dout.shape[3])]
    return share


def _size(n: int, tap: int, stride: int, pad: int) -> tuple[int, float]:
    """Return how long an axis is that has a few windows, and the share of all windows that it has."""
    windows = (n + 2 * pad - tap) // stride + 1
    kept = min(_WINDOWS, windows)
    while kept < windows and tap + stride * (kept - 1) - 2 * pad < 1:
        kept += 1
    return (n, 1.0) if kept == windows else (tap + stride * (kept - 1) - 2 * pad, kept / windows)


def _share(array: Array, kept: int) -> float:
    return min(kept, len(array)) / max(len(array), 1)


def tied(arguments: dict[str, Any]) -> float:
    """Make every other column of half of x the copy of its neighbour, so that windows have equal maxima."""
    x = arguments["x"]
    rows = _some_rows(x)
    arguments["x"] = _with_ties(x[:rows])
    return _share(x, rows)


def tied_backward(arguments: dict[str, Any]) -> float:
    """Do the same to a cache of `max_pool_forward_reshape`."""
    x, blocks, _ = arguments["cache"]
    inner = {"x": x}
    share = tied(inner)
    kept = inner["x"]
    blocks = kept.reshape(len(kept), *blocks.shape[1:])
    arguments["cache"] = (kept, blocks, blocks.max(axis=3).max(axis=4))
    arguments["dout"] = arguments["dout"][: len(kept)]
    return share


def _with_ties(x: Array) -> Array:
    x = np.array(x, order="C")
    pairs = x.shape[3] // 2 * 2
    half = x.shape[2] // 2
    x[:, :, :half, 1:pairs:2] = x[:, :, :half, 0:pairs:2]
    return x


def _some_rows(x: Array) -> int:
    return max(1, min(len(x), _ELEMENTS * len(x) // max(x.size, 1)))


def scores(arguments: dict[str, Any]) -> float:
    """Take some rows of x (N, C) and y, in one of which the right score is far below the others."""
    x, y = arguments["x"], arguments["y"]
    kept = min(len(x), 64)
    arguments.update(x=np.array(x[:kept]), y=y[:kept])
    arguments["x"][0, y[0]] -= _FAR
    return kept / len(x)


def sequence_scores(arguments: dict[str, Any]) -> float:
    """Take some sequences of x (N, T, V), y and mask, and make one score that counts as `scores` does."""
    x, y, mask = (arguments[name] for name in ("x", "y", "mask"))
    kept = min(len(x), _ROWS)
    arguments.update(x=np.array(x[:kept]), y=y[:kept], mask=np.array(mask[:kept]))
    arguments["x"][0, 0, y[0, 0]] -= _FAR
    arguments["mask"][0, 0] = 1
    return kept / len(x)


def linear_loss(arguments: dict[str, Any]) -> float:
    """Take some rows of X (N, D) and y, and regularise."""
    X = arguments["X"]
    arguments.update(X=X[:_ROWS], y=arguments["y"][:_ROWS], reg=arguments["reg"] or 0.375)
    return _share(X, _ROWS)


def queries(arguments: dict[str, Any], _: Any = None) -> float:
    """Take one row of X (N, D)."""
    X = arguments["X"]
    arguments["X"] = X[:1]
    return _share(X, 1)


def rule(arguments: dict[str, Any]) -> float:
    """Take some rows of w, dw and of what config remembers of them."""
    w, config = arguments["w"], arguments.get("config")
    rows = _some_rows(w)
    for holder in (arguments, config or {}):
        for name, value in holder.items():
            if getattr(value, "shape", None) == w.shape:
                holder[name] = value[:rows]
    return _share(w, rows)
