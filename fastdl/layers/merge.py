"""Layers of several inputs that make one output of them."""

from __future__ import annotations

import functools
import math
from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np

from .. import checks
from .base import Array, Layer

Backs: TypeAlias = Callable[[Array], list[Array]]

LEAST_SQUARE = 1e-12  # no vector is divided by less than the root of this; Keras's number


class Merge(Layer):
    """Base of the layers that take a list of arrays.

    Attributes
    ----------
    exactly : int or None
        How many there must be; None for two or more.
    """

    exactly: int | None = None

    def accept(self, x: Any) -> list[Array]:
        wanted = "two or more" if self.exactly is None else str(self.exactly)
        count = len(x) if isinstance(x, (list, tuple)) else 0
        if count < 2 or self.exactly not in (None, count):
            came = f"{count}" if count else f"a single {type(x).__name__}"
            raise ValueError(f"{self.name}: x must be a list of {wanted} arrays; got {came}")
        arrays = [self.as_floats(part) for part in x]
        sizes = {len(array) for array in arrays}
        if len(sizes) > 1:
            raise ValueError(f"{self.name}: the arrays in x must hold as many samples; got {_shapes(arrays)}")
        if not self.built:
            self.build([(None, *array.shape[1:]) for array in arrays])
        return arrays

    def compute_mask(self, x: Any, mask: Any = None) -> Array | None:
        """Return where at least one of the arrays counts, if all of them have masks."""
        if mask is None or any(one is None for one in mask):
            return None
        return functools.reduce(np.logical_or, mask)


class Elementwise(Merge):
    """Base of the merges that work element by element.

    As in NumPy an axis of size 1 is repeated; what has fewer axes than the others gets some of size 1 behind
    the batch.
    """

    @abstractmethod
    def merge(self, x: Sequence[Array]) -> tuple[Array, Backs]:
        """Return the output of arrays with as many axes, and from its gradient theirs before repetition."""

    def vjp(self, x: Any, training: bool = True) -> tuple[Array, Any]:
        axes = max(array.ndim for array in x)
        wide = [array.reshape(len(array), *(1,) * (axes - array.ndim), *array.shape[1:]) for array in x]
        try:
            np.broadcast_shapes(*(array.shape for array in wide))
        except ValueError:
            raise ValueError(f"{self.name}: the shapes in x do not fit each other: {_shapes(x)}") from None
        y, backs = self.merge(wide)

        def back(dy: Array) -> list[Array]:
            return [
                _summed_to(gradient, part.shape).reshape(array.shape)
                for gradient, part, array in zip(backs(dy), wide, x)
            ]

        return y, back


class Add(Elementwise):
    """x₁ + x₂ + ...

    Parameters
    ----------
    **options
        As for every `Layer`.

    Examples
    --------
    >>> import numpy as np
    >>> from fastdl.layers import Add
    >>> Add()([np.array([[1.0, 2.0]]), np.array([[10.0, 20.0]])])
    array([[11., 22.]], dtype=float32)
    """

    def merge(self, x: Sequence[Array]) -> tuple[Array, Backs]:
        return functools.reduce(np.add, x), lambda dy: [dy] * len(x)


class Subtract(Elementwise):
    """x₁ - x₂.

    Parameters
    ----------
    **options
        As for every `Layer`.

    Examples
    --------
    >>> import numpy as np
    >>> from fastdl.layers import Subtract
    >>> Subtract()([np.array([[1.0, 2.0]]), np.array([[10.0, 20.0]])])
    array([[ -9., -18.]], dtype=float32)
    """

    exactly = 2

    def merge(self, x: Sequence[Array]) -> tuple[Array, Backs]:
        return x[0] - x[1], lambda dy: [dy, -dy]


class Multiply(Elementwise):
    """x₁ x₂ ...

    Parameters
    ----------
    **options
        As for every `Layer`.

    Examples
    --------
    >>> import numpy as np
    >>> from fastdl.layers import Multiply
    >>> Multiply()([np.array([[1.0, 2.0]]), np.array([[10.0, 20.0]])])
    array([[10., 40.]], dtype=float32)
    """

    def merge(self, x: Sequence[Array]) -> tuple[Array, Backs]:
        def backs(dy: Array) -> list[Array]:
            # Division of the product by one factor would fail at zero.
            return [functools.reduce(np.multiply, [dy, *x[:i], *x[i + 1 :]]) for i in range(len(x))]

        return functools.reduce(np.multiply, x), backs


