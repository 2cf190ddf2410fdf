"""What the tests of DeZero share: inputs, and how two results are compared."""

from __future__ import annotations

import numpy as np
import pytest

from fastdl.compat.dezero.targets import TARGETS

TIERS = ("fast", "exact")
TOLERANCE = {"f": 1e-4, "d": 1e-10}
SHAPES = (
    # x, channels out, kernel, stride, pad
    ((2, 3, 8, 8), 4, (3, 3), 1, 1),
    ((1, 2, 7, 9), 3, (3, 2), (2, 1), (1, 0)),
    ((3, 1, 6, 5), 1, (1, 1), 1, 0),
    ((2, 16, 12, 12), 8, (3, 3), 2, 1),
    ((4, 2, 5, 5), 2, (5, 5), 1, 2),
)
NAMED = {target.name: target for target in TARGETS}


def replacement(name, tier):
    found = NAMED[name].replacement(tier)
    if found is None:
        pytest.skip(f"{name} has no {tier} version")
    return found


def draw(shape, dtype="d", seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def same(ours, theirs, dtype):
    ours, theirs = np.asarray(ours), np.asarray(theirs)
    assert ours.dtype == theirs.dtype
    assert ours.shape == theirs.shape
    largest = np.max(np.abs(theirs), initial=0.0)
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=TOLERANCE[dtype] * max(largest, 0.01))


def bits(x):
    return np.ascontiguousarray(x).tobytes()
