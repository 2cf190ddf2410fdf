"""Limits that weights are brought back to after each step, with Keras's names, arguments and defaults.

A constraint is called with weights and returns those it allows. Layers take one a weight, as
``kernel_constraint`` and so on.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np

from . import checks
from .configurable import Configurable, lookup

Array = np.ndarray[Any, Any]

_EPSILON = 1e-7  # Keras's: a vector of zeros stays one


class Constraint(Configurable, ABC):
    """Base of the constraints. A subclass has one method, `__call__`."""

    @abstractmethod
    def __call__(self, weights: Array) -> Array:
        """Return the weights that take the place of these."""


class NonNeg(Constraint):
    """No weight is below zero."""

    def __call__(self, weights: Array) -> Array:
        return np.maximum(weights, 0)


class MinMaxNorm(Constraint):
    """Vectors of weights are scaled so that their norms are between two limits.

    Parameters
    ----------
    min_value, max_value : float
    rate : float
        In [0, 1]: how much of the way back to the limits is gone.
    axis : int or sequence of int
        Along which the vectors lie: 0 for a `Dense` kernel, whose columns are one unit's weights each, and
        (0, 1, 2) for that of a `Conv2D`.
    """

    def __init__(
        self,
        min_value: float = 0.0,
        max_value: float = 1.0,
        rate: float = 1.0,
        axis: int | Sequence[int] = 0,
    ) -> None:
        name = type(self).__name__
        self.min_value = checks.number(name, "min_value", min_value)
        self.max_value = checks.number(name, "max_value", max_value, self.min_value)
        self.rate = checks.number(name, "rate", rate)
        if self.rate > 1:
            raise ValueError(f"{name}: rate must be at most 1; got {rate!r}")
        self.axis = tuple(axis) if isinstance(axis, Sequence) else axis

    def __call__(self, weights: Array) -> Array:
        norms = np.sqrt(np.square(weights).sum(axis=self.axis, keepdims=True))
        wanted = self.rate * norms.clip(self.min_value, self.max_value) + (1 - self.rate) * norms
        return weights * (wanted / (norms + _EPSILON))


class MaxNorm(MinMaxNorm):
    """Vectors of weights that are longer than `max_value` are scaled to it (Srivastava et al., 2014).

    Parameters
    ----------
    max_value : float
    axis : int or sequence of int
        As for `MinMaxNorm`.

    Examples
    --------
    >>> import numpy as np
    >>> from fastdl.constraints import MaxNorm
    >>> MaxNorm(5.0)(np.array([[3.0, 6.0], [4.0, 8.0]])).round(3)
    array([[3., 3.],
           [4., 4.]])
    """

    def __init__(self, max_value: float = 2.0, axis: int | Sequence[int] = 0) -> None:
        super().__init__(0.0, max_value, 1.0, axis)


class UnitNorm(MinMaxNorm):
    """Every vector of weights has the norm 1.

    Parameters
    ----------
    axis : int or sequence of int
        As for `MinMaxNorm`.
    """

    def __init__(self, axis: int | Sequence[int] = 0) -> None:
        super().__init__(1.0, 1.0, 1.0, axis)


NAMES: dict[str, type[Constraint]] = {
    "max_norm": MaxNorm,
    "min_max_norm": MinMaxNorm,
    "non_neg": NonNeg,
    "unit_norm": UnitNorm,
}


def get(constraint: str | Constraint | type[Constraint] | None) -> Constraint | None:
    """Return the constraint of that name; a `Constraint` and None are returned as they are.

    Examples
    --------
    >>> get("non_neg")
    NonNeg()
    """
    return None if constraint is None else lookup("constraint", constraint, NAMES, Constraint)
