"""The plans of recurrences over time; see `shapes`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from .checks import Shape, check_bytes, same_shape
from .shapes import _cached

# How many gates of H units each kind has. "gru_reset_before" multiplies the reset gate with the state before
# the recurrent product, as the paper has it; "gru" multiplies it with the product, as cuDNN does.
RECURRENCES = {"tanh": 1, "relu": 1, "lstm": 4, "gru": 3, "gru_reset_before": 3}

# How many of them, or of their parts, a backward needs.
KEPT_GATES = {"tanh": 0, "relu": 0, "lstm": 4, "gru": 4, "gru_reset_before": 3}

# What a backward needs of its forward: the h before each step, the gates, and the c before each step.
Saved: TypeAlias = tuple[np.ndarray, np.ndarray, np.ndarray | None]


@dataclass(frozen=True, slots=True)
class RecurrentPlan:
    """One recurrence: N sequences of T steps of D features, with a state of H units; T is 1 for a cell."""

    kind: str
    batch: int
    steps: int
    features: int
    units: int
    reverse: bool
    x_shape: Shape

    @property
    def columns(self) -> int:
        """Gates times units: the last axis of the weights."""
        return RECURRENCES[self.kind] * self.units


@_cached
def recurrent_plan(
    op: str, kind: str, x_shape: Shape, w_x_shape: Shape, w_h_shape: Shape, reverse: bool = False
) -> RecurrentPlan:
    """Plan a recurrence of x (N, T, D), or one step of it of x (N, D) where `op` ends in "_cell".

    w_x is (D, gates·H) and w_h (H, gates·H).

    Raises
    ------
    ValueError
        Naming `op`, the argument, what was expected and what came.
    """
    cell = op.endswith("_cell")
    if len(x_shape) != (2 if cell else 3):
        axes = "(N, D)" if cell else "(N, T, D)"
        raise ValueError(f"{op}: x must be {axes}; got shape {x_shape}")
    gates = RECURRENCES[kind]
    times = f"{gates}·H" if gates > 1 else "H"
    if len(w_h_shape) != 2 or w_h_shape[0] < 1 or w_h_shape[1] != gates * w_h_shape[0]:
        raise ValueError(f"{op}: w_h must be (H, {times}); got shape {w_h_shape}")
    features, units = x_shape[-1], w_h_shape[0]
    if len(w_x_shape) != 2 or w_x_shape[1] != w_h_shape[1]:
        raise ValueError(
            f"{op}: w_x must be (D, {times}) with H = {units}, the rows of w_h {w_h_shape}; "
            f"got shape {w_x_shape}"
        )
    if w_x_shape[0] != features:
        raise ValueError(
            f"{op}: x has {features} features (last axis of {x_shape}) "
            f"but w_x expects {w_x_shape[0]} (w_x is {w_x_shape})"
        )
    batch, steps = x_shape[0], 1 if cell else x_shape[1]
    if steps < 1:
        raise ValueError(f"{op}: x must have at least one step; got shape {x_shape}")
    check_bytes(op, "x", x_shape)
    check_bytes(op, "the gates", (batch, steps, 4 * units))
    return RecurrentPlan(
        kind=kind,
        batch=batch,
        steps=steps,
        features=features,
        units=units,
        reverse=bool(reverse),
        x_shape=x_shape,
    )


def check_state(op: str, name: str, came: Shape, plan: RecurrentPlan) -> None:
    """Refuse a state that is not (N, H)."""
    same_shape(op, name, came, (plan.batch, plan.units), "a state (N, H)")


def check_recurrent_bias(op: str, came: Shape, plan: RecurrentPlan) -> None:
    """Refuse a bias of another shape: (2, 3·H) for "gru", the input's and the state's, else one row."""
    expected = (2, plan.columns) if plan.kind == "gru" else (plan.columns,)
    if came != expected:
        why = " (of the input, then of the state) with reset_after" if plan.kind == "gru" else ""
        raise ValueError(f"{op}: b must have shape {expected}{why}; got {came}")
