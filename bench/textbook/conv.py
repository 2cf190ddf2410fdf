"""Convolution as one matrix product over all windows (im2col)."""

from __future__ import annotations

from typing import Any

import numpy as np


def windows(x: np.ndarray, size: int, stride: int, padding: int) -> np.ndarray:
    """im2col: (N, C, H, W) to (N, OH, OW, C, size, size), every window of `x`."""
    pad = ((0, 0), (0, 0), (padding, padding), (padding, padding))
    view = np.lib.stride_tricks.sliding_window_view(np.pad(x, pad), (size, size), axis=(2, 3))
    return view[:, :, ::stride, ::stride].transpose(0, 2, 3, 1, 4, 5)


def forward(
    x: np.ndarray, w: np.ndarray, b: np.ndarray, *, stride: int = 1, padding: int = 0
) -> tuple[np.ndarray, tuple[Any, ...]]:
    view = windows(x, w.shape[2], stride, padding)
    n, oh, ow = view.shape[:3]
    cols = view.reshape(n * oh * ow, -1)
    y = cols @ w.reshape(len(w), -1).T + b
    return y.reshape(n, oh, ow, -1).transpose(0, 3, 1, 2), (x.shape, cols, w, stride, padding)


def backward(dy: np.ndarray, cache: tuple[Any, ...]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    (n, c, h, width), cols, w, stride, padding = cache
    size = w.shape[2]
    oh, ow = dy.shape[2:]
    rows = dy.transpose(0, 2, 3, 1).reshape(-1, len(w))
    dcols = (rows @ w.reshape(len(w), -1)).reshape(n, oh, ow, c, size, size).transpose(0, 3, 4, 5, 1, 2)

    dx = np.zeros((n, c, h + 2 * padding, width + 2 * padding), dy.dtype)
    for i in range(size):
        for j in range(size):
            dx[:, :, i : i + stride * oh : stride, j : j + stride * ow : stride] += dcols[:, :, i, j]
    inner = (slice(None), slice(None), slice(padding, padding + h), slice(padding, padding + width))
    return dx[inner], (rows.T @ cols).reshape(w.shape), rows.sum(0)


def infer(x: np.ndarray, w: np.ndarray, b: np.ndarray, *, stride: int = 1, padding: int = 0) -> np.ndarray:
    return forward(x, w, b, stride=stride, padding=padding)[0]


OPERATIONS = {"conv2d": (infer, forward, backward)}
