"""Samples, their targets and weights: what is refused, and how they are taken batch by batch."""

from __future__ import annotations

import math
from collections.abc import Generator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from . import checks, nested
from .layers.base import Array


class Batch(NamedTuple):
    """Samples with what belongs to them.

    Attributes
    ----------
    x : ndarray or list of ndarray
        As the model's `accept` returns them.
    targets : list of ndarray or None
        For each output.
    weights : list of ndarray or None
        Of the samples, for each output.
    """

    x: Any
    targets: list[Any]
    weights: list[Any]

    @property
    def in_file(self) -> bool:
        """Whether samples have still to be read."""
        return any(isinstance(array, np.memmap) for array in nested.parts(self.x))

    def loaded(self) -> Batch:
        """Return the same in memory."""

        def part(array: Array | None) -> Array | None:
            return None if array is None else np.array(array)

        return Batch(*(nested.apply(part, group) for group in self))

    @property
    def size(self) -> int:
        """How many samples there are."""
        return len(nested.parts(self.x)[0])

    def take(self, which: Any) -> Batch:
        """Return some of the samples: a copy for indices, a view for a slice."""

        def part(array: Array | None) -> Array | None:
            return None if array is None else array[which]

        return Batch(*(nested.apply(part, group) for group in self))

    def batches(self, size: int, rng: np.random.Generator | None = None) -> Generator[Batch, None, None]:
        """Yield all samples, `size` at a time, in an order that `rng` draws."""
        if self.size <= size and rng is None:
            yield self
            return
        order = None if rng is None else rng.permutation(self.size)
        for start in range(0, self.size, size):
            which = slice(start, start + size)
            yield self.take(which if order is None else order[which])

    def split(self, fraction: float) -> tuple[Batch, Batch]:
        """Return the first samples and the last, which are `fraction` of all."""
        fraction = checks.number("fit", "validation_split", fraction, below=1.0)
        first = math.floor(self.size * (1 - fraction))
        if first in (0, self.size):
            raise ValueError(
                f"fit: validation_split {fraction} of {self.size} samples leaves none on one of the two sides"
            )
        return self.take(slice(first)), self.take(slice(first, None))


def gather(
    op: str,
    names: Sequence[str],
    optional: Sequence[bool],
    x: Any,
    y: Any,
    sample_weight: Any = None,
    class_weight: Mapping[int, float] | None = None,
) -> Batch:
    """Return what a person gave for training or testing.

    Parameters
    ----------
    op : str
        The person's call.
    names : sequence of str
        Of the model's outputs.
    optional : sequence of bool
        Which outputs may do without a target.
    x : ndarray or list of ndarray
        As the model accepted it.
    y : array_like, or a group of them for several outputs
    sample_weight : array_like, (N,) or (N, T), or a group of them, optional
    class_weight : dict of int to float, optional

    Raises
    ------
    ValueError, TypeError
        If they do not fit each other.
    """
    count = _common_size(op, x)
    alone = len(names) == 1
    targets = [
        None if one is None and needless else _target(op, label, one, count)
        for label, one, needless in zip(
            ["y"] if alone else [f"y of {name}" for name in names],
            nested.arrange(f"{op}: y", y, names, alone=alone),
            optional,
        )
    ]
    if class_weight is not None:
        if sample_weight is not None:
            raise ValueError(f"{op}: give class_weight or sample_weight, not both")
        if not alone:
            raise ValueError(f"{op}: class_weight is for models of one output; use sample_weight")
        sample_weight = _weight_by_class(op, targets[0], class_weight)
    each = isinstance(sample_weight, dict) or (
        not alone
        and isinstance(sample_weight, (list, tuple))
        and all(one is None or np.ndim(one) for one in sample_weight)
    )
    weights = (
        nested.arrange(f"{op}: sample_weight", sample_weight, names) if each else [sample_weight] * len(names)
    )
    return Batch(x, targets, [None if one is None else _weights(op, one, count) for one in weights])


def _common_size(op: str, x: Any) -> int:
    """Return how many samples there are, which all inputs must agree on."""
    sizes = [len(array) for array in nested.parts(x)]
    if len(set(sizes)) > 1:
        raise ValueError(f"{op}: the inputs in x have {', '.join(map(str, sizes))} samples")
    if sizes[0] == 0:
        raise ValueError(f"{op}: x has no samples")
    return sizes[0]


def _target(op: str, label: str, given: Any, count: int) -> Array:
    target = np.asarray(given)
    if target.dtype.kind not in "fiub":
        raise TypeError(f"{op}: {label} must hold numbers; got {target.dtype}")
    if target.ndim == 0 or len(target) != count:
        raise ValueError(f"{op}: x has {count} samples but {label} has shape {target.shape}")
    return target


def _weights(op: str, given: Any, count: int) -> Array:
    weights = np.asarray(given, np.float64)
    if weights.shape[:1] != (count,):
        raise ValueError(f"{op}: sample_weight must have shape ({count},); got {weights.shape}")
    return weights


def _weight_by_class(op: str, y: Any, class_weight: Mapping[int, float]) -> Array:
    if not isinstance(class_weight, Mapping):
        raise TypeError(f"{op}: class_weight must be a dict of class numbers; got {class_weight!r}")
    if y.ndim > 2:
        raise ValueError(f"{op}: class_weight needs one class a sample; y has shape {y.shape}")
    classes = y.argmax(axis=1) if y.ndim == 2 and y.shape[1] > 1 else y.reshape(-1)
    return np.array([class_weight.get(int(label), 1.0) for label in classes])
