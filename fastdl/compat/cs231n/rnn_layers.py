"""The recurrent layers of the third assignment, over (N, T, D), and what belongs to them.

A whole sequence goes through one compiled loop. The caches of whole sequences and of LSTM steps are taken by
the backward passes here alone; those of the other layers have the course's layout.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ...functional._arrays import engine
from ..products import gemm
from ..tier import Unserved
from .arrays import NOT_OURS, Array, answer, floats, labels, wide
from .gru_layers import gru_backward, gru_forward, gru_step_backward, gru_step_forward
from .recurrence import Sequence, exchanged, gradients_through_time, run, sigmoid

__all__ = [
    "gru_backward",
    "gru_forward",
    "gru_step_backward",
    "gru_step_forward",
    "lstm_backward",
    "lstm_forward",
    "lstm_step_backward",
    "lstm_step_forward",
    "rnn_backward",
    "rnn_forward",
    "rnn_step_backward",
    "rnn_step_forward",
    "sigmoid",
    "temporal_affine_backward",
    "temporal_affine_forward",
    "temporal_softmax_loss",
    "word_embedding_backward",
    "word_embedding_forward",
]

_FEW = 4096  # numbers that NumPy has added before a kernel is called


class Step(NamedTuple):
    """What the backward pass of one step of an LSTM needs of its forward pass."""

    x: Array
    prev_h: Array
    prev_c: Array
    Wx: Array
    Wh: Array
    gates: Array  # i, f and o
    g: Array
    squashed: Array  # tanh(next_c)


def rnn_step_forward(x: Any, prev_h: Any, Wx: Any, Wh: Any, b: Any) -> tuple[Array, tuple[Any, ...]]:
    """Return tanh(x·Wx + prev_h·Wh + b), (N, H), and the cache: the arguments and the result."""
    z = x.dot(Wx)
    z += prev_h.dot(Wh)
    z += b
    next_h = np.tanh(z)
    return next_h, (x, prev_h, Wx, Wh, b, next_h)


def rnn_step_backward(dnext_h: Any, cache: Any) -> tuple[Array, ...]:
    """Return the gradients (dx, dprev_h, dWx, dWh, db) of `rnn_step_forward`."""
    x, prev_h, Wx, Wh, _, next_h = cache
    dz = dnext_h * (1 - next_h * next_h)
    return dz.dot(Wx.T), dz.dot(Wh.T), x.T.dot(dz), prev_h.T.dot(dz), dz.sum(axis=0)


def rnn_forward(x: Any, h0: Any, Wx: Any, Wh: Any, b: Any) -> tuple[Array, Sequence]:
    """Run a plain recurrent network over x (N, T, D) from h0 (N, H); return all h (N, T, H) in float64."""
    hs, cache = run("tanh", floats(x, h0, Wx, Wh, b), (x, h0, Wx, Wh, b))
    return wide(hs), cache


def rnn_forward_wide(x: Any, h0: Any, Wx: Any, Wh: Any, b: Any) -> tuple[Array, Sequence]:
    """Do what `rnn_forward` does, for a backward pass whose gradients are all of float64."""
    hs, cache = rnn_forward(x, h0, Wx, Wh, b)
    return hs, cache._replace(wide=True)


def rnn_backward(dh: Any, cache: Any) -> tuple[Array, ...]:
    """Return the gradients (dx, dh0, dWx, dWh, db) from that of all h, (N, T, H)."""
    dx, dh0, dWx, dWh, db = gradients_through_time(dh, cache, "tanh")
    if cache.wide:
        return tuple(map(wide, (dx, dh0, dWx, dWh, db)))
    _, _, Wx, Wh, b = cache.like
    return wide(dx), wide(dh0), answer(dWx, Wx), answer(dWh, Wh), answer(db, b)


def lstm_step_forward(
    x: Any, prev_h: Any, prev_c: Any, Wx: Any, Wh: Any, b: Any
) -> tuple[Array, Array, Step]:
    """Do one step of an LSTM: (N, D) and (N, H) to (N, H), gates in the order i, f, o, g.

    Returns
    -------
    next_h, next_c : (N, H) array
    cache : Step
        What `lstm_step_backward` takes.
    """
    z = x.dot(Wx)
    z += prev_h.dot(Wh)
    z += b
    units = prev_h.shape[1]
    gates = sigmoid(z[:, : 3 * units])
    i, f, o = (gates[:, k * units : (k + 1) * units] for k in range(3))
    g = np.tanh(z[:, 3 * units :])
    next_c = f * prev_c
    next_c += i * g
    squashed = np.tanh(next_c)
    return o * squashed, next_c, Step(x, prev_h, prev_c, Wx, Wh, gates, g, squashed)


def lstm_step_backward(dnext_h: Any, dnext_c: Any, cache: Any) -> tuple[Array, ...]:
    """Return the gradients (dx, dprev_h, dprev_c, dWx, dWh, db) of `lstm_step_forward`."""
    if not isinstance(cache, Step):
        raise Unserved(NOT_OURS)
    x, prev_h, prev_c, Wx, Wh, gates, g, squashed = cache
    units = prev_h.shape[1]
    i, f, o = (gates[:, k * units : (k + 1) * units] for k in range(3))
    dc = dnext_h * o
    dc *= 1 - squashed * squashed
    dc += dnext_c
    dz = np.empty((len(g), 4 * units), dc.dtype)
    np.multiply(dc, g, out=dz[:, :units])
    np.multiply(dc, prev_c, out=dz[:, units : 2 * units])
    np.multiply(dnext_h, squashed, out=dz[:, 2 * units : 3 * units])
    dz[:, : 3 * units] *= gates * (1 - gates)
    np.multiply(dc, i, out=dz[:, 3 * units :])
    dz[:, 3 * units :] *= 1 - g * g
    return dz.dot(Wx.T), dz.dot(Wh.T), dc * f, x.T.dot(dz), prev_h.T.dot(dz), dz.sum(axis=0)


def lstm_forward(x: Any, h0: Any, Wx: Any, Wh: Any, b: Any) -> tuple[Array, Sequence]:
    """Run an LSTM over x (N, T, D) from h0 (N, H) and c = 0; return all h (N, T, H) in float64.

    Wx is (D, 4·H), Wh (H, 4·H) and b (4·H,), gates in the order i, f, o, g.
    """
    image, first, *weights = floats(x, h0, Wx, Wh, b)
    hs, cache = run("lstm", [image, first, *map(exchanged, weights)], (x, h0, Wx, Wh, b))
    return wide(hs), cache


def lstm_forward_wide(x: Any, h0: Any, Wx: Any, Wh: Any, b: Any) -> tuple[Array, Sequence]:
    """Do what `lstm_forward` does, for a backward pass whose gradients are all of float64."""
    hs, cache = lstm_forward(x, h0, Wx, Wh, b)
    return hs, cache._replace(wide=True)


def lstm_backward(dh: Any, cache: Any) -> tuple[Array, ...]:
    """Return the gradients (dx, dh0, dWx, dWh, db) from that of all h, (N, T, H)."""
    dx, dh0, *weights = gradients_through_time(dh, cache, "lstm")
    dh0 = wide(dh0) if cache.wide else answer(dh0, *cache.like)
    return wide(dx), dh0, *(wide(exchanged(dw)) for dw in weights)


def word_embedding_forward(x: Any, W: Any) -> tuple[Array, tuple[Any, Any]]:
    """Return the rows of W (V, D) that x (N, T) names, and the cache (x, W)."""
    return W[x], (x, W)


def word_embedding_backward(dout: Any, cache: Any) -> Array:
    """Return the gradient of W (V, D) from that of the words (N, T, D): sums over where each word stands."""
    x, W = cache[:2]
    if type(dout) is not np.ndarray or type(W) is not np.ndarray or W.ndim != 2:
        raise Unserved("a gradient unlike the words")
    if dout.size < _FEW and W.size < _FEW:
        dW = np.zeros_like(W)
        np.add.at(dW, x, dout)
        return dW
    (terms,) = floats(dout)
    rows, width = W.shape
    if type(x) is not np.ndarray or terms.shape != (*x.shape, width):
        raise Unserved("a gradient unlike the words")
    found = engine().scatter_add(terms.reshape(-1, width), labels(x.reshape(-1), x.size, rows), rows)
    return answer(found, W)


def temporal_affine_forward(x: Any, w: Any, b: Any) -> tuple[Array, tuple[Any, ...]]:
    """Return x·w + b at each step of x (N, T, D), and the cache (x, w, b, out)."""
    rows, weights, bias = floats(x, w, b)
    flat = gemm(rows.reshape(-1, rows.shape[2]), weights, bias)
    out = answer(flat.reshape(*x.shape[:2], -1), x, w, b)
    return out, (x, w, b, out)


def temporal_affine_backward(dout: Any, cache: Any) -> tuple[Array, Array, Array]:
    """Return the gradients (dx, dw, db) from that of the output (N, T, M)."""
    x, w, b, _ = cache
    dz, rows, weights = floats(dout, x, w)
    flat = dz.reshape(-1, dz.shape[2])
    dx = gemm(flat, weights, trans_b=True).reshape(x.shape)
    dw = gemm(rows.reshape(-1, rows.shape[2]), flat, trans_a=True)
    db = engine().bias_grad(flat, *flat.shape, 1)
    return answer(dx, dout, w), answer(dw, dout, x), answer(db, dout)


def temporal_softmax_loss(x: Any, y: Any, mask: Any, verbose: bool = False) -> tuple[Any, Array]:
    """Return Σ mask · -log softmax(x)[y] / N over all steps of x (N, T, V), and its gradient.

    Parameters
    ----------
    x : (N, T, V) array
        Scores.
    y : (N, T) array of integers
    mask : (N, T) array of bool or numbers
    verbose : bool
        Whether to print the gradient's shape.
    """
    (scores,) = floats(x)
    count, steps, classes = scores.shape
    rows = count * steps
    target = labels(y.reshape(-1), rows, classes)
    weight = mask.reshape(-1)
    ops = engine()
    _, probs = ops.softmax_xent_fwd(scores.reshape(rows, classes), target)
    loss = -np.sum(weight * np.log(probs[np.arange(rows), target])) / count
    share = np.empty(rows, scores.dtype)
    np.divide(weight, count, out=share, casting="same_kind")
    dx = ops.softmax_xent_bwd(probs, target, share).reshape(x.shape)
    if verbose:
        print("dx_flat: ", (rows, classes))
    return loss, answer(dx, x) if weight.dtype.kind == "b" else answer(dx, x, weight)
