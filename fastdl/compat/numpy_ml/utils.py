"""`numpy_ml.neural_nets.utils.utils`: padding, column matrices and convolutions."""

from __future__ import annotations

from typing import Any

import numpy as np

import fastdl.functional as F

from ..columns import from_columns, to_columns
from ..inputs import Array, plain, promoted
from ..tier import Unserved
from .geometry import Four, kernel_windows, pads_1d, pads_2d

__all__ = [
    "col2im",
    "conv1D",
    "conv2D",
    "conv2D_naive",
    "deconv2D_naive",
    "dilate",
    "im2col",
    "pad1D",
    "pad2D",
]


def pad1D(
    X: Any, pad: Any, kernel_width: Any = None, stride: Any = None, dilation: Any = 0
) -> tuple[Array, tuple[int, int]]:
    """Return sequences with zeros around them, and how many: (before, after).

    Parameters
    ----------
    X : (N, L, C) array
    pad : int, 2-tuple of int, "same" or "causal"
    kernel_width, stride, dilation : int
        What "same" and "causal" are for.
    """
    X = plain(X, 3)
    if isinstance(pad, str) and not (kernel_width and stride):
        raise Unserved(f"pad={pad!r} for no kernel")
    before, after = pads_1d(pad, X.shape[1], kernel_width, stride, dilation)
    padded = _zeros(X, (X.shape[0], X.shape[1] + before + after, X.shape[2]))
    padded[:, before : before + X.shape[1]] = X
    return padded, (before, after)


def pad2D(
    X: Any, pad: Any, kernel_shape: Any = None, stride: Any = None, dilation: Any = 0
) -> tuple[Array, Four]:
    """Return images with zeros around them, and how many: (top, bottom, left, right).

    Parameters
    ----------
    X : (N, H, W, C) array
    pad : int, 2- or 4-tuple of int, or "same"
    kernel_shape : 2 ints
    stride, dilation : int
        What "same" is for.
    """
    X = plain(X, 4)
    if isinstance(pad, str) and not (isinstance(kernel_shape, tuple) and len(kernel_shape) == 2):
        raise Unserved(f"pad={pad!r} for no kernel")
    batch, height, width, channels = X.shape
    pads = pads_2d(pad, (height, width), kernel_shape, stride, dilation)
    top, bottom, left, right = pads
    padded = _zeros(X, (batch, height + top + bottom, width + left + right, channels))
    padded[:, top : top + height, left : left + width] = X
    return padded, pads


def dilate(X: Any, d: Any) -> Array:
    """Return images with d zeros between two neighbours.

    Parameters
    ----------
    X : (N, H, W, C) array
    d : int
    """
    X = plain(X, 4)
    if type(d) is not int or d < 0 or 0 in X.shape[1:3]:
        raise Unserved(f"{d!r} zeros between cells of {X.shape}")
    batch, height, width, channels = X.shape
    wide = _zeros(X, (batch, height + (height - 1) * d, width + (width - 1) * d, channels))
    wide[:, :: d + 1, :: d + 1] = X
    return wide


def im2col(X: Any, W_shape: Any, pad: Any, stride: Any, dilation: Any = 0) -> tuple[Array, Four]:
    """Return the column matrix of images, and the pads.

    Parameters
    ----------
    X : (N, H, W, C) array
    W_shape : 4 ints
        (KH, KW, C, O).
    pad : int, 2- or 4-tuple of int, or "same"
    stride, dilation : int

    Returns
    -------
    (C·KH·KW, OH·OW·N) array, and a 4-tuple
    """
    X = plain(X, 4)
    kernel, channels = _kernel_of(W_shape)
    if channels != X.shape[3]:
        raise Unserved(f"{X.shape[3]} channels for a kernel of {channels}")
    pads = pads_2d(pad, X.shape[1:3], kernel, stride, dilation)
    how = kernel_windows(X.shape[1:3], kernel, pads, stride, dilation)
    return to_columns(X.transpose(3, 1, 2, 0), how), pads


def col2im(X_col: Any, X_shape: Any, W_shape: Any, pad: Any, stride: Any, dilation: Any = 0) -> Array:
    """Return images in which every column has been added at its place.

    Parameters
    ----------
    X_col : (C·KH·KW, OH·OW·N) array
    X_shape : 4 ints
        (N, H, W, C).
    W_shape : 4 ints
        (KH, KW, C, O).
    pad : 4-tuple of int
    stride, dilation : int

    Returns
    -------
    (N, C, H, W) array of float64, a view of the padded images
    """
    X_col = plain(X_col)
    kernel, _ = _kernel_of(W_shape)
    if not (isinstance(pad, tuple) and len(pad) == 4 and len(X_shape) == 4):
        raise Unserved(f"pad={pad!r}")
    batch, height, width, channels = X_shape
    pads = pads_2d(pad, (height, width), kernel, stride, dilation)
    how = kernel_windows((height, width), kernel, pads, stride, dilation)
    if X_col.size != channels * kernel[0] * kernel[1] * how.out[0] * how.out[1] * batch:
        raise Unserved(f"columns of shape {X_col.shape}")
    padded = from_columns(X_col, channels, batch, how)
    return padded[:, :, pads[0] : pads[0] + height, pads[2] : pads[2] + width]


