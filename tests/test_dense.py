"""linear: the check matrix, and torch."""

from __future__ import annotations

import numpy as np
import pytest

import fastdl.functional as F
from fastdl import backends
from harness import TAILS, Matrix, Operation, case


class TestDense(Matrix):
    operations = [
        Operation(
            "linear",
            [
                case((3, 2), (2, 4), (4,)),
                case((2, 3, 4), (4, 3)),
                case((5,), (5, 2), (2,)),
                *(case((3, 5), (5, n), (n,)) for n in TAILS),
                *(case((m, 3), (3, 5), (5,)) for m in TAILS),
                *(case((3, k), (k, 4)) for k in TAILS),
            ],
            arguments=("x", "w", "b"),
            exact=True,
            large=[
                case((270, 390), (390, 400), (400,)),
                case((5, 390), (390, 400), (400,)),  # few rows: w is multiplied as it lies
                case((1, 401), (401, 390), (390,)),  # dot products and an outer one
                case((1, 403), (403, 2500), (2500,)),  # one row, several pieces of it
                case((150, 70), (70, 400), (400,)),  # short sums
                case((150, 600), (600, 2100), (2100,)),  # long rows of w: packed, several blocks of sums
                case((33, 40), (40, 1024), (1024,)),  # rows of w whole pages apart: packed for few rows of x
                case((130, 40), (40, 512), (512,)),  # half a page
                case((70, 90), (90, 2100), (2100,)),  # both
                case((70, 600), (600, 256), (256,)),  # panels of columns that differ by a vector
                case((70, 600), (600, 1020), (1020,)),  # and the last one is not full
            ],
            refusals=[
                (
                    ValueError,
                    r"x has 3 features.*w expects 4",
                    lambda: F.linear(np.ones((2, 3)), np.ones((4, 5))),
                ),
                (
                    ValueError,
                    r"w must be \(in_features, out_features\)",
                    lambda: F.linear(np.ones(3), np.ones(3)),
                ),
                (
                    ValueError,
                    r"b must have shape \(5,\)",
                    lambda: F.linear(np.ones(3), np.ones((3, 5)), np.ones(3)),
                ),
                (ValueError, r"x must be", lambda: F.linear(np.float64(1), np.ones((1, 1)))),
                (
                    ValueError,
                    r"activation must be one of.*'swoosh'",
                    lambda: F.linear(np.ones(3), np.ones((3, 5)), activation="swoosh"),
                ),
            ],
        )
    ]


@pytest.mark.skipif(backends.native_error is not None, reason="BLAS promises no such thing")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_row_has_the_same_bits_in_any_company(dtype: str) -> None:
    """How the work is cut depends on the number of rows: as they lie, packed, or some left over."""
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((150, 600)).astype(dtype), rng.standard_normal((600, 1100)).astype(dtype)
    together = F.linear(x, w)
    for rows in (1, 2, 3, 5, 6, 7, 8, 13, 40, 70, 128):
        np.testing.assert_array_equal(F.linear(x[:rows], w), together[:rows], err_msg=f"{rows} rows")


@pytest.mark.skipif(backends.native_error is not None, reason="NumPy's product goes its own way")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    ("m", "k", "n"),
    [(130, 90, 256), (100, 70, 50), (97, 600, 272), (60, 40, 1100), (66, 1100, 2000), (21, 9, 7)],
)
def test_where_an_array_begins_has_no_say(m: int, k: int, n: int, dtype: str) -> None:
    """Rows that begin in the middle of a cache line are copied, and others read as they lie."""
    rng = np.random.default_rng(0)
    values = [rng.standard_normal(shape).astype(dtype) for shape in ((m, k), (k, n), (m, n))]

    def results(offset: int) -> list[np.ndarray]:
        x, w, dy = (placed(array, offset) for array in values)
        y, ctx = F.linear_forward(x, w)
        return [y, *F.linear_backward(dy, ctx, needs=("x", "w"))[:2]]

    expected = results(0)
    for offset in (16, 24, 48):
        for got, wanted in zip(results(offset), expected):
            np.testing.assert_array_equal(got, wanted, err_msg=f"{offset} bytes past a cache line")
    x, w, dy = (array.astype("float64") for array in values)
    u = np.finfo(dtype).eps / 2
    for got, a, b in zip(expected, (x, dy, x.T), (w, w.T, dy)):
        bound = (1.01 * a.shape[1] * u + 1e-14) * (np.abs(a) @ np.abs(b))
        assert np.all(np.abs(got - a @ b) <= bound)


def placed(array: np.ndarray, offset: int) -> np.ndarray:
    """Return a copy that begins `offset` bytes past a cache line."""
    room = np.empty(array.nbytes + 128, np.uint8)
    first = -room.ctypes.data % 64 + offset
    copy = room[first : first + array.nbytes].view(array.dtype).reshape(array.shape)
    copy[...] = array
    return copy