class Average(Elementwise):
    """(x₁ + x₂ + ...) / n.

    Parameters
    ----------
    **options
        As for every `Layer`.

    Examples
    --------
    >>> import numpy as np
    >>> from fastdl.layers import Average
    >>> Average()([np.array([[1.0, 2.0]]), np.array([[10.0, 20.0]])])
    array([[ 5.5, 11. ]], dtype=float32)
    """

    def merge(self, x: Sequence[Array]) -> tuple[Array, Backs]:
        return functools.reduce(np.add, x) / len(x), lambda dy: [dy / len(x)] * len(x)


class Extreme(Elementwise):
    """Base of maximum and minimum. Among equals the first gives the output and takes the gradient.

    NaN is more extreme than any number.
    """

    is_beyond: Callable[[Array, Array], Array]

    def merge(self, x: Sequence[Array]) -> tuple[Array, Backs]:
        y, first = x[0], np.zeros((1,) * x[0].ndim, np.intp)
        for index, array in enumerate(x[1:], start=1):
            beyond = self.is_beyond(array, y) | (np.isnan(array) & ~np.isnan(y))
            y, first = np.where(beyond, array, y), np.where(beyond, index, first)
        return y, lambda dy: [np.where(first == index, dy, np.zeros_like(dy)) for index in range(len(x))]


class Maximum(Extreme):
    """max(x₁, x₂, ...). Among equals the first takes the gradient.

    Parameters
    ----------
    **options
        As for every `Layer`.

    Examples
    --------
    >>> import numpy as np
    >>> from fastdl.layers import Maximum
    >>> Maximum()([np.array([[1.0, 20.0]]), np.array([[10.0, 2.0]])])
    array([[10., 20.]], dtype=float32)
    """

    is_beyond = np.greater


class Minimum(Extreme):
    """min(x₁, x₂, ...). Among equals the first takes the gradient.

    Parameters
    ----------
    **options
        As for every `Layer`.

    Examples
    --------
    >>> import numpy as np
    >>> from fastdl.layers import Minimum
    >>> Minimum()([np.array([[1.0, 20.0]]), np.array([[10.0, 2.0]])])
    array([[1., 2.]], dtype=float32)
    """

    is_beyond = np.less


class Concatenate(Merge):
    """The arrays one after another along an axis.

    Parameters
    ----------
    axis : int
        Not that of the batch.
    **options
        As for every `Layer`.

    Examples
    --------
    >>> import numpy as np
    >>> from fastdl.layers import Concatenate
    >>> Concatenate()([np.ones((2, 5, 3)), np.ones((2, 5, 4))]).shape
    (2, 5, 7)
    """

    def __init__(self, axis: int = -1, **options: Any) -> None:
        super().__init__(**options)
        self.axis = axis

    def compute_mask(self, x: Any, mask: Any = None) -> Array | None:
        """Return the masks one after another; what has none counts. A step counts if any part of it does."""
        if mask is None:
            return None
        wide = []
        for array, one in zip(x, mask):
            one = np.array(True) if one is None else one
            if one.ndim:
                one = one.reshape(one.shape + (1,) * (array.ndim - one.ndim))
            wide.append(np.broadcast_to(one, array.shape))
        return np.asarray(np.concatenate(wide, self.axis).any(axis=-1))

    def vjp(self, x: Any, training: bool = True) -> tuple[Array, Any]:
        axis = checks.axis_index(self.name, self.axis, x[0].shape)
        if axis == 0:
            raise ValueError(f"{self.name}: axis {self.axis} is that of the batch")
        others = {array.shape[:axis] + array.shape[axis + 1 :] for array in x}
        if len(others) > 1:
            raise ValueError(
                f"{self.name}: the shapes in x must agree in all but axis {axis}; got {_shapes(x)}"
            )
        ends = np.cumsum([array.shape[axis] for array in x])[:-1]
        return np.concatenate(x, axis), lambda dy: np.split(dy, ends, axis)


