"""CBOW with negative sampling, the whole step at once: its tables are large, and a step touches few rows.

Each of the model's embeddings has a gradient of its own, as large as its table, and a step has to leave all
of them zero but for some rows. Filling them anew costs more than all the arithmetic. Inside a `Window`, where
all that runs between two steps is known not to write to them, only the rows of the step before are cleared.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..tier import STATE, Unserved, recall, remember
from .arrays import FLOAT32, FLOAT64, Array, engine, plain, row_numbers
from .layers import Embedding
from .negative_sampling_layer import NegativeSamplingLoss
from .published import published

__all__ = ["CBOW"]


@dataclass
class Window:
    """A stretch of a program in which nobody but this module writes to the gradients of a model.

    Attributes
    ----------
    model : CBOW
    rows : dict
        For the id of each gradient, the rows that may be other than zero; none for what is not known.
    """

    model: Any
    rows: dict[int, Array] = field(default_factory=dict)

    def forget(self) -> None:
        """Know nothing: someone else may have written."""
        self.rows.clear()


_open: list[Window] = []


@contextmanager
def window(model: Any) -> Iterator[Window]:
    """Open a window on the gradients of a model."""
    _open.append(Window(model))
    try:
        yield _open[-1]
    finally:
        _open.pop()


@dataclass
class _Step:
    """What a forward pass leaves for the backward pass."""

    contexts: Array  # (C, N)
    words: Array  # (S + 1, N): the targets, then the words that are none
    h: Array
    rows: Array  # (N, S + 1, H) of W_out
    slope: Array  # (N, S + 1), of the loss


class CBOW:
    """A word from the words around it.

    Parameters
    ----------
    vocab_size, hidden_size, window_size : int
    corpus : sequence of numbers of words
        What negative samples are drawn by.
    """

    def __init__(self, vocab_size: int, hidden_size: int, window_size: int, corpus: Any) -> None:
        shape = vocab_size, hidden_size
        W_in = 0.01 * np.random.standard_normal(shape).astype("f")  # noqa: NPY002
        W_out = 0.01 * np.random.standard_normal(shape).astype("f")  # noqa: NPY002
        self.in_layers = [Embedding(W_in) for _ in range(2 * window_size)]
        self.ns_loss = NegativeSamplingLoss(W_out, corpus, power=0.75, sample_size=5)
        layers: list[Any] = [*self.in_layers, self.ns_loss]
        self.params = [param for layer in layers for param in layer.params]
        self.grads = [grad for layer in layers for grad in layer.grads]
        self.word_vecs = W_in

    def forward(self, contexts: Array, target: Array) -> Any:
        """Return the loss of the words around each word, (N, 2 · window_size), and the words, (N,)."""
        W_in, W_out = tables_of(self)
        plain(contexts, target)
        if contexts.ndim != 2 or contexts.shape != (len(target), len(self.in_layers)) or target.ndim != 1:
            raise Unserved("not (N, C) and (N,)")
        if not len(target):
            raise Unserved("no words")
        around = row_numbers(contexts.T, len(W_in)).reshape(-1, len(target))
        right = row_numbers(target, len(W_out))
        ns, dtype = self.ns_loss, W_in.dtype
        negatives = ns.sampler.get_negative_sample(target)  # from here on nothing may be refused

        h = W_in[around].sum(axis=0)
        h *= dtype.type(1 / len(around))
        words = np.concatenate((right[None], negatives.T))
        rows = W_out[words.T]
        y = 1 / (1 + np.exp(-np.matmul(rows, h[:, :, None])[:, :, 0]))
        chance = 1 - y
        chance[:, 0] = y[:, 0]
        losses = -np.log(chance + 1e-7).sum(axis=0) / len(y)
        slope = y.copy()
        slope[:, 0] -= 1
        _leave(self, contexts, target, negatives, h, rows, y, losses)
        remember(self, _Step(around, words, h, rows, slope))
        loss = losses[0]
        for term in losses[1:]:
            loss += term
        return loss

    def backward(self, dout: Any = 1) -> None:
        """Write the gradients of all embeddings."""
        step: _Step = recall(self)
        if not isinstance(dout, (int, float, np.number)):
            raise Unserved("not one number")
        grads = [layer.grads[0] for layer in self.in_layers]
        grads += [layer.embed.grads[0] for layer in self.ns_loss.embed_dot_layers]
        dtype, N = step.h.dtype, len(step.h)
        plain(*grads)
        if any(grad.shape != grads[0].shape or grad.dtype != dtype for grad in grads):
            raise Unserved("gradients of another kind")
        slope = step.slope * dtype.type(dout / N)
        dh = np.matmul(slope[:, None], step.rows)[:, 0]
        dh *= dtype.type(1 / len(step.contexts))
        terms = np.empty((len(grads), N, dh.shape[1]), dtype)
        terms[: len(step.contexts)] = dh
        np.multiply(slope.T[:, :, None], step.h, out=terms[len(step.contexts) :])
        _write(self, grads, np.concatenate((step.contexts, step.words)), terms)


def tables_of(model: Any) -> tuple[Array, Array]:
    """Return W_in and W_out of a model that is the book's in all its parts."""
    ns = model.ns_loss
    parts = [("NegativeSamplingLoss", ns), ("UnigramSampler", ns.sampler)]
    parts += [("Embedding", layer) for layer in model.in_layers]
    parts += [("EmbeddingDot", layer) for layer in ns.embed_dot_layers]
    parts += [("Embedding", layer.embed) for layer in ns.embed_dot_layers]
    parts += [("SigmoidWithLoss", layer) for layer in ns.loss_layers]
    for name, kind in {(name, type(part)) for name, part in parts}:
        if not published(kind, name):
            raise Unserved(f"its {name} is not the book's")
    W_in, W_out = model.in_layers[0].params[0], ns.embed_dot_layers[0].embed.params[0]
    plain(W_in, W_out)
    if W_in.ndim != 2 or W_in.shape != W_out.shape or W_in.dtype != W_out.dtype:
        raise Unserved("its tables are not of one kind")
    if W_in.dtype not in (FLOAT32, FLOAT64) or len(W_out) != ns.sampler.vocab_size:
        raise Unserved("its tables are no floats, or have no row for each word")
    same = all(layer.params[0] is W_in for layer in model.in_layers)
    same &= all(layer.embed.params[0] is W_out for layer in ns.embed_dot_layers)
    if not same or not len(ns.loss_layers) == len(ns.embed_dot_layers) == ns.sampler.sample_size + 1:
        raise Unserved("it has other layers than the book's")
    return W_in, W_out


