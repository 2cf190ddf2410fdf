"""What the normalisations share: y = activation((x - mean) · s · gamma + beta), and the way back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from ..backends import Ops
from ..checks import Shape, wanted
from ..shapes_norm import NormPlan
from ._arrays import Array, check_ctx, engine, gradient, restored

ARGUMENTS = ("x", "gamma", "beta")
Gradients = tuple[Array | None, Array | None, Array | None]


class NormCall(NamedTuple):
    """One call: its arguments, checked and canonical, and what runs it."""

    op: str
    ops: Ops
    plan: NormPlan
    dtype: np.dtype[Any]
    x: Array
    gamma: Array
    beta: Array
    given: tuple[bool, ...]  # whether there was an x, a gamma, a beta
    moved: Shape  # the axes that were brought to the end
    activation: str
    alpha: float


@dataclass(slots=True)
class NormContext:
    """What the gradient needs: the call, and the statistics it used.

    It holds x, gamma and beta themselves, not copies. What goes into the activation is made from them again,
    which costs less than memory that holds it.

    Attributes
    ----------
    mean, var : array
        Of `batch_norm` one entry a channel: those of the batch in training, else the running ones.
    """

    call: NormCall
    mean: Array
    var: Array

    @property
    def op(self) -> str:
        return self.call.op

    @property
    def ops(self) -> Ops:
        return self.call.ops

    @property
    def plan(self) -> NormPlan:
        return self.call.plan


def shape_of(array: Array | None) -> Shape | None:
    return None if array is None else array.shape


def normalised(
    op: str,
    plan: NormPlan,
    dtype: np.dtype[Any],
    arrays: Sequence[Any],
    moved: Shape = (),
    activation: str = "linear",
    alpha: float = 0.0,
    *,
    keep: bool,
) -> tuple[Array, Any]:
    """Return y from x, gamma, beta and, where they are fixed, mean and var; and its ctx, None if not kept."""
    x, gamma, beta, mean, var = arrays
    given = (True, gamma is not None, beta is not None)
    if gamma is None:
        gamma = np.ones(plan.affine_shape, x.dtype)
    if beta is None:
        beta = np.zeros(plan.affine_shape, x.dtype)
    ops = engine()
    if plan.fixed:
        y = ops.norm_apply(x, mean, var, gamma, beta, plan, activation, alpha)
    else:
        y, mean, var = ops.norm_fwd(x, gamma, beta, plan, activation, alpha)
    y = restored(_put_back(y, moved) if moved else y, dtype)
    if not keep:
        return y, None
    call = NormCall(op, ops, plan, dtype, x, gamma, beta, given, moved, activation, alpha)
    return y, NormContext(call, mean, var)


def gradients_of_norm(op: str, dy: Any, ctx: NormContext, needs: Any) -> Gradients:
    """Check the arguments of a backward, and return dx, dgamma and dbeta, or None for what is not wanted."""
    check_ctx(op, ctx)
    wanted(f"{op}_backward", needs, ARGUMENTS)
    call, plan, moved = ctx.call, ctx.plan, ctx.call.moved
    dy = gradient(op, dy, _put_back(call.x, moved).shape, call.dtype)
    if moved:
        dy = np.ascontiguousarray(np.moveaxis(dy, moved, range(-len(moved), 0)))
    dx, *others = call.ops.norm_bwd(
        dy, call.x, ctx.mean, ctx.var, call.gamma, call.beta, plan, call.activation, call.alpha
    )
    found = (_put_back(dx, moved), *(other.reshape(plan.affine_shape) for other in others))
    wants = [given and name in needs for name, given in zip(ARGUMENTS, call.given)]
    dx, dgamma, dbeta = (restored(a, call.dtype) if want else None for a, want in zip(found, wants))
    return dx, dgamma, dbeta


def _put_back(array: Array, moved: Shape) -> Array:
    """Return to their places the axes that were brought to the end."""
    return np.moveaxis(array, range(-len(moved), 0), moved) if moved else array
