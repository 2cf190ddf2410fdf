"""Results are compared before anything is timed.

All are held against fastdl's in float64, and so against each other: where fastdl itself were wrong, every
other library would be reported.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

import fastdl
from case import Case
from model_cases import ModelCase
from peers import Results, fastdl_

TOLERANCE = {"float32": 1e-4, "float64": 1e-11}
"""The largest error that is put down to rounding, as a share of the largest value.

A sum of n terms is off by about sqrt(n) u of their size: in float32 1e-5 for the 32768 terms of the longest
sum here, and Winograd's algorithm multiplies that by a few; a wrong kernel is off by more.
"""

KINKED = 6e-2
"""The same for gradients through a ReLU, of root mean squares.

A number that rounding moves across zero lets a gradient through that is none in float64: far off, and rare.
The first step of Adam goes by the signs of gradients, which rounding turns where they are near zero: what the
generator of DCGAN 64 then gets was off by 4.5e-2 with one of eight batches, and with SGD by 8e-3 at most.
"""


@lru_cache(maxsize=4)
def expected(case: Case | ModelCase, direction: str) -> Results:
    """Return the results of a case, computed from the same numbers in float64."""
    arrays = tuple(a.astype(np.float64) if a.dtype.kind == "f" else a for a in case.arrays())
    with fastdl.use():
        return fastdl_.prepare(case, direction, threads=0, arrays=arrays).results()


def check(found: Results, case: Case | ModelCase, direction: str, who: str) -> None:
    """Raise `AssertionError` if a result differs from what is expected by more than rounding."""
    for i, (a, b) in enumerate(zip(found, expected(case, direction), strict=True)):
        if a.shape != b.shape:
            raise AssertionError(f"{who}: result {i} has shape {a.shape}, expected {b.shape}")
        if a.dtype != case.dtype:
            raise AssertionError(f"{who}: result {i} is of {a.dtype}, expected {case.dtype}")
        if i and case.kinked:
            error, scale = (float(np.sqrt(np.mean(c * c))) for c in (a - b, b))
            tolerance = KINKED
        else:
            error, scale = (float(np.max(np.abs(c), initial=0)) for c in (a - b, b))
            tolerance = TOLERANCE[case.dtype]
        if not error <= tolerance * scale:
            raise AssertionError(f"{who}: result {i} is off by {error:.3g} where values reach {scale:.3g}")
