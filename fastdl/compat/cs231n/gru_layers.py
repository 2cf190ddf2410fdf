"""The GRU as solutions of the third assignment write it: gates r and u, and h with weights of its own."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ... import functional as F
from ...functional._recurrent import RecurrentContext
from ..tier import Unserved
from .arrays import NOT_OURS, Array, floats, wide
from .recurrence import sigmoid

__all__ = ["gru_backward", "gru_forward", "gru_step_backward", "gru_step_forward"]


class Step(NamedTuple):
    """What the backward pass of one step of a GRU needs of its forward pass."""

    x: Array
    prev_h: Array
    Wx: Array
    Wh: Array
    Wxt: Array
    Wht: Array
    gates: Array  # r and u
    met: Array  # r∘h
    new: Array


def gru_step_forward(
    x: Any, prev_h: Any, Wx: Any, Wh: Any, bh: Any, Wxt: Any, Wht: Any, bht: Any
) -> tuple[Array, Step]:
    """Do one step of a GRU: h = (1 - u)∘h + u∘tanh(x·Wxt + (r∘h)·Wht + bht), and r, u = σ(x·Wx + h·Wh + bh).

    x is (N, D), prev_h (N, H), Wx (D, 2·H), Wh (H, 2·H), Wxt (D, H) and Wht (H, H).
    """
    gates = sigmoid(x.dot(Wx) + prev_h.dot(Wh) + bh)
    units = prev_h.shape[1]
    reset, update = gates[:, :units], gates[:, units:]
    met = reset * prev_h
    new = np.tanh(met.dot(Wht) + x.dot(Wxt) + bht)
    return prev_h + update * (new - prev_h), Step(x, prev_h, Wx, Wh, Wxt, Wht, gates, met, new)


def gru_step_backward(dcurrent_h: Any, cache: Any) -> tuple[Array, ...]:
    """Return the gradients (dx, dprev_h, dWx, dWh, dbh, dWxt, dWht, dbht) of `gru_step_forward`."""
    if not isinstance(cache, Step):
        raise Unserved(NOT_OURS)
    x, prev_h, Wx, Wh, Wxt, Wht, gates, met, new = cache
    units = prev_h.shape[1]
    reset, update = gates[:, :units], gates[:, units:]
    dnew = dcurrent_h * update * (1 - new * new)
    dmet = dnew.dot(Wht.T)
    dz = np.concatenate([dmet * prev_h, dcurrent_h * (new - prev_h)], axis=1) * gates * (1 - gates)
    dprev_h = dcurrent_h * (1 - update) + dmet * reset + dz.dot(Wh.T)
    dx = dz.dot(Wx.T) + dnew.dot(Wxt.T)
    gates_of = x.T.dot(dz), prev_h.T.dot(dz), dz.sum(axis=0)
    return dx, dprev_h, *gates_of, x.T.dot(dnew), met.T.dot(dnew), dnew.sum(axis=0)


def gru_forward(
    x: Any, h0: Any, Wx: Any, Wh: Any, bh: Any, Wxt: Any, Wht: Any, bht: Any
) -> tuple[Array, RecurrentContext]:
    """Run `gru_step_forward` over x (N, T, D) from h0 (N, H); return all h (N, T, H) in float64."""
    image, first, *weights = floats(x, h0, Wx, Wh, bh, Wxt, Wht, bht)
    joined = [_joined(pair) for pair in zip(weights[:3], weights[3:])]
    (hs, _), ctx = F.gru_forward(image, first, *joined, reset_after=False)
    return wide(hs), ctx


def gru_backward(dout: Any, caches: Any) -> tuple[Array, ...]:
    """Return the gradients (dx, dh0, dWx, dWh, dbh, dWxt, dWht, dbht) from that of all h, (N, T, H)."""
    if not isinstance(caches, RecurrentContext):
        raise Unserved(NOT_OURS)
    found: Any = F.gru_backward(floats(dout)[0], caches)
    dx, dh0, *joined = found
    gates, new = zip(*map(_parted, joined))
    return tuple(map(wide, (dx, dh0, *gates, *new)))


def _joined(pair: tuple[Array, Array]) -> Array:
    """Return weights of r, u and h as those of z, r and h, where z = 1 - u = σ(-…)."""
    gates, new = pair
    reset, update = np.split(gates, 2, axis=-1)
    return np.concatenate([-update, reset, new], axis=-1)


def _parted(joined: Any) -> tuple[Array, Array]:
    kept, reset, new = np.split(joined, 3, axis=-1)
    return np.concatenate([reset, -kept], axis=-1), np.ascontiguousarray(new)
