"""Small inputs for the trials of loops: a few windows of a few images."""

from __future__ import annotations

from typing import Any

__all__ = ["few_windows", "few_windows_of_kernels"]

_IMAGES, _WINDOWS = 2, 4  # of an axis


def few_windows(arguments: dict[str, Any], layer: Any) -> float:
    """Take the first images of X (N, H, W, C), and of these a corner, for a layer that pools."""
    return _take(arguments, layer.kernel_shape, layer.stride, layer.pad)


def few_windows_of_kernels(arguments: dict[str, Any]) -> float:
    """Take the same for a convolution with W (KH, KW, C, F)."""
    apart = arguments.get("dilation", 0) + 1
    reach = [(taps - 1) * apart + 1 for taps in arguments["W"].shape[:2]]
    return _take(arguments, reach, arguments["stride"], arguments["pad"])


def _take(arguments: dict[str, Any], reach: Any, stride: int, pad: Any) -> float:
    X = arguments["X"]
    if getattr(X, "ndim", 0) != 4 or not len(X):
        return 1.0
    sizes, share = list(X.shape[1:3]), min(_IMAGES / len(X), 1.0)
    for axis, taps in enumerate(reach):
        size, windows = sizes[axis], (sizes[axis] - taps) // stride + 1
        if windows > _WINDOWS and not isinstance(pad, str):  # what that adds depends on the size
            sizes[axis] = size - (windows - _WINDOWS) * stride  # what no window covers is as wide as it was
            share *= _WINDOWS / windows
    arguments["X"] = X[:_IMAGES, : sizes[0], : sizes[1]]
    return share
