"""Pooling: ``pytest bench/bench_pool.py``."""

from __future__ import annotations

from typing import Any

import numpy as np

from family import family_benchmark


def split(x: np.ndarray, size: int) -> np.ndarray:
    """The textbook's windows that do not overlap: (N, C, H, W) to (N, C, OH, OW, size * size)."""
    n, c, h, w = x.shape
    view = x.reshape(n, c, h // size, size, w // size, size).transpose(0, 1, 2, 4, 3, 5)
    return view.reshape(n, c, h // size, w // size, size * size)


def forward(x: np.ndarray, *, size: int) -> tuple[np.ndarray, tuple[Any, ...]]:
    cells = split(x, size)
    winner = cells.argmax(-1)
    return np.take_along_axis(cells, winner[..., None], -1)[..., 0], (x.shape, winner, size)


def backward(dy: np.ndarray, cache: tuple[Any, ...]) -> np.ndarray:
    shape, winner, size = cache
    n, c, oh, ow = dy.shape
    cells = np.zeros((n, c, oh, ow, size * size), dy.dtype)
    np.put_along_axis(cells, winner[..., None], dy[..., None], -1)
    return cells.reshape(n, c, oh, ow, size, size).transpose(0, 1, 2, 4, 3, 5).reshape(shape)


def infer(x: np.ndarray, *, size: int) -> np.ndarray:
    return split(x, size).max(-1)


test_pool = family_benchmark("pool", textbook={"max_pool2d": (infer, forward, backward)})
