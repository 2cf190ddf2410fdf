"""What the recurrent layers share: whole sequences through one compiled loop, gates in the course's order."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ...functional._arrays import engine
from ...shapes_recurrent import RecurrentPlan, recurrent_plan
from ..products import gemm
from ..tier import Unserved
from .arrays import NOT_OURS, Array, floats

__all__ = ["Sequence", "exchanged", "gradients_through_time", "run", "sigmoid"]


class Sequence(NamedTuple):
    """What a backward pass needs of its forward pass: its arguments, and what the loop kept."""

    plan: RecurrentPlan
    x: Array  # (N·T, D)
    w_x: Array
    w_h: Array
    saved: Any
    like: tuple[Any, ...]  # the arguments as they came
    wide: bool  # whether all gradients fill float64, too


def run(
    kind: str, arrays: list[Array], like: tuple[Any, ...], *, wide: bool = False
) -> tuple[Array, Sequence]:
    """Return all h (N, T, H) of a recurrence over x (N, T, D) from h0 (N, H) and, in an LSTM, c = 0.

    The arrays are x, h0, w_x, w_h and b, ready for the engine; `like` are those that they were made from.
    """
    x, h0, w_x, w_h, b = arrays
    plan = recurrent_plan(kind, kind, x.shape, w_x.shape, w_h.shape)
    if h0.shape != (plan.batch, plan.units) or b.shape != (plan.columns,):
        raise Unserved("a first state or a bias of another shape")
    ops = engine()
    rows = x.reshape(-1, plan.features)
    c0 = np.zeros_like(h0) if kind == "lstm" else None
    hs, _, _, saved = ops.rnn_fwd(rows, w_x, b, h0, c0, w_h, None, None, None, None, plan)
    return hs, Sequence(plan, rows, w_x, w_h, saved, like, wide)


def gradients_through_time(dh: Any, cache: Any, kind: str) -> tuple[Array, Array, Array, Array, Array]:
    """Return the gradients of x, h0, w_x, w_h and b from that of all h, (N, T, H)."""
    if not isinstance(cache, Sequence) or cache.plan.kind != kind:
        raise Unserved(NOT_OURS)
    plan, rows, w_x, w_h, saved = cache[:5]
    dhs = np.require(floats(dh)[0], w_h.dtype)
    if dhs.shape != (plan.batch, plan.steps, plan.units):
        raise Unserved("a gradient of another shape than the states")
    ops = engine()
    dz, _, dh0, _ = ops.rnn_bwd(dhs, None, None, saved, w_h, None, None, None, plan)
    flat = dz.reshape(-1, plan.columns)
    previous = saved[0].reshape(-1, plan.units)
    dx = gemm(flat, w_x, trans_b=True).reshape(plan.batch, plan.steps, plan.features)
    dw_x, dw_h = (gemm(met, flat, trans_a=True) for met in (rows, previous))
    return dx, dh0, dw_x, dw_h, ops.bias_grad(flat, *flat.shape, 1)


def exchanged(a: Array) -> Array:
    """Return a copy in which the last two quarters of the last axis have changed places.

    The course's gates are i, f, o, g; those of the functional layers i, f, g, o.
    """
    half, quarter = a.shape[-1] // 2, a.shape[-1] // 4
    out = np.empty(a.shape, a.dtype)
    out[..., :half] = a[..., :half]
    out[..., half:-quarter] = a[..., -quarter:]
    out[..., -quarter:] = a[..., half:-quarter]
    return out


def sigmoid(x: Any) -> Array:
    """Return 1 / (1 + exp(-x)), by way of tanh, which never overflows."""
    out = np.tanh(x * 0.5)
    out += 1
    out *= 0.5
    return out
