"""Embeddings: ``pytest bench/bench_embedding.py``."""

from __future__ import annotations

import numpy as np

from family import family_benchmark

Cache = tuple[np.ndarray, tuple[int, ...]]


def infer(ids: np.ndarray, table: np.ndarray) -> np.ndarray:
    return table[ids]


def forward(ids: np.ndarray, table: np.ndarray) -> tuple[np.ndarray, Cache]:
    return table[ids], (ids, table.shape)


def backward(dy: np.ndarray, cache: Cache) -> np.ndarray:
    ids, shape = cache
    dtable = np.zeros(shape, dy.dtype)
    np.add.at(dtable, ids, dy)
    return dtable


test_embedding = family_benchmark("embedding", textbook={"embedding": (infer, forward, backward)})
