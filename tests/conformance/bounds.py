"""How far a result may be from the expected one: a bound that follows from the operation."""

from __future__ import annotations

import numpy as np

Array = np.ndarray


def gamma(terms: int | Array, dtype: np.dtype) -> float | Array:
    r"""Return :math:`\gamma_n = n u / (1 - n u)`, u being the unit roundoff of dtype.

    A sum of `terms` products, added in any order and with or without fused multiply-add, is off by at
    most :math:`\gamma_n` times the same sum over absolute values (Higham, Accuracy and Stability of
    Numerical Algorithms, section 3.1).
    """
    error = terms * float(np.finfo(dtype).eps) / 2
    return error / (1 - error)


def mismatch(got: Array, want: Array, bound: Array | float, dtype: np.dtype) -> str | None:
    """Say how `got` differs from what it must be, or return None.

    Parameters
    ----------
    got : ndarray
        The result to judge.
    want : ndarray
        The expected values, in any dtype.
    bound : ndarray or float
        The largest allowed absolute difference, for all elements or for each.
    dtype : dtype
        The dtype `got` must have.
    """
    if got.shape != want.shape or got.dtype != dtype:
        return f"is {got.dtype}{got.shape}, expected {dtype}{want.shape}"
    error = np.abs(got.astype(np.float64) - want.astype(np.float64))
    outside = ~(error <= bound)  # not `error > bound`: a NaN must count as outside
    if not outside.any():
        return None
    at = tuple(int(i) for i in np.argwhere(outside)[0])
    allowed = np.broadcast_to(bound, error.shape)[at]
    first = f"{got[at]!r}, expected {want[at]!r} +- {allowed:.3g}"
    return f"{outside.sum()} of {got.size} differ, first at {at}: {first}"
