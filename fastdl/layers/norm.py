"""Normalisation, which keeps what flows through a deep network at one scale."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from .. import checks, constraints, initializers, regularizers
from ..shapes_norm import normalised_axes
from .base import Array, Back, Layer, Shape
from .operation import Operation
from .pointwise import Pointwise


class _Normalization(Layer):
    """Base of the normalisations: y = gamma · (x - mean) / sqrt(variance + epsilon) + beta.

    A subclass makes gamma and beta in `build`, names its function in `operation` and the function's other
    arguments in `arguments`.
    """

    operation: Operation
    arguments: dict[str, Any]
    supports_masking = True

    def __init__(
        self,
        epsilon: float,
        center: bool,
        scale: bool,
        beta_initializer: str | initializers.Initializer,
        gamma_initializer: str | initializers.Initializer,
        beta_regularizer: str | regularizers.Regularizer | None = None,
        gamma_regularizer: str | regularizers.Regularizer | None = None,
        beta_constraint: str | constraints.Constraint | None = None,
        gamma_constraint: str | constraints.Constraint | None = None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.epsilon = checks.number(self.name, "epsilon", epsilon)
        self.center = center
        self.scale = scale
        self.beta_initializer = initializers.get(beta_initializer)
        self.gamma_initializer = initializers.get(gamma_initializer)
        self.beta_regularizer = regularizers.get(beta_regularizer)
        self.gamma_regularizer = regularizers.get(gamma_regularizer)
        self.beta_constraint = constraints.get(beta_constraint)
        self.gamma_constraint = constraints.get(gamma_constraint)
        self.arguments = {"eps": self.epsilon}

    def _add_affine(self, shape: Shape) -> None:
        if self.scale:
            self.add_weight("gamma", shape, self.gamma_initializer)
        if self.center:
            self.add_weight("beta", shape, self.beta_initializer)

    def _affine(self) -> tuple[Array | None, Array | None]:
        return self._params.get("gamma"), self._params.get("beta")

    def call(self, x: Array) -> Array:
        return self.operation.run(x, *self._affine(), **self.arguments)

    def vjp(self, x: Array, training: bool = True) -> tuple[Array, Back]:
        y, ctx = self.operation.forward(x, *self._affine(), **self.arguments)
        return y, self._back_through(ctx)

    def _back_through(self, ctx: Any, wants_dx: bool = True) -> Back:
        needs = (("x",) if wants_dx else ()) + (("gamma", "beta") if self.trainable else ())

        def back(dy: Array) -> Array:
            dx, dgamma, dbeta = self.operation.backward(dy, ctx, needs)
            self.accumulate(gamma=dgamma, beta=dbeta)
            return dx

        return back


class BatchNormalization(_Normalization):
    """Normalise each channel by its mean and variance over the batch (Ioffe and Szegedy, 2015).

    In training these are the batch's own, of the steps that a mask keeps, and running ones follow them:
    moving = momentum · moving + (1 - momentum) · batch, the variance being the biased one. In inference, and
    with ``trainable=False``, the running ones are used and left as they are.

    Parameters
    ----------
    axis : int
        Where the channels are.
    momentum : float
        In [0, 1].
    epsilon : float
    center, scale : bool
        Whether there is a beta, and a gamma.
    beta_initializer, gamma_initializer : str or Initializer
    beta_regularizer, gamma_regularizer : str or Regularizer, optional
    beta_constraint, gamma_constraint : str or Constraint, optional
    moving_mean_initializer, moving_variance_initializer : str or Initializer
    **options
        As for every `Layer`.

    Examples
    --------
    >>> import numpy as np
    >>> from fastdl.layers import BatchNormalization
    >>> layer = BatchNormalization(momentum=0.5, epsilon=0)
    >>> layer(np.array([[1.0], [3.0]], np.float32), training=True).ravel()
    array([-1.,  1.], dtype=float32)
    >>> layer.state["moving_mean"]
    array([1.], dtype=float32)
    """

    operation = Operation.named("batch_norm")

    def __init__(
        self,
        axis: int = -1,
        momentum: float = 0.99,
        epsilon: float = 1e-3,
        center: bool = True,
        scale: bool = True,
        beta_initializer: str | initializers.Initializer = "zeros",
        gamma_initializer: str | initializers.Initializer = "ones",
        moving_mean_initializer: str | initializers.Initializer = "zeros",
        moving_variance_initializer: str | initializers.Initializer = "ones",
        **options: Any,
    ) -> None:
        super().__init__(epsilon, center, scale, beta_initializer, gamma_initializer, **options)
        self.axis = axis
        self.momentum = checks.number(self.name, "momentum", momentum)
        if self.momentum > 1:
            raise ValueError(f"{self.name}: momentum must be at most 1; got {momentum!r}")
        self.moving_mean_initializer = initializers.get(moving_mean_initializer)
        self.moving_variance_initializer = initializers.get(moving_variance_initializer)
        self.arguments["axis"] = axis

    def build(self, input_shape: Shape) -> None:
        shape = (input_shape[checks.axis_index(self.name, self.axis, input_shape)],)
        self._add_affine(shape)
        self.add_weight("moving_mean", shape, self.moving_mean_initializer, trainable=False)
        self.add_weight("moving_variance", shape, self.moving_variance_initializer, trainable=False)

    channel_axis = None  # no normalisation becomes part of this one
    fusible = True

    def call(self, x: Array, mask: Any = None) -> Array:
        return self.call_fused(x, None, None)

    def call_fused(self, x: Array, norm: None, after: Pointwise | None) -> Array:
        """Return what an activation that is `fused` makes of the output, for inference."""
        fused = after.fused if after else None
        running = (*self._affine(), *self._moving())
        return self.operation.run(x, *running, training=False, activation=fused, **self.arguments)

    def scale_and_shift(self, bias: Array | None) -> tuple[Array, Array] | None:
        """Return a and b with which this layer makes a · z + b of z + bias, for inference.

        None is for an a that is not finite: infinity times a difference is no difference of infinities.
        """
        arrays = (*self._moving(), *self._affine(), bias)
        held = [None if array is None else array.tobytes() for array in arrays]
        return _scale_and_shift(self.dtype, self.epsilon, *held)

    def vjp(self, x: Array, training: bool = True, mask: Any = None) -> tuple[Array, Back]:
        if training and self.trainable and mask is not None and np.any(mask):
            return self._masked(x, np.asarray(mask, bool))
        return self.vjp_fused(x, training, after=None)

    def vjp_fused(
        self, x: Array, training: bool = True, *, after: Pointwise | None, wants_dx: bool = True
    ) -> tuple[Array, Back]:
        """Return what `vjp` does, with an activation that is `fused` in the same pass."""
        training = training and self.trainable
        # Copies, since a later batch changes these before this one's gradient is asked for.
        running = (None, None) if training else [moving.copy() for moving in self._moving()]
        y, ctx = self.operation.forward(
            x,
            *self._affine(),
            *running,
            training=training,
            activation=after.fused if after else None,
            **self.arguments,
        )
        if training and x.size:
            self._follow(ctx)
        return y, self._back_through(ctx, wants_dx)

    def _masked(self, x: Array, mask: Array) -> tuple[Array, Back]:
        """Return what `vjp` does in training, with the statistics of the steps that are kept."""
        if mask.shape != x.shape[:-1] or self.axis not in (-1, x.ndim - 1):
            raise ValueError(
                f"{self.name}: a mask needs the channels on the last axis, and the shape of the others;"
                f" x is {x.shape}, axis {self.axis}, and the mask {mask.shape}"
            )
        kept, others = x[mask], x[~mask]
        y = np.empty_like(x)
        y[mask], ctx = self.operation.forward(
            kept, *self._affine(), None, None, training=True, **self.arguments
        )
        self._follow(ctx)
        statistics = ctx.mean, ctx.var
        y[~mask], fixed = self.operation.forward(
            others, *self._affine(), *statistics, training=False, **self.arguments
        )
        back_kept, back_others = self._back_through(ctx), self._back_through(fixed)

        def back(dy: Array) -> Array:
            dx = np.empty_like(dy)
            dx[~mask] = dothers = back_others(dy[~mask])
            # The mean and the variance depend on the steps that are kept, and the others on both.
            dmean = -dothers.sum(axis=0)
            dspread = -(dothers * (others - ctx.mean)).sum(axis=0) / (ctx.var + self.epsilon)
            dx[mask] = back_kept(dy[mask]) + (dmean + dspread * (kept - ctx.mean)) / len(kept)
            return dx

        return y, back

    def _follow(self, ctx: Any) -> None:
        """Let the running statistics follow those of a batch."""
        for moving, batch in zip(self._moving(), (ctx.mean, ctx.var)):
            moving *= self.momentum
            moving += (1 - self.momentum) * batch

    def _moving(self) -> tuple[Array, Array]:
        return self._state["moving_mean"], self._state["moving_variance"]


@lru_cache(maxsize=256)
def _scale_and_shift(
    dtype: np.dtype[Any],
    epsilon: float,
    mean: bytes,
    variance: bytes,
    gamma: bytes | None,
    beta: bytes | None,
    bias: bytes | None,
) -> tuple[Array, Array] | None:
    """Compute `BatchNormalization.scale_and_shift`, or remember it for the same numbers.

    Looking at all numbers costs a few copies of one number a channel; the arithmetic would take longer than
    the call of a small layer.
    """

    def numbers(held: bytes | None, default: float) -> Any:
        return default if held is None else np.frombuffer(held, dtype).astype(np.float64)

    with np.errstate(all="ignore"):
        scale = numbers(gamma, 1.0) / np.sqrt(numbers(variance, 1.0) + epsilon)
        shift = (numbers(bias, 0.0) - numbers(mean, 0.0)) * scale + numbers(beta, 0.0)
        rounded = scale.astype(dtype), shift.astype(dtype)
    return rounded if np.isfinite(rounded[0]).all() else None


class LayerNormalization(_Normalization):
    """Normalise each sample, or each position of it, by its own mean and variance (Ba et al., 2016).

    Parameters
    ----------
    axis : int or sequence of int
        What is normalised together, and has a gamma and beta of its own each.
    epsilon : float
    center, scale : bool
        Whether there is a beta, and a gamma.
    beta_initializer, gamma_initializer : str or Initializer
    beta_regularizer, gamma_regularizer : str or Regularizer, optional
    beta_constraint, gamma_constraint : str or Constraint, optional
    **options
        As for every `Layer`.

    Examples
    --------
    >>> import numpy as np
    >>> from fastdl.layers import LayerNormalization
    >>> LayerNormalization(epsilon=0)(np.array([[1.0, 3.0], [10.0, 30.0]], np.float32))
    array([[-1.,  1.],
           [-1.,  1.]], dtype=float32)
    """

    operation = Operation.named("layer_norm")

    def __init__(
        self,
        axis: int | Sequence[int] = -1,
        epsilon: float = 1e-3,
        center: bool = True,
        scale: bool = True,
        beta_initializer: str | initializers.Initializer = "zeros",
        gamma_initializer: str | initializers.Initializer = "ones",
        **options: Any,
    ) -> None:
        super().__init__(epsilon, center, scale, beta_initializer, gamma_initializer, **options)
        self.axis = axis
        self.arguments["axis"] = axis

    def build(self, input_shape: Shape) -> None:
        axes = normalised_axes(self.name, self.axis, input_shape)
        self._add_affine(tuple(input_shape[axis] for axis in axes))


class _SampleNormalization(_Normalization):
    """Base of the normalisations of some channels of one sample."""

    axis: int

    def build(self, input_shape: Shape) -> None:
        axis = checks.axis_index(self.name, self.axis, input_shape)
        if axis not in (1, len(input_shape) - 1):
            raise ValueError(
                f"{self.name}: axis must be 1 or the last one of x, {input_shape}; got {self.axis}"
            )
        self.arguments["layout"] = "NHWC" if axis == len(input_shape) - 1 else "NCHW"
        self._add_affine((input_shape[axis],))


class GroupNormalization(_SampleNormalization):
    """Normalise groups of channels of each sample by their mean and variance (Wu and He, 2018).

    Parameters
    ----------
    groups : int
        How many; -1 makes each channel a group, which is `InstanceNormalization`.
    axis : int
        Where the channels are: the last axis, or the one behind the batch.
    epsilon : float
    center, scale : bool
        Whether there is a beta, and a gamma.
    beta_initializer, gamma_initializer : str or Initializer
    beta_regularizer, gamma_regularizer : str or Regularizer, optional
    beta_constraint, gamma_constraint : str or Constraint, optional
    **options
        As for every `Layer`.

    Examples
    --------
    >>> import numpy as np
    >>> from fastdl.layers import GroupNormalization
    >>> GroupNormalization(groups=2, epsilon=0)(np.array([[1.0, 3.0, 10.0, 30.0]], np.float32))
    array([[-1.,  1., -1.,  1.]], dtype=float32)
    """

    operation = Operation.named("group_norm")

    def __init__(
        self,
        groups: int = 32,
        axis: int = -1,
        epsilon: float = 1e-3,
        center: bool = True,
        scale: bool = True,
        beta_initializer: str | initializers.Initializer = "zeros",
        gamma_initializer: str | initializers.Initializer = "ones",
        **options: Any,
    ) -> None:
        super().__init__(epsilon, center, scale, beta_initializer, gamma_initializer, **options)
        self.groups = groups if groups == -1 else checks.integer(self.name, "groups", groups)
        self.axis = axis

    def build(self, input_shape: Shape) -> None:
        super().build(input_shape)
        channels = input_shape[self.axis]
        self.arguments["groups"] = channels if self.groups == -1 else self.groups


class InstanceNormalization(_SampleNormalization):
    """Normalise each channel of each sample by its own mean and variance (Ulyanov et al., 2016).

    Parameters
    ----------
    axis, epsilon, center, scale, beta_initializer, gamma_initializer, **options
        As for `GroupNormalization`.

    Examples
    --------
    >>> import numpy as np
    >>> from fastdl.layers import InstanceNormalization
    >>> x = np.array([1.0, 3.0], np.float32).reshape(1, 2, 1)
    >>> InstanceNormalization(epsilon=0)(x).ravel()
    array([-1.,  1.], dtype=float32)
    """

    operation = Operation.named("instance_norm")

    def __init__(
        self,
        axis: int = -1,
        epsilon: float = 1e-3,
        center: bool = True,
        scale: bool = True,
        beta_initializer: str | initializers.Initializer = "zeros",
        gamma_initializer: str | initializers.Initializer = "ones",
        **options: Any,
    ) -> None:
        super().__init__(epsilon, center, scale, beta_initializer, gamma_initializer, **options)
        self.axis = axis
