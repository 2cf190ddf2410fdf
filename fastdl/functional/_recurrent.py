"""What the recurrences and their cells share: one call, checked, run forward and back.

Forward is the engine's, all of it. The gradients of the inputs and the weights are products and sums over all
steps after the engine's loop, which finds those of the gates.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..backends import Ops
from ..checks import same_shape, wanted
from ..shapes_recurrent import RecurrentPlan, Saved, check_recurrent_bias, check_state, recurrent_plan
from ._arrays import Array, as_array, canonical, check_ctx, engine, floats, gradient, restored, shaped

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

SEQUENCE = ("x", "h0", "w_x", "w_h", "b")
SEQUENCE_LSTM = ("x", "h0", "c0", "w_x", "w_h", "b")
CELL = ("x", "h", "w_x", "w_h", "b")
CELL_LSTM = ("x", "h", "c", "w_x", "w_h", "b")
_REST = "w_x w_h (b) (peepholes) (recurrent_mask)"
_SEQUENCE, _CELL = f"x (h0) (c0) {_REST}", f"x (h) (c) {_REST}"  # as `floats` has them


@dataclass(slots=True)
class RecurrentCall:
    """One call: its arguments, checked and canonical, and what runs it. x is 0 at steps past a length."""

    op: str
    ops: Ops
    plan: RecurrentPlan
    dtype: np.dtype[Any]
    arguments: tuple[str, ...]  # the names of those that have a gradient
    x: Array  # (N·T, D)
    h: Array
    c: Array | None
    w_x: Array
    w_h: Array
    b: Array | None  # of gru two rows: with z, and with the product of the state
    peepholes: Array | None
    mask: Array | None
    lengths: Array | None


@dataclass(slots=True)
class RecurrentContext:
    """What a backward needs of its forward. It holds the arguments and hs themselves, not copies."""

    call: RecurrentCall
    saved: Saved  # see `backends.naive.rnn_fwd`

    @property
    def op(self) -> str:
        return self.call.op


def recurrent_call(
    op: str,
    kind: str,
    x: Any,
    h: Any,
    c: Any,
    w_x: Any,
    w_h: Any,
    b: Any,
    *,
    peepholes: Any = None,
    recurrent_mask: Any = None,
    reverse: bool = False,
    lengths: Any = None,
) -> RecurrentCall:
    """Check the arguments and make them what the engine takes; a state that is None is 0."""
    lstm = kind == "lstm"
    if op.endswith("_cell"):
        all_names, names = _CELL, CELL_LSTM if lstm else CELL
    else:
        all_names, names = _SEQUENCE, SEQUENCE_LSTM if lstm else SEQUENCE
    given = (x, h, c, w_x, w_h, b, peepholes, recurrent_mask)
    arrays, dtype, ready = floats(op, all_names, *given)
    x, h, c, w_x, w_h, b, peepholes, mask = arrays
    plan = recurrent_plan(op, kind, x.shape, w_x.shape, w_h.shape, bool(reverse))
    for name, state in ((names[1], h), (names[2], c), ("recurrent_mask", mask)):
        if state is not None:
            check_state(op, name, state.shape, plan)
    if b is not None:
        check_recurrent_bias(op, b.shape, plan)
    if peepholes is not None:
        names = (*names, "peepholes")
        same_shape(op, "peepholes", peepholes.shape, (3, plan.units), "(i, f, o), each of H")
    running = None if lengths is None else _lengths(op, lengths, plan)

    if not ready:
        x, h, c, w_x, w_h, b, peepholes, mask = canonical(arrays, dtype)
    if running is not None:
        x = np.where(_within(running, plan), x, x.dtype.type(0))
    if h is None:
        h = np.zeros((plan.batch, plan.units), x.dtype)
    if lstm and c is None:
        c = np.zeros((plan.batch, plan.units), x.dtype)
    x = shaped(x, (plan.batch * plan.steps, plan.features))
    return RecurrentCall(op, engine(), plan, dtype, names, x, h, c, w_x, w_h, b, peepholes, mask, running)


def _lengths(op: str, lengths: ArrayLike, plan: RecurrentPlan) -> Array | None:
    """Return the lengths as the engine takes them, or None where all sequences are as long as x."""
    array = as_array(op, "lengths", lengths)
    if array.dtype.kind not in "iu" and array.size:
        raise TypeError(f"{op}: lengths must hold integers; got {array.dtype}")
    same_shape(op, "lengths", array.shape, (plan.batch,), "one a sequence")
    outside = (array < 0) | (array > plan.steps)
    if outside.any():
        at = int(outside.argmax())
        raise ValueError(
            f"{op}: lengths must be at least 0 and at most the {plan.steps} steps of x; "
            f"got {array[at]} at index {at}"
        )
    return None if (array == plan.steps).all() else np.array(array, np.int64)


def _within(lengths: Array, plan: RecurrentPlan) -> Array:
    """Return, as (N, T, 1), which steps are not past the length of their sequence."""
    return (np.arange(plan.steps) < lengths[:, None])[:, :, None]


def infer(call: RecurrentCall) -> tuple[Array, Array, Any]:
    """Return hs (N, T, H), the last h, and the last c where there is one."""
    return _run(call, keep=False)[0]


def forward(call: RecurrentCall) -> tuple[Array, Array, Any, RecurrentContext]:
    """Return what `infer` does, and the ctx."""
    results, saved = _run(call, keep=True)
    return *results, RecurrentContext(call, saved)


def _run(call: RecurrentCall, keep: bool) -> tuple[tuple[Array, Array, Any], Any]:
    plan, b, b_h = call.plan, None, call.b
    if b_h is not None and plan.kind == "gru":
        b, b_h = b_h
    states = call.h, call.c, call.w_h, b_h, call.peepholes, call.mask, call.lengths
    hs, h, c, saved = call.ops.rnn_fwd(call.x, call.w_x, b, *states, plan, keep)
    if c is not None:
        c = restored(c, call.dtype)
    return (restored(hs, call.dtype), restored(h, call.dtype), c), saved


def gradients(
    op: str,
    ctx: RecurrentContext,
    dhs: ArrayLike | None,
    dh: ArrayLike | None = None,
    dc: ArrayLike | None = None,
    needs: Sequence[str] | None = None,
) -> tuple[Array | None, ...]:
    """Return the gradients of the arguments in order; those that are not wanted or not there are None."""
    check_ctx(op, ctx)
    call = ctx.call
    plan, ops = call.plan, call.ops
    if needs is None:
        needs = call.arguments
    wanted(f"{op}_backward", needs, call.arguments)
    state = (plan.batch, plan.units)
    if dhs is not None:
        dhs = gradient(op, dhs, (plan.batch, plan.steps, plan.units), call.dtype, "dhs", "hs")
    if dh is not None:
        dh = gradient(op, dh, state, call.dtype, "dh", "h")
    if dc is not None:
        dc = gradient(op, dc, state, call.dtype, "dc", "c")
    dz, ds, dh0, dc0 = ops.rnn_bwd(
        dhs, dh, dc, ctx.saved, call.w_h, call.peepholes, call.mask, call.lengths, plan
    )
    rows = plan.batch * plan.steps
    flat_dz = dz.reshape(rows, plan.columns)
    flat_ds = flat_dz if ds is None else ds.reshape(rows, plan.columns)

    found: dict[str, Array] = {"h0": dh0, "h": dh0}
    if dc0 is not None:
        found |= {"c0": dc0, "c": dc0}
    if "x" in needs:
        found["x"] = ops.gemm(flat_dz, call.w_x, trans_b=True).reshape(plan.x_shape)
    if "w_x" in needs:
        found["w_x"] = ops.gemm(call.x, flat_dz, trans_a=True)
    if "w_h" in needs:
        found["w_h"] = _recurrent_weights(ctx, flat_ds)
    if "b" in needs and call.b is not None:
        db = ops.bias_grad(flat_dz, rows, plan.columns, 1)
        found["b"] = db if ds is None else np.stack([db, ops.bias_grad(flat_ds, rows, plan.columns, 1)])
    if "peepholes" in needs:
        found["peepholes"] = _peepholes(ctx, flat_dz)
    return tuple(
        restored(found[name], call.dtype) if name in needs and name in found else None
        for name in call.arguments
    )


def _recurrent_weights(ctx: RecurrentContext, ds: Array) -> Array:
    """Return dw_h, the sum over all steps of what met w_h, times ds."""
    call, plan = ctx.call, ctx.call.plan
    previous, gates, _ = ctx.saved
    met = previous if call.mask is None else previous * call.mask[:, None, :]
    met = met.reshape(-1, plan.units)
    if plan.kind != "gru_reset_before":
        return call.ops.gemm(met, ds, trans_a=True)
    reset = gates.reshape(-1, 3 * plan.units)[:, plan.units : 2 * plan.units]
    first, last = (np.ascontiguousarray(part) for part in np.split(ds, [2 * plan.units], axis=1))
    return np.concatenate(
        [call.ops.gemm(met, first, trans_a=True), call.ops.gemm(reset * met, last, trans_a=True)], axis=1
    )


def _peepholes(ctx: RecurrentContext, dz: Array) -> Array:
    """Return the gradients of p_i, p_f and p_o: the sums of dz_i·c, dz_f·c and dz_o·c'."""
    units = ctx.call.plan.units
    _, gates, previous_c = ctx.saved
    assert previous_c is not None
    i, f, g, _ = np.split(gates.reshape(-1, 4 * units), 4, axis=1)
    c = previous_c.reshape(-1, units)
    dz_i, dz_f, _, dz_o = np.split(dz, 4, axis=1)
    terms = np.concatenate([dz_i * c, dz_f * c, dz_o * (f * c + i * g)], axis=1)
    return ctx.call.ops.bias_grad(terms, len(terms), 3 * units, 1).reshape(3, units)
