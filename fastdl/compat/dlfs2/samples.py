"""Small inputs for the trials of what goes over a whole corpus, or over all words of a language."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..samples import UNKNOWN, steps
from ..tier import STATE

_WORDS = 500
_ROWS = 48
_LANGUAGE = 2048  # words, of a table that has more


def part_of_corpus(arguments: dict[str, Any]) -> float:
    """Take the first words, and of the vocabulary what holds them."""
    corpus = arguments["corpus"]
    part = arguments["corpus"] = corpus[:_WORDS]
    if "vocab_size" in arguments:
        arguments["vocab_size"] = min(arguments["vocab_size"], int(np.max(part)) + 1)
    return len(part) / len(corpus)


def part_of_matrix(arguments: dict[str, Any]) -> float:
    """Take the first rows and columns, and be silent."""
    C = arguments["C"]
    part = arguments["C"] = C[:_ROWS, :_ROWS]
    arguments["verbose"] = False
    share: float = part.size / C.size
    return share


def few_words(arguments: dict[str, Any], instance: Any) -> float:
    """Take the first steps of numbers of words, and of a table (V, D) some rows, by other numbers."""
    if next(iter(arguments.values())).ndim > 1:
        steps(arguments, instance)
    if len(instance.params[0]) > _LANGUAGE and _has_only(instance, {"W", "idx", "layers"}):
        _cut(instance, np.s_[:_LANGUAGE])
        arguments.update({name: ids % _LANGUAGE for name, ids in arguments.items()})
    return UNKNOWN


def few_scores(arguments: dict[str, Any], instance: Any) -> float:
    """Take some steps of x (N, T, D), and of W (D, V) and b some columns."""
    arguments["x"] = arguments["x"][:4, :16]
    if instance.params[0].shape[1] > _LANGUAGE and _has_only(instance, {"x"}):
        _cut(instance, np.s_[..., :_LANGUAGE])
    return UNKNOWN


def few_labels(arguments: dict[str, Any], _: Any) -> float:
    """Take some steps of scores xs (N, T, V), and of their words and ts some."""
    xs, ts = arguments["xs"][:4, :16, :_LANGUAGE], arguments["ts"][:4, :16]
    ts = ts[..., :_LANGUAGE] if ts.ndim == 3 else np.where(ts < 0, ts, ts % xs.shape[2])
    arguments.update(xs=xs, ts=ts)
    return UNKNOWN


def _has_only(instance: Any, others: set[str]) -> bool:
    """Whether nothing but params, grads and these attributes says how large a layer is."""
    return set(vars(instance)) <= {"params", "grads", STATE, *others}


def _cut(instance: Any, part: Any) -> None:
    """Replace a layer's parameters and gradients by a part of each."""
    parts = {id(array): array[part] for array in (*instance.params, *instance.grads)}
    instance.params = [parts[id(array)] for array in instance.params]
    instance.grads = [parts[id(array)] for array in instance.grads]
    if hasattr(instance, "W"):
        instance.W = parts[id(instance.W)]
