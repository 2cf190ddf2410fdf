"""Pooling and its opposite, upsampling."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import checks
from ..checks import Ints
from ..shapes_upsample import UPSAMPLE_MODES
from .base import Array, Back
from .operation import FunctionLayer, Operation, functions_layout, resolve_data_format


class _Pooling(FunctionLayer):
    """Base of the poolings in windows."""

    ndim: int

    def __init__(
        self,
        pool_size: Ints = 2,
        strides: Ints | None = None,
        padding: str = "valid",
        data_format: str | None = None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        checks.one_of(self.name, "padding", padding, ("valid", "same"))
        self.pool_size = checks.per_axis(self.name, "pool_size", pool_size, self.ndim)
        self.strides = (
            self.pool_size if strides is None else checks.per_axis(self.name, "strides", strides, self.ndim)
        )
        self.padding = padding
        self.data_format = resolve_data_format(self.name, data_format)
        self.arguments = {
            "size": self.pool_size,
            "stride": self.strides,
            "padding": padding,
            "layout": functions_layout(self.data_format),
        }


class MaxPooling(_Pooling):
    """Base of the poolings for the largest."""


class MaxPooling1D(MaxPooling):
    """The largest of each window along one axis, of x (N, L, C). As `MaxPooling2D`.

    Examples
    --------
    >>> import numpy as np
    >>> from fastdl.layers import MaxPooling1D
    >>> MaxPooling1D()(np.array([[[1.0], [3.0], [2.0], [0.0]]], np.float32)).ravel()
    array([3., 2.], dtype=float32)
    """

    ndim = 1
    operation = Operation.named("max_pool1d")


class MaxPooling2D(MaxPooling):
    """The largest of each window of images.

    Parameters
    ----------
    pool_size : int or two
    strides : int or two, optional
        By default `pool_size`.
    padding : {"valid", "same"}
        With "same", windows reach over the border; nothing beyond it is ever the largest.
    data_format : {"channels_last", "channels_first"}, optional
    **options
        As for every `Layer`.

    Examples
    --------
    >>> import numpy as np
    >>> from fastdl.layers import MaxPooling2D
    >>> MaxPooling2D()(np.ones((2, 8, 8, 3), np.float32)).shape
    (2, 4, 4, 3)
    """

    ndim = 2
    operation = Operation.named("max_pool2d")


class MaxPooling3D(MaxPooling):
    """The largest of each window of volumes, of x (N, D, H, W, C). As `MaxPooling2D`.

    Examples
    --------
    >>> import numpy as np
    >>> from fastdl.layers import MaxPooling3D
    >>> MaxPooling3D()(np.ones((2, 8, 8, 8, 3), np.float32)).shape
    (2, 4, 4, 4, 3)
    """

    ndim = 3
    operation = Operation.named("max_pool3d")


class AveragePooling1D(_Pooling):
    """The mean of each window along one axis, of x (N, L, C). As `AveragePooling2D`.

    Examples
    --------
    >>> import numpy as np
    >>> from fastdl.layers import AveragePooling1D
    >>> AveragePooling1D()(np.array([[[1.0], [3.0], [2.0], [0.0]]], np.float32)).ravel()
    array([2., 1.], dtype=float32)
    """

    ndim = 1
    operation = Operation.named("avg_pool1d")


class AveragePooling2D(_Pooling):
    """The mean of each window of images. With padding "same" it is the mean of what lies inside the border.

    Parameters
    ----------
    pool_size, strides, padding, data_format, **options
        As for `MaxPooling2D`.

    Examples
    --------
    >>> import numpy as np
    >>> from fastdl.layers import AveragePooling2D
    >>> AveragePooling2D(3, 2, padding="same")(np.ones((2, 8, 8, 3), np.float32)).shape
    (2, 4, 4, 3)
    """

    ndim = 2
    operation = Operation.named("avg_pool2d")


class AveragePooling3D(_Pooling):
    """The mean of each window of volumes, of x (N, D, H, W, C). As `AveragePooling2D`.

    Examples
    --------
    >>> import numpy as np
    >>> from fastdl.layers import AveragePooling3D
    >>> AveragePooling3D()(np.ones((2, 8, 8, 8, 3), np.float32)).shape
    (2, 4, 4, 4, 3)
    """

    ndim = 3
    operation = Operation.named("avg_pool3d")


class _GlobalPooling(FunctionLayer):
    """Base of the poolings over whole images."""

    ndim: int

    def __init__(self, data_format: str | None = None, keepdims: bool = False, **options: Any) -> None:
        super().__init__(**options)
        self.data_format = resolve_data_format(self.name, data_format)
        self.keepdims = bool(keepdims)
        self.arguments = {"layout": functions_layout(self.data_format)}

    def call(self, x: Array) -> Array:
        return self._kept(super().call(x))

    def vjp(self, x: Array, training: bool = True) -> tuple[Array, Back]:
        y, back = super().vjp(x, training)
        return self._kept(y), lambda dy: back(dy.reshape(y.shape))

    def _kept(self, y: Array) -> Array:
        if not self.keepdims:
            return y
        ones = (1,) * self.ndim
        samples, channels = y.shape
        return y.reshape(
            (samples, *ones, channels) if self.data_format == "channels_last" else (*y.shape, *ones)
        )


class GlobalMaxPooling1D(_GlobalPooling):
    """The largest value of each channel, of x (N, L, C). As `GlobalMaxPooling2D`.

    Examples
    --------
    >>> import numpy as np
    >>> from fastdl.layers import GlobalMaxPooling1D
    >>> GlobalMaxPooling1D()(np.array([[[1.0], [3.0], [2.0]]], np.float32))
    array([[3.]], dtype=float32)
    """

    ndim = 1
    operation = Operation.named("global_max_pool1d")


class GlobalMaxPooling2D(_GlobalPooling):
    """The largest value of each channel of images: (N, H, W, C) becomes (N, C).

    Parameters
    ----------
    data_format : {"channels_last", "channels_first"}, optional
    keepdims : bool
        Whether the axes that are gone stay, with size 1.
    **options
        As for every `Layer`.

    Examples
    --------
    >>> import numpy as np
    >>> from fastdl.layers import GlobalMaxPooling2D
    >>> x = np.arange(8, dtype=np.float32).reshape(1, 2, 2, 2)
    >>> GlobalMaxPooling2D()(x)
    array([[6., 7.]], dtype=float32)
    >>> GlobalMaxPooling2D(keepdims=True)(x).shape
    (1, 1, 1, 2)
    """

    ndim = 2
    operation = Operation.named("global_max_pool2d")


class GlobalMaxPooling3D(_GlobalPooling):
    """The largest value of each channel, of x (N, D, H, W, C). As `GlobalMaxPooling2D`.

    Examples
    --------
    >>> import numpy as np
    >>> from fastdl.layers import GlobalMaxPooling3D
    >>> GlobalMaxPooling3D()(np.ones((2, 4, 4, 4, 3), np.float32)).shape
    (2, 3)
    """

    ndim = 3
    operation = Operation.named("global_max_pool3d")


class GlobalAveragePooling1D(_GlobalPooling):
    """The mean of each channel, of x (N, L, C), over the steps that a mask (N, L) keeps.

    Otherwise as `GlobalAveragePooling2D`. A sequence of which nothing is kept gives 0.

    Examples
    --------
    >>> import numpy as np
    >>> from fastdl.layers import GlobalAveragePooling1D
    >>> x = np.array([[[1.0], [3.0], [2.0]]], np.float32)
    >>> GlobalAveragePooling1D()(x)
    array([[2.]], dtype=float32)
    >>> GlobalAveragePooling1D()(x, mask=[[True, False, False]])
    array([[1.]], dtype=float32)
    """

    ndim = 1
    operation = Operation.named("global_avg_pool1d")

    def vjp(self, x: Array, training: bool = True, mask: Any = None) -> tuple[Array, Back]:
        if mask is None:
            return super().vjp(x, training)
        channels, steps = (2, 1) if self.data_format == "channels_last" else (1, 2)
        kept = np.asarray(mask, bool)
        checks.same_shape(self.name, "mask", kept.shape, (len(x), x.shape[steps]), "the steps of x")
        counts = np.maximum(kept.sum(axis=1, keepdims=True), 1).astype(x.dtype)
        kept, share = np.expand_dims(kept, channels), np.expand_dims(1 / counts, channels)
        y = (np.where(kept, x, x.dtype.type(0)) * share).sum(axis=steps)

        def back(dy: Array) -> Array:
            return kept * (np.expand_dims(dy.reshape(y.shape), steps) * share)

        return self._kept(y), back


class GlobalAveragePooling2D(_GlobalPooling):
    """The mean of each channel of images: (N, H, W, C) becomes (N, C).

    Parameters
    ----------
    data_format, keepdims, **options
        As for `GlobalMaxPooling2D`.

    Examples
    --------
    >>> import numpy as np
    >>> from fastdl.layers import GlobalAveragePooling2D
    >>> GlobalAveragePooling2D()(np.arange(8, dtype=np.float32).reshape(1, 2, 2, 2))
    array([[3., 4.]], dtype=float32)
    """

    ndim = 2
    operation = Operation.named("global_avg_pool2d")


class GlobalAveragePooling3D(_GlobalPooling):
    """The mean of each channel, of x (N, D, H, W, C). As `GlobalAveragePooling2D`.

    Examples
    --------
    >>> import numpy as np
    >>> from fastdl.layers import GlobalAveragePooling3D
    >>> GlobalAveragePooling3D()(np.ones((2, 4, 4, 4, 3), np.float32)).shape
    (2, 3)
    """

    ndim = 3
    operation = Operation.named("global_avg_pool3d")


class UpSampling2D(FunctionLayer):
    """Enlarge images by whole factors.

    Parameters
    ----------
    size : int or two
    data_format : {"channels_last", "channels_first"}, optional
    interpolation : {"nearest", "bilinear"}
    **options
        As for every `Layer`.

    Examples
    --------
    >>> import numpy as np
    >>> from fastdl.layers import UpSampling2D
    >>> UpSampling2D()(np.array([1.0, 2.0], np.float32).reshape(1, 1, 2, 1))[0, :, :, 0]
    array([[1., 1., 2., 2.],
           [1., 1., 2., 2.]], dtype=float32)
    """

    operation = Operation.named("upsample2d")

    def __init__(
        self, size: Ints = 2, data_format: str | None = None, interpolation: str = "nearest", **options: Any
    ) -> None:
        super().__init__(**options)
        checks.one_of(self.name, "interpolation", interpolation, UPSAMPLE_MODES)
        self.size = checks.per_axis(self.name, "size", size, 2)
        self.data_format = resolve_data_format(self.name, data_format)
        self.interpolation = interpolation
        self.arguments = {
            "scale": self.size,
            "mode": interpolation,
            "layout": functions_layout(self.data_format),
        }
