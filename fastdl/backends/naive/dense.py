"""Matrix product and bias gradient, one product at a time."""

from __future__ import annotations

import numpy as np

from .pointwise import act_fwd


def gemm(
    a: np.ndarray,
    b: np.ndarray,
    bias: np.ndarray | None = None,
    activation: str = "linear",
    alpha: float = 0.0,
    trans_a: bool = False,
    trans_b: bool = False,
    scale: np.ndarray | None = None,
    out: np.ndarray | None = None,
) -> np.ndarray:
    """c[m, n] = act(scale[n]·Σ_k a[m, k]·b[k, n] + bias[n]), a and b transposed if `trans_*` says so.

    c is out, if one is given; it shares no memory with the others.
    """
    a = a.T if trans_a else a
    b = b.T if trans_b else b
    c = np.empty((a.shape[0], b.shape[1]), a.dtype) if out is None else out
    c[...] = 0
    for m, n, k in np.ndindex(*c.shape, a.shape[1]):
        c[m, n] += a[m, k] * b[k, n]
    if scale is not None:
        c *= scale
    if bias is not None:
        c += bias
    c[...] = act_fwd(c, activation, alpha)
    return c


def bias_grad(dy: np.ndarray, outer: int, channels: int, inner: int) -> np.ndarray:
    """db[c] = Σ_(o, i) dy[o, c, i], dy seen as (outer, channels, inner)."""
    dy = dy.reshape(outer, channels, inner)
    db = np.zeros(channels, dy.dtype)
    for o, c, i in np.ndindex(dy.shape):
        db[c] += dy[o, c, i]
    return db
