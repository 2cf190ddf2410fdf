"""Matrix product and bias gradient."""

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
    """c = act(a @ b · scale + bias), a transposed first with `trans_a`, b with `trans_b`; c is out."""
    c = np.matmul(a.T if trans_a else a, b.T if trans_b else b, out=out)
    if scale is not None:
        c *= scale
    if bias is not None:
        c += bias
    if activation != "linear":
        c[...] = act_fwd(c, activation, alpha)
    return c


def bias_grad(dy: np.ndarray, outer: int, channels: int, inner: int) -> np.ndarray:
    """db[c] = Σ_(o, i) dy[o, c, i], dy seen as (outer, channels, inner)."""
    return dy.reshape(outer, channels, inner).sum(axis=(0, 2))