def conv2D(X: Any, W: Any, stride: Any, pad: Any, dilation: Any = 0) -> Array:
    """Return the correlation of images with kernels.

    Parameters
    ----------
    X : (N, H, W, C) array
    W : (KH, KW, C, O) array
    stride, dilation : int
    pad : int, 2- or 4-tuple of int, or "same"

    Returns
    -------
    (N, OH, OW, O) array
    """
    X, W = promoted(plain(X, 4), plain(W, 4))
    pads = pads_2d(pad, X.shape[1:3], W.shape[:2], stride, dilation)
    kernel_windows(X.shape[1:3], W.shape[:2], pads, stride, dilation)
    return correlation(X, W, stride, pads, dilation)


def conv1D(X: Any, W: Any, stride: Any, pad: Any, dilation: Any = 0) -> Array:
    """Return the correlation of sequences with kernels.

    Parameters
    ----------
    X : (N, L, C) array
    W : (KW, C, O) array
    stride, dilation : int
    pad : int, 2-tuple of int, "same" or "causal"

    Returns
    -------
    (N, OL, O) array
    """
    X, W = promoted(plain(X, 3), plain(W, 3))
    pads = (0, 0, *pads_1d(pad, X.shape[1], W.shape[0], stride, dilation))
    kernel_windows((1, X.shape[1]), (1, W.shape[0]), pads, stride, dilation)
    return correlation(X[:, None], W[None], stride, pads, dilation)[:, 0]


def conv2D_naive(X: Any, W: Any, stride: Any, pad: Any, dilation: Any = 0) -> Array:
    """Return what `conv2D` returns, always in float64."""
    return conv2D(X, W, stride, pad, dilation).astype(np.float64, copy=False)


def deconv2D_naive(X: Any, W: Any, stride: Any, pad: Any, dilation: Any = 0) -> Array:
    """Return the transposed convolution of images with kernels.

    Parameters
    ----------
    X : (N, H, W, I) array
    W : (KH, KW, I, O) array
    stride : int
    pad : int, 2- or 4-tuple of int, or "same"
        Cells cut off at the border.
    dilation : int
        0.

    Returns
    -------
    (N, OH, OW, O) array
    """
    X, W = promoted(plain(X, 4), plain(W, 4))
    pads = cut_off(X, W, stride, pad, dilation)
    kernel = W.transpose(0, 1, 3, 2)
    return F.conv_transpose2d(X, kernel, stride=stride, padding=pairs(pads), layout="NHWC")


def correlation(X: Array, W: Array, stride: int, pads: Four, dilation: int) -> Array:
    """Return X ⋆ W, (N, OH, OW, O), for checked arguments."""
    return F.conv2d(X, W, stride=stride, padding=pairs(pads), dilation=dilation + 1, layout="NHWC")


def cut_off(X: Array, W: Array, stride: Any, pad: Any, dilation: Any) -> Four:
    """Return the pads of a transposed convolution; those of another kind than usual are not served."""
    if type(stride) is not int or stride < 1 or dilation != 0 or X.shape[3] != W.shape[2] or 0 in X.shape:
        raise Unserved(f"a transposed convolution of {X.shape} with {W.shape} in steps of {stride!r}")
    wide = tuple((length - 1) * stride + 1 for length in X.shape[1:3])
    pads = pads_2d(pad, wide, W.shape[:2], 1)
    if pads[::2] != pads[1::2] or pads[0] >= W.shape[0] or pads[2] >= W.shape[1]:
        raise Unserved(f"a transposed convolution with pads of {pads}")
    if min(w + k - 1 - 2 * p for w, k, p in zip(wide, W.shape, pads[::2])) < 1:
        raise Unserved("nothing is left of the border")
    return pads


def pairs(pads: Four) -> tuple[tuple[int, int], tuple[int, int]]:
    """Return pads as the functional layer takes them."""
    return (pads[0], pads[1]), (pads[2], pads[3])


def _kernel_of(W_shape: Any) -> tuple[tuple[int, int], int]:
    if not isinstance(W_shape, tuple) or len(W_shape) != 4:
        raise Unserved(f"a kernel of shape {W_shape!r}")
    return (W_shape[0], W_shape[1]), W_shape[2]


def _zeros(like: Array, shape: tuple[int, ...]) -> Array:
    """Return zeros in the memory order that `numpy.pad` and `numpy.insert` choose."""
    return np.zeros(shape, like.dtype, "F" if like.flags.fnc else "C")
