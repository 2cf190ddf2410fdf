"""Recurrent networks over whole sequences: LSTM, GRU and the plain one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..checks import one_of
from ._arrays import Array
from ._recurrent import RecurrentCall, RecurrentContext, forward, gradients, infer, recurrent_call

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

__all__ = [
    "gru",
    "gru_backward",
    "gru_forward",
    "lstm",
    "lstm_backward",
    "lstm_forward",
    "rnn",
    "rnn_backward",
    "rnn_forward",
]

LSTMResult = tuple[Array, tuple[Array, Array]]
Result = tuple[Array, Array]


def lstm(
    x: ArrayLike,
    h0: ArrayLike | None,
    c0: ArrayLike | None,
    w_x: ArrayLike,
    w_h: ArrayLike,
    b: ArrayLike | None = None,
    *,
    peepholes: ArrayLike | None = None,
    reverse: bool = False,
    lengths: ArrayLike | None = None,
    recurrent_mask: ArrayLike | None = None,
) -> LSTMResult:
    """Return the states hs of an LSTM after each step, and its last (h, c).

    At each step, with (i, f, g, o) the four parts of x·w_x + h·w_h + b::

        c = σ(f)∘c + σ(i)∘tanh(g)
        h = σ(o)∘tanh(c)

    Parameters
    ----------
    x : (N, T, D) array of floats
        N sequences of T steps.
    h0, c0 : (N, H) array of floats, or None
        The state before the first step; None is 0.
    w_x : (D, 4·H) array of floats
        Weights of the inputs, gates in the order i, f, g, o, as Keras has them.
    w_h : (H, 4·H) array of floats
        Weights of the state.
    b : (4·H,) array of floats, optional
        Bias; PyTorch's is the sum of its two.
    peepholes : (3, H) array of floats, optional
        What i, f and o see of c: p_i∘c and p_f∘c of the step before, p_o∘c of this one.
    reverse : bool
        Go from the last step to the first; hs stay in the order of x.
    lengths : (N,) array of integers, optional
        How many steps each sequence has. Past them hs is 0 and the state stands still, and what x holds
        there has no influence, not even NaN; a reversed sequence begins at its own last step.
    recurrent_mask : (N, H) array of floats, optional
        Multiplied with h on its way into h·w_h, at every step the same: recurrent dropout.

    Returns
    -------
    hs : (N, T, H) array
    (h, c) : (N, H) arrays

    Raises
    ------
    ValueError
        If the shapes do not fit or a length is out of range.
    TypeError
        If an argument does not hold floats, or `lengths` integers.

    References
    ----------
    Hochreiter and Schmidhuber, "Long Short-Term Memory", 1997; the forget gate is from Gers, Schmidhuber and
    Cummins, 2000, the peepholes from Gers and Schmidhuber, 2000.

    Examples
    --------
    >>> import numpy as np
    >>> import fastdl.functional as F
    >>> rng = np.random.default_rng(0)
    >>> x, w_x, w_h = (rng.normal(size=shape) for shape in ((2, 5, 3), (3, 16), (4, 16)))
    >>> hs, (h, c) = F.lstm(x, None, None, w_x, w_h, lengths=[5, 2])
    >>> hs.shape, h.shape
    ((2, 5, 4), (2, 4))
    >>> bool((h[1] == hs[1, 1]).all() and not hs[1, 2:].any())
    True
    """
    call = recurrent_call(
        "lstm", "lstm", x, h0, c0, w_x, w_h, b,
        peepholes=peepholes, recurrent_mask=recurrent_mask, reverse=reverse, lengths=lengths,
    )  # fmt: skip
    hs, h, c = infer(call)
    return hs, (h, c)


def lstm_forward(
    x: ArrayLike,
    h0: ArrayLike | None,
    c0: ArrayLike | None,
    w_x: ArrayLike,
    w_h: ArrayLike,
    b: ArrayLike | None = None,
    *,
    peepholes: ArrayLike | None = None,
    reverse: bool = False,
    lengths: ArrayLike | None = None,
    recurrent_mask: ArrayLike | None = None,
) -> tuple[LSTMResult, RecurrentContext]:
    """Return what `lstm` returns, (hs, (h, c)), and the ctx that `lstm_backward` takes."""
    call = recurrent_call(
        "lstm", "lstm", x, h0, c0, w_x, w_h, b,
        peepholes=peepholes, recurrent_mask=recurrent_mask, reverse=reverse, lengths=lengths,
    )  # fmt: skip
    hs, h, c, ctx = forward(call)
    return (hs, (h, c)), ctx


def lstm_backward(
    dhs: ArrayLike | None,
    ctx: RecurrentContext,
    dh: ArrayLike | None = None,
    dc: ArrayLike | None = None,
    needs: tuple[str, ...] | None = None,
) -> tuple[Array | None, ...]:
    """Return the gradients (dx, dh0, dc0, dw_x, dw_h, db), and dpeepholes where there were peepholes.

    Backward through time: dz, the gradient of x·w_x + h·w_h + b, is found step by step from the last to the
    first; then dx = dz·w_xᵀ, dw_x = Σ xᵀ·dz, dw_h = Σ hᵀ·dz with the h before each step, db = Σ dz.

    Parameters
    ----------
    dhs : (N, T, H) array of floats, or None
        Gradient with respect to hs; None is 0.
    ctx : RecurrentContext
        From `lstm_forward`; it may be used any number of times.
    dh, dc : (N, H) array of floats, optional
        Gradients with respect to the last h and c; None is 0.
    needs : tuple of str, optional
        The gradients that are wanted, out of "x", "h0", "c0", "w_x", "w_h", "b" and "peepholes"; the others
        are None. By default all.

    Examples
    --------
    >>> import numpy as np
    >>> import fastdl.functional as F
    >>> rng = np.random.default_rng(0)
    >>> x, w_x, w_h = (rng.normal(size=shape) for shape in ((2, 5, 3), (3, 16), (4, 16)))
    >>> (hs, (h, c)), ctx = F.lstm_forward(x, None, None, w_x, w_h)
    >>> dx, dh0, dc0, dw_x, dw_h, db = F.lstm_backward(None, ctx, dh=np.ones_like(h))
    >>> dx.shape, dw_h.shape, db
    ((2, 5, 3), (4, 16), None)
    """
    return gradients("lstm", ctx, dhs, dh, dc, needs)


def gru(
    x: ArrayLike,
    h0: ArrayLike | None,
    w_x: ArrayLike,
    w_h: ArrayLike,
    b: ArrayLike | None = None,
    *,
    reset_after: bool = True,
    reverse: bool = False,
    lengths: ArrayLike | None = None,
    recurrent_mask: ArrayLike | None = None,
) -> Result:
    """Return the states hs of a GRU after each step, and its last h.

    At each step, with (z, r, g) the three parts of x·w_x + b[0] and (z', r', g') those of h·w_h + b[1]::

        z, r = σ(z + z'), σ(r + r')
        h = z∘h + (1 - z)∘tanh(g + r∘g')

    Without `reset_after` there is one bias, and g' is (r∘h)·w_g, with w_g the last H columns of w_h.

    Parameters
    ----------
    x : (N, T, D) array of floats
        N sequences of T steps.
    h0 : (N, H) array of floats, or None
        The state before the first step; None is 0.
    w_x : (D, 3·H) array of floats
        Weights of the inputs, gates in the order z, r, g, as Keras has them; PyTorch begins with r.
    w_h : (H, 3·H) array of floats
        Weights of the state.
    b : (2, 3·H) array of floats with `reset_after`, else (3·H,), optional
        Bias.
    reset_after : bool
        Apply the reset gate after the product with w_h, as cuDNN, Keras and PyTorch do; or before it, as
        the paper does.
    reverse, lengths, recurrent_mask
        As in `lstm`.

    Returns
    -------
    hs : (N, T, H) array
    h : (N, H) array

    References
    ----------
    Cho and others, "Learning Phrase Representations using RNN Encoder-Decoder", 2014.

    Examples
    --------
    >>> import numpy as np
    >>> import fastdl.functional as F
    >>> rng = np.random.default_rng(0)
    >>> x, w_x, w_h = (rng.normal(size=shape) for shape in ((2, 5, 3), (3, 12), (4, 12)))
    >>> hs, h = F.gru(x, None, w_x, w_h, np.zeros((2, 12)))
    >>> bool((h == hs[:, -1]).all())
    True
    """
    call = _gru_call(
        reset_after, x, h0, w_x, w_h, b, reverse=reverse, lengths=lengths, recurrent_mask=recurrent_mask
    )
    hs, h, _ = infer(call)
    return hs, h


def gru_forward(
    x: ArrayLike,
    h0: ArrayLike | None,
    w_x: ArrayLike,
    w_h: ArrayLike,
    b: ArrayLike | None = None,
    *,
    reset_after: bool = True,
    reverse: bool = False,
    lengths: ArrayLike | None = None,
    recurrent_mask: ArrayLike | None = None,
) -> tuple[Result, RecurrentContext]:
    """Return what `gru` returns, (hs, h), and the ctx that `gru_backward` takes."""
    call = _gru_call(
        reset_after, x, h0, w_x, w_h, b, reverse=reverse, lengths=lengths, recurrent_mask=recurrent_mask
    )
    hs, h, _, ctx = forward(call)
    return (hs, h), ctx


def gru_backward(
    dhs: ArrayLike | None,
    ctx: RecurrentContext,
    dh: ArrayLike | None = None,
    needs: tuple[str, ...] | None = None,
) -> tuple[Array | None, ...]:
    """Return the gradients (dx, dh0, dw_x, dw_h, db); the arguments are those of `lstm_backward`."""
    return gradients("gru", ctx, dhs, dh, needs=needs)


def rnn(
    x: ArrayLike,
    h0: ArrayLike | None,
    w_x: ArrayLike,
    w_h: ArrayLike,
    b: ArrayLike | None = None,
    *,
    activation: str = "tanh",
    reverse: bool = False,
    lengths: ArrayLike | None = None,
    recurrent_mask: ArrayLike | None = None,
) -> Result:
    """Return the states hs of a plain recurrent network after each step, and its last h.

    At each step h = activation(x·w_x + h·w_h + b).

    Parameters
    ----------
    x : (N, T, D) array of floats
        N sequences of T steps.
    h0 : (N, H) array of floats, or None
        The state before the first step; None is 0.
    w_x : (D, H) array of floats
        Weights of the inputs.
    w_h : (H, H) array of floats
        Weights of the state.
    b : (H,) array of floats, optional
        Bias.
    activation : "tanh" or "relu"
    reverse, lengths, recurrent_mask
        As in `lstm`.

    Returns
    -------
    hs : (N, T, H) array
    h : (N, H) array

    References
    ----------
    Elman, "Finding Structure in Time", 1990.

    Examples
    --------
    >>> import numpy as np
    >>> import fastdl.functional as F
    >>> one = np.ones((1, 1))
    >>> hs, h = F.rnn(np.ones((1, 3, 1)), None, one, one, activation="relu")
    >>> hs.ravel()
    array([1., 2., 3.])
    """
    call = _rnn_call(
        activation, x, h0, w_x, w_h, b, reverse=reverse, lengths=lengths, recurrent_mask=recurrent_mask
    )
    hs, h, _ = infer(call)
    return hs, h


def rnn_forward(
    x: ArrayLike,
    h0: ArrayLike | None,
    w_x: ArrayLike,
    w_h: ArrayLike,
    b: ArrayLike | None = None,
    *,
    activation: str = "tanh",
    reverse: bool = False,
    lengths: ArrayLike | None = None,
    recurrent_mask: ArrayLike | None = None,
) -> tuple[Result, RecurrentContext]:
    """Return what `rnn` returns, (hs, h), and the ctx that `rnn_backward` takes."""
    call = _rnn_call(
        activation, x, h0, w_x, w_h, b, reverse=reverse, lengths=lengths, recurrent_mask=recurrent_mask
    )
    hs, h, _, ctx = forward(call)
    return (hs, h), ctx


def rnn_backward(
    dhs: ArrayLike | None,
    ctx: RecurrentContext,
    dh: ArrayLike | None = None,
    needs: tuple[str, ...] | None = None,
) -> tuple[Array | None, ...]:
    """Return the gradients (dx, dh0, dw_x, dw_h, db); the arguments are those of `lstm_backward`."""
    return gradients("rnn", ctx, dhs, dh, needs=needs)


def _gru_call(after: bool, x: Any, h0: Any, w_x: Any, w_h: Any, b: Any, **options: Any) -> RecurrentCall:
    kind = "gru" if after else "gru_reset_before"
    return recurrent_call("gru", kind, x, h0, None, w_x, w_h, b, **options)


def _rnn_call(activation: str, x: Any, h0: Any, w_x: Any, w_h: Any, b: Any, **options: Any) -> RecurrentCall:
    one_of("rnn", "activation", activation, ("tanh", "relu"))
    return recurrent_call("rnn", activation, x, h0, None, w_x, w_h, b, **options)
