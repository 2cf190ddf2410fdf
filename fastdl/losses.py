"""Losses, with Keras's names, arguments and meaning.

A loss compares a batch of predictions with its targets and returns one number: the mean over the batch,
each sample's loss first multiplied by its weight where weights are given (and, as in Keras, not divided by
their sum).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import numpy as np

from . import checks, functional
from .configurable import Configurable, lookup, snake_case
from .layers.base import Array
from .layers.operation import Operation

Back = Callable[[], Array]


class Loss(Configurable, ABC):
    """Base of the losses.

    A subclass defines `vjp`. A loss that begins with an activation, as cross entropy does with softmax,
    names it in `contains`: given the activation's input and ``logits=True`` it computes the same more
    exactly.
    """

    contains = "linear"

    @property
    def name(self) -> str:
        """The loss's name in a history or a table."""
        return snake_case(type(self).__name__)

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> float:
        """Return the loss of predictions."""
        return self.vjp(y_true, np.asarray(y_pred), sample_weight)[0]

    @abstractmethod
    def vjp(
        self, y_true: Any, y_pred: Array, sample_weight: Any = None, *, logits: bool = False
    ) -> tuple[float, Back]:
        """Return the loss and a function that returns its gradient.

        Parameters
        ----------
        y_true : array_like, (N, ...)
        y_pred : ndarray, (N, ...)
        sample_weight : array_like, (N,), optional
        logits : bool
            Whether `y_pred` is the input of the activation in `contains`.
        """


class _Elementwise(Loss):
    """Base of the losses that are a sum over the elements of y_pred."""

    operation: Operation
    summed_rows = False  # whether a sample's loss is the sum over the last axis, or the mean

    def prepared(self, y_true: Array) -> Array:
        """Return the targets as the function takes them."""
        return y_true

    def arguments(self, logits: bool) -> dict[str, Any]:
        """Return the function's other arguments."""
        return {}

    def vjp(
        self, y_true: Any, y_pred: Array, sample_weight: Any = None, *, logits: bool = False
    ) -> tuple[float, Back]:
        target = self.prepared(aligned(self.name, y_true, y_pred))
        arguments = self.arguments(logits)
        scale = y_pred.shape[-1] if self.summed_rows else 1
        if sample_weight is None:
            value, ctx = self.operation.forward(y_pred, target, **arguments)
            return float(value) * scale, lambda: self.operation.backward(scale, ctx)
        losses, ctx = self.operation.forward(y_pred, target, reduction="none", **arguments)
        weights = _weights(self.name, sample_weight, losses) * (scale / losses.size)
        return float((losses * weights).sum()), lambda: self.operation.backward(weights, ctx)


class MeanSquaredError(_Elementwise):
    """(y_pred - y_true)²."""

    operation = Operation.named("mean_squared_error")


class MeanAbsoluteError(_Elementwise):
    """|y_pred - y_true|."""

    operation = Operation.named("mean_absolute_error")


class Huber(_Elementwise):
    """Half the squared error up to `delta`, linear beyond (Huber, 1964).

    Parameters
    ----------
    delta : float
    """

    operation = Operation.named("huber")

    def __init__(self, delta: float = 1.0) -> None:
        self.delta = checks.number("Huber", "delta", delta)

    def arguments(self, logits: bool) -> dict[str, Any]:
        return {"delta": self.delta}


class Hinge(_Elementwise):
    """max(0, 1 - y_true y_pred), with targets -1 and 1; a batch of 0 and 1 is understood as those."""

    operation = Operation.named("hinge")

    def prepared(self, y_true: Array) -> Array:
        return 2 * y_true - 1 if np.isin(y_true, (0, 1)).all() else y_true


class KLDivergence(_Elementwise):
    """Σ y_true log(y_true / y_pred) over the last axis."""

    operation = Operation.named("kl_divergence")
    summed_rows = True


