"""What a model's outputs are held against: a loss, its weight and metrics, for each of them."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from . import checks, functional, losses, nested
from . import metrics as metrics_
from .batches import Batch
from .layers.base import Array


class NonFiniteLossError(ValueError):
    """The loss of a batch is NaN or infinite; the model is as it was before that batch.

    Attributes
    ----------
    value : float
        The loss.
    """

    def __init__(self, message: str, value: float) -> None:
        super().__init__(message)
        self.value = value


@dataclass
class Goal:
    """What one output is held against.

    Attributes
    ----------
    name : str
        Of the output.
    loss : Loss or None
    weight : float
        Of the loss in the sum over the outputs.
    metrics : list of Metric
    mean : RunningMean
        The loss so far, without the weight.
    """

    name: str
    loss: losses.Loss | None
    weight: float
    metrics: list[metrics_.Metric]
    mean: metrics_.RunningMean = field(default_factory=metrics_.RunningMean)


@dataclass
class Outcome:
    """What a batch has come to.

    Attributes
    ----------
    values : list of float
        The loss of each output; 0 where there is none.
    gradients : list of callable or None
        Each returns the gradient of the sum of the losses, times their weights.
    seen : list of (target, output)
        What was compared for each output: the steps that its mask keeps.
    penalty : float
        What the regularizers add to that sum.
    """

    values: list[float]
    gradients: list[Callable[[], Array] | None]
    seen: list[tuple[Any, Array]]
    penalty: float


class Objective:
    """The goals of all outputs, and the sum of their losses.

    Parameters
    ----------
    names : sequence of str
        Of the outputs.
    loss, loss_weights, metrics
        As for `Trainer.compile`.
    """

    def __init__(self, names: Sequence[str], loss: Any, loss_weights: Any, metrics: Any) -> None:
        count = len(names)
        if nested.is_group(loss):
            found = nested.arrange("compile: loss", loss, names)
        else:
            found = [loss] * count
        weights = [1.0] * count
        if loss_weights is not None:
            weights = nested.arrange("compile: loss_weights", loss_weights, names)
        self.goals = [
            Goal(
                name,
                None if one is None else losses.get(one),
                checks.real("compile", "loss_weights", weight),
                [metrics_.get(metric) for metric in judges],
            )
            for name, one, weight, judges in zip(names, found, weights, _metrics_by_output(names, metrics))
        ]
        self.mean = metrics_.RunningMean()

    @property
    def is_empty(self) -> bool:
        """Whether there is no loss to train by."""
        return all(goal.loss is None for goal in self.goals)

    def start(self) -> None:
        """Forget all batches."""
        self.mean.reset_state()
        for goal in self.goals:
            goal.mean.reset_state()
            for metric in goal.metrics:
                metric.reset_state()

    def copied_state(self) -> Callable[[], None]:
        """Copy what has been gathered so far, and return a function that puts it back."""
        gathering: list[Any] = [self.mean]
        for goal in self.goals:
            gathering += [goal.mean, *goal.metrics]

        def kept(value: Any) -> Any:
            return value if isinstance(value, (int, float, str)) else copy.copy(value)

        before = [(vars(one), {name: kept(value) for name, value in vars(one).items()}) for one in gathering]

        def put_back() -> None:
            for own, untouched in before:
                own.clear()
                own.update(untouched)

        return put_back

    def wants_logits(self, activations: Sequence[str]) -> list[bool]:
        """Return for which outputs the loss contains the activation they end with, and takes its input."""
        return [
            goal.loss is not None and goal.loss.contains != "linear" and goal.loss.contains == activation
            for goal, activation in zip(self.goals, activations)
        ]

    def vjp(
        self, batch: Batch, outputs: Sequence[Array], masks: Any, logits: Sequence[bool], penalty: float
    ) -> Outcome:
        """Return the losses of a batch and how to get their gradients.

        `masks` are those of the outputs, in the form of `Graph.masked_vjp`. What they leave out counts for
        nothing, and the mean is over the rest.
        """
        outcome = Outcome([], [], [], penalty)
        each = [None] * len(outputs) if masks is None else nested.parts(masks)
        for goal, target, weights, output, mask, is_logits in zip(
            self.goals, batch.targets, batch.weights, outputs, each, logits
        ):
            seen = output
            if mask is not None:
                seen, target, weights = _kept(goal.name, mask, output, target, weights)
            outcome.seen.append((target, seen))
            if goal.loss is None or not seen.size:
                outcome.values.append(0.0)
                outcome.gradients.append(None)
                continue
            value, gradient = goal.loss.vjp(target, seen, weights, logits=is_logits)
            if mask is not None:
                gradient = _spread(gradient, mask, output)
            outcome.values.append(value)
            outcome.gradients.append(_scaled(goal.weight, gradient))
        return outcome

    def note(self, size: int, outcome: Outcome, activations: Sequence[str]) -> dict[str, float]:
        """Add a batch of `size` samples to the losses and metrics, and return all of them so far.

        `activations` are those that the outputs have yet to go through.
        """
        total = sum(goal.weight * value for goal, value in zip(self.goals, outcome.values))
        total += outcome.penalty
        self.mean.add(total * size, size)
        logs = {"loss": self.mean.result()}
        several = len(self.goals) > 1
        for goal, value in zip(self.goals, outcome.values):
            if several and goal.loss is not None:
                goal.mean.add(value * size, size)
                logs[f"{goal.name}_loss"] = goal.mean.result()
        for goal, (target, output), activation in zip(self.goals, outcome.seen, activations):
            if goal.metrics and activation != "linear":
                output = getattr(functional, activation)(output)
            for metric in goal.metrics:
                if output.size:
                    metric.update_state(target, output)
                logs[f"{goal.name}_{metric.name}" if several else metric.name] = metric.result()
        return logs


def _metrics_by_output(names: Sequence[str], given: Any) -> list[list[Any]]:
    """Return the metrics of each output as a list."""
    if given is None:
        return [[] for _ in names]
    if isinstance(given, str) or not nested.is_group(given):
        raise TypeError(f"compile: metrics must be a list; got {given!r}")
    if len(names) == 1 and not isinstance(given, dict):
        flat = given[0] if len(given) == 1 and isinstance(given[0], (list, tuple)) else given
        return [list(flat)]
    if isinstance(given, dict):
        unknown = ", ".join(map(repr, given.keys() - set(names)))
        if unknown:
            raise ValueError(f"compile: metrics are for {', '.join(names)}; got {unknown}")
        given = {name: given.get(name) for name in names}
    arranged = nested.arrange("compile: metrics", given, names)
    return [[] if one is None else nested.parts(one) for one in arranged]


def _kept(name: str, mask: Array, output: Array, target: Any, weights: Array | None) -> tuple[Any, Any, Any]:
    """Return the steps of an output that its mask keeps, one a row, with their targets and weights."""
    for what, array in (("the output", output), ("y", target)):
        if array is not None and array.shape[: mask.ndim] != mask.shape:
            raise ValueError(f"{name}: {what} has shape {array.shape}, but its mask has {mask.shape}")
    if weights is not None:
        wide = weights.reshape(weights.shape + (1,) * (mask.ndim - weights.ndim))
        weights = np.broadcast_to(wide, mask.shape)[mask]
    return output[mask], None if target is None else target[mask], weights


def _spread(gradient: Callable[[], Array], mask: Array, output: Array) -> Callable[[], Array]:
    """Return a gradient of kept steps as one of the whole output."""

    def whole() -> Array:
        dy = np.zeros_like(output)
        dy[mask] = gradient()
        return dy

    return whole


def _scaled(weight: float, gradient: Callable[[], Array]) -> Callable[[], Array]:
    return gradient if weight == 1 else lambda: np.multiply(gradient(), weight)
