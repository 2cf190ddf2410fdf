"""Recurrences over time: a Python loop over the steps, whole batches within."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .pointwise import act_bwd, act_fwd, sigmoid

if TYPE_CHECKING:
    from ...shapes_recurrent import RecurrentPlan, Saved

Array = np.ndarray


def rnn_fwd(
    x: np.ndarray,
    w_x: np.ndarray,
    b: np.ndarray | None,
    h0: np.ndarray,
    c0: np.ndarray | None,
    w_h: np.ndarray,
    b_h: np.ndarray | None,
    peepholes: np.ndarray | None,
    mask: np.ndarray | None,
    lengths: np.ndarray | None,
    plan: RecurrentPlan,
    keep: bool = True,
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None, Saved | None]:
    """Run a recurrence; see `naive.rnn_fwd`."""
    h, c = h0.copy(), None if c0 is None else c0.copy()
    z = _product(x, w_x, b).reshape(plan.batch, plan.steps, plan.columns)
    hs = np.empty((plan.batch, plan.steps, plan.units), z.dtype)
    previous, previous_c = np.empty_like(hs), None if c is None else np.empty_like(hs)
    gates = hs
    for number, t in enumerate(_steps(plan)):
        running, k = _running(t, lengths), _masked(mask, h)
        c_new = None
        if c is not None:
            h_new, c_new, at = _lstm(z[:, t], k, c, w_h, b_h, peepholes)
        elif plan.kind in ("tanh", "relu"):
            h_new = at = act_fwd(z[:, t] + _product(k, w_h, b_h), plan.kind)
        else:
            h_new, at = _gru(z[:, t], k, h, w_h, b_h, after=plan.kind == "gru")
        if keep:
            if number == 0:
                gates = np.empty((plan.batch, plan.steps, at.shape[1]), z.dtype)
            gates[:, t] = _where(running, at, 0)
            previous[:, t] = _where(running, h, 0)
            if previous_c is not None:
                previous_c[:, t] = _where(running, c, 0)
        hs[:, t] = _where(running, h_new, 0)
        h = _where(running, h_new, h)
        c = None if c is None else _where(running, c_new, c)
    return hs, h, c, (previous, gates, previous_c) if keep else None


def rnn_bwd(
    dhs: np.ndarray | None,
    dh: np.ndarray | None,
    dc: np.ndarray | None,
    saved: Saved,
    w_h: np.ndarray,
    peepholes: np.ndarray | None,
    mask: np.ndarray | None,
    lengths: np.ndarray | None,
    plan: RecurrentPlan,
) -> tuple[np.ndarray, np.ndarray | None, np.ndarray, np.ndarray | None]:
    """Return dz, ds, dh0, dc0; see `naive.rnn_bwd`."""
    previous, gates, previous_c = saved
    dz = np.empty((plan.batch, plan.steps, plan.columns), w_h.dtype)
    ds = np.empty_like(dz) if plan.kind == "gru" else None
    zero = np.zeros((plan.batch, plan.units), w_h.dtype)
    dh, dc = zero if dh is None else dh, zero if dc is None else dc
    for t in _steps(plan, back=True):
        running, at = _running(t, lengths), gates[:, t]
        into = dh if dhs is None else dh + dhs[:, t]
        around: Array | float = 0.0
        if previous_c is not None:
            dz_now, dc_new = _lstm_bwd(into, dc, at, previous_c[:, t], peepholes)
            dk = dz_now @ w_h.T
            dc = _where(running, dc_new, dc)
        elif plan.kind in ("tanh", "relu"):
            dz_now = act_bwd(into, at, plan.kind)
            dk = dz_now @ w_h.T
        elif ds is not None:
            dz_now, ds_now, around = _gru_bwd(into, at, previous[:, t])
            dk = ds_now @ w_h.T
            ds[:, t] = _where(running, ds_now, 0)
        else:
            k = _masked(mask, previous[:, t])
            dz_now, dk, around = _gru_reset_before_bwd(into, at, previous[:, t], k, w_h)
        dz[:, t] = _where(running, dz_now, 0)
        dh = _where(running, around + _masked(mask, dk), dh)
    return dz, ds, np.array(dh), None if previous_c is None else np.array(dc)


def _steps(plan: RecurrentPlan, back: bool = False) -> range:
    """The steps in the order of time, or against it."""
    steps = range(plan.steps)
    return steps[::-1] if plan.reverse != back else steps


def _running(t: int, lengths: Array | None) -> Array | None:
    """Which sequences have a step t, as a column; None for all."""
    return None if lengths is None else (t < lengths)[:, None]


def _where(running: Array | None, new: Array | None, old: Array | float) -> Array:
    """`new` for the sequences that are running, `old` for the others."""
    return new if running is None else np.where(running, new, old)  # type: ignore[return-value, arg-type]


def _masked(mask: Array | None, h: Array) -> Array:
    return h if mask is None else mask * h


def _product(k: Array, w: Array, b: Array | None) -> Array:
    return k @ w if b is None else k @ w + b


def _lstm(
    z: Array, k: Array, c: Array, w_h: Array, b_h: Array | None, peepholes: Array | None
) -> tuple[Array, Array, Array]:
    i, f, g, o = np.split(z + _product(k, w_h, b_h), 4, axis=1)
    if peepholes is not None:
        i, f = i + peepholes[0] * c, f + peepholes[1] * c
    i, f, g = sigmoid(i), sigmoid(f), np.tanh(g)
    c = f * c + i * g
    o = sigmoid(o if peepholes is None else o + peepholes[2] * c)
    return o * np.tanh(c), c, np.concatenate([i, f, g, o], axis=1)


def _lstm_bwd(dh: Array, dc: Array, gates: Array, c: Array, peepholes: Array | None) -> tuple[Array, Array]:
    i, f, g, o = np.split(gates, 4, axis=1)
    tanh_c = np.tanh(f * c + i * g)
    dz_o = act_bwd(dh * tanh_c, o, "sigmoid")
    dc = dc + act_bwd(dh * o, tanh_c, "tanh")
    if peepholes is not None:
        dc = dc + peepholes[2] * dz_o
    dz_i, dz_f = act_bwd(dc * g, i, "sigmoid"), act_bwd(dc * c, f, "sigmoid")
    dz_g = act_bwd(dc * i, g, "tanh")
    dc = dc * f
    if peepholes is not None:
        dc = dc + (peepholes[0] * dz_i + peepholes[1] * dz_f)
    return np.concatenate([dz_i, dz_f, dz_g, dz_o], axis=1), dc


def _gru(z: Array, k: Array, h: Array, w_h: Array, b_h: Array | None, *, after: bool) -> tuple[Array, Array]:
    first, last = _columns(h)
    b_first, b_last = (None, None) if b_h is None else (b_h[first], b_h[last])
    ur = sigmoid(z[:, first] + _product(k, w_h[:, first], b_first))
    u, r = np.split(ur, 2, axis=1)
    s_g = _product(k if after else r * k, w_h[:, last], b_last)
    g = np.tanh(z[:, last] + (r * s_g if after else s_g))
    return u * h + (1 - u) * g, np.concatenate([ur, g, s_g] if after else [ur, g], axis=1)


def _gru_bwd(dh: Array, gates: Array, h: Array) -> tuple[Array, Array, Array]:
    u, r, g, s_g = np.split(gates, 4, axis=1)
    dz_u = act_bwd(dh * (h - g), u, "sigmoid")
    dz_g = act_bwd(dh * (1 - u), g, "tanh")
    dz_r = act_bwd(dz_g * s_g, r, "sigmoid")
    dz, ds = (np.concatenate([dz_u, dz_r, last], axis=1) for last in (dz_g, dz_g * r))
    return dz, ds, dh * u


def _gru_reset_before_bwd(
    dh: Array, gates: Array, h: Array, k: Array, w_h: Array
) -> tuple[Array, Array, Array]:
    first, last = _columns(h)
    u, r, g = np.split(gates, 3, axis=1)
    dz_u = act_bwd(dh * (h - g), u, "sigmoid")
    dz_g = act_bwd(dh * (1 - u), g, "tanh")
    dq = dz_g @ w_h[:, last].T  # the gradient of r∘k
    dz_ur = np.concatenate([dz_u, act_bwd(dq * k, r, "sigmoid")], axis=1)
    return np.concatenate([dz_ur, dz_g], axis=1), dq * r + dz_ur @ w_h[:, first].T, dh * u


def _columns(h: Array) -> tuple[slice, slice]:
    """Where in the weights of a GRU u and r are, and where g is."""
    return slice(2 * h.shape[1]), slice(2 * h.shape[1], None)