class Dot(Merge):
    """Σₖ x₁[n, ..., k, ...] x₂[n, ..., k, ...]: scalar products along one axis of each.

    The output has the other axes of x₁, then those of x₂; where there are none, one of size 1.

    Parameters
    ----------
    axes : int or two of them
        Not that of the batch.
    normalize : bool
        Whether the vectors are divided by their lengths first, which makes the product the cosine.
    **options
        As for every `Layer`.

    Examples
    --------
    >>> import numpy as np
    >>> from fastdl.layers import Dot
    >>> Dot(axes=1)([np.ones((2, 5)), np.ones((2, 5))])
    array([[5.],
           [5.]], dtype=float32)
    >>> Dot(axes=(2, 1))([np.ones((2, 5, 3)), np.ones((2, 3, 4))]).shape
    (2, 5, 4)
    """

    exactly = 2

    def compute_mask(self, x: Any, mask: Any = None) -> None:
        """Return None: the products have no steps that could be left out."""

    def __init__(self, axes: int | Sequence[int], normalize: bool = False, **options: Any) -> None:
        super().__init__(**options)
        self.axes = axes if isinstance(axes, int) else tuple(axes)
        if isinstance(self.axes, tuple) and len(self.axes) != 2:
            raise ValueError(f"{self.name}: axes must be an int or two of them; got {axes!r}")
        self.normalize = bool(normalize)

    def vjp(self, x: Any, training: bool = True) -> tuple[Array, Any]:
        given = (self.axes, self.axes) if isinstance(self.axes, int) else self.axes
        axes = [checks.axis_index(self.name, axis, array.shape) for axis, array in zip(given, x)]
        if 0 in axes:
            raise ValueError(f"{self.name}: axes {self.axes} name that of the batch")
        if x[0].shape[axes[0]] != x[1].shape[axes[1]]:
            raise ValueError(f"{self.name}: the axes {self.axes} must be of one length; x has {_shapes(x)}")
        moved = [np.moveaxis(array, axis, -1) for array, axis in zip(x, axes)]
        rows = [a.reshape(len(a), math.prod(a.shape[1:-1]), a.shape[-1]) for a in moved]
        units = [_unit_rows(array) for array in rows] if self.normalize else [(r, _unchanged) for r in rows]
        (a, a_back), (b, b_back) = units
        product = a @ b.transpose(0, 2, 1)
        shape = (len(a), *moved[0].shape[1:-1], *moved[1].shape[1:-1])
        y = product.reshape(shape if len(shape) > 1 else (len(a), 1))

        def back(dy: Array) -> list[Array]:
            dproduct = dy.reshape(product.shape)
            gradients = a_back(dproduct @ b), b_back(dproduct.transpose(0, 2, 1) @ a)
            return [
                np.moveaxis(gradient.reshape(array.shape), -1, axis)
                for gradient, array, axis in zip(gradients, moved, axes)
            ]

        return y, back


def _unit_rows(x: Array) -> tuple[Array, Callable[[Array], Array]]:
    """Return rows divided by their lengths, and from the result's gradient theirs."""
    square = (x * x).sum(axis=-1, keepdims=True)
    length = np.sqrt(np.maximum(square, x.dtype.type(LEAST_SQUARE)))
    y = x / length

    def back(dy: Array) -> Array:
        along = (dy * y).sum(axis=-1, keepdims=True) * (square > LEAST_SQUARE)
        return (dy - y * along) / length

    return y, back


def _unchanged(dy: Array) -> Array:
    return dy


def _summed_to(gradient: Array, shape: tuple[int, ...]) -> Array:
    """Return the gradient of an array of this shape that was repeated to the shape of `gradient`."""
    repeated = tuple(axis for axis, size in enumerate(shape) if size == 1 != gradient.shape[axis])
    return gradient.sum(axis=repeated, keepdims=True) if repeated else gradient


def _shapes(x: Sequence[Array]) -> str:
    return ", ".join(str(array.shape) for array in x)
