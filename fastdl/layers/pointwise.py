"""Activations, and the layers that disturb their input in training."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import checks, constraints, functional, initializers, regularizers
from ..checks import ActivationLike
from ..shapes import ACTIVATIONS
from .base import Array, Back, Layer, Shape
from .operation import FunctionLayer, Operation, resolve_data_format

_ALIASES = {"swish": "silu"}


class Pointwise(FunctionLayer):
    """Base of the activations without parameters.

    Attributes
    ----------
    fused : str, (str, float) or None
        How a dense layer, a convolution or a normalisation is told to do the same in its own pass.
    """

    fused: ActivationLike = None
    supports_masking = True


class Activation(Pointwise):
    """An activation by name.

    Parameters
    ----------
    activation : str
        "linear", "relu", "leaky_relu" (slope 0.2), "elu", "selu", "sigmoid", "tanh", "softplus", "gelu",
        "gelu_tanh", "silu" (or "swish"), "softmax" or "log_softmax" (the last two over the last axis).
    **options
        As for every `Layer`.

    Examples
    --------
    >>> import numpy as np
    >>> from fastdl.layers import Activation
    >>> Activation("relu")(np.array([[-1.0, 2.0]], np.float32))
    array([[0., 2.]], dtype=float32)
    """

    def __init__(self, activation: str, **options: Any) -> None:
        super().__init__(**options)
        kind = _ALIASES.get(activation, activation)
        checks.one_of(self.name, "activation", kind, (*ACTIVATIONS, "softmax", "log_softmax"))
        self.activation = activation
        self._kind = kind
        self.fused = kind if kind in ACTIVATIONS else None
        self.arguments = {}
        if kind == "gelu_tanh":
            kind, self.arguments = "gelu", {"approximate": True}
        if kind != "linear":
            self.operation = Operation.named(kind)

    def call(self, x: Array) -> Array:
        return x if self._kind == "linear" else super().call(x)

    def vjp(self, x: Array, training: bool = True) -> tuple[Array, Back]:
        return (x, _same) if self._kind == "linear" else super().vjp(x, training)

    def partial_vjp(
        self, x: Array, training: bool = True, *, wants_dx: bool = True, logits: bool = False
    ) -> tuple[Array, Back]:
        return (x, _same) if logits else self.vjp(x, training)

    @property
    def final_activation(self) -> str:
        return self._kind


class Softmax(Pointwise):
    """exp(x) over its sum along `axis`.

    Parameters
    ----------
    axis : int
    **options
        As for every `Layer`.

    Examples
    --------
    >>> import numpy as np
    >>> from fastdl.layers import Softmax
    >>> Softmax()(np.zeros((1, 4), np.float32))
    array([[0.25, 0.25, 0.25, 0.25]], dtype=float32)
    """

    operation = Operation.named("softmax")

    def __init__(self, axis: int = -1, **options: Any) -> None:
        super().__init__(**options)
        self.axis = axis
        self.arguments = {"axis": axis}

    def partial_vjp(
        self, x: Array, training: bool = True, *, wants_dx: bool = True, logits: bool = False
    ) -> tuple[Array, Back]:
        return (x, _same) if logits else self.vjp(x, training)

    @property
    def final_activation(self) -> str:
        return "softmax" if self.axis == -1 else "linear"


class ReLU(Pointwise):
    """max(x, 0), with a slope below zero and a limit above if they are given.

    Parameters
    ----------
    max_value : float, optional
        No output is larger; 6 makes it a ReLU6.
    negative_slope : float
        Not negative.
    **options
        As for every `Layer`.

    Examples
    --------
    >>> import numpy as np
    >>> from fastdl.layers import ReLU
    >>> ReLU(max_value=6)(np.array([[-1.0, 2.0, 9.0]], np.float32))
    array([[0., 2., 6.]], dtype=float32)
    """

    operation = Operation.named("leaky_relu")

    def __init__(self, max_value: float | None = None, negative_slope: float = 0.0, **options: Any) -> None:
        super().__init__(**options)
        self.max_value = None if max_value is None else checks.number(self.name, "max_value", max_value)
        self.negative_slope = checks.number(self.name, "negative_slope", negative_slope)
        self.arguments = {"alpha": self.negative_slope}
        fused: ActivationLike = ("leaky_relu", self.negative_slope)
        if self.negative_slope == 0:
            self.operation, self.arguments, fused = Operation.named("relu"), {}, "relu"
        self.fused = fused if max_value is None else None

    def call(self, x: Array) -> Array:
        y = super().call(x)
        return y if self.max_value is None else np.minimum(y, self.max_value, out=y)

    def vjp(self, x: Array, training: bool = True) -> tuple[Array, Back]:
        y, back = super().vjp(x, training)
        if self.max_value is None:
            return y, back
        below = ~(y >= self.max_value)
        return np.minimum(y, self.max_value), lambda dy: back(dy * below)


class LeakyReLU(Pointwise):
    """x where positive, ``negative_slope * x`` elsewhere.

    Parameters
    ----------
    negative_slope : float
        Not negative. Keras 2 called it `alpha`, which is understood.
    **options
        As for every `Layer`.

    Examples
    --------
    >>> import numpy as np
    >>> from fastdl.layers import LeakyReLU
    >>> LeakyReLU(0.25)(np.array([[-2.0, 2.0]], np.float32))
    array([[-0.5,  2. ]], dtype=float32)
    """

    operation = Operation.named("leaky_relu")

    def __init__(self, negative_slope: float = 0.3, **options: Any) -> None:
        negative_slope = options.pop("alpha", negative_slope)
        super().__init__(**options)
        self.negative_slope = checks.number(self.name, "negative_slope", negative_slope)
        self.arguments = {"alpha": self.negative_slope}
        self.fused = ("leaky_relu", self.negative_slope)


class ELU(Pointwise):
    """x where positive, ``alpha * (exp(x) - 1)`` elsewhere (Clevert et al., 2016).

    Parameters
    ----------
    alpha : float
        Not negative.
    **options
        As for every `Layer`.

    Examples
    --------
    >>> import numpy as np
    >>> from fastdl.layers import ELU
    >>> ELU()(np.array([[-np.inf, 2.0]], np.float32))
    array([[-1.,  2.]], dtype=float32)
    """

    operation = Operation.named("elu")

    def __init__(self, alpha: float = 1.0, **options: Any) -> None:
        super().__init__(**options)
        self.alpha = checks.number(self.name, "alpha", alpha)
        self.arguments = {"alpha": self.alpha}
        self.fused = ("elu", self.alpha)


class PReLU(Layer):
    """x where positive, ``alpha * x`` elsewhere, with a learnt alpha (He et al., 2015).

    Parameters
    ----------
    alpha_initializer : str or Initializer
    alpha_regularizer : str or Regularizer, optional
    alpha_constraint : str or Constraint, optional
    shared_axes : sequence of int, optional
        Axes, counted from 1 behind the batch, along which there is only one alpha: (1, 2) makes one a
        channel of NHWC images. Without it each position has its own.
    **options
        As for every `Layer`.

    Examples
    --------
    >>> import numpy as np
    >>> from fastdl.layers import PReLU
    >>> layer = PReLU("ones", shared_axes=(1, 2))
    >>> layer(-np.ones((2, 8, 8, 3), np.float32)).shape
    (2, 8, 8, 3)
    >>> layer.params["alpha"].shape
    (1, 1, 3)
    """

    operation = Operation.named("prelu")
    supports_masking = True

    def __init__(
        self,
        alpha_initializer: str | initializers.Initializer = "zeros",
        alpha_regularizer: str | regularizers.Regularizer | None = None,
        alpha_constraint: str | constraints.Constraint | None = None,
        shared_axes: Sequence[int] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.alpha_initializer = initializers.get(alpha_initializer)
        self.alpha_regularizer = regularizers.get(alpha_regularizer)
        self.alpha_constraint = constraints.get(alpha_constraint)
        self.shared_axes = None if shared_axes is None else tuple(shared_axes)

    def build(self, input_shape: Shape) -> None:
        shared = self.shared_axes or ()
        for axis in shared:
            if not 1 <= axis < len(input_shape):
                raise ValueError(
                    f"{self.name}: shared_axes has {axis}, but x of shape {input_shape} has no such axis"
                )
        shape = [1 if axis in shared else size for axis, size in enumerate(input_shape)]
        self.add_weight("alpha", tuple(shape[1:]), self.alpha_initializer)

    def vjp(self, x: Array, training: bool = True) -> tuple[Array, Back]:
        alpha = self._params["alpha"]
        positions = x.shape[1:]
        # The function wants one slope an index of one axis: the positions become that axis.
        rows = (len(x), math.prod(positions))
        y, ctx = self.operation.forward(
            x.reshape(rows), np.broadcast_to(alpha, positions).reshape(-1), axis=1
        )

        def back(dy: Array) -> Array:
            dx, dalpha = self.operation.backward(dy.reshape(rows), ctx)
            if self.trainable:
                shared = tuple(axis - 1 for axis in self.shared_axes or ())
                self.accumulate(alpha=dalpha.reshape(positions).sum(axis=shared, keepdims=True))
            return dx.reshape(x.shape)

        return y.reshape(x.shape), back


class Dropout(Layer):
    """Zero a fraction of the inputs in training, and scale up the rest (Srivastava et al., 2014).

    Parameters
    ----------
    rate : float
        The fraction, in [0, 1).
    noise_shape : sequence of int or None, optional
        Shape of the mask, which is repeated along the axes where it is 1; None stands for the input's size.
    **options
        As for every `Layer`; `seed` fixes the masks.

    Examples
    --------
    >>> import numpy as np
    >>> from fastdl.layers import Dropout
    >>> layer, x = Dropout(0.5), np.ones((2, 4), np.float32)
    >>> layer(x)[0]
    array([1., 1., 1., 1.], dtype=float32)
    >>> y, back = layer.vjp(x)
    >>> set(y.ravel()) <= {0, 2}
    True
    """

    supports_masking = True

    def __init__(self, rate: float, noise_shape: Sequence[int | None] | None = None, **options: Any) -> None:
        super().__init__(**options)
        self.rate = checks.number(self.name, "rate", rate, below=1.0)
        self.noise_shape = None if noise_shape is None else tuple(noise_shape)

    def mask_shape(self, x_shape: tuple[int, ...]) -> tuple[int, ...] | None:
        """Return the shape of the mask, or None for one of each input."""
        if self.noise_shape is None:
            return None
        if len(self.noise_shape) != len(x_shape):
            raise ValueError(f"{self.name}: noise_shape {self.noise_shape} has not the axes of x, {x_shape}")
        return tuple(own if size is None else size for own, size in zip(x_shape, self.noise_shape))

    def call(self, x: Array) -> Array:
        return x

    def vjp(self, x: Array, training: bool = True) -> tuple[Array, Back]:
        if not training or self.rate == 0:
            return x, _same
        shape = self.mask_shape(x.shape)
        if shape is None:
            y, ctx = functional.dropout_forward(x, self.rate, rng=self._rng)
            return y, lambda dy: functional.dropout_backward(dy, ctx)
        mask = functional.dropout(np.ones(shape, x.dtype), self.rate, rng=self._rng)
        return x * mask, lambda dy: dy * mask


class SpatialDropout2D(Dropout):
    """Dropout of whole channels of images (Tompson et al., 2015).

    Parameters
    ----------
    rate : float
        The fraction of channels to drop, in [0, 1).
    data_format : {"channels_last", "channels_first"}, optional
    **options
        As for every `Layer`.

    Examples
    --------
    >>> import numpy as np
    >>> from fastdl.layers import SpatialDropout2D
    >>> y, back = SpatialDropout2D(0.5).vjp(np.ones((2, 8, 8, 3), np.float32))
    >>> bool((y == y[:, :1, :1]).all())  # a channel is there as a whole or not at all
    True
    """

    def __init__(self, rate: float, data_format: str | None = None, **options: Any) -> None:
        super().__init__(rate, **options)
        self.data_format = resolve_data_format(self.name, data_format)

    def mask_shape(self, x_shape: tuple[int, ...]) -> tuple[int, ...]:
        if len(x_shape) != 4:
            raise ValueError(f"{self.name}: x must be images, an array of four axes; got shape {x_shape}")
        first, last = x_shape[1], x_shape[3]
        return (x_shape[0], 1, 1, last) if self.data_format == "channels_last" else (x_shape[0], first, 1, 1)


class GaussianNoise(Layer):
    """In training, add normally distributed noise; otherwise the identity.

    Parameters
    ----------
    stddev : float
        Of the noise.
    **options
        As for every `Layer`; `seed` fixes the noise.

    Examples
    --------
    >>> import numpy as np
    >>> from fastdl.layers import GaussianNoise
    >>> layer, x = GaussianNoise(0.1, seed=0), np.ones((2, 4), np.float32)
    >>> layer(x)[0]
    array([1., 1., 1., 1.], dtype=float32)
    >>> y, back = layer.vjp(x)
    >>> bool((y == x).any())
    False
    """

    supports_masking = True

    def __init__(self, stddev: float, **options: Any) -> None:
        super().__init__(**options)
        self.stddev = checks.number(self.name, "stddev", stddev)

    def call(self, x: Array) -> Array:
        return x

    def vjp(self, x: Array, training: bool = True) -> tuple[Array, Back]:
        if not training:
            return x, _same
        noise = self._rng.standard_normal(x.shape, dtype=x.dtype.type)
        noise *= self.stddev
        noise += x
        return noise, _same


def resolve_activation(owner: Layer, activation: Any) -> Pointwise | None:
    """Return the layer that the `activation` argument of another one means; None for no activation."""
    if activation is None or activation == "linear":
        return None
    if isinstance(activation, str):
        # It has its owner's name since messages are about that one's argument.
        return Activation(activation, name=owner.name, dtype=owner.dtype)
    if isinstance(activation, Pointwise):
        activation.astype(owner.dtype)
        return activation
    raise TypeError(
        f"{owner.name}: activation must be a name or an activation layer without parameters;"
        f" got {activation!r}"
    )


def _same(dy: Array) -> Array:
    return dy
