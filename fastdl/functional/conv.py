"""Convolution over one, two and three axes.

As everywhere in deep learning the kernel is not flipped: y[i] = Σ_k x[i·stride + k·dilation - pad]·w[k].
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from ..checks import ActivationLike, Ints, Padding
from ..shapes import ConvPlan, conv_plan
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
    "conv1d",
    "conv1d_backward",
    "conv1d_forward",
    "conv2d",
    "conv2d_backward",
    "conv2d_forward",
    "conv3d",
    "conv3d_backward",
    "conv3d_forward",
]


def conv2d(
    x: ArrayLike,
    w: ArrayLike,
    b: ArrayLike | None = None,
    *,
    stride: Ints = 1,
    padding: Padding = 0,
    dilation: Ints = 1,
    groups: int = 1,
    activation: ActivationLike = None,
    scale: ArrayLike | None = None,
    layout: str = "NCHW",
) -> Array:
    """Return y = activation(scale · (x ⋆ w) + b), the convolution over two axes.

    (x ⋆ w)[n, o, i, j] = Σ_{c, p, q} x[n, c, i·s + p·d - pad, j·s + q·d - pad] · w[o, c, p, q]
    for stride s and dilation d.

    Parameters
    ----------
    x : (N, C, H, W) array of floats, or (N, H, W, C) with ``layout="NHWC"``
        Images.
    w : (O, C / groups, KH, KW) array of floats, or (KH, KW, C / groups, O) with ``layout="NHWC"``
        Kernels.
    b : (O,) array of floats, optional
        Bias.
    stride : int or 2 ints
        Step between two windows.
    padding : int, 2 ints, 2 (before, after) pairs, "valid" or "same"
        Zeros around x. "valid" is none; "same" gives ceil(size / stride) windows, by TensorFlow's rule
        with the odd zero at the end.
    dilation : int or 2 ints
        Step between two taps of the kernel; 1 means neighbours.
    groups : int
        The channels are split into this many groups that do not see each other; with
        ``groups == C`` the convolution is depthwise.
    activation : str or (str, float), optional
        Applied to the sum in the same pass, as in `linear`.
    scale : (O,) array of floats, optional
        Multiplies each channel before b is added, as in `linear`.
    layout : "NCHW" or "NHWC"
        Where the channels are, in x and y, and with it the axes of w.

    Returns
    -------
    (N, O, OH, OW) array, or (N, OH, OW, O) with ``layout="NHWC"``
        OH = (H + pads - dilation·(KH - 1) - 1) // stride + 1. float32 from float32, float64 from
        float64; float16 is computed in float32.

    Raises
    ------
    ValueError
        If the shapes do not fit each other, or an argument has a value it cannot have.
    TypeError
        If an array does not hold floats.

    References
    ----------
    V. Dumoulin and F. Visin, "A guide to convolution arithmetic for deep learning", 2016.

    Examples
    --------
    >>> import numpy as np
    >>> import fastdl.functional as F
    >>> x = np.arange(9.0).reshape(1, 1, 3, 3)
    >>> edge = np.array([[1.0, -1.0]]).reshape(1, 1, 1, 2)
    >>> F.conv2d(x, edge)[0, 0]
    array([[-1., -1.],
           [-1., -1.],
           [-1., -1.]])
    """
    geometry = (stride, padding, dilation, groups, layout)
    return _output("conv2d", 2, x, w, b, activation, scale, geometry)


def conv2d_forward(
    x: ArrayLike,
    w: ArrayLike,
    b: ArrayLike | None = None,
    *,
    stride: Ints = 1,
    padding: Padding = 0,
    dilation: Ints = 1,
    groups: int = 1,
    activation: ActivationLike = None,
    layout: str = "NCHW",
) -> tuple[Array, AffineContext]:
    """Return what `conv2d` returns, and the ctx that `conv2d_backward` takes.

    The ctx holds x, w and y themselves: they must not be written to before the backward. Which algorithm
    computes the call and its gradients, the engine chooses by shape, and ctx.plan says it.

    Examples
    --------
    >>> import numpy as np
    >>> import fastdl
    >>> import fastdl.functional as F
    >>> x, w = np.ones((1, 32, 16, 16), np.float32), np.ones((32, 32, 3, 3), np.float32)
    >>> y, ctx = F.conv2d_forward(x, w, padding="same")
    >>> ctx.plan.algorithm in fastdl.info()["algorithms"].split(", ")  # "winograd", where there are kernels
    True
    """
    geometry = (stride, padding, dilation, groups, layout)
    return _output_and_ctx("conv2d", 2, x, w, b, activation, geometry)


def conv2d_backward(
    dy: ArrayLike, ctx: AffineContext, needs: tuple[str, ...] = ARGUMENTS, *, dw_out: Array | None = None
) -> Gradients:
    """Return the gradients (dx, dw, db), with dz = dy · activation'.

    dx is the transposed convolution of dz with w, dw the correlation of x with dz, db = Σ dz over
    images and positions.

    Parameters
    ----------
    dy : array of floats of y's shape
        Gradient with respect to y.
    ctx : AffineContext
        From `conv2d_forward`; it may be used any number of times.
    needs : tuple of str
        The gradients that are wanted, out of "x", "w", "b"; the others are None.
    dw_out : array of floats of w's shape, optional
        Where dw is written, and then returned: C-contiguous, and of the dtype of x and w.

    Examples
    --------
    >>> import numpy as np
    >>> import fastdl.functional as F
    >>> y, ctx = F.conv2d_forward(np.ones((1, 1, 3, 3)), np.ones((1, 1, 2, 2)))
    >>> dx, dw, db = F.conv2d_backward(np.ones_like(y), ctx, needs=("x", "w"))
    >>> dx[0, 0]
    array([[1., 2., 1.],
           [2., 4., 2.],
           [1., 2., 1.]])
    >>> dw[0, 0]
    array([[4., 4.],
           [4., 4.]])
    """
    return _backward("conv2d", dy, ctx, needs, dw_out)


def conv1d(
    x: ArrayLike,
    w: ArrayLike,
    b: ArrayLike | None = None,
    *,
    stride: Ints = 1,
    padding: Padding = 0,
    dilation: Ints = 1,
    groups: int = 1,
    activation: ActivationLike = None,
    scale: ArrayLike | None = None,
    layout: str = "NCHW",
) -> Array:
    """Return the convolution over one axis, time or position.

    x is (N, C, W) with w (O, C / groups, KW) and ``layout="NCHW"``, or (N, W, C) with
    w (KW, C / groups, O) and ``layout="NHWC"``. The other arguments and errors are those of `conv2d`.

    Examples
    --------
    >>> import numpy as np
    >>> import fastdl.functional as F
    >>> F.conv1d(np.array([[[1.0, 2.0, 4.0]]]), np.array([[[0.5, 0.5]]]))
    array([[[1.5, 3. ]]])
    """
    geometry = (stride, padding, dilation, groups, layout)
    return _output("conv1d", 1, x, w, b, activation, scale, geometry)


def conv1d_forward(
    x: ArrayLike,
    w: ArrayLike,
    b: ArrayLike | None = None,
    *,
    stride: Ints = 1,
    padding: Padding = 0,
    dilation: Ints = 1,
    groups: int = 1,
    activation: ActivationLike = None,
    layout: str = "NCHW",
) -> tuple[Array, AffineContext]:
    """Return what `conv1d` returns, and the ctx that `conv1d_backward` takes."""
    geometry = (stride, padding, dilation, groups, layout)
    return _output_and_ctx("conv1d", 1, x, w, b, activation, geometry)


def conv1d_backward(
    dy: ArrayLike, ctx: AffineContext, needs: tuple[str, ...] = ARGUMENTS, *, dw_out: Array | None = None
) -> Gradients:
    """Return the gradients (dx, dw, db) of `conv1d`; see `conv2d_backward`."""
    return _backward("conv1d", dy, ctx, needs, dw_out)


def conv3d(
    x: ArrayLike,
    w: ArrayLike,
    b: ArrayLike | None = None,
    *,
    stride: Ints = 1,
    padding: Padding = 0,
    dilation: Ints = 1,
    groups: int = 1,
    activation: ActivationLike = None,
    scale: ArrayLike | None = None,
    layout: str = "NCHW",
) -> Array:
    """Return the convolution over three axes: volumes, or images in time.

    x is (N, C, D, H, W) with w (O, C / groups, KD, KH, KW) and ``layout="NCHW"``, or (N, D, H, W, C)
    with w (KD, KH, KW, C / groups, O) and ``layout="NHWC"``. The other arguments and errors are those
    of `conv2d`.

    Examples
    --------
    >>> import numpy as np
    >>> import fastdl.functional as F
    >>> F.conv3d(np.ones((1, 1, 2, 2, 2)), np.ones((1, 1, 2, 2, 2))).ravel()
    array([8.])
    """
    geometry = (stride, padding, dilation, groups, layout)
    return _output("conv3d", 3, x, w, b, activation, scale, geometry)


def conv3d_forward(
    x: ArrayLike,
    w: ArrayLike,
    b: ArrayLike | None = None,
    *,
    stride: Ints = 1,
    padding: Padding = 0,
    dilation: Ints = 1,
    groups: int = 1,
    activation: ActivationLike = None,
    layout: str = "NCHW",
) -> tuple[Array, AffineContext]:
    """Return what `conv3d` returns, and the ctx that `conv3d_backward` takes."""
    geometry = (stride, padding, dilation, groups, layout)
    return _output_and_ctx("conv3d", 3, x, w, b, activation, geometry)


def conv3d_backward(
    dy: ArrayLike, ctx: AffineContext, needs: tuple[str, ...] = ARGUMENTS, *, dw_out: Array | None = None
) -> Gradients:
    """Return the gradients (dx, dw, db) of `conv3d`; see `conv2d_backward`."""
    return _backward("conv3d", dy, ctx, needs, dw_out)


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
    return restored(engine().conv_fwd(x, w, b, plan, kind, alpha, scale), dtype)


def _output_and_ctx(
    op: str, ndim: int, x: Any, w: Any, b: Any, activation: ActivationLike, geometry: tuple[Any, ...]
) -> tuple[Array, AffineContext]:
    kind, alpha = activation_of(op, activation)
    x, w, b, _, plan, dtype = _checked(op, ndim, x, w, b, None, geometry)
    ops = engine()
    call = AffineCall(op, ops, plan, dtype, plan.y_shape, x, w, b, kind, alpha)
    return output_and_ctx(call, partial(ops.conv_fwd, x, w, b, plan))


def _checked(
    op: str, ndim: int, x: Any, w: Any, b: Any, scale: Any, geometry: tuple[Any, ...]
) -> tuple[Array, Array, Array | None, Array | None, ConvPlan, np.dtype[Any]]:
    """Return x, w, b and scale, all canonical, the plan, and the dtype of the result."""
    (x, w, b, scale), dtype, ready = floats(op, ALL_ARGUMENTS, x, w, b, scale)
    plan = conv_plan(op, x.shape, w.shape, None if b is None else b.shape, ndim, *geometry)
    if scale is not None:
        check_scale(op, scale, plan.out_channels)
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
        dx = restored(call.ops.conv_dx(dz, call.w, None, plan), call.dtype)
    if "w" in needs:
        dw = weight_gradient(call, dw_out, call.ops.conv_dw, dz, call.x, plan)
    if "b" in needs:
        db = bias_gradient(dz, call, plan.layout)
    return dx, dw, db
