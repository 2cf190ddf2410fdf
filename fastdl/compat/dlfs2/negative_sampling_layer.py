"""Negative sampling: words drawn by their frequency, and scores of a vector against a few words."""

from __future__ import annotations

import collections
from typing import Any

import numpy as np

from ..tier import Unserved
from .arrays import Array, plain, row_numbers
from .layers import Embedding, SigmoidWithLoss

__all__ = ["EmbeddingDot", "NegativeSamplingLoss", "UnigramSampler"]

_AT_ONCE = 64  # targets, of which one that has to be drawn again makes the others wait


class EmbeddingDot:
    """The products of vectors with rows of W.

    Parameters
    ----------
    W : (V, H) array
    """

    def __init__(self, W: Array) -> None:
        self.embed = Embedding(W)
        self.params = self.embed.params
        self.grads = self.embed.grads
        self.cache: Any = None

    def forward(self, h: Array, idx: Array) -> Array:
        """Return (N,) of vectors h (N, H) and numbers of rows (N,)."""
        rows = self.embed.forward(idx)
        out: Array = np.sum(rows * h, axis=1)
        self.cache = (h, rows)
        return out

    def backward(self, dout: Array) -> Array:
        """Return dh (N, H)."""
        h, rows = self.cache
        dout = dout.reshape(-1, 1)
        self.embed.backward(dout * h)
        return dout * rows


class UnigramSampler:
    """Draws words that are not the target, each with its frequency to a power.

    Parameters
    ----------
    corpus : sequence of numbers of words
    power : float
    sample_size : int
        Words for each target, all different.
    """

    def __init__(self, corpus: Any, power: float, sample_size: int) -> None:
        self.sample_size = sample_size
        counts = collections.Counter(np.asarray(corpus).tolist())
        self.vocab_size = len(counts)
        weights = np.power(np.array([counts[i] for i in range(self.vocab_size)], np.float64), power)
        self.word_p = weights / np.sum(weights)

    def get_negative_sample(self, target: Array) -> Array:
        """Return (N, sample_size) of int32 for targets (N,), from NumPy's global stream.

        The same words as `numpy.random.choice` without replacement would give for each target in turn, and
        the stream ends where it would.
        """
        plain(target, self.word_p)
        return _draw(self.word_p, self.vocab_size, self.sample_size, target)


def _draw(p: Array, words: int, size: int, targets: Array) -> Array:
    """Draw for all targets at once, and again one by one those where that is not certain to be the same.

    One draw is the place of a uniform number among the sums of p. `choice` sums anew without the target, and
    a search in the sums of all words does not repeat its rounding: a number too near to a border is looked up
    as `choice` does it. So is a target whose words are not all different, for which `choice` draws again.
    """
    if targets.ndim != 1 or p.shape != (words,) or p.dtype != np.float64 or not 0 < size < words:
        raise Unserved("not what choice would take")
    targets = row_numbers(targets, words)
    sums = np.cumsum(p)
    if not p.min() > 0 or not abs(sums[-1] - 1) < 1e-9 or not p.max() < 0.5:
        raise Unserved("no probabilities, or one word that is most of them")
    near = 8 * words * np.finfo(np.float64).eps
    out = np.empty((len(targets), size), np.int32)
    stream, row = np.empty(0), 0
    while row < len(targets):
        left = min(len(targets) - row, _AT_ONCE)
        stream = np.concatenate((stream, _uniform(left * size - len(stream))))
        u = stream[: left * size].reshape(left, size)
        found, certain = _search(sums, p, targets[row : row + left], u, near)
        stop = left if certain.all() else int(certain.argmin())
        out[row : row + stop] = found[:stop]
        stream, row = stream[stop * size :], row + stop
        if stop < left:
            out[row], stream = _one(p, targets[row], size, stream)
            row += 1
    return out


def _uniform(count: int) -> Array:
    """Return the next numbers of the global stream; none where there are enough already."""
    return np.random.random_sample(max(0, count))  # noqa: NPY002


def _search(sums: Array, p: Array, targets: Array, u: Array, near: float) -> tuple[Array, Array]:
    """Return the words where u (N, size) falls, and for which targets they are certain to be `choice`'s."""
    own = p[targets][:, None]
    before = (sums[targets] - p[targets])[:, None]
    place = u * (sums[-1] - own)
    place += own * (place >= before)
    found = np.searchsorted(sums, place.reshape(-1), side="right").reshape(u.shape)
    below = np.where(found > 0, sums[found - 1], 0.0)
    inner = (place - below > near) & (sums[np.minimum(found, len(sums) - 1)] - place > near)
    ordered = np.sort(found, axis=1)
    return found, inner.all(axis=1) & (ordered[:, 1:] != ordered[:, :-1]).all(axis=1)


def _one(p: Array, target: int, size: int, stream: Array) -> tuple[Array, Array]:
    """Return the words for one target as `choice` finds them, and what it leaves of the stream."""
    p = p.copy()
    p[target] = 0
    p /= p.sum()
    found: list[int] = []
    while len(found) < size:
        missing = size - len(found)
        stream = np.concatenate((stream, _uniform(missing - len(stream))))
        p[found] = 0
        sums = np.cumsum(p)
        sums /= sums[-1]
        new = sums.searchsorted(stream[:missing], side="right").tolist()
        found += dict.fromkeys(new)
        stream = stream[missing:]
    return np.array(found), stream


class NegativeSamplingLoss:
    """The loss of telling a word from `sample_size` others, given a vector.

    Parameters
    ----------
    W : (V, H) array
    corpus : sequence of numbers of words
    power : float
    sample_size : int
    """

    def __init__(self, W: Array, corpus: Any, power: float = 0.75, sample_size: int = 5) -> None:
        self.sample_size = sample_size
        self.sampler = UnigramSampler(corpus, power, sample_size)
        self.loss_layers = [SigmoidWithLoss() for _ in range(sample_size + 1)]
        self.embed_dot_layers = [EmbeddingDot(W) for _ in range(sample_size + 1)]
        self.params = [param for layer in self.embed_dot_layers for param in layer.params]
        self.grads = [grad for layer in self.embed_dot_layers for grad in layer.grads]

    def forward(self, h: Array, target: Array) -> Any:
        """Return the loss of vectors h (N, H) and their words target (N,)."""
        negatives = self.sampler.get_negative_sample(target)
        loss: Any = 0
        for i, (dot, loss_layer) in enumerate(zip(self.embed_dot_layers, self.loss_layers)):
            words = negatives[:, i - 1] if i else target
            loss += loss_layer.forward(dot.forward(h, words), np.full(len(target), not i, np.int32))
        return loss

    def backward(self, dout: Any = 1) -> Any:
        """Return dh (N, H)."""
        return sum(
            dot.backward(loss.backward(dout)) for loss, dot in zip(self.loss_layers, self.embed_dot_layers)
        )
