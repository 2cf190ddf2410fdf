"""What dense and convolution share: y = activation(A(x, w) + b), and the way back to dz.

An activation whose derivative needs y is fused with the product. One that needs z, what goes into it,
is fused only when nothing is kept; with a ctx it runs after the product, and z is kept.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..backends import Ops, common_dtype
from ..checks import ActivationLike, Shape, number, one_of, wanted
from ..shapes import ACTIVATIONS, DEFAULT_ALPHA, ConvPlan
from ._arrays import Array, check_ctx, gradient, restored, shaped

ARGUMENTS = ("x", "w", "b")
ALL_ARGUMENTS = "x w (b) (scale)"  # as `floats` has them
Gradients = tuple[Array | None, Array | None, Array | None]


@dataclass(slots=True)
class AffineCall:
    """One call: its arguments, checked and canonical, and what runs it."""

    op: str
    ops: Ops
    plan: Any  # a LinearPlan or a ConvPlan; the operation knows which
    dtype: np.dtype[Any]
    y_shape: Shape
    x: Array
    w: Array
    b: Array | None
    activation: str
    alpha: float


@dataclass(slots=True)
class AffineContext:
    """What a backward needs of its forward: the call, and y or z if the activation asks for it.

    It holds x, w and y themselves, not copies.
    """

    call: AffineCall
    saved: Array | None

    @property
    def op(self) -> str:
        return self.call.op

    @property
    def ops(self) -> Ops:
        return self.call.ops

    @property
    def plan(self) -> Any:
        """The sizes of the call; of a convolution also the algorithms that the engine chooses for them."""
        call = self.call
        if not isinstance(call.plan, ConvPlan):
            return call.plan
        passes = ["conv_fwd", "conv_dx", "conv_dw"]
        if call.op.startswith("conv_transpose"):  # the adjoint
            passes[:2] = passes[1::-1]
        chosen = [call.ops.conv_algorithm(primitive, call.plan, call.x.dtype) for primitive in passes]
        return replace(call.plan, **dict(zip(("algorithm", "dx_algorithm", "dw_algorithm"), chosen)))


def check_scale(op: str, scale: Array, channels: int) -> None:
    """Refuse a scale that has not one entry an output channel."""
    if scale.shape != (channels,):
        raise ValueError(
            f"{op}: scale must have shape ({channels},), one entry an output channel; got {scale.shape}"
        )


def activation_of(op: str, activation: ActivationLike) -> tuple[str, float]:
    """Return the engine's name of an activation, and its alpha."""
    if activation is None:
        return "linear", 0.0
    name: Any = activation
    alpha = None
    if isinstance(activation, tuple) and len(activation) == 2:
        name, alpha = activation
    if not isinstance(name, str) or name not in ACTIVATIONS:
        one_of(op, "activation", name, ACTIVATIONS)
    if alpha is None:
        return name, DEFAULT_ALPHA.get(name, 0.0)
    if name not in DEFAULT_ALPHA:
        raise ValueError(f"{op}: activation {name!r} has no alpha; got {activation!r}")
    return name, number(op, f"the alpha of activation {name!r}", alpha)


def output_and_ctx(call: AffineCall, product: Callable[[str, float], Array]) -> tuple[Array, AffineContext]:
    """Compute y as ``product(activation, alpha)``, and keep what the backward needs."""
    needed = ACTIVATIONS[call.activation]
    if needed == "x":
        z = shaped(product("linear", 0.0), call.y_shape)
        y = call.ops.act_fwd(z, call.activation, call.alpha)
        return restored(y, call.dtype), AffineContext(call, z)
    y = shaped(product(call.activation, call.alpha), call.y_shape)
    return restored(y, call.dtype), AffineContext(call, y if needed == "y" else None)


def gradient_of_sum(op: str, dy: Any, ctx: AffineContext, needs: Any) -> Array:
    """Check the arguments of a backward, and return dz, the gradient of A(x, w) + b."""
    check_ctx(op, ctx)
    wanted(f"{op}_backward", needs, ARGUMENTS)
    call = ctx.call
    dy = gradient(op, dy, call.y_shape, call.dtype)
    return dy if ctx.saved is None else call.ops.act_bwd(dy, ctx.saved, call.activation, call.alpha)


def weight_gradient(
    call: AffineCall, out: Array | None, product: Callable[..., Array], *operands: Any, **options: Any
) -> Array:
    """Return dw, the product of the operands; `out`, the caller's array for it, is checked."""
    if out is not None and (out.shape != call.w.shape or common_dtype("dw_out", (out,)) is not call.dtype):
        raise ValueError(
            f"{call.op}_backward: dw_out must be C-contiguous, of {call.dtype} and shape {call.w.shape}"
        )
    return restored(product(*operands, out=out, **options), call.dtype)


def bias_gradient(dz: Array, call: AffineCall, layout: str) -> Array | None:
    """Return db, the sum of dz over everything but the channels; None where there is no bias."""
    if call.b is None:
        return None
    channels = call.b.shape[0]
    if layout == "NCHW":
        outer, inner = dz.shape[0], math.prod(dz.shape[2:])
    else:
        outer, inner = math.prod(dz.shape[:-1]), 1
    return restored(call.ops.bias_grad(dz, outer, channels, inner), call.dtype)
