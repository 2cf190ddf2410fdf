"""The merges as functions: ``add([x, y])`` is ``Add()([x, y])``, on arrays and on symbolic tensors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .merge import Add, Average, Concatenate, Dot, Maximum, Minimum, Multiply, Subtract


def concatenate(inputs: Sequence[Any], axis: int = -1, **options: Any) -> Any:
    """Return `Concatenate` of a list.

    Examples
    --------
    >>> from fastdl import Input
    >>> from fastdl.layers import concatenate
    >>> concatenate([Input((3,)), Input((4,))]).shape
    (None, 7)
    """
    return Concatenate(axis, **options)(inputs)


def add(inputs: Sequence[Any], **options: Any) -> Any:
    """Return `Add` of a list.

    Examples
    --------
    >>> from fastdl import Input
    >>> from fastdl.layers import add
    >>> add([Input((3,)), Input((3,))]).shape
    (None, 3)
    """
    return Add(**options)(inputs)


def subtract(inputs: Sequence[Any], **options: Any) -> Any:
    """Return `Subtract` of a list.

    Examples
    --------
    >>> from fastdl import Input
    >>> from fastdl.layers import subtract
    >>> subtract([Input((3,)), Input((3,))]).shape
    (None, 3)
    """
    return Subtract(**options)(inputs)


def multiply(inputs: Sequence[Any], **options: Any) -> Any:
    """Return `Multiply` of a list.

    Examples
    --------
    >>> from fastdl import Input
    >>> from fastdl.layers import multiply
    >>> multiply([Input((3,)), Input((3,))]).shape
    (None, 3)
    """
    return Multiply(**options)(inputs)


def average(inputs: Sequence[Any], **options: Any) -> Any:
    """Return `Average` of a list.

    Examples
    --------
    >>> from fastdl import Input
    >>> from fastdl.layers import average
    >>> average([Input((3,)), Input((3,))]).shape
    (None, 3)
    """
    return Average(**options)(inputs)


def maximum(inputs: Sequence[Any], **options: Any) -> Any:
    """Return `Maximum` of a list.

    Examples
    --------
    >>> from fastdl import Input
    >>> from fastdl.layers import maximum
    >>> maximum([Input((3,)), Input((3,))]).shape
    (None, 3)
    """
    return Maximum(**options)(inputs)


def minimum(inputs: Sequence[Any], **options: Any) -> Any:
    """Return `Minimum` of a list.

    Examples
    --------
    >>> from fastdl import Input
    >>> from fastdl.layers import minimum
    >>> minimum([Input((3,)), Input((3,))]).shape
    (None, 3)
    """
    return Minimum(**options)(inputs)


def dot(inputs: Sequence[Any], axes: int | Sequence[int], normalize: bool = False, **options: Any) -> Any:
    """Return `Dot` of a list.

    Examples
    --------
    >>> from fastdl import Input
    >>> from fastdl.layers import dot
    >>> dot([Input((3,)), Input((3,))], axes=1).shape
    (None, 1)
    """
    return Dot(axes, normalize, **options)(inputs)
