"""Convolutions of one channel at a time, and their mixture."""

from __future__ import annotations

from typing import Any

from .. import checks, constraints, initializers, regularizers
from ..checks import Ints
from .arrays import Array
from .base import Shape
from .chain import Chain
from .conv import Conv2D, Convolution
from .norm import BatchNormalization
from .operation import Operation
from .pointwise import Pointwise


class DepthwiseConv2D(Convolution):
    """Convolution of each channel on its own, into `depth_multiplier` channels.

    Parameters
    ----------
    kernel_size, strides, padding, data_format, dilation_rate, activation
        As for `Conv2D`.
    depth_multiplier : int
        Channels of y for each channel of x; those of one input channel lie together.
    depthwise_initializer : str or Initializer
    depthwise_regularizer : str or Regularizer, optional
    depthwise_constraint : str or Constraint, optional
    **options
        use_bias and bias_initializer as for `Dense`, and what every `Layer` takes.

    Notes
    -----
    x is (N, H, W, C) or (N, C, H, W); ``params`` hold the kernel (KH, KW, C, depth_multiplier) and the bias
    (C * depth_multiplier,).

    Examples
    --------
    >>> import numpy as np
    >>> from fastdl.layers import DepthwiseConv2D
    >>> layer = DepthwiseConv2D(3, padding="same", depth_multiplier=2)
    >>> layer(np.ones((2, 8, 8, 3), np.float32)).shape
    (2, 8, 8, 6)
    >>> layer.params["kernel"].shape
    (3, 3, 3, 2)
    """

    ndim = 2
    operation = Operation.named("conv2d")

    def __init__(
        self,
        kernel_size: Ints,
        strides: Ints = 1,
        padding: str = "valid",
        depth_multiplier: int = 1,
        data_format: str | None = None,
        dilation_rate: Ints = 1,
        activation: Any = None,
        use_bias: bool = True,
        depthwise_initializer: str | initializers.Initializer = "glorot_uniform",
        depthwise_regularizer: str | regularizers.Regularizer | None = None,
        depthwise_constraint: str | constraints.Constraint | None = None,
        **options: Any,
    ) -> None:
        super().__init__(
            kernel_size,
            strides,
            padding,
            data_format,
            dilation_rate,
            activation=activation,
            use_bias=use_bias,
            kernel_initializer=depthwise_initializer,
            kernel_regularizer=depthwise_regularizer,
            kernel_constraint=depthwise_constraint,
            **options,
        )
        self.depthwise_initializer = self.kernel_initializer
        self.depthwise_regularizer = self.kernel_regularizer
        self.depthwise_constraint = self.kernel_constraint
        self.depth_multiplier = checks.integer(self.name, "depth_multiplier", depth_multiplier)

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        for name in ("initializer", "regularizer", "constraint"):
            del config[f"kernel_{name}"]  # it goes by the name depthwise_...
        return config

    def build(self, input_shape: Shape) -> None:
        channels = self.channels(input_shape)
        self.arguments["groups"] = channels
        self._add_weights(
            (*self.kernel_size, channels, self.depth_multiplier), channels * self.depth_multiplier
        )

    def to_call(self, kernel: Array) -> Array:
        return super().to_call(kernel.reshape(*self.kernel_size, 1, -1))

    def from_call(self, dkernel: Array) -> Array:
        return super().from_call(dkernel).reshape(*self.kernel_size, -1, self.depth_multiplier)


