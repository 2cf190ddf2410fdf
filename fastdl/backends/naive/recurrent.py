"""Recurrences over time, one sequence and one step at a time.

The gradients of x and of the weights are no part of it: they are `gemm` and `bias_grad` over all steps.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from .pointwise import act_bwd, act_fwd

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
    """Run a recurrence over x (N·T, D). With z = x·w_x + b, k = mask∘h and s = k·w_h + b_h, at each step:

    tanh, relu        h = act(z + s)
    lstm              i, f, o = σ(z_i + s_i + p_i∘c), σ(z_f + s_f + p_f∘c), σ(z_o + s_o + p_o∘c'),
                      g = tanh(z_g + s_g),  c' = f∘c + i∘g,  h = o∘tanh(c')
    gru               u, r = σ(z_u + s_u), σ(z_r + s_r),  g = tanh(z_g + r∘s_g),  h' = u∘h + (1 − u)∘g
    gru_reset_before  the same, but g = tanh(z_g + (r∘k)·w_g + b_g), with the last H columns of w_h and b_h

    The gates stand in the order i, f, g, o or u, r, g, the peepholes p in the order i, f, o. c0 is None but
    for lstm; b, b_h, peepholes (3, H), mask (N, H) and lengths (N,) may be. Steps past a length give 0 and
    leave the state alone.

    Returns hs (N, T, H), the last h and c, and where `keep` says so what `rnn_bwd` needs: the h before each
    step, the gates (and s_g, for gru; only hs, for tanh and relu), and the c before each step.
    """
    hs = np.zeros((plan.batch, plan.steps, plan.units), x.dtype)
    h, c = h0.copy(), None if c0 is None else c0.copy()
    previous, previous_c = np.zeros_like(hs), None if c is None else np.zeros_like(hs)
    gates: Array | None = None
    for n, t in _places(lengths, plan):
        z, k = _product(x[n * plan.steps + t], w_x, b), _masked(mask, h, n)
        previous[n, t] = h[n]
        if c is not None and previous_c is not None:
            previous_c[n, t] = c[n]
            h[n], c[n], at = _lstm(z, k, c[n], w_h, b_h, peepholes)
        elif plan.kind in ("tanh", "relu"):
            h[n] = at = act_fwd(z + _product(k, w_h, b_h), plan.kind)
        else:
            h[n], at = _gru(z, k, h[n], w_h, b_h, after=plan.kind == "gru")
        hs[n, t] = h[n]
        if gates is None:
            gates = np.zeros((plan.batch, plan.steps, at.size), x.dtype)
        gates[n, t] = at
    return hs, h, c, (previous, hs if gates is None else gates, previous_c) if keep else None


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
    """Return dz, ds, dh0, dc0 from the gradients of hs, of the last h and of the last c; None stands for 0.

    ds is the gradient of s; it is None where it is dz, that is for all but gru. Both are 0 at steps past a
    length. dc0 is None but for lstm.
    """
    previous, gates, previous_c = saved
    dz = np.zeros((plan.batch, plan.steps, plan.columns), w_h.dtype)
    ds = np.zeros_like(dz) if plan.kind == "gru" else None
    zero = np.zeros((plan.batch, plan.units), w_h.dtype)
    dh = zero.copy() if dh is None else dh.copy()
    dc = zero.copy() if dc is None else dc.copy()
    for n, t in _places(lengths, plan, back=True):
        if dhs is not None:
            dh[n] += dhs[n, t]
        around = np.zeros_like(dh[n])  # what reaches the h before this step, but not by way of k
        if previous_c is not None:
            dz[n, t], dc[n] = _lstm_bwd(dh[n], dc[n], gates[n, t], previous_c[n, t], peepholes)
            dk = _product(dz[n, t], w_h.T)
        elif plan.kind in ("tanh", "relu"):
            dz[n, t] = act_bwd(dh[n], gates[n, t], plan.kind)
            dk = _product(dz[n, t], w_h.T)
        elif ds is not None:
            dz[n, t], ds[n, t], around = _gru_bwd(dh[n], gates[n, t], previous[n, t])
            dk = _product(ds[n, t], w_h.T)
        else:
            k = _masked(mask, previous[:, t], n)
            dz[n, t], dk, around = _gru_reset_before_bwd(dh[n], gates[n, t], previous[n, t], k, w_h)
        dh[n] = around + (dk if mask is None else mask[n] * dk)
    return dz, ds, dh, None if previous_c is None else dc


def _places(lengths: Array | None, plan: RecurrentPlan, back: bool = False) -> Iterator[tuple[int, int]]:
    """Yield (sequence, step) in the order of time, or against it, without the steps past a length."""
    for n in range(plan.batch):
        steps = range(plan.steps if lengths is None else int(lengths[n]))
        for t in reversed(steps) if plan.reverse != back else steps:
            yield n, t


def _masked(mask: Array | None, h: Array, n: int) -> Array:
    return h[n].copy() if mask is None else mask[n] * h[n]


def _product(a: Array, w: Array, b: Array | None = None) -> Array:
    """y[j] = Σ_i a[i]·w[i, j] + b[j]."""
    y = np.zeros(w.shape[1], a.dtype)
    for i, j in np.ndindex(w.shape):
        y[j] += a[i] * w[i, j]
    return y if b is None else y + b


def _lstm(
    z: Array, k: Array, c: Array, w_h: Array, b_h: Array | None, peepholes: Array | None
) -> tuple[Array, Array, Array]:
    i, f, g, o = (z + _product(k, w_h, b_h)).reshape(4, -1)
    if peepholes is not None:
        i, f = i + peepholes[0] * c, f + peepholes[1] * c
    i, f, g = act_fwd(i, "sigmoid"), act_fwd(f, "sigmoid"), act_fwd(g, "tanh")
    c = f * c + i * g
    o = act_fwd(o if peepholes is None else o + peepholes[2] * c, "sigmoid")
    return o * act_fwd(c, "tanh"), c, np.concatenate([i, f, g, o])


def _lstm_bwd(dh: Array, dc: Array, gates: Array, c: Array, peepholes: Array | None) -> tuple[Array, Array]:
    i, f, g, o = gates.reshape(4, -1)
    tanh_c = act_fwd(f * c + i * g, "tanh")
    dz_o = act_bwd(dh * tanh_c, o, "sigmoid")
    dc = dc + act_bwd(dh * o, tanh_c, "tanh")
    if peepholes is not None:
        dc = dc + peepholes[2] * dz_o
    dz_i, dz_f = act_bwd(dc * g, i, "sigmoid"), act_bwd(dc * c, f, "sigmoid")
    dz_g = act_bwd(dc * i, g, "tanh")
    dc = dc * f
    if peepholes is not None:
        dc = dc + (peepholes[0] * dz_i + peepholes[1] * dz_f)
    return np.concatenate([dz_i, dz_f, dz_g, dz_o]), dc


def _gru(z: Array, k: Array, h: Array, w_h: Array, b_h: Array | None, *, after: bool) -> tuple[Array, Array]:
    w = w_h.reshape(h.size, 3, h.size)
    b = (None, None, None) if b_h is None else b_h.reshape(3, -1)
    z_u, z_r, z_g = z.reshape(3, -1)
    u = act_fwd(z_u + _product(k, w[:, 0], b[0]), "sigmoid")
    r = act_fwd(z_r + _product(k, w[:, 1], b[1]), "sigmoid")
    s_g = _product(k if after else r * k, w[:, 2], b[2])
    g = act_fwd(z_g + (r * s_g if after else s_g), "tanh")
    return u * h + (1 - u) * g, np.concatenate([u, r, g, s_g] if after else [u, r, g])


def _gru_bwd(dh: Array, gates: Array, h: Array) -> tuple[Array, Array, Array]:
    u, r, g, s_g = gates.reshape(4, -1)
    dz_u = act_bwd(dh * (h - g), u, "sigmoid")
    dz_g = act_bwd(dh * (1 - u), g, "tanh")
    dz_r = act_bwd(dz_g * s_g, r, "sigmoid")
    return np.concatenate([dz_u, dz_r, dz_g]), np.concatenate([dz_u, dz_r, dz_g * r]), dh * u


def _gru_reset_before_bwd(
    dh: Array, gates: Array, h: Array, k: Array, w_h: Array
) -> tuple[Array, Array, Array]:
    u, r, g = gates.reshape(3, -1)
    w = w_h.reshape(h.size, 3, h.size)
    dz_u = act_bwd(dh * (h - g), u, "sigmoid")
    dz_g = act_bwd(dh * (1 - u), g, "tanh")
    dq = _product(dz_g, w[:, 2].T)  # the gradient of r∘k
    dz_r = act_bwd(dq * k, r, "sigmoid")
    dk = dq * r + (_product(dz_u, w[:, 0].T) + _product(dz_r, w[:, 1].T))
    return np.concatenate([dz_u, dz_r, dz_g]), dk, dh * u
