"""Layers that move numbers about and change none."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import checks
from .base import Array, Back, Layer
from .operation import resolve_data_format


class Flatten(Layer):
    """Make each sample one row: (N, ...) becomes (N, features).

    Parameters
    ----------
    data_format : {"channels_last", "channels_first"}, optional
        With "channels_first" the channels are moved to the end first, so that one network gives one order.
    **options
        As for every `Layer`.

    Examples
    --------
    >>> import numpy as np
    >>> from fastdl.layers import Flatten
    >>> Flatten()(np.ones((2, 4, 4, 3), np.float32)).shape
    (2, 48)
    """

    def __init__(self, data_format: str | None = None, **options: Any) -> None:
        super().__init__(**options)
        self.data_format = resolve_data_format(self.name, data_format)

    def vjp(self, x: Array, training: bool = True) -> tuple[Array, Back]:
        moved = np.moveaxis(x, 1, -1) if self.data_format == "channels_first" and x.ndim > 2 else x
        y = moved.reshape(len(x), math.prod(x.shape[1:]))

        def back(dy: Array) -> Array:
            dx = dy.reshape(moved.shape)
            return dx if moved is x else np.moveaxis(dx, -1, 1)

        return y, back


class Reshape(Layer):
    """Give each sample another shape of the same size.

    Parameters
    ----------
    target_shape : sequence of int
        Without the batch; one entry may be -1 and is found from the others.
    **options
        As for every `Layer`.

    Examples
    --------
    >>> import numpy as np
    >>> from fastdl.layers import Reshape
    >>> Reshape((4, -1))(np.ones((2, 12), np.float32)).shape
    (2, 4, 3)
    """

    def __init__(self, target_shape: Sequence[int], **options: Any) -> None:
        super().__init__(**options)
        self.target_shape = tuple(target_shape)
        if any(size < -1 for size in self.target_shape) or self.target_shape.count(-1) > 1:
            raise ValueError(
                f"{self.name}: target_shape must hold sizes, at most one of them -1; got {self.target_shape}"
            )

    def vjp(self, x: Array, training: bool = True) -> tuple[Array, Back]:
        size = math.prod(x.shape[1:])
        known = math.prod(n for n in self.target_shape if n != -1)
        fits = known and size % known == 0 if -1 in self.target_shape else size == known
        if not fits:
            raise ValueError(
                f"{self.name}: samples of shape {x.shape[1:]} do not fit target_shape {self.target_shape}"
            )
        # NumPy cannot tell -1 from an empty batch.
        target = [size // known if n == -1 else n for n in self.target_shape]
        return x.reshape(len(x), *target), lambda dy: dy.reshape(x.shape)


class Permute(Layer):
    """Change the order of a sample's axes.

    Parameters
    ----------
    dims : sequence of int
        The old number, from 1, of each axis of the result: (2, 1) exchanges two axes.
    **options
        As for every `Layer`.

    Examples
    --------
    >>> import numpy as np
    >>> from fastdl.layers import Permute
    >>> Permute((2, 1))(np.ones((2, 3, 5), np.float32)).shape
    (2, 5, 3)
    """

    def __init__(self, dims: Sequence[int], **options: Any) -> None:
        super().__init__(**options)
        self.dims = tuple(dims)
        if sorted(self.dims) != list(range(1, len(self.dims) + 1)):
            raise ValueError(f"{self.name}: dims must hold each of 1..{len(self.dims)} once; got {self.dims}")

    def vjp(self, x: Array, training: bool = True) -> tuple[Array, Back]:
        axes = (0, *self.dims)
        if x.ndim != len(axes):
            raise ValueError(f"{self.name}: dims {self.dims} expects {len(axes)} axes; x has shape {x.shape}")
        return x.transpose(axes), lambda dy: dy.transpose(np.argsort(axes))


class RepeatVector(Layer):
    """Repeat each row: (N, features) becomes (N, n, features).

    Parameters
    ----------
    n : int
    **options
        As for every `Layer`.

    Examples
    --------
    >>> import numpy as np
    >>> from fastdl.layers import RepeatVector
    >>> RepeatVector(3)(np.ones((2, 5), np.float32)).shape
    (2, 3, 5)
    """

    def __init__(self, n: int, **options: Any) -> None:
        super().__init__(**options)
        self.n = checks.integer(self.name, "n", n)

    def vjp(self, x: Array, training: bool = True) -> tuple[Array, Back]:
        if x.ndim != 2:
            raise ValueError(f"{self.name}: x must be (N, features); got shape {x.shape}")
        return np.repeat(x[:, None], self.n, axis=1), lambda dy: dy.sum(axis=1)


class _Border(Layer):
    """Base of the layers that add or take away a border of images."""

    def __init__(self, data_format: str | None, **options: Any) -> None:
        super().__init__(**options)
        self.data_format = resolve_data_format(self.name, data_format)

    def _set_width(self, argument: str, width: Any) -> None:
        """Take the width of the border from the `argument` of that name."""
        sides = width if checks.is_sequence(width) else (width, width)
        if len(sides) != 2:
            raise ValueError(f"{self.name}: {argument} must be an int, two, or two pairs; got {width!r}")
        rows, columns = (checks.per_axis(self.name, argument, side, 2, minimum=0) for side in sides)
        none = (0, 0)
        last = self.data_format == "channels_last"
        self.sides = (none, rows, columns, none) if last else (none, none, rows, columns)

    def _inside(self, shape: tuple[int, ...]) -> tuple[slice, ...]:
        """Return what the border leaves of an array of this shape."""
        if len(shape) != 4:
            raise ValueError(f"{self.name}: x must be images, an array of four axes; got shape {shape}")
        return tuple(slice(before, size - after) for size, (before, after) in zip(shape, self.sides))


class ZeroPadding2D(_Border):
    """Put zeros around images.

    Parameters
    ----------
    padding : int, or (rows, columns), each an int or a (before, after) pair
    data_format : {"channels_last", "channels_first"}, optional
    **options
        As for every `Layer`.

    Examples
    --------
    >>> import numpy as np
    >>> from fastdl.layers import ZeroPadding2D
    >>> ZeroPadding2D(((1, 0), 2))(np.ones((2, 8, 8, 3), np.float32)).shape
    (2, 9, 12, 3)
    """

    def __init__(self, padding: Any = 1, data_format: str | None = None, **options: Any) -> None:
        super().__init__(data_format, **options)
        self._set_width("padding", padding)
        self.padding = padding

    def vjp(self, x: Array, training: bool = True) -> tuple[Array, Back]:
        y = np.pad(x, self.sides) if x.ndim == 4 else x
        inside = self._inside(y.shape)
        return y, lambda dy: dy[inside]


class Cropping2D(_Border):
    """Cut a border off images.

    Parameters
    ----------
    cropping : int, or (rows, columns), each an int or a (before, after) pair
    data_format : {"channels_last", "channels_first"}, optional
    **options
        As for every `Layer`.

    Examples
    --------
    >>> import numpy as np
    >>> from fastdl.layers import Cropping2D
    >>> Cropping2D(((1, 0), 2))(np.ones((2, 8, 8, 3), np.float32)).shape
    (2, 7, 4, 3)
    """

    def __init__(self, cropping: Any = 0, data_format: str | None = None, **options: Any) -> None:
        super().__init__(data_format, **options)
        self._set_width("cropping", cropping)
        self.cropping = cropping

    def vjp(self, x: Array, training: bool = True) -> tuple[Array, Back]:
        inside = self._inside(x.shape)
        y = x[inside]
        if any(size < 1 for size in y.shape[1:]):
            raise ValueError(f"{self.name}: cropping {self.cropping} leaves nothing of x of shape {x.shape}")
        return y, lambda dy: np.pad(dy, self.sides)
