"""Convolutions, transposed, depthwise and separable ones.

Kernels have Keras's layout, whatever the data format: the window first, then the channels. For
"channels_first" they are turned to the functions' other layout in each call.
"""

from __future__ import annotations

from typing import Any

from .. import checks
from ..checks import Ints, Padding
from ..functional._pooled import PooledContext, goes_through_maxima, pooled_backward
from .affine import Affine
from .base import Array, Back, Shape
from .operation import Operation, functions_layout, resolve_data_format
from .pointwise import Pointwise
from .pool import MaxPooling


class Convolution(Affine):
    """Base of the convolutions: the arguments they share, and the kernel's two layouts."""

    ndim: int
    paddings: tuple[str, ...] = ("valid", "same")

    def __init__(
        self,
        kernel_size: Ints,
        strides: Ints,
        padding: str,
        data_format: str | None,
        dilation_rate: Ints,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        checks.one_of(self.name, "padding", padding, self.paddings)
        self.kernel_size = checks.per_axis(self.name, "kernel_size", kernel_size, self.ndim)
        self.strides = checks.per_axis(self.name, "strides", strides, self.ndim)
        self.padding = padding
        self.data_format = resolve_data_format(self.name, data_format)
        self.dilation_rate = checks.per_axis(self.name, "dilation_rate", dilation_rate, self.ndim)
        # With "causal" no output sees what comes after it.
        causal = tuple((d * (k - 1), 0) for k, d in zip(self.kernel_size, self.dilation_rate))
        self.arguments = {
            "stride": self.strides,
            "padding": causal if padding == "causal" else padding,
            "dilation": self.dilation_rate,
            "layout": functions_layout(self.data_format),
        }
        self._turned = (self.ndim + 1, self.ndim, *range(self.ndim))  # HWIO -> OIHW
        self._back_turned = (*range(2, self.ndim + 2), 1, 0)

    @property
    def channel_axis(self) -> int:
        return -1 if self.data_format == "channels_last" else 1

    def channels(self, input_shape: Shape) -> int:
        """Return how many channels input of this shape has."""
        if len(input_shape) != self.ndim + 2:
            raise ValueError(
                f"{self.name}: x must have {self.ndim + 2} axes ({self.data_format}); got shape {input_shape}"
            )
        channels = input_shape[-1 if self.data_format == "channels_last" else 1]
        if channels is None:
            raise ValueError(
                f"{self.name}: the number of channels must be known; got input shape {input_shape}"
            )
        return channels

    def to_call(self, kernel: Array) -> Array:
        return kernel if self.data_format == "channels_last" else kernel.transpose(self._turned)

    def from_call(self, dkernel: Array) -> Array:
        return dkernel if self.data_format == "channels_last" else dkernel.transpose(self._back_turned)

    def _add_weights(self, kernel: Shape, filters: int) -> None:
        self.add_weight("kernel", kernel, self.kernel_initializer)
        if self.use_bias:
            self.add_weight("bias", (filters,), self.bias_initializer)


class _PlainConv(Convolution):
    """A convolution of 1, 2 or 3 dimensions."""

    def __init__(
        self,
        filters: int,
        kernel_size: Ints,
        strides: Ints = 1,
        padding: str = "valid",
        data_format: str | None = None,
        dilation_rate: Ints = 1,
        groups: int = 1,
        activation: Any = None,
        **options: Any,
    ) -> None:
        super().__init__(
            kernel_size, strides, padding, data_format, dilation_rate, activation=activation, **options
        )
        self.filters = checks.integer(self.name, "filters", filters)
        self.groups = checks.integer(self.name, "groups", groups)
        self.arguments["groups"] = self.groups

    def build(self, input_shape: Shape) -> None:
        channels = self.channels(input_shape)
        for name, count in ("the input's channels", channels), ("filters", self.filters):
            if count % self.groups:
                raise ValueError(f"{self.name}: {name}, {count}, must be divisible by groups, {self.groups}")
        self._add_weights((*self.kernel_size, channels // self.groups, self.filters), self.filters)

    def can_be_pooled(self, after: Pointwise | None, pool: MaxPooling) -> bool:
        """Whether `vjp_pooled` may be given these two, which come behind it."""
        fused = after.fused if after else "linear"
        if fused is None or pool.ndim != self.ndim or pool.data_format != self.data_format:
            return False
        return goes_through_maxima(fused if isinstance(fused, str) else fused[0])

    def vjp_pooled(
        self,
        x: Array,
        training: bool = True,
        *,
        after: Pointwise | None,
        pool: MaxPooling,
        wants_dx: bool = True,
    ) -> tuple[Array, Back]:
        """Return what `vjp_fused` does with a pooling of the result, whose gradient is mostly zero."""
        z, ctx = self.operation_forward(x, after.fused if after else None)
        y, places = pool.operation.forward(z, **pool.arguments)
        return y, self.operation_back(pooled_backward, PooledContext(ctx.call, places, y), wants_dx)


class Conv1D(_PlainConv):
    """Convolution along one axis, of x (N, L, C).

    As `Conv2D`; padding may also be "causal": no output sees what comes after it.

    Examples
    --------
    >>> import numpy as np
    >>> from fastdl.layers import Conv1D
    >>> Conv1D(4, 3, padding="causal")(np.ones((2, 10, 1), np.float32)).shape
    (2, 10, 4)
    """

    ndim = 1
    paddings = ("valid", "same", "causal")
    operation = Operation.named("conv1d")


class Conv2D(_PlainConv):
    """Convolution of images.

    y[n, i, j, o] = activation(bias[o] + Σ_{a, b, c} x[n, s·i + a, s·j + b, c] · kernel[a, b, c, o])

    Parameters
    ----------
    filters : int
        Channels of y.
    kernel_size : int or two
    strides : int or two
    padding : {"valid", "same"}
        None, or so much that stride 1 keeps the size; the odd row goes to the end.
    data_format : {"channels_last", "channels_first"}, optional
        By default that of ``fastdl.use``.
    dilation_rate : int or two
    groups : int
        Groups of channels that are convolved each on their own.
    activation : str or activation layer, optional
    **options
        use_bias, initializers, regularizers and constraints as for `Dense`, and what every `Layer` takes.

    Notes
    -----
    x is (N, H, W, C), or (N, C, H, W) with "channels_first"; ``params`` hold the kernel (KH, KW, C /
    groups, filters) and the bias (filters,).

    Examples
    --------
    >>> import numpy as np
    >>> from fastdl.layers import Conv2D
    >>> layer = Conv2D(4, 3, padding="same", activation="relu")
    >>> layer(np.ones((2, 8, 8, 1), np.float32)).shape
    (2, 8, 8, 4)
    >>> layer.params["kernel"].shape
    (3, 3, 1, 4)
    """

    ndim = 2
    operation = Operation.named("conv2d")


class Conv3D(_PlainConv):
    """Convolution of volumes, of x (N, D, H, W, C). As `Conv2D`.

    Examples
    --------
    >>> import numpy as np
    >>> from fastdl.layers import Conv3D
    >>> Conv3D(4, 3)(np.ones((2, 8, 8, 8, 1), np.float32)).shape
    (2, 6, 6, 6, 4)
    """

    ndim = 3
    operation = Operation.named("conv3d")


class _TransposedConv(Convolution):
    """A transposed convolution of 1, 2 or 3 dimensions."""

    def __init__(
        self,
        filters: int,
        kernel_size: Ints,
        strides: Ints = 1,
        padding: str = "valid",
        output_padding: Ints | None = None,
        data_format: str | None = None,
        dilation_rate: Ints = 1,
        activation: Any = None,
        **options: Any,
    ) -> None:
        super().__init__(
            kernel_size, strides, padding, data_format, dilation_rate, activation=activation, **options
        )
        self.filters = checks.integer(self.name, "filters", filters)
        if output_padding is not None:
            output_padding = checks.per_axis(
                self.name, "output_padding", output_padding, self.ndim, minimum=0
            )
        self.output_padding = output_padding
        self.arguments |= self._output_size()

    def _output_size(self) -> dict[str, Padding]:
        """Return Keras's choice of the output's size, in the function's arguments."""
        reach = [d * (k - 1) + 1 for k, d in zip(self.kernel_size, self.dilation_rate)]
        if self.output_padding is None and self.padding == "same":
            return {"padding": "same"}
        if self.output_padding is None:
            # Where the kernel is shorter than the stride, each input still gets a whole stride of output.
            extra = [max(s - r, 0) for r, s in zip(reach, self.strides)]
            return {"padding": 0, "output_padding": tuple(extra)}
        if self.padding == "valid":
            return {"padding": 0, "output_padding": self.output_padding}
        # "same" crops an odd kernel to one row beyond the strides and an even one to none; what is to be
        # added is cropped less.
        spare = [2 * (r // 2) - more for r, more in zip(reach, self.output_padding)]
        crop = [max(n, 0) for n in spare]
        return {
            "padding": tuple((n // 2, n - n // 2) for n in crop),
            "output_padding": tuple(max(-n, 0) for n in spare),
        }

    def build(self, input_shape: Shape) -> None:
        self._add_weights((*self.kernel_size, self.filters, self.channels(input_shape)), self.filters)


class Conv1DTranspose(_TransposedConv):
    """Transposed convolution along one axis. As `Conv2DTranspose`.

    Examples
    --------
    >>> import numpy as np
    >>> from fastdl.layers import Conv1DTranspose
    >>> Conv1DTranspose(3, 4, strides=2, padding="same")(np.ones((1, 8, 2), np.float32)).shape
    (1, 16, 3)
    """

    ndim = 1
    operation = Operation.named("conv_transpose1d")


class Conv2DTranspose(_TransposedConv):
    """Transposed convolution of images: each input spreads the kernel over the output, `strides` apart.

    Parameters
    ----------
    filters, kernel_size, strides, data_format, dilation_rate, activation, **options
        As for `Conv2D`.
    padding : {"valid", "same"}
        "same" makes y `strides` times as large as x.
    output_padding : int or two, optional
        Rows and columns to add at the end of y; smaller than `strides`.

    Notes
    -----
    x is (N, H, W, C) or (N, C, H, W); ``params`` hold the kernel (KH, KW, filters, C) and the bias
    (filters,).

    Examples
    --------
    >>> import numpy as np
    >>> from fastdl.layers import Conv2DTranspose
    >>> Conv2DTranspose(3, 4, strides=2, padding="same")(np.ones((1, 8, 8, 2), np.float32)).shape
    (1, 16, 16, 3)
    """

    ndim = 2
    operation = Operation.named("conv_transpose2d")


class Conv3DTranspose(_TransposedConv):
    """Transposed convolution of volumes. As `Conv2DTranspose`.

    Examples
    --------
    >>> import numpy as np
    >>> from fastdl.layers import Conv3DTranspose
    >>> Conv3DTranspose(3, 2, strides=2)(np.ones((1, 4, 4, 4, 2), np.float32)).shape
    (1, 8, 8, 8, 3)
    """

    ndim = 3
    operation = Operation.named("conv_transpose3d")
