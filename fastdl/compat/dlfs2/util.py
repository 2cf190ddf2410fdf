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
    "most_similar",
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


_NEAR, _NEAR_HALF = 1e-4, 0.02  # by which two ways to the same cosine may differ, the second in float16
_LONG, _LONG_HALF = 1 << 14, 100  # rows whose squares and their sum may be computed in the rows' own type
_SHORT_HALF = 0.005  # elements whose squares float16 still has to a hundredth
_CANDIDATES = 2000


def most_similar(
    query: str, word_to_id: dict[str, int], id_to_word: dict[int, str], word_matrix: Array, top: int = 5
) -> None:
    """Print the words whose rows of word_matrix (V, D) have the largest cosines with the query's.

    One product finds which words may be among them; their cosines are then computed one by one, as the book
    does, so that what is printed is the same.
    """
    plain(word_matrix)
    if word_matrix.ndim != 2 or word_matrix.dtype.kind not in "iuf" or query not in word_to_id or top < 1:
        raise Unserved("no matrix, or no such word")
    matrix = word_matrix[: len(id_to_word)].astype(np.float64)
    if len(matrix) < len(id_to_word):
        raise Unserved("not a row for each word")
    of_query = word_matrix[word_to_id[query]]
    itemsize = word_matrix.dtype.itemsize
    lengths = np.sqrt(np.einsum("vd,vd->v", matrix, matrix)) + 1e-8
    rough = matrix @ _unit(of_query).astype(np.float64) / lengths
    if not np.isfinite(rough).all():
        raise Unserved("not all cosines are numbers")
    half, least = itemsize == 2, lengths.min() / len(of_query) ** 0.5
    if lengths.max() > (_LONG_HALF if half else _LONG) or (half and least < _SHORT_HALF):
        raise Unserved("squares that do not fit their type well")
    last = np.partition(rough, -min(top + 1, len(rough)))[-min(top + 1, len(rough))]
    candidates = np.flatnonzero(rough >= last - (_NEAR_HALF if half else _NEAR))
    if len(candidates) > _CANDIDATES:
        raise Unserved("too many words are alike")
    cosines = np.array([np.dot(_unit(word_matrix[i]), _unit(of_query)) for i in candidates], np.float64)
    order = np.argsort(-cosines)
    if len(set(cosines.tolist())) < len(cosines):
        raise Unserved("words that are equally near have no order")
    print("\n[query] " + query)
    found = [i for i in order if id_to_word[candidates[i]] != query]
    for i in found[:top]:
        print(f" {id_to_word[candidates[i]]}: {cosines[i]}")


def _unit(x: Array) -> Array:
    unit: Array = x / (np.sqrt(np.sum(x**2)) + 1e-8)
    return unit
