"""The dense layer."""

from __future__ import annotations

from typing import Any

from .. import checks
from .affine import Affine
from .base import Shape
from .operation import Operation


class Dense(Affine):
    """Fully connected: y = activation(x · kernel + bias), over the last axis of x.

    Parameters
    ----------
    units : int
        Size of the last axis of y.
    activation : str or activation layer, optional
    use_bias : bool
    kernel_initializer, bias_initializer : str or Initializer
    kernel_regularizer, bias_regularizer : str or Regularizer, optional
    kernel_constraint, bias_constraint : str or Constraint, optional
    **options
        As for every `Layer`.

    Notes
    -----
    x is (..., I); ``params`` hold the kernel (I, units) and the bias (units,).

    Examples
    --------
    >>> import numpy as np
    >>> from fastdl.layers import Dense
    >>> layer = Dense(3, activation="relu")
    >>> layer(np.ones((2, 5), np.float32)).shape
    (2, 3)
    >>> layer.count_params()
    18
    """

    operation = Operation.named("linear")
    supports_masking = True

    def __init__(self, units: int, activation: Any = None, use_bias: bool = True, **options: Any) -> None:
        super().__init__(activation, use_bias, **options)
        self.units = checks.integer("Dense", "units", units)

    def build(self, input_shape: Shape) -> None:
        if len(input_shape) < 2:
            raise ValueError(
                f"{self.name}: x must be (..., features) with a batch axis; got shape {input_shape}"
            )
        self.add_weight("kernel", (input_shape[-1], self.units), self.kernel_initializer)
        if self.use_bias:
            self.add_weight("bias", (self.units,), self.bias_initializer)
