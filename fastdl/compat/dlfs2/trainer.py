"""The trainer of the book, and what its trainers call between two steps."""

from __future__ import annotations

import sys
import time
from typing import Any

import numpy as np

from ..tier import Unserved
from .arrays import Array, plain, row_numbers
from .cbow import Window, add_rows, tables_of, window
from .published import published
from .util import clip_grads

__all__ = ["RnnlmTrainer", "Trainer", "remove_duplicate"]

_PIECE = 1 << 14  # elements of a gradient that others are added to while they stay in the cache


def remove_duplicate(params: list[Array], grads: list[Array]) -> tuple[list[Array], list[Array]]:
    """Return the parameters without those that are there twice, and the gradients, theirs added up in place.

    Twice are the same array, and a matrix and another that equals its transpose.
    """
    plain(*params, *grads)
    return _merged(params, grads, None)


def _merged(
    params: list[Array], grads: list[Array], inside: Window | None
) -> tuple[list[Array], list[Array]]:
    left = list(range(len(params)))
    kept, sums = [], []
    while left:
        i, *others = left
        same = {j: how for j in others if (how := _same(params[i], params[j]))}
        terms = [grads[j] if how == "itself" else grads[j].T for j, how in same.items()]
        if not (inside and terms and add_rows(inside, grads[i], terms)):
            _add(grads[i], terms)
        left = [j for j in others if j not in same]
        kept.append(params[i])
        sums.append(grads[i])
    return kept, sums


def _same(a: Array, b: Array) -> str | None:
    if a is b:
        return "itself"
    if a.ndim != 2 or b.shape != a.shape[::-1] or not a.size:
        return None
    # Most that differ do so in their first row.
    return "transposed" if np.array_equal(a[:, 0], b[0]) and np.array_equal(a.T, b) else None


def _add(total: Array, terms: list[Array]) -> None:
    """Add arrays to the first, one after the other at each element."""
    if len(terms) < 2 or not all(
        term.flags.c_contiguous and term.shape == total.shape for term in (total, *terms)
    ):
        for term in terms:
            total += term
        return
    flat, others = total.reshape(-1), [term.reshape(-1) for term in terms]
    for start in range(0, flat.size, _PIECE):
        piece = flat[start : start + _PIECE]
        for other in others:
            piece += other[start : start + _PIECE]


class RnnlmTrainer:
    """The part of the book's trainer of language models that makes its batches.

    Parameters
    ----------
    model, optimizer
    """

    def __init__(self, model: Any, optimizer: Any) -> None:
        self.model = model
        self.optimizer = optimizer
        self.time_idx: Any = None
        self.ppl_list: Any = None
        self.eval_interval: Any = None
        self.current_epoch = 0

    def get_batch(self, x: Array, t: Array, batch_size: int, time_size: int) -> tuple[Array, Array]:
        """Return the next (batch_size, time_size) of words x and of labels t, as int32.

        Row i begins i / batch_size of the way into x; `time_idx` moves on.
        """
        plain(x, t)
        if x.ndim != 1 or t.ndim != 1 or x.dtype.kind not in "iu" or t.dtype.kind not in "iu" or not len(x):
            raise Unserved("not two rows of numbers of words")
        if batch_size < 1 or len(t) < len(x):
            raise Unserved("no batch")
        jump = len(x) // batch_size
        at = np.arange(batch_size)[:, None] * jump + np.arange(time_size) + self.time_idx
        at %= len(x)
        batch = x[at].astype(np.intc), t[at].astype(np.intc)
        self.time_idx += time_size
        return batch


_OPTIMIZERS = ("SGD", "Momentum", "Nesterov", "AdaGrad", "RMSprop", "Adam")


class Trainer:
    """Trains a `CBOW`, of whose gradients nobody else writes a row; other models are the original's.

    Parameters
    ----------
    model, optimizer
    """

    def __init__(self, model: Any, optimizer: Any) -> None:
        self.model = model
        self.optimizer = optimizer
        self.loss_list: list[float] = []
        self.eval_interval: Any = None
        self.current_epoch = 0

    def fit(
        self,
        x: Array,
        t: Array,
        max_epoch: int = 10,
        batch_size: int = 32,
        max_grad: float | None = None,
        eval_interval: int | None = 20,
    ) -> None:
        """Take max_epoch times all of x (N, C) and t (N,), shuffled by NumPy's global stream, in batches.

        Every eval_interval steps the mean loss is printed and kept in `loss_list`.
        """
        if not _closed(self):
            raise Unserved("the original's loop is as fast")
        plain(x, t)
        tables = tables_of(self.model)
        if x.shape != (len(t), len(self.model.in_layers)) or t.ndim != 1 or batch_size < 1:
            raise Unserved("not (N, C) and (N,)")
        for words, table in zip((x, t), tables):  # once it has begun, nothing may fail
            row_numbers(words, len(table))
        steps = len(x) // batch_size
        self.eval_interval = eval_interval
        total, count, start = 0.0, 0, time.time()
        with window(self.model) as inside:
            for _ in range(max_epoch):
                order = np.random.permutation(np.arange(len(x)))  # noqa: NPY002
                x, t = x[order], t[order]
                for step in range(steps):
                    batch = slice(step * batch_size, (step + 1) * batch_size)
                    total += _step(self, x[batch], t[batch], max_grad, inside)
                    count += 1
                    if eval_interval is not None and step % eval_interval == 0:
                        mean, seconds = total / count, time.time() - start
                        at = f"| epoch {self.current_epoch + 1} |  iter {step + 1} / {steps} "
                        print(f"{at}| time {int(seconds)}[s] | loss {mean:.2f}")
                        self.loss_list.append(float(mean))
                        total, count = 0, 0
                        inside.forget()  # whoever prints may do anything
                self.current_epoch += 1


def _closed(trainer: Any) -> bool:
    """Whether all that runs in a step is the book's or fastdl's."""
    module = vars(sys.modules[type(trainer).__module__])
    optimizer = type(trainer.optimizer)
    instances = (trainer.model, ("forward", "backward")), (trainer.optimizer, ("update",))
    return (
        published(type(trainer.model), "CBOW")
        and optimizer.__name__ in _OPTIMIZERS
        and published(optimizer, optimizer.__name__)
        and all(published(module.get(name), name) for name in ("remove_duplicate", "clip_grads"))
        and not any(name in vars(instance) for instance, names in instances for name in names)
    )


def _step(trainer: Any, x: Array, t: Array, max_grad: float | None, inside: Window) -> Any:
    model = trainer.model
    loss = model.forward(x, t)
    before = dict(inside.rows)
    model.backward()
    if any(inside.rows.get(name) is rows for name, rows in before.items()):
        inside.forget()  # the original went back
    params, grads = _merged(model.params, model.grads, inside)
    if max_grad is not None:
        clip_grads(grads, max_grad)
    trainer.optimizer.update(params, grads)
    return loss
