"""What dense and convolution share: y = activation(A(x, kernel) + bias)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numpy.typing import DTypeLike

from .. import constraints, initializers, regularizers
from ..checks import ActivationLike
from .base import Array, Back, Layer
from .norm import BatchNormalization
from .operation import Operation
from .pointwise import Pointwise, resolve_activation

# By whether dx is wanted, and whether the layer is trained.
_NEEDS = {
    (dx, trained): (("x",) if dx else ()) + (("w", "b") if trained else ())
    for dx in (False, True)
    for trained in (False, True)
}


class Affine(Layer):
    """Base of the layers that are a linear map of x with a kernel, a bias and an activation.

    A subclass makes ``params["kernel"]`` and ``params["bias"]`` in `build`, names its function in
    `operation` and the function's other arguments in `arguments`. Where the function wants the kernel in
    another layout than the one Keras keeps it in, `to_call` and `from_call` change between the two.
    """

    operation: Operation
    arguments: dict[str, Any]

    def __init__(
        self,
        activation: str | Layer | None = None,
        use_bias: bool = True,
        kernel_initializer: str | initializers.Initializer = "glorot_uniform",
        bias_initializer: str | initializers.Initializer = "zeros",
        kernel_regularizer: str | regularizers.Regularizer | None = None,
        bias_regularizer: str | regularizers.Regularizer | None = None,
        kernel_constraint: str | constraints.Constraint | None = None,
        bias_constraint: str | constraints.Constraint | None = None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self._after: Pointwise | None = resolve_activation(self, activation)
        self.activation = activation
        self.use_bias = use_bias
        self.kernel_initializer = initializers.get(kernel_initializer)
        self.bias_initializer = initializers.get(bias_initializer)
        self.kernel_regularizer = regularizers.get(kernel_regularizer)
        self.bias_regularizer = regularizers.get(bias_regularizer)
        self.kernel_constraint = constraints.get(kernel_constraint)
        self.bias_constraint = constraints.get(bias_constraint)
        self.arguments = {}

    def to_call(self, kernel: Array) -> Array:
        """Return the kernel as the function takes it."""
        return kernel

    def from_call(self, dkernel: Array) -> Array:
        """Return the gradient of `to_call`'s result as one of the kernel."""
        return dkernel

    @property
    def channel_axis(self) -> int:
        """Where the output's channels are."""
        return -1

    @property
    def own_activation(self) -> Pointwise | None:
        """The activation that its argument said."""
        return self._after

    @property
    def fusible(self) -> bool:
        """Whether `call_fused` may be given something: no activation of its own follows."""
        return self._after is None

    def call(self, x: Array) -> Array:
        return self.call_fused(x, None, self._after)

    def call_fused(self, x: Array, norm: BatchNormalization | None, after: Pointwise | None) -> Array:
        """Return what a normalisation and an activation make of the output, for inference.

        They are part of the same pass, but for an activation that is not `fused` and a normalisation that
        has no finite scale.
        """
        fused = after.fused if after else None
        bias, arguments = self._params.get("bias"), self.arguments
        if norm is not None:
            folded = norm.scale_and_shift(bias)
            if folded is None:
                y = norm(self.call_fused(x, None, None))
                return after(y) if after else y
            scale, bias = folded
            arguments = {**arguments, "scale": scale}
        kernel = self.to_call(self._params["kernel"])
        y = self.operation.run(x, kernel, bias, activation=fused, **arguments)
        return after(y) if after and not fused else y

    def vjp(self, x: Array, training: bool = True) -> tuple[Array, Back]:
        return self._both_ways(x, training, self._after, True)

    def partial_vjp(
        self, x: Array, training: bool = True, *, wants_dx: bool = True, logits: bool = False
    ) -> tuple[Array, Back]:
        return self._both_ways(x, training, None if logits else self._after, wants_dx)

    def vjp_fused(
        self, x: Array, training: bool = True, *, after: Pointwise | None, wants_dx: bool = True
    ) -> tuple[Array, Back]:
        """Return what `partial_vjp` does with another activation, in the same pass if that one is `fused`."""
        return self._both_ways(x, training, after, wants_dx)

    def _both_ways(
        self, x: Array, training: bool, after: Pointwise | None, wants_dx: bool
    ) -> tuple[Array, Back]:
        """Do what the three above do: each of them is checked already, see `guards`."""
        fused = after.fused if after else None
        y, ctx = self.operation_forward(x, fused)
        after_back: Back | None = None
        if after and not fused:
            y, after_back = after.vjp(y, training)
        backward = self.operation_back(self.operation.backward, ctx, wants_dx)
        return y, backward if after_back is None else lambda dy: backward(after_back(dy))

    def operation_forward(self, x: Array, fused: ActivationLike) -> tuple[Array, Any]:
        """Return the output and the operation's ctx."""
        kernel, bias = self.to_call(self._params["kernel"]), self._params.get("bias")
        return self.operation.forward(x, kernel, bias, activation=fused, **self.arguments)

    def operation_back(self, backward: Callable[..., Any], ctx: Any, wants_dx: bool) -> Back:
        """Return the way back, which a function of dy, ctx and the names of gradients computes."""
        needs = _NEEDS[wants_dx, self.trainable]

        def back(dy: Array) -> Array:
            own = self._grads.place("kernel")
            if own is not None and self.to_call(own) is not own:  # the function wants another layout
                own = None
            dx, dkernel, dbias = backward(dy, ctx, needs, dw_out=own)
            self.accumulate(kernel=None if dkernel is None else self.from_call(dkernel), bias=dbias)
            return dx

        return back

    def astype(self, dtype: DTypeLike) -> Layer:
        if self._after:
            self._after.astype(dtype)
        return super().astype(dtype)

    @property
    def final_activation(self) -> str:
        return self._after.final_activation if self._after else "linear"
