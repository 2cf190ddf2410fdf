"""The layers of sequences: TimeEmbedding, TimeLSTM, TimeGRU, TimeRNN, TimeAffine, TimeSoftmaxWithLoss.

All sequences are (N, T, ...). Whatever the weights are, hs, dxs and the vectors of words are of float32, as
the book's are. `layers`, the book's list of one layer a step, stays empty.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..tier import Unserved, recall, remember
from . import recurrence
from .arrays import FLOAT32, Array, column_sums, plain, product, product_into, row_numbers, set_rows, working
from .functions import sigmoid, softmax
from .layers import *  # noqa: F403  (as the book's module does)
from .layers import __all__ as _layers

__all__ = [
    "TimeAffine",
    "TimeBiLSTM",
    "TimeDropout",
    "TimeEmbedding",
    "TimeGRU",
    "TimeLSTM",
    "TimeRNN",
    "TimeSoftmaxWithLoss",
    "sigmoid",
]
__all__ += _layers


class _Recurrent:
    """What TimeRNN, TimeGRU and TimeLSTM have in common."""

    def __init__(self, Wx: Array, Wh: Array, b: Array, stateful: bool = False) -> None:
        self.params = [Wx, Wh, b]
        self.grads = [np.zeros_like(Wx), np.zeros_like(Wh), np.zeros_like(b)]
        self.layers: list[Any] | None = None
        self.h: Array | None = None
        self.dh: Array | None = None
        self.stateful = stateful


def _one_state(layer: Any, kind: str, xs: Array) -> Array:
    h = layer.h if layer.stateful else None
    hs, layer.h, _, run = recurrence.forward(kind, layer.params, xs, h)
    layer.layers = []
    remember(layer, run)
    return hs


def _back(layer: Any, dhs: Array) -> Array:
    dxs, layer.dh = recurrence.backward(recall(layer), layer.grads, dhs)
    return dxs


class TimeRNN(_Recurrent):
    """h = tanh(x·Wx + h·Wh + b) at each step.

    Parameters
    ----------
    Wx, Wh, b : (D, H), (H, H) and (H,) arrays
    stateful : bool
        Begin with the last h of the call before.
    """

    def forward(self, xs: Array) -> Array:
        """Return hs (N, T, H) of xs (N, T, D)."""
        return _one_state(self, "tanh", xs)

    def backward(self, dhs: Array) -> Array:
        """Return dxs (N, T, D); that of the first h is left in `dh`."""
        return _back(self, dhs)

    def set_state(self, h: Array) -> None:
        """Set the h that the next call begins with."""
        self.h = h

    def reset_state(self) -> None:
        """Forget h."""
        self.h = None


class TimeGRU(TimeRNN):
    """z, r = σ(...), h = (1 - z)∘h + z∘tanh(x·Wx + (r∘h)·Wh + b), gates in the order z, r, h.

    Parameters
    ----------
    Wx, Wh, b : (D, 3H), (H, 3H) and (3H,) arrays
    stateful : bool
    """

    def forward(self, xs: Array) -> Array:
        """Return hs (N, T, H) of xs (N, T, D)."""
        return _one_state(self, "gru_reset_before", xs)


class TimeLSTM(_Recurrent):
    """c = σ(f)∘c + tanh(g)∘σ(i), h = σ(o)∘tanh(c), gates in the order f, g, i, o.

    Parameters
    ----------
    Wx, Wh, b : (D, 4H), (H, 4H) and (4H,) arrays
    stateful : bool
        Begin with the last h and c of the call before.
    """

    def __init__(self, Wx: Array, Wh: Array, b: Array, stateful: bool = False) -> None:
        super().__init__(Wx, Wh, b, stateful)
        self.c: Array | None = None

    def forward(self, xs: Array) -> Array:
        """Return hs (N, T, H) of xs (N, T, D)."""
        h, c = (self.h, self.c) if self.stateful else (None, None)
        hs, self.h, self.c, run = recurrence.forward("lstm", self.params, xs, h, c)
        self.layers = []
        remember(self, run)
        return hs

    def backward(self, dhs: Array) -> Array:
        """Return dxs (N, T, D); that of the first h is left in `dh`, that of the last c is taken as 0."""
        return _back(self, dhs)

    def set_state(self, h: Array, c: Array | None = None) -> None:
        """Set the state that the next call begins with; without c its c is 0."""
        self.h, self.c = h, c

    def reset_state(self) -> None:
        """Forget the state."""
        self.h, self.c = None, None


class TimeBiLSTM:
    """One `TimeLSTM` forwards and one backwards, side by side: (N, T, 2H)."""

    def __init__(
        self, Wx1: Array, Wh1: Array, b1: Array, Wx2: Array, Wh2: Array, b2: Array, stateful: bool = False
    ) -> None:
        self.forward_lstm = TimeLSTM(Wx1, Wh1, b1, stateful)
        self.backward_lstm = TimeLSTM(Wx2, Wh2, b2, stateful)
        self.params = self.forward_lstm.params + self.backward_lstm.params
        self.grads = self.forward_lstm.grads + self.backward_lstm.grads

    def forward(self, xs: Array) -> Array:
        """Return (N, T, 2H) of xs (N, T, D)."""
        later = self.backward_lstm.forward(xs[:, ::-1])
        return np.concatenate((self.forward_lstm.forward(xs), later[:, ::-1]), axis=2)

    def backward(self, dhs: Array) -> Array:
        """Return dxs (N, T, D)."""
        half = dhs.shape[2] // 2
        dxs = self.forward_lstm.backward(dhs[:, :, :half])
        return dxs + self.backward_lstm.backward(dhs[:, ::-1, half:])[:, ::-1]


class TimeEmbedding:
    """Rows of W by their numbers.

    Parameters
    ----------
    W : (V, D) array
    """

    def __init__(self, W: Array) -> None:
        self.params = [W]
        self.grads = [np.zeros_like(W)]
        self.layers: list[Any] | None = None
        self.W = W

    def forward(self, xs: Array) -> Array:
        """Return (N, T, D) of numbers of words (N, T)."""
        W = self.W
        plain(xs, W)
        if xs.ndim != 2 or W.ndim != 2:
            raise Unserved("not (N, T) and (V, D)")
        ids = row_numbers(xs, len(W))
        out = W[ids].reshape(*xs.shape, -1).astype(FLOAT32, copy=False)
        self.layers = []
        remember(self, ids)
        return out

    def backward(self, dout: Array) -> None:
        """Write the gradient of W: rows that were not taken are 0."""
        set_rows(self.grads[0], recall(self), dout.reshape(-1, dout.shape[2]))


class TimeAffine:
    """x·W + b at each step.

    Parameters
    ----------
    W, b : (D, M) and (M,) arrays
        W may be the transpose of another parameter.
    """

    def __init__(self, W: Array, b: Array) -> None:
        self.params = [W, b]
        self.grads = [np.zeros_like(W), np.zeros_like(b)]
        self.x: Array | None = None

    def forward(self, x: Array) -> Array:
        """Return (N, T, M) of x (N, T, D)."""
        W, b = self.params
        dtype = working(x, W, b)
        if x.ndim != 3 or W.ndim != 2 or x.shape[2] != W.shape[0] or b.shape != W.shape[1:] or not x.size:
            raise Unserved("not (N, T, D), (D, M) and (M,)")
        out = product(x.reshape(-1, x.shape[2]), W, b, dtype)
        self.x = x
        return out.reshape(*x.shape[:2], -1)

    def backward(self, dout: Array) -> Array:
        """Return dx (N, T, D)."""
        x, (W, _) = self.x, self.params
        dtype = working(dout, x, W)
        assert x is not None
        terms, rows = dout.reshape(-1, W.shape[1]), x.reshape(-1, x.shape[2])
        dx = product(terms, W.T, None, dtype)
        product_into(self.grads[0], rows.T, terms, dtype)
        self.grads[1][...] = column_sums(terms, dtype)
        return dx.reshape(x.shape)


def sequence_loss(layer: Any, xs: Array, ts: Array, softmax: Callable[[Array], Array]) -> Any:
    """Do the forward pass of a `TimeSoftmaxWithLoss` with one softmax or another."""
    plain(xs, ts)
    if xs.ndim != 3 or not xs.size:
        raise Unserved("not (N, T, V)")
    N, T, V = xs.shape
    if ts.ndim == 3:
        ts = ts.argmax(axis=2)
    if ts.size != N * T:
        raise Unserved("not one label a step")
    ts = ts.reshape(N * T)
    mask = ts != layer.ignore_label
    layer.cache = None  # the memory of the softmax before this one may be this one's
    ys = softmax(xs.reshape(N * T, V))
    ls = np.log(ys[np.arange(N * T), ts])
    ls *= mask
    loss = -np.sum(ls)
    loss /= mask.sum()
    layer.cache = (ts, ys, mask, (N, T, V))
    return loss


class TimeSoftmaxWithLoss:
    """Softmax and cross-entropy, the mean over all steps whose label is not `ignore_label`."""

    def __init__(self) -> None:
        self.params: list[Array] = []
        self.grads: list[Array] = []
        self.cache: Any = None
        self.ignore_label = -1

    def forward(self, xs: Array, ts: Array) -> Any:
        """Return the loss of scores (N, T, V) and labels, (N, T) or one-hot (N, T, V).

        `cache` holds (labels, softmax, which count, shape) as the book's does.
        """
        return sequence_loss(self, xs, ts, softmax)

    def backward(self, dout: Any = 1) -> Array:
        """Return the gradient of the scores: as in the book's, it takes the softmax's place in `cache`."""
        ts, ys, mask, shape = self.cache
        count = mask.sum()
        if not isinstance(dout, (int, float, np.number)) or not count:
            raise Unserved("not one number, or no label that counts")
        rate = ys.dtype.type(dout / count)
        rows = np.arange(len(ts))
        right = (ys[rows, ts] - 1) * rate
        ys *= rate
        ys[rows, ts] = right
        if not mask.all():
            ys[~mask] *= 0
        return ys.reshape(shape)


class TimeDropout:
    """Inverted dropout while `train_flg` is true.

    Parameters
    ----------
    dropout_ratio : float
        The share that is dropped.
    """

    def __init__(self, dropout_ratio: float = 0.5) -> None:
        self.params: list[Array] = []
        self.grads: list[Array] = []
        self.dropout_ratio = dropout_ratio
        self.mask: Array | None = None
        self.train_flg = True

    def forward(self, xs: Array) -> Array:
        """Return xs with some elements 0 and the others larger; the noise is NumPy's global stream."""
        if not self.train_flg:
            return xs
        kept = np.random.rand(*xs.shape) > self.dropout_ratio  # noqa: NPY002
        self.mask = kept.astype(np.float32) * (1 / (1.0 - self.dropout_ratio))
        return xs * self.mask

    def backward(self, dout: Array) -> Array:
        """Return the gradient of xs."""
        return dout * self.mask
