"""One step of a recurrent network."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..checks import one_of
from ._arrays import Array
from ._recurrent import RecurrentContext, forward, gradients, infer, recurrent_call

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

__all__ = [
    "gru_cell",
    "gru_cell_backward",
    "gru_cell_forward",
    "lstm_cell",
    "lstm_cell_backward",
    "lstm_cell_forward",
    "rnn_cell",
    "rnn_cell_backward",
    "rnn_cell_forward",
]


def lstm_cell(
    x: ArrayLike,
    h: ArrayLike | None,
    c: ArrayLike | None,
    w_x: ArrayLike,
    w_h: ArrayLike,
    b: ArrayLike | None = None,
    *,
    peepholes: ArrayLike | None = None,
) -> tuple[Array, Array]:
    """Return (h, c) after one step of an `lstm`.

    Parameters
    ----------
    x : (N, D) array of floats
    h, c : (N, H) array of floats, or None
        The state before the step; None is 0.
    w_x, w_h, b, peepholes
        As in `lstm`.

    Examples
    --------
    >>> import numpy as np
    >>> import fastdl.functional as F
    >>> h, c = F.lstm_cell(np.ones((2, 3)), None, None, np.ones((3, 16)), np.ones((4, 16)))
    >>> h.shape, c.shape
    ((2, 4), (2, 4))
    """
    call = recurrent_call("lstm_cell", "lstm", x, h, c, w_x, w_h, b, peepholes=peepholes)
    return infer(call)[1:]


def lstm_cell_forward(
    x: ArrayLike,
    h: ArrayLike | None,
    c: ArrayLike | None,
    w_x: ArrayLike,
    w_h: ArrayLike,
    b: ArrayLike | None = None,
    *,
    peepholes: ArrayLike | None = None,
) -> tuple[tuple[Array, Array], RecurrentContext]:
    """Return what `lstm_cell` returns, (h, c), and the ctx that `lstm_cell_backward` takes."""
    call = recurrent_call("lstm_cell", "lstm", x, h, c, w_x, w_h, b, peepholes=peepholes)
    _, *state, ctx = forward(call)
    return (state[0], state[1]), ctx


def lstm_cell_backward(
    dh: ArrayLike | None,
    ctx: RecurrentContext,
    dc: ArrayLike | None = None,
    needs: tuple[str, ...] | None = None,
) -> tuple[Array | None, ...]:
    """Return (dx, dh, dc, dw_x, dw_h, db) from the gradients of the new h and c; see `lstm_backward`."""
    return gradients("lstm_cell", ctx, None, dh, dc, needs)


def gru_cell(
    x: ArrayLike,
    h: ArrayLike | None,
    w_x: ArrayLike,
    w_h: ArrayLike,
    b: ArrayLike | None = None,
    *,
    reset_after: bool = True,
) -> Array:
    """Return h after one step of a `gru`, of x (N, D).

    Examples
    --------
    >>> import numpy as np
    >>> import fastdl.functional as F
    >>> F.gru_cell(np.ones((2, 3)), None, np.ones((3, 12)), np.ones((4, 12))).shape
    (2, 4)
    """
    call = recurrent_call("gru_cell", _gru_kind(reset_after), x, h, None, w_x, w_h, b)
    return infer(call)[1]


def gru_cell_forward(
    x: ArrayLike,
    h: ArrayLike | None,
    w_x: ArrayLike,
    w_h: ArrayLike,
    b: ArrayLike | None = None,
    *,
    reset_after: bool = True,
) -> tuple[Array, RecurrentContext]:
    """Return what `gru_cell` returns, and the ctx that `gru_cell_backward` takes."""
    call = recurrent_call("gru_cell", _gru_kind(reset_after), x, h, None, w_x, w_h, b)
    _, h, _, ctx = forward(call)
    return h, ctx


def gru_cell_backward(
    dh: ArrayLike, ctx: RecurrentContext, needs: tuple[str, ...] | None = None
) -> tuple[Array | None, ...]:
    """Return (dx, dh, dw_x, dw_h, db) from the gradient of the new h; see `lstm_backward`."""
    return gradients("gru_cell", ctx, None, dh, needs=needs)


def rnn_cell(
    x: ArrayLike,
    h: ArrayLike | None,
    w_x: ArrayLike,
    w_h: ArrayLike,
    b: ArrayLike | None = None,
    *,
    activation: str = "tanh",
) -> Array:
    """Return h after one step of an `rnn`, of x (N, D): activation(x·w_x + h·w_h + b).

    Examples
    --------
    >>> import numpy as np
    >>> import fastdl.functional as F
    >>> one = np.ones((1, 1))
    >>> F.rnn_cell(one, one, one, one, activation="relu")
    array([[2.]])
    """
    one_of("rnn_cell", "activation", activation, ("tanh", "relu"))
    return infer(recurrent_call("rnn_cell", activation, x, h, None, w_x, w_h, b))[1]


def rnn_cell_forward(
    x: ArrayLike,
    h: ArrayLike | None,
    w_x: ArrayLike,
    w_h: ArrayLike,
    b: ArrayLike | None = None,
    *,
    activation: str = "tanh",
) -> tuple[Array, RecurrentContext]:
    """Return what `rnn_cell` returns, and the ctx that `rnn_cell_backward` takes."""
    one_of("rnn_cell", "activation", activation, ("tanh", "relu"))
    call = recurrent_call("rnn_cell", activation, x, h, None, w_x, w_h, b)
    _, h, _, ctx = forward(call)
    return h, ctx


def rnn_cell_backward(
    dh: ArrayLike, ctx: RecurrentContext, needs: tuple[str, ...] | None = None
) -> tuple[Array | None, ...]:
    """Return (dx, dh, dw_x, dw_h, db) from the gradient of the new h; see `lstm_backward`."""
    return gradients("rnn_cell", ctx, None, dh, needs=needs)


def _gru_kind(reset_after: bool) -> str:
    return "gru" if reset_after else "gru_reset_before"
