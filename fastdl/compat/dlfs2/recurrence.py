"""The recurrences of the book on fastdl's kernels, whose gates have another order.

The book's LSTM has its gates in the order f, g, i, o; the kernel in the order i, f, g, o. The book's GRU is
h = (1 - z)∘h + z∘g, the kernel's h = z∘h + (1 - z)∘g: as 1 - σ(a) = σ(-a), its first gate is the book's with
the sign turned. The weights are put into the kernel's order at each call: they may have changed in between.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ...shapes_recurrent import RecurrentPlan, Saved, recurrent_plan
from ..tier import Unserved
from .arrays import FLOAT32, Array, column_sums, engine, product, ready, working

_FEW = 1 << 12  # gates of one step, below which NumPy's calls cost less than another order of the weights


@dataclass(slots=True)
class Run:
    """One forward pass: what the gradients need of it."""

    plan: RecurrentPlan
    x: Array  # (N, T, D)
    params: tuple[Array, Array, Array]
    saved: Saved
    dtype: np.dtype[Any]


def forward(
    kind: str, params: list[Array], xs: Array, h: Array | None, c: Array | None = None
) -> tuple[Array, Array, Array | None, Run]:
    """Return hs (N, T, H), which are of float32, the last h and c, and what `backward` needs.

    Parameters
    ----------
    kind : str
        "lstm", "gru_reset_before" or "tanh".
    params : list of Wx (D, G·H), Wh (H, G·H) and b (G·H,)
    xs : (N, T, D) array
    h, c : (N, H) array, or None
        The state before the first step; None is 0.
    """
    wx, wh, b = params
    given = [state for state in (h, c) if state is not None]
    dtype = working(xs, wx, wh, b, *given)
    plan = _plan(kind, xs, wx, wh, b)
    if any(state.shape != (plan.batch, plan.units) for state in given):
        raise Unserved("the state is of another batch")
    zero = None if len(given) == 2 else np.zeros((plan.batch, plan.units), dtype)
    start = ready(h, dtype) if h is not None else zero
    start_c = None if kind != "lstm" else ready(c, dtype) if c is not None else zero
    assert start is not None
    if start_c is not None and plan.steps == 1 and plan.batch * plan.columns <= _FEW:
        hs, last, last_c, saved = _lstm_step(xs[:, 0], wx, wh, b, start, start_c)
    else:
        x = ready(xs, dtype).reshape(-1, plan.features)
        w_x, bias, w_h = (ready(_to_kernel(kind, w), dtype) for w in (wx, b, wh))
        hs, last, last_c, saved = engine().rnn_fwd(
            x, w_x, bias, start, start_c, w_h, None, None, None, None, plan
        )
    return hs.astype(FLOAT32, copy=False), last, last_c, Run(plan, xs, (wx, wh, b), saved, dtype)


def backward(run: Run, grads: list[Array], dhs: Array) -> tuple[Array, Array]:
    """Write the gradients of the parameters; return dxs (N, T, D), of float32, and that of the first h."""
    plan, kind = run.plan, run.plan.kind
    wx, wh, _ = run.params
    dtype = working(dhs, run.saved[0])
    if dhs.shape != (plan.batch, plan.steps, plan.units):
        raise Unserved("not the shape that went out")
    previous, gates, previous_c = run.saved
    previous, gates = ready(previous, dtype), ready(gates, dtype)
    saved = previous, gates, None if previous_c is None else ready(previous_c, dtype)
    w_h = ready(_to_kernel(kind, wh), dtype)
    dz, _, dh, _ = engine().rnn_bwd(ready(dhs, dtype), None, None, saved, w_h, None, None, None, plan)

    dz = dz.reshape(-1, plan.columns)
    x, previous = ready(run.x, dtype).reshape(-1, plan.features), previous.reshape(-1, plan.units)
    dxs = product(dz, _to_kernel(kind, wx).T, None, dtype).reshape(plan.batch, plan.steps, plan.features)
    _from_kernel(kind, grads[0], product(x.T, dz, None, dtype))
    if kind == "gru_reset_before":
        two = 2 * plan.units
        reset = gates.reshape(-1, 3 * plan.units)[:, plan.units : two]
        parts = [
            product(previous.T, dz[:, :two], None, dtype),
            product((reset * previous).T, dz[:, two:], None, dtype),
        ]
        _from_kernel(kind, grads[1], np.concatenate(parts, axis=1))
    else:
        _from_kernel(kind, grads[1], product(previous.T, dz, None, dtype))
    _from_kernel(kind, grads[2], column_sums(dz, dtype))
    return dxs.astype(FLOAT32, copy=False), dh


def _plan(kind: str, xs: Array, wx: Array, wh: Array, b: Array) -> RecurrentPlan:
    try:
        plan = recurrent_plan("compat", kind, xs.shape, wx.shape, wh.shape)
    except ValueError as error:
        raise Unserved(str(error)) from None
    if b.shape != (plan.columns,) or plan.batch == 0:
        raise Unserved("a bias of another shape, or no sequence")
    return plan


def _to_kernel(kind: str, w: Array) -> Array:
    """Return weights or a bias with the kernel's gates."""
    if kind == "lstm":
        two, three = w.shape[-1] // 2, w.shape[-1] // 4 * 3
        return np.concatenate((w[..., two:three], w[..., :two], w[..., three:]), axis=-1)
    if kind == "gru_reset_before":
        w = w.copy()
        z = w[..., : w.shape[-1] // 3]
        np.negative(z, out=z)
    return w


def _from_kernel(kind: str, grad: Array, dw: Array) -> None:
    """Write a gradient with the kernel's gates into one with the book's."""
    if kind == "lstm":
        one, two, three = (dw.shape[-1] // 4 * gate for gate in (1, 2, 3))
        grad[..., two:three] = dw[..., :one]
        grad[..., :two] = dw[..., one:three]
        grad[..., three:] = dw[..., three:]
        return
    grad[...] = dw
    if kind == "gru_reset_before":
        z = grad[..., : grad.shape[-1] // 3]
        np.negative(z, out=z)


def _lstm_step(
    x: Array, wx: Array, wh: Array, b: Array, h: Array, c: Array
) -> tuple[Array, Array, Array, Saved]:
    """One step of few sequences, as when a decoder speaks."""
    units = h.shape[1]
    a = np.dot(x, wx)
    a += np.dot(h, wh)
    a += b
    f, g, io = _sigmoid(a[:, :units]), np.tanh(a[:, units : 2 * units]), _sigmoid(a[:, 2 * units :])
    i, o = io[:, :units], io[:, units:]
    new_c = f * c + g * i
    new_h = o * np.tanh(new_c)
    gates = np.concatenate((i, f, g, o), axis=1)
    return new_h[:, None].copy(), new_h, new_c, (h[:, None], gates[:, None], c[:, None])


def _sigmoid(a: Array) -> Array:
    y = np.exp(-a)
    y += 1
    return np.divide(1, y, out=y)
