"""Which arrays an engine takes as they are: the compiled engine's `common_dtype`, for where there is none."""

from __future__ import annotations

from typing import Any

import numpy as np

DTYPES = (np.dtype("float32"), np.dtype("float64"))


def common_dtype(names: str, values: tuple[Any, ...]) -> np.dtype[Any] | None:
    """Return the dtype that all `values` have, when an engine takes them as they are; else None.

    That is: plain arrays of float32, or of float64, in native byte order, C-contiguous and aligned. A value
    may be None where its name, of those with spaces between, has parentheses.
    """
    common: np.dtype[Any] | None = None
    for name, value in zip(names.split(), values):
        if value is None and name[0] == "(":
            continue
        if type(value) is not np.ndarray or not (value.flags.c_contiguous and value.flags.aligned):
            return None
        # Almost every native dtype is NumPy's one object; identity is the cheap test, and enough to be fast.
        if common is not None and value.dtype is not common:
            return None
        common = value.dtype
    return common if any(common is dtype for dtype in DTYPES) else None
