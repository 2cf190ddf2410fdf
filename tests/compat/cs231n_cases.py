"""What the tests of cs231n share: inputs, and how two results are compared."""

from __future__ import annotations

import numpy as np

TOLERANCE = {"f": 1e-4, "d": 1e-10}
CONVOLUTIONS = (
    # x, filters, window, stride, pad
    ((2, 3, 7, 7), 4, (3, 3), 1, 1),
    ((3, 2, 7, 5), 3, (3, 3), 2, 1),
    ((1, 1, 6, 5), 2, (2, 1), 1, 0),
    ((2, 4, 5, 5), 3, (5, 5), 1, 2),
)
POOLS = (
    # x, window, stride
    ((2, 3, 8, 8), (2, 2), 2),
    ((1, 2, 7, 9), (3, 3), 2),
    ((2, 2, 6, 9), (2, 3), 1),
    ((2, 1, 6, 6), (3, 3), 3),
)


def draw(shape, dtype="d", seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def same(ours, theirs, dtype="d"):
    ours, theirs = np.asarray(ours), np.asarray(theirs)
    assert ours.shape == theirs.shape
    assert ours.dtype == theirs.dtype
    largest = np.max(np.abs(theirs), initial=0.0)
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=TOLERANCE[dtype] * max(largest, 0.01))


def all_same(ours, theirs, dtype="d"):
    assert len(ours) == len(theirs)
    for one, two in zip(ours, theirs):
        same(one, two, dtype)


def conv_case(shape, filters, window, stride, pad, dtype="d"):
    x, w, b = draw(shape, dtype), draw((filters, shape[1], *window), dtype, 1), draw(filters, dtype, 2)
    return x, w, b, {"stride": stride, "pad": pad}


def pool_param(window, stride):
    return {"pool_height": window[0], "pool_width": window[1], "stride": stride}


def uneven(shape, dtype="d"):
    """Numbers of which no two are equal."""
    x = np.random.default_rng(5).permutation(int(np.prod(shape))).reshape(shape)
    return (x / x.size - 0.4).astype(dtype)