class BinaryCrossentropy(_Elementwise):
    """-y_true log(y_pred) - (1 - y_true) log(1 - y_pred).

    Parameters
    ----------
    from_logits : bool
        Whether y_pred is the input of a sigmoid and not a probability.
    label_smoothing : float
        In [0, 1): how far targets are moved towards 1/2.
    """

    operation = Operation.named("binary_cross_entropy")

    def __init__(self, from_logits: bool = False, label_smoothing: float = 0.0) -> None:
        self.from_logits = bool(from_logits)
        self.label_smoothing = checks.number(
            "BinaryCrossentropy", "label_smoothing", label_smoothing, below=1.0
        )
        self.contains = "linear" if from_logits else "sigmoid"

    def prepared(self, y_true: Array) -> Array:
        smoothing = self.label_smoothing
        return y_true * (1 - smoothing) + smoothing / 2 if smoothing else y_true

    def arguments(self, logits: bool) -> dict[str, Any]:
        return {"from_logits": logits or self.from_logits}


class _Categorical(Loss):
    """Base of the cross entropies of one class out of several, along the last axis."""

    def __init__(self, from_logits: bool = False) -> None:
        self.from_logits = bool(from_logits)
        self.contains = "linear" if from_logits else "softmax"

    @abstractmethod
    def rows(self, y_true: Any, y_pred: Array) -> Array:
        """Return the targets of y_pred.reshape(-1, classes)."""

    def vjp(
        self, y_true: Any, y_pred: Array, sample_weight: Any = None, *, logits: bool = False
    ) -> tuple[float, Back]:
        if y_pred.ndim < 2:
            raise ValueError(f"{self.name}: y_pred must be (N, ..., classes); got shape {y_pred.shape}")
        classes = y_pred.shape[-1]
        target = self.rows(y_true, y_pred)
        scores = y_pred.reshape(-1, classes)
        back_to_scores = None
        if not (logits or self.from_logits):
            scores, back_to_scores = _logarithm(scores)
        if sample_weight is None:
            value, ctx = functional.softmax_cross_entropy_forward(scores, target)
            weights: Any = 1.0
        else:
            losses, ctx = functional.softmax_cross_entropy_forward(scores, target, reduction="none")
            shaped = losses.reshape(y_pred.shape[:-1])
            weights = (_weights(self.name, sample_weight, shaped) / losses.size).reshape(-1)
            value = (losses * weights).sum()

        def back() -> Array:
            dscores = functional.softmax_cross_entropy_backward(weights, ctx)
            if back_to_scores:
                dscores = back_to_scores(dscores)
            return dscores.reshape(y_pred.shape)

        return float(value), back


def _logarithm(probabilities: Array) -> tuple[Array, Callable[[Array], Array]]:
    """Return logits of rows of probabilities, first scaled to sum to one and kept off zero, as by Keras."""
    least = 1e-7 * probabilities.sum(axis=1, keepdims=True)
    kept = np.maximum(probabilities, least)
    # Softmax ignores a common factor, so its gradient needs no term for the sum.
    return np.log(kept), lambda dscores: dscores / kept * (probabilities >= least)


class CategoricalCrossentropy(_Categorical):
    """-Σ y_true log(y_pred) over the last axis, for targets that are distributions (one-hot).

    Parameters
    ----------
    from_logits : bool
        Whether y_pred is the input of a softmax and not a distribution.
    label_smoothing : float
        In [0, 1): how far targets are moved towards the even distribution.
    """

    def __init__(self, from_logits: bool = False, label_smoothing: float = 0.0) -> None:
        super().__init__(from_logits)
        self.label_smoothing = checks.number(
            "CategoricalCrossentropy", "label_smoothing", label_smoothing, below=1.0
        )

    def rows(self, y_true: Any, y_pred: Array) -> Array:
        y_true = np.asarray(y_true)
        if y_true.shape != y_pred.shape:
            raise ValueError(
                f"{self.name}: y_true must be one-hot, of shape {y_pred.shape}; got {y_true.shape}"
                " (class numbers go with sparse_categorical_crossentropy)"
            )
        target = _floats(self.name, y_true, y_pred.dtype).reshape(-1, y_pred.shape[-1])
        smoothing = self.label_smoothing
        return target * (1 - smoothing) + smoothing / target.shape[1] if smoothing else target


class SparseCategoricalCrossentropy(_Categorical):
    """-log(y_pred[y_true]), for targets that are class numbers from 0.

    Parameters
    ----------
    from_logits : bool
        Whether y_pred is the input of a softmax and not a distribution.
    """

    def rows(self, y_true: Any, y_pred: Array) -> Array:
        return class_numbers(self.name, y_true, y_pred)


