"""Metrics, with Keras's names: numbers that say how good a model is, gathered over batches.

A metric is updated with each batch and asked for its result at the end::

    metric.reset_state()
    metric.update_state(y_true, y_pred)
    metric.result()
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import numpy as np

from . import checks, losses
from .configurable import Configurable, lookup, snake_case
from .layers.base import Array


class Metric(Configurable, ABC):
    """Base of the metrics.

    Parameters
    ----------
    name : str, optional
        Under which it stands in a history; by default the class's name.
    """

    family = "metrics."

    def __init__(self, name: str | None = None) -> None:
        self.name = name or snake_case(type(self).__name__)
        self.reset_state()

    @abstractmethod
    def update_state(self, y_true: Array, y_pred: Array) -> None:
        """Add a batch."""

    @abstractmethod
    def result(self) -> float:
        """Return the metric of all batches since the last reset; NaN of none."""

    @abstractmethod
    def reset_state(self) -> None:
        """Forget all batches."""


class RunningMean:
    """The mean of numbers that are added one by one or many at once."""

    total = 0.0
    count = 0

    def add(self, total: float, count: int) -> None:
        """Add the sum of `count` numbers."""
        self.total += total
        self.count += count

    def result(self) -> float:
        """Return the mean; NaN of nothing."""
        return self.total / self.count if self.count else math.nan

    def reset_state(self) -> None:
        """Forget all numbers."""
        self.total = 0.0
        self.count = 0


class _Elementwise(RunningMean, Metric):
    """Base of the metrics that are a mean over samples: a subclass gives the values of a batch."""

    def update_state(self, y_true: Array, y_pred: Array) -> None:
        values = self.values(np.asarray(y_true), np.asarray(y_pred))
        self.add(float(np.sum(values)), values.size)

    @abstractmethod
    def values(self, y_true: Array, y_pred: Array) -> Array:
        """Return the values of a batch."""


class BinaryAccuracy(_Elementwise):
    """How often y_pred > threshold says the same as y_true, 0 or 1.

    Parameters
    ----------
    name : str, optional
    threshold : float
    """

    def __init__(self, name: str | None = None, threshold: float = 0.5) -> None:
        super().__init__(name)
        self.threshold = checks.real("BinaryAccuracy", "threshold", threshold)

    def values(self, y_true: Array, y_pred: Array) -> Array:
        return (y_pred > self.threshold) == (losses.aligned(self.name, y_true, y_pred) > 0.5)


class CategoricalAccuracy(_Elementwise):
    """How often the largest of y_pred stands where the largest of y_true does."""

    def values(self, y_true: Array, y_pred: Array) -> Array:
        checks.same_shape(self.name, "y_true", y_true.shape, y_pred.shape, "y_pred")
        return y_true.argmax(axis=-1) == y_pred.argmax(axis=-1)


class SparseCategoricalAccuracy(_Elementwise):
    """How often the largest of y_pred stands at the class number y_true."""

    def values(self, y_true: Array, y_pred: Array) -> Array:
        return losses.class_numbers(self.name, y_true, y_pred) == y_pred.argmax(axis=-1).reshape(-1)


class Accuracy(_Elementwise):
    """The accuracy that fits: what "accuracy" means in ``compile``.

    As in Keras the shapes decide: predictions with one column are probabilities of a binary class, targets
    without the predictions' columns are class numbers, and all else is one-hot.
    """

    def values(self, y_true: Array, y_pred: Array) -> Array:
        fitting: _Elementwise
        if y_pred.ndim < 2 or y_pred.shape[-1] == 1:
            fitting = BinaryAccuracy(self.name)
        elif y_true.ndim < y_pred.ndim or y_true.shape[-1] == 1:
            fitting = SparseCategoricalAccuracy(self.name)
        else:
            fitting = CategoricalAccuracy(self.name)
        return fitting.values(y_true, y_pred)


class SparseTopKCategoricalAccuracy(_Elementwise):
    """How often the class number y_true is among the k largest of y_pred.

    Parameters
    ----------
    k : int
    name : str, optional
    """

    def __init__(self, k: int = 5, name: str | None = None) -> None:
        super().__init__(name)
        self.k = checks.integer("SparseTopKCategoricalAccuracy", "k", k)

    def values(self, y_true: Array, y_pred: Array) -> Array:
        scores = y_pred.reshape(-1, y_pred.shape[-1])
        labels = losses.class_numbers(self.name, y_true, y_pred)
        own = scores[np.arange(len(scores)), labels]
        return (scores > own[:, None]).sum(axis=1) < self.k


class TopKCategoricalAccuracy(SparseTopKCategoricalAccuracy):
    """How often the largest of y_true, one-hot, is among the k largest of y_pred.

    Parameters
    ----------
    k : int
    name : str, optional
    """

    def values(self, y_true: Array, y_pred: Array) -> Array:
        checks.same_shape(self.name, "y_true", y_true.shape, y_pred.shape, "y_pred")
        return super().values(y_true.argmax(axis=-1), y_pred)


class _Counts(Metric):
    """Base of the metrics that come from counts of right and wrong positives."""

    def __init__(self, thresholds: float | None = None, name: str | None = None) -> None:
        super().__init__(name)
        kind = type(self).__name__
        self.thresholds = None if thresholds is None else checks.real(kind, "thresholds", thresholds)

    def reset_state(self) -> None:
        self.true_positives = 0
        self.others = 0

    def result(self) -> float:
        found = self.true_positives + self.others
        return self.true_positives / found if found else 0.0

    def update_state(self, y_true: Array, y_pred: Array) -> None:
        y_pred = np.asarray(y_pred)
        positive = losses.aligned(self.name, y_true, y_pred) > 0.5
        predicted = y_pred > (0.5 if self.thresholds is None else self.thresholds)
        self.true_positives += int((positive & predicted).sum())
        self.others += self.missed(positive, predicted)

    @abstractmethod
    def missed(self, positive: Array, predicted: Array) -> int:
        """Return how many count against it."""


class Precision(_Counts):
    """How many of those predicted to be 1 are 1.

    Parameters
    ----------
    thresholds : float, optional
        What a prediction must exceed to be a 1; 0.5 by default.
    name : str, optional
    """

    def missed(self, positive: Array, predicted: Array) -> int:
        return int((~positive & predicted).sum())


class Recall(_Counts):
    """How many of those that are 1 are predicted to be.

    Parameters
    ----------
    thresholds : float, optional
        What a prediction must exceed to be a 1; 0.5 by default.
    name : str, optional
    """

    def missed(self, positive: Array, predicted: Array) -> int:
        return int((positive & ~predicted).sum())


class FunctionMetric(RunningMean, Metric):
    """The mean over samples of what a function, or a loss, says of each batch.

    Parameters
    ----------
    function : callable
        Takes y_true and y_pred, and returns a number or one a sample.
    name : str, optional
        By default the function's.
    """

    def __init__(self, function: Callable[[Array, Array], Any], name: str | None = None) -> None:
        self.function = function
        super().__init__(name or getattr(function, "name", None) or getattr(function, "__name__", None))

    def update_state(self, y_true: Array, y_pred: Array) -> None:
        self.add(float(np.mean(self.function(y_true, y_pred))) * len(y_pred), len(y_pred))


class MeanSquaredError(FunctionMetric):
    """The mean of (y_pred - y_true)²."""

    def __init__(self, name: str | None = None) -> None:
        super().__init__(losses.MeanSquaredError(), name)


class RootMeanSquaredError(MeanSquaredError):
    """The root of the mean of (y_pred - y_true)²."""

    def __init__(self, name: str | None = None) -> None:
        super().__init__(name or "root_mean_squared_error")

    def result(self) -> float:
        return math.sqrt(super().result())


class MeanAbsoluteError(FunctionMetric):
    """The mean of |y_pred - y_true|."""

    def __init__(self, name: str | None = None) -> None:
        super().__init__(losses.MeanAbsoluteError(), name)


NAMES: dict[str, type[Metric]] = {
    "acc": Accuracy,
    "accuracy": Accuracy,
    "binary_accuracy": BinaryAccuracy,
    "categorical_accuracy": CategoricalAccuracy,
    "mae": MeanAbsoluteError,
    "mean_absolute_error": MeanAbsoluteError,
    "mean_squared_error": MeanSquaredError,
    "mse": MeanSquaredError,
    "precision": Precision,
    "recall": Recall,
    "root_mean_squared_error": RootMeanSquaredError,
    "sparse_categorical_accuracy": SparseCategoricalAccuracy,
    "sparse_top_k_categorical_accuracy": SparseTopKCategoricalAccuracy,
    "top_k_categorical_accuracy": TopKCategoricalAccuracy,
}


def get(metric: str | Metric | type[Metric] | losses.Loss | Callable[[Array, Array], Any]) -> Metric:
    """Return the metric of that name; a `Metric` is returned as it is, a function or loss becomes one.

    Examples
    --------
    >>> accuracy = get("acc")
    >>> accuracy.update_state([1, 0], [[0.9], [0.8]])
    >>> accuracy.name, accuracy.result()
    ('acc', 0.5)
    """
    if callable(metric) and not isinstance(metric, (type, Metric)):
        return FunctionMetric(metric)
    if isinstance(metric, str) and metric not in NAMES and metric in losses.NAMES:
        return FunctionMetric(losses.get(metric), metric)
    found = lookup("metric", metric, NAMES, Metric)
    if isinstance(metric, str):
        found.name = metric
    return found
