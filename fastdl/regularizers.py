"""Penalties on weights, with Keras's names, arguments and defaults.

A regularizer is part of what `fit` makes small: its penalty is added to the loss, its gradient to that of the
weights. Layers take one a weight, as ``kernel_regularizer`` and so on.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np

from . import checks
from .configurable import Configurable, lookup

Array = np.ndarray[Any, Any]


class Regularizer(Configurable, ABC):
    """Base of the regularizers. A subclass has one method, `vjp`."""

    def __call__(self, weights: Array) -> float:
        """Return the penalty."""
        return self.vjp(weights)[0]

    @abstractmethod
    def vjp(self, weights: Array) -> tuple[float, Array]:
        """Return the penalty and its gradient, shaped like the weights."""


class L1L2(Regularizer):
    """l1 Σ |w| + l2 Σ w².

    Parameters
    ----------
    l1, l2 : float

    Examples
    --------
    >>> import numpy as np
    >>> from fastdl.regularizers import L1L2
    >>> L1L2(l1=0.5, l2=0.25)(np.array([3.0, -4.0]))
    9.75
    """

    def __init__(self, l1: float = 0.0, l2: float = 0.0) -> None:
        self.l1 = checks.number(type(self).__name__, "l1", l1)
        self.l2 = checks.number(type(self).__name__, "l2", l2)

    def vjp(self, weights: Array) -> tuple[float, Array]:
        penalty, gradient = 0.0, np.zeros_like(weights)
        if self.l1:
            penalty += self.l1 * float(np.abs(weights).sum(dtype=np.float64))
            gradient += self.l1 * np.sign(weights)
        if self.l2:
            penalty += self.l2 * float(np.square(weights, dtype=np.float64).sum())
            gradient += 2 * self.l2 * weights
        return penalty, gradient


class L1(L1L2):
    """l1 Σ |w|, which makes weights zero that are not needed (Tibshirani, 1996).

    Parameters
    ----------
    l1 : float
    """

    def __init__(self, l1: float = 0.01) -> None:
        super().__init__(l1=l1)


class L2(L1L2):
    """l2 Σ w², which keeps weights small (Krogh & Hertz, 1991).

    Parameters
    ----------
    l2 : float
    """

    def __init__(self, l2: float = 0.01) -> None:
        super().__init__(l2=l2)


l1, l2, l1_l2 = L1, L2, L1L2  # Keras's short names

NAMES: dict[str, type[Regularizer]] = {"l1": L1, "l1_l2": L1L2, "l2": L2}


def get(regularizer: str | Regularizer | type[Regularizer] | None) -> Regularizer | None:
    """Return the regularizer of that name; a `Regularizer` and None are returned as they are.

    Examples
    --------
    >>> get("l2")
    L2()
    """
    return None if regularizer is None else lookup("regularizer", regularizer, NAMES, Regularizer)
