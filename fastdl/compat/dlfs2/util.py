"""The helpers of the book that go over a corpus or a matrix in loops of Python."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..tier import Unserved
from .arrays import FLOAT32, FLOAT64, Array, plain

__all__ = [
    "clip_grads",
    "convert_one_hot",
    "create_co_matrix",
    "create_contexts_target",
    "ppmi",
]

_PIECE = 1 << 14  # elements whose squares are summed in the gradients' own precision


def clip_grads(grads: list[Array], max_norm: float) -> None:
    """Scale the gradients in place so that their common norm is at most max_norm."""
    plain(*grads)
    total: Any = 0
    for grad in grads:
        if grad.dtype in (FLOAT32, FLOAT64):
            total += _squares(grad)
        else:
            total += np.sum(grad**2)
    rate = max_norm / (np.sqrt(total) + 1e-6)
    if rate < 1:
        for grad in grads:
            grad *= rate


def _squares(grad: Array) -> float:
    flat = grad.ravel(order="K")
    if flat.size <= _PIECE:
        return float(np.dot(flat, flat))
    pieces = (flat[start : start + _PIECE] for start in range(0, flat.size, _PIECE))
    return sum(float(np.dot(piece, piece)) for piece in pieces)


def _corpus(corpus: Any) -> Array:
    words = np.asarray(corpus)
    if (
        type(corpus) not in (list, np.ndarray)
        or words.ndim != 1
        or words.dtype.kind not in "iu"
        or not len(words)
    ):
        raise Unserved("not a row of numbers of words")
    return words


def convert_one_hot(corpus: Array, vocab_size: int) -> Array:
    """Return rows of int32 that are 1 at the number of the word: (N, V) of (N,), (N, C, V) of (N, C)."""
    plain(corpus)
    if corpus.ndim not in (1, 2) or corpus.dtype.kind not in "iu":
        raise Unserved("not one or two axes of numbers of words")
    one_hot = np.zeros((*corpus.shape, vocab_size), np.int32)
    one_hot.reshape(-1, vocab_size)[np.arange(corpus.size), corpus.reshape(-1)] = 1
    return one_hot


def create_co_matrix(corpus: Any, vocab_size: int, window_size: int = 1) -> Array:
    """Return how often each word stands near each other word, an int32 (V, V)."""
    words = _corpus(corpus).astype(np.int64)
    if words.min() < 0 or words.max() >= vocab_size:
        raise Unserved("a word that is not in the vocabulary")
    counts = np.zeros(vocab_size * vocab_size, np.int32)
    for distance in range(1, min(window_size, len(words) - 1) + 1):
        left, right = words[:-distance], words[distance:]
        for pairs in (left * vocab_size + right, right * vocab_size + left):
            found, times = np.unique(pairs, return_counts=True)
            counts[found] += times.astype(np.int32)
    return counts.reshape(vocab_size, vocab_size)


def create_contexts_target(corpus: Any, window_size: int = 1) -> tuple[Array, Array]:
    """Return the words around each word, (N, 2 · window_size), and the words, (N,)."""
    words = _corpus(corpus)
    if window_size < 1 or len(words) <= 2 * window_size:
        raise Unserved("no window")
    windows = np.lib.stride_tricks.sliding_window_view(words, 2 * window_size + 1)
    contexts = np.delete(windows, window_size, axis=1)
    return contexts, words[window_size:-window_size].copy()


def ppmi(C: Array, verbose: bool = False, eps: float = 1e-8) -> Array:
    """Return the positive pointwise mutual information of a matrix of counts, as float32.

    max(0, log2(C[i, j] · N / (S[j] · S[i]) + eps)) with N the sum of all and S the sums of the columns.
    """
    plain(C)
    if C.ndim != 2 or C.dtype.kind not in "iuf" or C.shape[0] > C.shape[1]:
        raise Unserved("not a matrix of counts")
    M = np.zeros(C.shape, np.float32)
    total, S = np.sum(C), np.sum(C, axis=0)
    elements, done = C.size, 0
    every = elements // 100 + 1
    for i, row in enumerate(C):
        pmi = np.log2(row * total / (S * S[i]) + eps)
        M[i] = np.where(pmi > 0, pmi, 0)
        if verbose:
            for count in range(done - done % every + every, done + len(row) + 1, every):
                print(f"{100 * count / elements:.1f}% done")
            done += len(row)
    return M
