"""Matrix products by the engine. It trusts what it is given, so operands are held against each other here."""

from __future__ import annotations

from ..functional._arrays import engine
from .inputs import Array
from .tier import Unserved

__all__ = ["gemm"]


def gemm(
    a: Array,
    b: Array,
    bias: Array | None = None,
    *,
    trans_a: bool = False,
    trans_b: bool = False,
    out: Array | None = None,
) -> Array:
    """Return a·b + bias of C-contiguous matrices of floats, each transposed first if that is asked for.

    The result is written into out, if that is given: C-contiguous, and nobody else's memory.

    Raises
    ------
    Unserved
        If the three do not fit together: the original says so in its own words.
    """
    if a.ndim != 2 or b.ndim != 2 or a.dtype != b.dtype:
        raise Unserved(f"a product of {a.dtype} {a.shape} and {b.dtype} {b.shape}")
    met = a.shape[0 if trans_a else 1], b.shape[1 if trans_b else 0]
    columns = b.shape[0 if trans_b else 1]
    if out is not None and (out.dtype != a.dtype or out.shape != (a.shape[1 if trans_a else 0], columns)):
        raise Unserved(f"a product that is not {out.dtype} {out.shape}")
    if met[0] != met[1] or (bias is not None and (bias.dtype != a.dtype or bias.shape != (columns,))):
        raise Unserved(f"sums over {met[0]} and {met[1]}, or a bias that is not one number a column")
    c: Array = engine().gemm(a, b, bias, trans_a=trans_a, trans_b=trans_b, out=out)
    return c
