"""One step of training, taken whole or not at all, and the judging of batches without one."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Any, TypeAlias

from . import checks, config, nested
from .backends import RecycledMemory
from .batches import Batch
from .callbacks import Callback, Logs
from .feed import Source
from .interrupts import Held
from .layers import weights
from .layers.base import Layer, as_compiled
from .layers.finite import NonFiniteError
from .layers.undo import Journal
from .objective import NonFiniteLossError, Outcome

if TYPE_CHECKING:
    from .training import Trainer

Leaves: TypeAlias = "Sequence[tuple[str, Layer]]"  # of a model, see `Layer.leaves`; gone through once a step


def take(model: Trainer, batch: Batch, op: str, place: str = "") -> Logs:
    """Take a step, and return the losses and metrics so far, of this batch before the step.

    Parameters
    ----------
    model : Trainer
        Compiled.
    batch : Batch
    op, place : str
        What an error calls the person's call, and the batch.

    Raises
    ------
    NonFiniteLossError
        If the loss is NaN or infinite.
    Exception
        Whatever a layer, a loss or a metric raises. As after Ctrl-C, everything is then as it was before:
        the weights, what the optimizer and the metrics remember, states and random numbers of the layers.
        Only gradients of before may be gone.
    """
    try:
        leaves = list(model.leaves())
        with RecycledMemory(), as_compiled(model.compiled_trainable), _opened(model, leaves) as changes:
            return _take(model, batch, op, place, leaves, changes)
    except NonFiniteLossError as error:
        raise NonFiniteLossError(f"{error}. {_first_to_blame(model, batch)}", error.value) from None
    except NonFiniteError as error:
        message = f"{op}: {error}{place}; the model is as it was before this batch"
        raise NonFiniteLossError(message, math.nan) from error


def _take(model: Trainer, batch: Batch, op: str, place: str, leaves: Leaves, changes: Journal) -> Logs:
    assert model.optimizer is not None
    logits = model.goals.wants_logits(model.final_activations)
    y, back, masks = model.masked_vjp(batch.x, True, wants_dx=False, logits=logits)
    penalised = weights.penalised(leaves)
    try:
        outcome = model.goals.vjp(batch, nested.parts(y), masks, logits, weights.penalty(penalised))
    except (ValueError, TypeError) as error:
        checks.retell(error, f"{op}: {error}{place}; the model is as it was before this batch")
    for name, value in zip(model.output_names, outcome.values):
        if not math.isfinite(value):
            of_which = f" of {name}" if len(outcome.values) > 1 else ""
            raise NonFiniteLossError(
                f"{op}: the loss{of_which} is {value}{place}; the model is as it was before this batch", value
            )
    changes.note("gradients", model.zero_grads)
    model.await_grads()
    back(nested.rebuild(y, [gradient and gradient() for gradient in outcome.gradients]))
    weights.add_penalty_gradients(penalised)
    logs = _noted(model, batch, outcome, logits)
    with Held():
        model.optimizer.step(model)
        changes.commit()
    return logs


def _opened(model: Trainer, leaves: Leaves) -> Journal:
    """Return a journal in which stands what layers themselves do not note."""
    changes = Journal()
    changes.note("state", _copied_state(leaves))
    changes.note("goals", model.goals.copied_state())
    return changes


def _copied_state(leaves: Leaves) -> Callable[[], None]:
    """Copy what training changes without a gradient, and return a function that puts it back."""
    before = [(array, array.copy()) for _, leaf in leaves for array in leaf.state.values()]

    def put_back() -> None:
        for array, untouched in before:
            array[...] = untouched

    return put_back


def _first_to_blame(model: Trainer, batch: Batch) -> str:
    """Return which layer makes the first number that is not finite: a step is repeated, and watched."""
    with as_compiled(model.compiled_trainable), _opened(model, list(model.leaves())) as changes:
        try:
            with config.use(check_finite=True):
                model.masked_vjp(batch.x, True, wants_dx=False)
        except NonFiniteError as error:
            return str(error)
        finally:
            changes.undo()
    return "What every layer returns is finite: look at the loss and its targets"


def judge(model: Trainer, source: Source, epoch: int = 0, watchers: Sequence[Callback] = ()) -> Logs:
    """Return the losses and metrics over the batches of an epoch."""
    model.goals.start()
    logits = model.goals.wants_logits(model.final_activations)
    with as_compiled(model.compiled_trainable):
        penalty = weights.penalty(weights.penalised(model.leaves()))
    logs: Logs = {}
    for watcher in watchers:
        watcher.on_test_begin(logs)
    with closing(source.epoch(epoch)) as parts:
        for number, batch in enumerate(parts):
            for watcher in watchers:
                watcher.on_test_batch_begin(number, logs)
            if any(logits):
                y, _, masks = model.masked_vjp(batch.x, False, logits=logits)
            else:
                y, masks = model.masked_call(batch.x)
            outcome = model.goals.vjp(batch, nested.parts(y), masks, logits, penalty)
            logs = _noted(model, batch, outcome, logits)
            for watcher in watchers:
                watcher.on_test_batch_end(number, logs)
    for watcher in watchers:
        watcher.on_test_end(logs)
    return logs


def _noted(model: Trainer, batch: Batch, outcome: Outcome, logits: Sequence[bool]) -> dict[str, Any]:
    """Add a batch to the losses and metrics, and return all of them so far."""
    left = [
        activation if is_logits else "linear"
        for activation, is_logits in zip(model.final_activations, logits)
    ]
    return model.goals.note(batch.size, outcome, left)