class FunctionLoss(Loss):
    """A person's own function as a loss.

    Parameters
    ----------
    function : callable
        Takes y_true and y_pred, and returns the loss, a number, and its gradient, shaped like y_pred.
    """

    def __init__(self, function: Callable[[Array, Array], tuple[float, Array]]) -> None:
        self.function = function

    @property
    def name(self) -> str:
        return getattr(self.function, "__name__", "loss")

    def vjp(
        self, y_true: Any, y_pred: Array, sample_weight: Any = None, *, logits: bool = False
    ) -> tuple[float, Back]:
        if sample_weight is not None:
            raise ValueError(
                f"{self.name}: a loss that is a plain function takes no sample_weight or class_weight"
            )
        result = self.function(np.asarray(y_true), y_pred)
        if not isinstance(result, tuple) or len(result) != 2:
            raise TypeError(
                f"{self.name}: a loss function must return (loss, gradient of y_pred); got {result!r}"
            )
        value, gradient = result
        gradient = np.asarray(gradient, y_pred.dtype)
        checks.same_shape(self.name, "the gradient", gradient.shape, y_pred.shape, "y_pred")
        return float(value), lambda: gradient


def class_numbers(op: str, y_true: Any, y_pred: Array) -> Array:
    """Return class numbers, one for each row of y_pred (N, ..., classes), as one int64 axis."""
    labels = np.asarray(y_true)
    if labels.shape not in (y_pred.shape[:-1], (*y_pred.shape[:-1], 1)):
        raise ValueError(
            f"{op}: y_true must be class numbers of shape {y_pred.shape[:-1]} (y_pred is {y_pred.shape});"
            f" got shape {labels.shape}"
        )
    whole = labels.dtype.kind in "iub" or labels.dtype.kind == "f" and (labels == np.floor(labels)).all()
    if not whole:
        raise TypeError(f"{op}: y_true must be class numbers; got {labels.dtype.name} that are not whole")
    return labels.reshape(-1).astype(np.int64)


def _floats(op: str, y_true: Array, dtype: np.dtype[Any]) -> Array:
    if y_true.dtype.kind not in "fiub":
        raise TypeError(f"{op}: y_true must hold numbers; got {y_true.dtype}")
    return y_true.astype(dtype, copy=False)


def aligned(op: str, y_true: Any, y_pred: Array) -> Array:
    """Return the targets in y_pred's dtype and shape; a last axis of size 1 may be missing in either."""
    y_true = np.asarray(y_true)
    if y_true.shape != y_pred.shape:
        if (*y_true.shape, 1) != y_pred.shape and y_true.shape != (*y_pred.shape, 1):
            raise ValueError(f"{op}: y_true must have y_pred's shape {y_pred.shape}; got {y_true.shape}")
        y_true = y_true.reshape(y_pred.shape)
    return _floats(op, y_true, y_pred.dtype)


def _weights(op: str, sample_weight: Any, losses: Array) -> Array:
    """Return the weights of samples, repeated to the shape of their losses."""
    weights = np.asarray(sample_weight, losses.dtype)
    if weights.shape != losses.shape[:1]:
        raise ValueError(f"{op}: sample_weight must have shape {losses.shape[:1]}; got {weights.shape}")
    return np.broadcast_to(weights.reshape(-1, *(1,) * (losses.ndim - 1)), losses.shape)


NAMES: dict[str, type[Loss]] = {
    "binary_crossentropy": BinaryCrossentropy,
    "categorical_crossentropy": CategoricalCrossentropy,
    "hinge": Hinge,
    "huber": Huber,
    "kl_divergence": KLDivergence,
    "kld": KLDivergence,
    "mae": MeanAbsoluteError,
    "mean_absolute_error": MeanAbsoluteError,
    "mean_squared_error": MeanSquaredError,
    "mse": MeanSquaredError,
    "sparse_categorical_crossentropy": SparseCategoricalCrossentropy,
}


def get(loss: str | Loss | type[Loss] | Callable[[Array, Array], tuple[float, Array]]) -> Loss:
    """Return the loss of that name; a `Loss` is returned as it is, a plain function becomes one.

    Examples
    --------
    >>> get("mse")([1.0, 2.0], [1.0, 4.0])
    2.0
    """
    if callable(loss) and not isinstance(loss, (type, Loss)):
        return FunctionLoss(loss)
    return lookup("loss", loss, NAMES, Loss)
