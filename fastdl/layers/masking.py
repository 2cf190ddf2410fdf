"""The layer that makes a mask of what sequences are padded with."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import checks
from .base import Array, Back, Layer


class Masking(Layer):
    """Leave out the steps at which every feature is `mask_value`.

    The layers behind it that know masks skip these steps: recurrent layers keep their state there, means do
    not count them, and neither does the loss.

    Parameters
    ----------
    mask_value : float
    **options
        As for every `Layer`.

    Notes
    -----
    x is (N, T, ..., D), and so is y, which is 0 at the steps that are left out.

    Examples
    --------
    >>> import numpy as np
    >>> from fastdl import Input, Sequential
    >>> from fastdl.layers import LSTM, Masking
    >>> model = Sequential([Input((None, 2)), Masking(mask_value=-1.0), LSTM(4)])
    >>> x = np.ones((1, 3, 2), np.float32)
    >>> padded = np.concatenate([x, np.full((1, 5, 2), -1.0, np.float32)], axis=1)
    >>> bool((model(padded) == model(x)).all())
    True
    """

    makes_mask = True

    def __init__(self, mask_value: float = 0.0, **options: Any) -> None:
        super().__init__(**options)
        self.mask_value = checks.real(self.name, "mask_value", mask_value)

    def compute_mask(self, x: Any, mask: Any = None) -> Array:
        """Return where any feature differs from `mask_value`; a mask that x has is not looked at."""
        return np.asarray((self.as_floats(x) != np.asarray(self.mask_value, self.dtype)).any(axis=-1))

    def call(self, x: Array) -> Array:
        return np.where(self._kept(x), x, x.dtype.type(0))

    def vjp(self, x: Array, training: bool = True) -> tuple[Array, Back]:
        kept = self._kept(x)
        return np.where(kept, x, x.dtype.type(0)), lambda dy: np.where(kept, dy, dy.dtype.type(0))

    def _kept(self, x: Array) -> Array:
        if x.ndim < 2:
            raise ValueError(f"{self.name}: x must be (batch, ..., features); got shape {x.shape}")
        return self.compute_mask(x)[..., None]