class SeparableConv2D(Chain):
    """A `DepthwiseConv2D`, then a 1x1 `Conv2D` that mixes the channels (Chollet, 2017).

    Parameters
    ----------
    filters : int
        Channels of y.
    kernel_size, strides, padding, data_format, dilation_rate, depth_multiplier
        Of the depthwise convolution.
    activation, use_bias
        Of the one that mixes.
    depthwise_initializer, pointwise_initializer, bias_initializer : str or Initializer
    depthwise_regularizer, pointwise_regularizer, bias_regularizer : str or Regularizer, optional
    depthwise_constraint, pointwise_constraint, bias_constraint : str or Constraint, optional
    **options
        As for every `Layer`.

    Notes
    -----
    ``params`` hold the depthwise kernel (KH, KW, C, M), the pointwise kernel (1, 1, C * M, filters) and the
    bias.

    Examples
    --------
    >>> import numpy as np
    >>> from fastdl.layers import SeparableConv2D
    >>> layer = SeparableConv2D(8, 3)
    >>> layer(np.ones((2, 8, 8, 4), np.float32)).shape
    (2, 6, 6, 8)
    >>> layer.count_params()  # 3·3·4 of the window, 4·8 of the mixture, 8 of the bias
    76
    """

    def __init__(
        self,
        filters: int,
        kernel_size: Ints,
        strides: Ints = 1,
        padding: str = "valid",
        data_format: str | None = None,
        dilation_rate: Ints = 1,
        depth_multiplier: int = 1,
        activation: Any = None,
        use_bias: bool = True,
        depthwise_initializer: str | initializers.Initializer = "glorot_uniform",
        pointwise_initializer: str | initializers.Initializer = "glorot_uniform",
        bias_initializer: str | initializers.Initializer = "zeros",
        depthwise_regularizer: str | regularizers.Regularizer | None = None,
        pointwise_regularizer: str | regularizers.Regularizer | None = None,
        bias_regularizer: str | regularizers.Regularizer | None = None,
        depthwise_constraint: str | constraints.Constraint | None = None,
        pointwise_constraint: str | constraints.Constraint | None = None,
        bias_constraint: str | constraints.Constraint | None = None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        depthwise = DepthwiseConv2D(
            kernel_size,
            strides,
            padding,
            depth_multiplier,
            data_format,
            dilation_rate,
            use_bias=False,
            depthwise_initializer=depthwise_initializer,
            depthwise_regularizer=depthwise_regularizer,
            depthwise_constraint=depthwise_constraint,
            name="depthwise",
            dtype=self.dtype,
            seed=self.seed,
        )
        pointwise = Conv2D(
            filters,
            1,
            data_format=data_format,
            activation=activation,
            use_bias=use_bias,
            kernel_initializer=pointwise_initializer,
            bias_initializer=bias_initializer,
            kernel_regularizer=pointwise_regularizer,
            bias_regularizer=bias_regularizer,
            kernel_constraint=pointwise_constraint,
            bias_constraint=bias_constraint,
            name="pointwise",
            dtype=self.dtype,
            seed=None if self.seed is None else self.seed + 1,
        )
        self.layers: list[Any] = [depthwise, pointwise]
        self.trainable = options.get("trainable", True)
        self.filters = pointwise.filters
        self.kernel_size = depthwise.kernel_size
        self.strides = depthwise.strides
        self.padding = padding
        self.data_format = depthwise.data_format
        self.dilation_rate = depthwise.dilation_rate
        self.depth_multiplier = depthwise.depth_multiplier
        self.activation = activation
        self.use_bias = use_bias
        self.depthwise_initializer = depthwise.depthwise_initializer
        self.pointwise_initializer = pointwise.kernel_initializer
        self.bias_initializer = pointwise.bias_initializer
        self.depthwise_regularizer = depthwise.depthwise_regularizer
        self.pointwise_regularizer = pointwise.kernel_regularizer
        self.bias_regularizer = pointwise.bias_regularizer
        self.depthwise_constraint = depthwise.depthwise_constraint
        self.pointwise_constraint = pointwise.kernel_constraint
        self.bias_constraint = pointwise.bias_constraint

    @property
    def channel_axis(self) -> int:
        """Where the output's channels are."""
        return self.layers[1].channel_axis

    @property
    def fusible(self) -> bool:
        """As of a dense or convolutional layer."""
        return self.layers[1].fusible

    def call_fused(self, x: Array, norm: BatchNormalization | None, after: Pointwise | None) -> Array:
        """Return what a normalisation and an activation make of the output, for inference."""
        depthwise, pointwise = self.layers
        return pointwise.call_fused(depthwise(x), norm, after)
