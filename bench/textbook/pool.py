"""Pooling by windows that do not overlap: a reshape, and a reduction over what is inside."""

from __future__ import annotations

from typing import Any

import numpy as np

Cache = tuple[Any, ...]


def split(x: np.ndarray, size: int) -> np.ndarray:
    """(N, C, H, W) to (N, C, OH, OW, size * size)."""
    n, c, h, w = x.shape
    view = x.reshape(n, c, h // size, size, w // size, size).transpose(0, 1, 2, 4, 3, 5)
    return view.reshape(n, c, h // size, w // size, size * size)


def joined(cells: np.ndarray, size: int) -> np.ndarray:
    """The way back of `split`."""
    n, c, oh, ow = cells.shape[:4]
    view = cells.reshape(n, c, oh, ow, size, size).transpose(0, 1, 2, 4, 3, 5)
    return view.reshape(n, c, oh * size, ow * size)


def largest(x: np.ndarray, *, size: int) -> np.ndarray:
    return split(x, size).max(-1)


def largest_forward(x: np.ndarray, *, size: int) -> tuple[np.ndarray, Cache]:
    cells = split(x, size)
    winner = cells.argmax(-1)
    return np.take_along_axis(cells, winner[..., None], -1)[..., 0], (winner, size)


def largest_backward(dy: np.ndarray, cache: Cache) -> np.ndarray:
    winner, size = cache
    cells = np.zeros((*dy.shape, size * size), dy.dtype)
    np.put_along_axis(cells, winner[..., None], dy[..., None], -1)
    return joined(cells, size)


def mean(x: np.ndarray, *, size: int) -> np.ndarray:
    return split(x, size).mean(-1)


def mean_forward(x: np.ndarray, *, size: int) -> tuple[np.ndarray, int]:
    return mean(x, size=size), size


def mean_backward(dy: np.ndarray, size: int) -> np.ndarray:
    return np.repeat(np.repeat(dy / size**2, size, axis=2), size, axis=3)


OPERATIONS = {
    "max_pool2d": (largest, largest_forward, largest_backward),
    "avg_pool2d": (mean, mean_forward, mean_backward),
}
