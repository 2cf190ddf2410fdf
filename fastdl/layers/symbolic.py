"""Tensors without numbers, and the calls of layers that connect them to a graph."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
from numpy.typing import DTypeLike

from .. import checks, nested
from ..configurable import next_name

if TYPE_CHECKING:
    from .base import Layer, Shape

_numbers = itertools.count()


class Tensor:
    """What a call of a layer will return once there are numbers. Only its shape is known.

    Attributes
    ----------
    shape : tuple of int or None
        Of a batch; the first size is None, as is any other that may vary.
    call : Call or None
        The call that returns it; None of an `Input`.
    """

    # NumPy's functions and operators refuse the tensor, and do not make an array of objects of it.
    __array_ufunc__ = None

    def __init__(self, shape: Shape, call: Call | None = None) -> None:
        self.shape = shape
        self.call = call

    @property
    def name(self) -> str:
        """The name of the layer that returns it."""
        assert self.call is not None
        return self.call.layer.name

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> NoReturn:
        raise TypeError(
            f"{self!r} stands for numbers to come and holds none; call layers on it, and a Model on arrays"
        )

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name}, shape={self.shape}>"


class Input(Tensor):
    """A place where data enter a model.

    Parameters
    ----------
    shape : tuple of int or None
        Of one sample; None where an axis may have any length.
    name : str, optional
        Under which a model with several inputs may be given this one.
    dtype : str, optional
        To convert the data to; by default what the layer that reads them takes.

    Examples
    --------
    It is the start of a graph, which `Model` makes a model of:

    >>> from fastdl import Input, Model, Sequential
    >>> from fastdl.layers import Dense
    >>> x = Input((4,))
    >>> Model(x, Dense(3)(x)).count_params()
    15

    As the first entry of a `Sequential` it says the shape of the samples:

    >>> Sequential([Input((4,)), Dense(3)]).count_params()
    15
    """

    def __init__(
        self, shape: Sequence[int | None], name: str | None = None, dtype: DTypeLike | None = None
    ) -> None:
        if not checks.is_sequence(shape):
            raise TypeError(f"Input: shape must be a tuple, such as (28, 28, 1); got {shape!r}")
        sizes = (None if n is None else checks.integer("Input", "shape", n, minimum=0) for n in shape)
        super().__init__((None, *sizes))
        self._name = name or next_name("Input")
        self.dtype = None if dtype is None else np.dtype(dtype)

    @property
    def name(self) -> str:
        """The name it was given."""
        return self._name


class Call:
    """One call of a layer in a graph.

    Attributes
    ----------
    layer : Layer
    inputs : Tensor or group of Tensor
    outputs : Tensor or group of Tensor
    training : bool or None
        The mode that the call was given and keeps; None where it follows the model.
    mask : Tensor or None
        The mask that the call was given; None where it is that of the inputs, if they have one.
    number : int
        Larger than those of the calls before it, so that the order of numbers is one to compute in.
    """

    def __init__(self, layer: Layer, inputs: Any, training: bool | None, mask: Any = None) -> None:
        for tensor in [*nested.parts(inputs), *([] if mask is None else [mask])]:
            if not isinstance(tensor, Tensor):
                raise TypeError(f"{layer.name}: arrays and symbolic tensors cannot be mixed; got {tensor!r}")
        shapes = layer.compute_output_shape(nested.apply(lambda tensor: tensor.shape, inputs))
        self.layer = layer
        self.inputs = nested.rebuild(inputs, nested.parts(inputs))  # a list may grow after the call
        self.training = training
        self.mask: Tensor | None = mask
        self.number = next(_numbers)
        alone = isinstance(shapes, tuple)
        self.outputs: Any = Tensor(shapes, self) if alone else nested.apply(lambda s: Tensor(s, self), shapes)

    @property
    def reads(self) -> list[Tensor]:
        """All tensors that it needs."""
        inputs = nested.parts(self.inputs)
        return inputs if self.mask is None else [*inputs, self.mask]


def is_symbolic(x: Any) -> bool:
    """Whether `x` is a tensor of a graph, or a group with one in it."""
    return isinstance(x, Tensor) or (
        nested.is_group(x) and any(isinstance(part, Tensor) for part in nested.parts(x))
    )
