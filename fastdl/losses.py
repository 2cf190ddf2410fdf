"""Losses, with Keras's names, arguments and meaning.

A loss compares a batch of predictions with its targets and returns one number: the mean over the batch,
each sample's loss first multiplied by its weight where weights are given (and, as in Keras, not divided by
their sum).
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import numpy as np

from . import checks, functional
from .configurable import Configurable, lookup, snake_case
from .layers.base import Array
from .layers.operation import Operation
from .targets import aligned, class_numbers, floats
from .targets import weights as weights_like

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
        weights = weights_like(self.name, sample_weight, losses) * (scale / losses.size)
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


class SquaredHinge(Hinge):
    """max(0, 1 - y_true y_pred)², with targets as for `Hinge`."""

    operation = Operation.named("squared_hinge")


class LogCosh(_Elementwise):
    """log(cosh(y_pred - y_true)): half the squared error near 0, the absolute one far from it."""

    operation = Operation.named("log_cosh")


class Poisson(_Elementwise):
    """y_pred - y_true log(y_pred), for counts and their means."""

    operation = Operation.named("poisson")


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

    ignore_class: int | None = None

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
        reduction = "sum" if sample_weight is None else "none"
        losses, ctx = functional.softmax_cross_entropy_forward(
            scores, target, ignore_index=self.ignore_class, reduction=reduction
        )
        share: Any = 1 / max(ctx.counted, 1)  # of a sample in the mean
        if sample_weight is not None:
            weights = weights_like(self.name, sample_weight, losses.reshape(y_pred.shape[:-1]))
            share = weights.reshape(-1) * losses.dtype.type(share)
            value = float((losses * share).sum(dtype=np.float64))
        else:
            value = float(losses) * share

        def back() -> Array:
            dscores = functional.softmax_cross_entropy_backward(share, ctx)
            if back_to_scores:
                dscores = back_to_scores(dscores)
            return dscores.reshape(y_pred.shape)

        return value, back


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
        target = floats(self.name, y_true, y_pred.dtype).reshape(-1, y_pred.shape[-1])
        smoothing = self.label_smoothing
        return target * (1 - smoothing) + smoothing / target.shape[1] if smoothing else target


class SparseCategoricalCrossentropy(_Categorical):
    """-log(y_pred[y_true]), for targets that are class numbers from 0.

    Parameters
    ----------
    from_logits : bool
        Whether y_pred is the input of a softmax and not a distribution.
    ignore_class : int, optional
        A class number, such as that of padding, whose rows count for nothing; the mean is over the others.
    """

    def __init__(self, from_logits: bool = False, ignore_class: int | None = None) -> None:
        super().__init__(from_logits)
        self.ignore_class = ignore_class

    def rows(self, y_true: Any, y_pred: Array) -> Array:
        return class_numbers(self.name, y_true, y_pred)


class CosineSimilarity(Loss):
    """-Σ y_true y_pred over an axis, of vectors scaled to length 1: -1 where they have the same direction.

    Parameters
    ----------
    axis : int
        Along which the vectors lie.
    """

    def __init__(self, axis: int = -1) -> None:
        self.axis = axis

    def vjp(
        self, y_true: Any, y_pred: Array, sample_weight: Any = None, *, logits: bool = False
    ) -> tuple[float, Back]:
        true, _ = self._directions(aligned(self.name, y_true, y_pred))
        predicted, length = self._directions(y_pred)
        cosine = (true * predicted).sum(axis=self.axis, keepdims=True)
        losses = -cosine.squeeze(self.axis)
        weights = np.full(losses.shape, 1 / losses.size, losses.dtype)
        if sample_weight is not None:
            weights *= weights_like(self.name, sample_weight, losses)
        share = np.expand_dims(weights, self.axis)
        return float((losses * weights).sum()), lambda: share * (cosine * predicted - true) / length

    def _directions(self, vectors: Array) -> tuple[Array, Array]:
        """Return vectors scaled to length 1, and their lengths, which as in Keras are 1e-6 at least."""
        squares = np.square(vectors).sum(axis=self.axis, keepdims=True)
        length = np.sqrt(np.maximum(squares, 1e-12))
        return vectors / length, length


class Masked(Loss):
    """Another loss, element by element, over the targets that are known.

    Missing ones count for nothing, and the mean is over the others: of a matrix of ratings that most people
    have not given, for example.

    Parameters
    ----------
    loss : str or Loss
        One that is a mean over elements, such as "mse".
    missing : float
        What stands where a target is missing; NaN by default.

    Examples
    --------
    >>> import numpy as np
    >>> from fastdl.losses import Masked
    >>> ratings = np.array([[5.0, 0.0, 0.0], [0.0, 3.0, 0.0]])
    >>> Masked("mse", missing=0.0)(ratings, np.full((2, 3), 4.0))
    1.0
    """

    def __init__(self, loss: str | Loss = "mse", missing: float = math.nan) -> None:
        self.loss = get(loss)
        self.missing = checks.real("Masked", "missing", missing)
        if not isinstance(self.loss, _Elementwise) or self.loss.summed_rows:
            raise ValueError(
                f"Masked: loss must be a mean over elements, such as 'mse'; got {self.loss.name}"
            )
        self.contains = self.loss.contains

    def vjp(
        self, y_true: Any, y_pred: Array, sample_weight: Any = None, *, logits: bool = False
    ) -> tuple[float, Back]:
        assert isinstance(self.loss, _Elementwise)
        y_true = aligned(self.name, y_true, y_pred)
        known = ~np.isnan(y_true) if math.isnan(self.missing) else y_true != self.missing
        if not known.any():
            return 0.0, lambda: np.zeros_like(y_pred)
        target = self.loss.prepared(np.where(known, y_true, 0))
        mask = known if sample_weight is None else known * weights_like(self.name, sample_weight, y_pred)
        forward, backward = self.loss.operation.forward, self.loss.operation.backward
        value, ctx = forward(y_pred, target, mask=mask, **self.loss.arguments(logits))
        return float(value), lambda: backward(1.0, ctx)


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


NAMES: dict[str, type[Loss]] = {
    "binary_crossentropy": BinaryCrossentropy,
    "categorical_crossentropy": CategoricalCrossentropy,
    "cosine_similarity": CosineSimilarity,
    "hinge": Hinge,
    "huber": Huber,
    "kl_divergence": KLDivergence,
    "kld": KLDivergence,
    "log_cosh": LogCosh,
    "logcosh": LogCosh,
    "mae": MeanAbsoluteError,
    "mean_absolute_error": MeanAbsoluteError,
    "mean_squared_error": MeanSquaredError,
    "mse": MeanSquaredError,
    "poisson": Poisson,
    "squared_hinge": SquaredHinge,
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