def _leave(
    model: Any,
    contexts: Array,
    target: Array,
    negatives: Array,
    h: Array,
    rows: Array,
    y: Array,
    losses: Array,
) -> None:
    """Leave in the layers what their own forward passes would have left."""
    for layer, idx in zip(model.in_layers, contexts.T):
        layer.idx = idx
        vars(layer).pop(STATE, None)
    ns = model.ns_loss
    for i, (dot, loss) in enumerate(zip(ns.embed_dot_layers, ns.loss_layers)):
        dot.embed.idx = negatives[:, i - 1] if i else target
        dot.cache = (h, rows[:, i])
        loss.t, loss.y, loss.loss = np.full(len(y), not i, np.int32), y[:, i], losses[i]
        for layer in (dot, dot.embed, loss, ns):
            vars(layer).pop(STATE, None)


def _write(model: Any, grads: list[Array], ids: Array, terms: Array) -> None:
    """Make each gradient zero but for the rows in its ids (L, N), the sums of their terms (L, N, H)."""
    size = len(grads[0])
    ids = ids + np.arange(len(grads))[:, None] * size
    found, place = np.unique(ids.reshape(-1), return_inverse=True)
    sums = engine().scatter_add(terms.reshape(-1, terms.shape[2]), place.reshape(-1), len(found))
    inside = _open[-1] if _open and _open[-1].model is model else None
    borders = np.searchsorted(found, np.arange(len(grads) + 1) * size)
    for i, grad in enumerate(grads):
        own = slice(borders[i], borders[i + 1])
        rows = found[own] - i * size
        before = inside.rows.pop(id(grad), None) if inside is not None else None
        if before is None:
            grad.fill(0)
        else:
            grad[before] = 0
        grad[rows] = sums[own]
        if inside is not None:
            inside.rows[id(grad)] = rows


def add_rows(inside: Window, total: Array, terms: list[Array]) -> bool:
    """Add gradients to the first by their rows; whether a window knows them."""
    if any(id(array) not in inside.rows for array in (total, *terms)):
        return False
    rows = [inside.rows[id(array)] for array in (total, *terms)]
    ids: Array = np.concatenate(rows[1:])
    found, place = np.unique(ids, return_inverse=True)
    values = np.concatenate([term[known] for term, known in zip(terms, rows[1:])])
    total[found] += engine().scatter_add(values, place, len(found))
    inside.rows[id(total)] = np.union1d(found, rows[0])
    return True
