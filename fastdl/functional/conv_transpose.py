"""Transposed convolution, which enlarges: the adjoint of a convolution, run forward.

Its plan is the plan of that convolution, whose output is our x and whose input is our y.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from ..checks import ActivationLike, Ints, Padding
from ..shapes import ConvPlan, conv_transpose_plan
from ._affine import (
    ALL_ARGUMENTS,
    ARGUMENTS,
    AffineCall,
    AffineContext,
    Gradients,
    activation_of,
    bias_gradient,
    check_scale,
    gradient_of_sum,
    output_and_ctx,
    weight_gradient,
)
from ._arrays import Array, canonical, engine, floats, restored

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike

__all__ = [
    "conv_transpose1d",
    "conv_transpose1d_backward",
    "conv_transpose1d_forward",
    "conv_transpose2d",
    "conv_transpose2d_backward",
    "conv_transpose2d_forward",
    "conv_transpose3d",
    "conv_transpose3d_backward",
    "conv_transpose3d_forward",
]


def conv_transpose2d(
    x: ArrayLike,
    w: ArrayLike,
    b: ArrayLike | None = None,
    *,
    stride: Ints = 1,
    padding: Padding = 0,
    output_padding: Ints = 0,
    dilation: Ints = 1,
    groups: int = 1,
    activation: ActivationLike = None,
    scale: ArrayLike | None = None,
    layout: str = "NCHW",
) -> Array:
    """Return y = activation(scale · (x ⋆ᵀ w) + b), the transposed convolution over two axes.

    Every entry of x adds the kernel, times itself, to the output at
    (i·stride - pad, j·stride - pad); a "deconvolution" undoes nothing.

    Parameters
    ----------
    x : (N, I, H, W) array of floats, or (N, H, W, I) with ``layout="NHWC"``
        Images.
    w : (I, O / groups, KH, KW) array of floats, or (KH, KW, O / groups, I) with ``layout="NHWC"``
        Kernels, input channels first, as PyTorch and Keras have them.
    b : (O,) array of floats, optional
        Bias.
    stride : int or 2 ints
        Distance in y between two neighbours of x.
    padding : int, 2 ints, 2 (before, after) pairs, "valid" or "same"
        Cells cut off y at its border, the padding of the convolution this is the adjoint of. "valid"
        is none; "same" makes OH = H·stride.
    output_padding : int or 2 ints
        Rows and columns added to the end of y, fewer than stride or dilation: it tells the sizes
        apart that a strided convolution maps to the same H.
    dilation : int or 2 ints
        Step between two taps of the kernel; 1 means neighbours.
    groups : int
        The channels are split into this many groups that do not see each other.
    activation : str or (str, float), optional
        Applied to the sum in the same pass, as in `linear`.
    scale : (O,) array of floats, optional
        Multiplies each channel before b is added, as in `linear`.
    layout : "NCHW" or "NHWC"
        Where the channels are, in x and y, and with it the axes of w.

    Returns
    -------
    (N, O, OH, OW) array, or (N, OH, OW, O) with ``layout="NHWC"``
        OH = (H - 1)·stride - pads + dilation·(KH - 1) + output_padding + 1. float32 from float32,
        float64 from float64; float16 is computed in float32.

    Raises
    ------
    ValueError
        If the shapes do not fit each other, or an argument has a value it cannot have.
    TypeError
        If an array does not hold floats.

    References
    ----------
    V. Dumoulin and F. Visin, "A guide to convolution arithmetic for deep learning", 2016, chapter 4.

    Examples
    --------
    >>> import numpy as np
    >>> import fastdl.functional as F
    >>> x = np.array([[1.0, 2.0], [3.0, 4.0]]).reshape(1, 1, 2, 2)
    >>> F.conv_transpose2d(x, np.ones((1, 1, 1, 2)), stride=(1, 2))[0, 0]
    array([[1., 1., 2., 2.],
           [3., 3., 4., 4.]])
    """
    geometry = (stride, padding, output_padding, dilation, groups, layout)
    return _output("conv_transpose2d", 2, x, w, b, activation, scale, geometry)


def conv_transpose2d_forward(
    x: ArrayLike,
    w: ArrayLike,
    b: ArrayLike | None = None,
    *,
    stride: Ints = 1,
    padding: Padding = 0,
    output_padding: Ints = 0,
    dilation: Ints = 1,
    groups: int = 1,
    activation: ActivationLike = None,
    layout: str = "NCHW",
) -> tuple[Array, AffineContext]:
    """Return what `conv_transpose2d` returns, and the ctx that `conv_transpose2d_backward` takes.

    The ctx holds x, w and y themselves: they must not be written to before the backward.
    """
    geometry = (stride, padding, output_padding, dilation, groups, layout)
    return _output_and_ctx("conv_transpose2d", 2, x, w, b, activation, geometry)


def conv_transpose2d_backward(
    dy: ArrayLike, ctx: AffineContext, needs: tuple[str, ...] = ARGUMENTS, *, dw_out: Array | None = None
) -> Gradients:
    """Return the gradients (dx, dw, db), with dz = dy · activation'.

    dx is the convolution of dz with w, dw the correlation of dz with x, db = Σ dz over images and
    positions.

    Parameters
    ----------
    dy : array of floats of y's shape
        Gradient with respect to y.
    ctx : AffineContext
        From `conv_transpose2d_forward`; it may be used any number of times.
    needs : tuple of str
        The gradients that are wanted, out of "x", "w", "b"; the others are None.
    dw_out : array of floats of w's shape, optional
        Where dw is written, and then returned: C-contiguous, and of the dtype of x and w.
    """
    return _backward("conv_transpose2d", dy, ctx, needs, dw_out)


def conv_transpose1d(
    x: ArrayLike,
    w: ArrayLike,
    b: ArrayLike | None = None,
    *,
    stride: Ints = 1,
    padding: Padding = 0,
    output_padding: Ints = 0,
    dilation: Ints = 1,
    groups: int = 1,
    activation: ActivationLike = None,
    scale: ArrayLike | None = None,
    layout: str = "NCHW",
) -> Array:
    """Return the transposed convolution over one axis.

    x is (N, I, W) with w (I, O / groups, KW) and ``layout="NCHW"``, or (N, W, I) with
    w (KW, O / groups, I) and ``layout="NHWC"``. The other arguments and errors are those of
    `conv_transpose2d`.

    Examples
    --------
    >>> import numpy as np
    >>> import fastdl.functional as F
    >>> F.conv_transpose1d(np.array([[[1.0, 2.0]]]), np.array([[[1.0, 0.5]]]), stride=2)
    array([[[1. , 0.5, 2. , 1. ]]])
    """
    geometry = (stride, padding, output_padding, dilation, groups, layout)
    return _output("conv_transpose1d", 1, x, w, b, activation, scale, geometry)


def conv_transpose1d_forward(
    x: ArrayLike,
    w: ArrayLike,
    b: ArrayLike | None = None,
    *,
    stride: Ints = 1,
    padding: Padding = 0,
    output_padding: Ints = 0,
    dilation: Ints = 1,
    groups: int = 1,
    activation: ActivationLike = None,
    layout: str = "NCHW",
) -> tuple[Array, AffineContext]:
    """Return what `conv_transpose1d` returns, and the ctx that `conv_transpose1d_backward` takes."""
    geometry = (stride, padding, output_padding, dilation, groups, layout)
    return _output_and_ctx("conv_transpose1d", 1, x, w, b, activation, geometry)


def conv_transpose1d_backward(
    dy: ArrayLike, ctx: AffineContext, needs: tuple[str, ...] = ARGUMENTS, *, dw_out: Array | None = None
) -> Gradients:
    """Return the gradients (dx, dw, db) of `conv_transpose1d`; see `conv_transpose2d_backward`."""
    return _backward("conv_transpose1d", dy, ctx, needs, dw_out)


def conv_transpose3d(
    x: ArrayLike,
    w: ArrayLike,
    b: ArrayLike | None = None,
    *,
    stride: Ints = 1,
    padding: Padding = 0,
    output_padding: Ints = 0,
    dilation: Ints = 1,
    groups: int = 1,
    activation: ActivationLike = None,
    scale: ArrayLike | None = None,
    layout: str = "NCHW",
) -> Array:
    """Return the transposed convolution over three axes.

    x is (N, I, D, H, W) with w (I, O / groups, KD, KH, KW) and ``layout="NCHW"``, or (N, D, H, W, I)
    with w (KD, KH, KW, O / groups, I) and ``layout="NHWC"``. The other arguments and errors are those
    of `conv_transpose2d`.

    Examples
    --------
    >>> import numpy as np
    >>> import fastdl.functional as F
    >>> F.conv_transpose3d(np.ones((1, 1, 2, 2, 2)), np.ones((1, 3, 2, 2, 2)), stride=2).shape
    (1, 3, 4, 4, 4)
    """
    geometry = (stride, padding, output_padding, dilation, groups, layout)
    return _output("conv_transpose3d", 3, x, w, b, activation, scale, geometry)


def conv_transpose3d_forward(
    x: ArrayLike,
    w: ArrayLike,
    b: ArrayLike | None = None,
    *,
    stride: Ints = 1,
    padding: Padding = 0,
    output_padding: Ints = 0,
    dilation: Ints = 1,
    groups: int = 1,
    activation: ActivationLike = None,
    layout: str = "NCHW",
) -> tuple[Array, AffineContext]:
    """Return what `conv_transpose3d` returns, and the ctx that `conv_transpose3d_backward` takes."""
    geometry = (stride, padding, output_padding, dilation, groups, layout)
    return _output_and_ctx("conv_transpose3d", 3, x, w, b, activation, geometry)


def conv_transpose3d_backward(
    dy: ArrayLike, ctx: AffineContext, needs: tuple[str, ...] = ARGUMENTS, *, dw_out: Array | None = None
) -> Gradients:
    """Return the gradients (dx, dw, db) of `conv_transpose3d`; see `conv_transpose2d_backward`."""
    return _backward("conv_transpose3d", dy, ctx, needs, dw_out)


def _output(
    op: str,
    ndim: int,
    x: Any,
    w: Any,
    b: Any,
    activation: ActivationLike,
    scale: Any,
    geometry: tuple[Any, ...],
) -> Array:
    kind, alpha = activation_of(op, activation)
    x, w, b, scale, plan, dtype = _checked(op, ndim, x, w, b, scale, geometry)
    return restored(engine().conv_dx(x, w, b, plan, kind, alpha, scale), dtype)


def _output_and_ctx(
    op: str, ndim: int, x: Any, w: Any, b: Any, activation: ActivationLike, geometry: tuple[Any, ...]
) -> tuple[Array, AffineContext]:
    kind, alpha = activation_of(op, activation)
    x, w, b, _, plan, dtype = _checked(op, ndim, x, w, b, None, geometry)
    ops = engine()
    call = AffineCall(op, ops, plan, dtype, plan.x_shape, x, w, b, kind, alpha)
    return output_and_ctx(call, partial(ops.conv_dx, x, w, b, plan))


def _checked(
    op: str, ndim: int, x: Any, w: Any, b: Any, scale: Any, geometry: tuple[Any, ...]
) -> tuple[Array, Array, Array | None, Array | None, ConvPlan, np.dtype[Any]]:
    """Return x, w, b and scale, all canonical, the plan, and the dtype of the result."""
    (x, w, b, scale), dtype, ready = floats(op, ALL_ARGUMENTS, x, w, b, scale)
    plan = conv_transpose_plan(op, x.shape, w.shape, None if b is None else b.shape, ndim, *geometry)
    if scale is not None:
        check_scale(op, scale, plan.in_channels)
    if not ready:
        x, w, b, scale = canonical((x, w, b, scale), dtype)
    return x, w, b, scale, plan, dtype


def _backward(
    op: str, dy: Any, ctx: AffineContext, needs: tuple[str, ...], dw_out: Array | None
) -> Gradients:
    dz = gradient_of_sum(op, dy, ctx, needs)
    call, plan = ctx.call, ctx.call.plan
    dx = dw = db = None
    if "x" in needs:
        dx = restored(call.ops.conv_fwd(dz, call.w, None, plan), call.dtype)
    if "w" in needs:
        dw = weight_gradient(call, dw_out, call.ops.conv_dw, call.x, dz, plan)
    if "b" in needs:
        db = bias_gradient(dz, call, plan.layout)
    return dx, dw, db
