"""`Pool2D` of numpy-ml, in both tiers: its pads take part in the maximum, its result is always float64."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import fastdl.functional as F

from ..columns import Windows
from ..inputs import Array, plain
from ..tier import Unserved, narrow
from .geometry import kernel_windows, pads_2d
from .utils import pad2D

__all__ = ["ExactPool2D", "Pool2D"]

_BEGINNING = np.add.reduce(np.array([-0.0]))  # what a sum of NumPy begins with: 0.0 or -0.0
_IN_ONE_ROW = 8  # NumPy adds fewer values one after the other
_ONE_BUFFER = 128  # and more than these in halves

Pool = Callable[[str, Array, Windows], Array]
Spread = Callable[[str, Array, Array, Windows], Array]


class Pool2D:
    """Pooling by the kernels of `fastdl.functional`."""

    def forward(self, X: Any, retain_derived: bool = True) -> Array:
        """Return the largest or the mean value of each window, (N, OH, OW, C), in float64.

        Parameters
        ----------
        X : (N, H, W, C) array
        retain_derived : bool
            Whether `backward` is to know of it.
        """
        return _forward(self, X, retain_derived, _pooled)

    def backward(self, dLdY: Any, retain_grads: bool = True) -> Any:
        """Return the gradient with respect to each input since the gradients were last flushed.

        Parameters
        ----------
        dLdY : (N, OH, OW, C) array, or a list of them
        retain_grads : bool
            Of no consequence: there is nothing to train.
        """
        return _backward(self, dLdY, _spread)


class ExactPool2D:
    """Pooling by comparisons and sums in the order of the original."""

    def forward(self, X: Any, retain_derived: bool = True) -> Array:
        """Return what `Pool2D.forward` returns."""
        return _forward(self, X, retain_derived, _pooled_by_taps)

    def backward(self, dLdY: Any, retain_grads: bool = True) -> Any:
        """Return what `Pool2D.backward` returns."""
        return _backward(self, dLdY, _spread_by_taps)


# ---- what both tiers do around the arithmetic


def _forward(layer: Any, X: Any, retain_derived: bool, pool: Pool) -> Array:
    how = _windows(layer, plain(X, 4))
    if layer.is_initialized and layer.out_ch != X.shape[3]:
        raise Unserved(f"{X.shape[3]} channels after {layer.out_ch}")
    pooled = pool(layer.mode, pad2D(X, how.pads)[0] if any(how.pads) else X, how)
    if not layer.is_initialized:
        layer.in_ch = layer.out_ch = X.shape[3]
        layer._init_params()
    if retain_derived:
        layer.X.append(X)
        layer.derived_variables["out_rows"].append(np.intp(how.out[0]))
        layer.derived_variables["out_cols"].append(np.intp(how.out[1]))
    return pooled


def _backward(layer: Any, dLdY: Any, spread: Spread) -> Any:
    if not layer.trainable:
        raise Unserved("a frozen layer")
    kept = layer.derived_variables
    sizes = zip(kept["out_rows"], kept["out_cols"])
    gradients = dLdY if isinstance(dLdY, list) else [dLdY]
    found = [_input_gradient(layer, dy, X, out, spread) for X, dy, out in zip(layer.X, gradients, sizes)]
    return found[0] if len(layer.X) == 1 else found


def _input_gradient(layer: Any, dy: Any, X: Any, out: tuple[int, int], spread: Spread) -> Array:
    """Return the gradient with respect to one input: a view of that of the padded images."""
    how = _windows(layer, plain(X, 4, "f"))
    plain(dy, 4, "f")
    if how.out != out or dy.shape != (X.shape[0], *out, layer.out_ch) or X.shape[3] != layer.out_ch:
        raise Unserved(f"a gradient of shape {dy.shape} for images of {X.shape}")
    if layer.mode == "max" and any(how.pads):
        raise Unserved("the gradient of a padded maximum")
    top, _, left, _ = how.pads
    dX = spread(layer.mode, dy, X, how)
    return dX[:, top : top + X.shape[1], left : left + X.shape[2]]


def _windows(layer: Any, X: Array) -> Windows:
    if layer.mode not in ("max", "average") or X.dtype.kind == "b" or 0 in X.shape:
        raise Unserved(f"pooling of {X.dtype} by {layer.mode!r}")
    size, kernel = X.shape[1:3], layer.kernel_shape
    if len(kernel) != 2:
        raise Unserved(f"a kernel of {kernel}")
    return kernel_windows(size, kernel, pads_2d(layer.pad, size, kernel, layer.stride), layer.stride)


# ---- the fast tier


def _pooled(mode: str, padded: Array, how: Windows) -> Array:
    if mode == "max":
        y = F.max_pool2d(narrow(padded), how.kernel, stride=how.stride, layout="NHWC")
    elif padded.dtype == np.float32:
        y = _mean_of_windows(padded, how)
    else:
        y = F.avg_pool2d(narrow(padded), how.kernel, stride=how.stride, layout="NHWC")
    return y.astype(np.float64, copy=False)


def _spread(mode: str, dy: Array, X: Array, how: Windows) -> Array:
    if not np.isfinite(dy.sum()):
        return _spread_by_taps(mode, dy, X, how)
    dy = dy.astype(X.dtype, copy=False)
    if mode == "average":
        images = np.empty((X.shape[0], *how.padded, X.shape[3]), X.dtype)
        _, ctx = F.avg_pool2d_forward(images, how.kernel, stride=how.stride, layout="NHWC")
        return F.avg_pool2d_backward(dy, ctx)
    largest, found = F.max_pool2d_forward(X, how.kernel, stride=how.stride, layout="NHWC")
    if np.isnan(largest.max()):
        raise Unserved("a maximum that is not a number")
    return F.max_pool2d_backward(dy, found)


# ---- the exact tier


def _pooled_by_taps(mode: str, padded: Array, how: Windows) -> Array:
    if mode == "average":
        return _mean_of_windows(padded, how).astype(np.float64, copy=False)
    taps = _taps(padded, how)
    largest = np.array(taps[0], order="C")
    for tap in taps[1:]:
        np.maximum(largest, tap, out=largest)
    if not largest.all():  # of 0.0 and -0.0 NumPy takes the one or the other, by the length of the row
        largest = np.maximum.reduce(np.stack(taps, axis=-1), axis=-1)
    return largest.astype(np.float64, copy=False)


def _mean_of_windows(padded: Array, how: Windows) -> Array:
    """Return the mean of each window, with the bits of `numpy.mean` of that window."""
    count = how.kernel[0] * how.kernel[1]
    if count > _ONE_BUFFER:
        raise Unserved("a window whose values NumPy adds in parts")
    values = padded if padded.dtype.kind == "f" else padded.astype(np.float64)
    taps = _taps(values, how)
    if count < _IN_ONE_ROW:
        total = np.add(taps[0], _BEGINNING, dtype=values.dtype, order="C")
        for tap in taps[1:]:
            total += tap
    else:
        total = np.add.reduce(np.stack(taps, axis=-1), axis=-1)
    total /= values.dtype.type(count)
    return total


def _spread_by_taps(mode: str, dy: Array, X: Array, how: Windows) -> Array:
    """Return the gradient of the padded images, added to window by window in the order of the rows."""
    dX = np.zeros((X.shape[0], *how.padded, X.shape[3]), X.dtype)
    places = _taps(dX, how)
    if mode == "average":
        share = dy / (how.kernel[0] * how.kernel[1])
        for place in reversed(places):
            np.add(place, share, out=place, casting="same_kind")
        return dX
    first, *others = _taps(X, how)
    largest, found = np.array(first, order="C"), np.zeros(dy.shape, np.intp)
    for number, tap in enumerate(others, 1):
        found[tap > largest] = number
        np.maximum(largest, tap, out=largest)
    if np.isnan(largest).any():
        raise Unserved("a maximum that is not a number")
    for number in reversed(range(len(places))):
        np.add(places[number], (found == number) * dy, out=places[number], casting="same_kind")
    return dX


def _taps(padded: Array, how: Windows) -> list[Array]:
    """Return, for each cell of the window in order, what lies under it in all positions, as views."""
    (rows, cols), stride = how.out, how.stride
    down, right = (rows - 1) * stride + 1, (cols - 1) * stride + 1
    return [
        padded[:, p : p + down : stride, q : q + right : stride]
        for p in range(how.kernel[0])
        for q in range(how.kernel[1])
    ]
