"""The classes that the course's notebooks define in their cells, where they differ from the book's."""

from __future__ import annotations

from typing import Any

from .arrays import Array, floats, matrix
from .layers import close_gate, gated
from .products import biased_product, product

__all__ = ["Affine", "Relu"]


class Relu:
    """max(x, 0), as in the book; `cache` is where the last x was at most 0."""

    def __init__(self) -> None:
        self.cache: Any = None

    def forward(self, x: Any) -> Array:
        out, self.cache = gated(floats(x))
        return out

    def backward(self, dout: Any) -> Array:
        return close_gate(floats(dout), self.cache)


class Affine:
    """x·W + b for matrices; db is one number, the sum over all outputs."""

    def __init__(self, W: Any, b: Any) -> None:
        self.W = W
        self.b = b
        self.x: Any = None
        self.dW: Any = None
        self.db: Any = None

    def forward(self, x: Any) -> Array:
        out = biased_product(matrix(x), matrix(self.W), self.b)
        self.x = x
        return out

    def backward(self, dout: Any) -> Array:
        dx = product(matrix(dout), matrix(self.W), trans_b=True)
        self.dW = product(matrix(self.x), dout, trans_a=True)
        self.db = dout.sum()
        return dx
