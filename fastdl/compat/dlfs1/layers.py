"""``common.layers``: a forward pass keeps what its backward pass needs, on the layer."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

import fastdl.functional as F
from fastdl.functional._arrays import engine

from ..tier import Unserved, narrow, recall, remember
from .arrays import FLOAT64, Array, computing, floats, image_stack, matrix, same_dtype, sizes
from .functions import *  # noqa: F403
from .functions import __all__ as _FUNCTIONS
from .functions import cross_entropy_error, labels_of, sigmoid, softmax
from .products import biased_product, product
from .util import col2im, im2col

__all__ = [
    *_FUNCTIONS,
    "Affine",
    "BatchNormalization",
    "Convolution",
    "Dropout",
    "Pooling",
    "Relu",
    "Sigmoid",
    "SoftmaxWithLoss",
    "col2im",
    "im2col",
]


class Relu:
    """max(x, 0); its gradient is written into the array that came back.

    Attributes
    ----------
    mask : array of bool
        Where the last x was at most 0.
    """

    def __init__(self) -> None:
        self.mask: Any = None

    def forward(self, x: Any) -> Array:
        out, self.mask = gated(floats(x))
        return out

    def backward(self, dout: Any) -> Array:
        return close_gate(floats(dout), self.mask)


def gated(x: Array) -> tuple[Array, Array]:
    """Return max(x, 0), C-contiguous, with NaN for NaN and 0.0 for -0.0, and where x is at most 0."""
    out, mask = engine().gate_fwd(np.ascontiguousarray(x))
    return out, mask


def close_gate(dout: Array, mask: Any) -> Array:
    """Set dout to 0.0 where mask is True, in place, and return it."""
    if type(mask) is not np.ndarray or mask.shape != dout.shape or not dout.flags.writeable:
        raise Unserved("no mask for this array")
    if mask.dtype == np.bool_ and mask.flags.c_contiguous and dout.flags.carray:
        engine().gate_bwd(dout, mask)
    else:
        dout[mask] = 0
    return dout


class Sigmoid:
    """1 / (1 + exp(-x)).

    Attributes
    ----------
    out : array
        The last output, from which the gradient is computed.
    """

    def __init__(self) -> None:
        self.out: Any = None

    def forward(self, x: Any) -> Array:
        self.out = out = sigmoid(x)
        return out

    def backward(self, dout: Any) -> Array:
        out = floats(self.out)
        dx = 1.0 - out
        dx *= out
        return np.multiply(dx, dout, out=dx) if floats(dout).dtype == dx.dtype else dx * dout


class Affine:
    """x·W + b, for x with any number of trailing axes.

    Attributes
    ----------
    W, b : array
        (I, O) and (O,); read anew at each call.
    dW, db : array
        Their gradients, after `backward`.
    x, original_x_shape
        The last input, as a matrix, and its shape.
    """

    def __init__(self, W: Any, b: Any) -> None:
        self.W = W
        self.b = b
        self.x: Any = None
        self.original_x_shape: Any = None
        self.dW: Any = None
        self.db: Any = None

    def forward(self, x: Any) -> Array:
        rows = floats(x).reshape(x.shape[0], -1)
        out = biased_product(rows, matrix(self.W), self.b)
        self.original_x_shape = x.shape
        self.x = rows
        return out

    def backward(self, dout: Any) -> Array:
        dout, w, x = matrix(dout), matrix(self.W), matrix(self.x)
        dx = product(dout, w, trans_b=True).reshape(self.original_x_shape)
        self.dW = product(x, dout, trans_a=True)
        self.db = dout.sum(axis=0)
        return dx


class SoftmaxWithLoss:
    """The mean cross-entropy of softmax(x) and labels or one-hot rows t.

    Attributes
    ----------
    loss : float
    y : (N, K) array
        softmax(x).
    t : array
        As it came.
    """

    def __init__(self) -> None:
        self.loss: Any = None
        self.y: Any = None
        self.t: Any = None

    def forward(self, x: Any, t: Any) -> Any:
        y = softmax(matrix(x))
        loss = cross_entropy_error(y, t)
        self.t, self.y, self.loss = t, y, loss
        return loss

    def backward(self, dout: Any = 1) -> Array:
        y, t = matrix(self.y), self.t
        if t.size == y.size:
            return np.asarray((y - t) / t.shape[0])
        dx = y.copy()
        dx[np.arange(t.shape[0]), labels_of(t, y)] -= 1
        dx /= t.shape[0]
        return dx


class Dropout:
    """x where a random number is above the ratio, else 0; without training x·(1 - ratio).

    Attributes
    ----------
    dropout_ratio : float
    mask : array of bool
        What was kept.
    """

    def __init__(self, dropout_ratio: float = 0.5) -> None:
        self.dropout_ratio = dropout_ratio
        self.mask: Any = None

    def forward(self, x: Any, train_flg: bool = True) -> Array:
        if not train_flg:
            return np.asarray(x * (1.0 - self.dropout_ratio))
        noise = np.random.random_sample(x.shape)  # noqa: NPY002 - the stream of the original
        self.mask = noise > self.dropout_ratio
        return np.asarray(x * self.mask)

    def backward(self, dout: Any) -> Array:
        return np.asarray(dout * self.mask)


class BatchNormalization:
    """Each feature with mean 0 and variance 1 over the batch, times gamma, plus beta.

    Images are normalised element by element, and not channel by channel.

    Attributes
    ----------
    gamma, beta : (D,) array
    momentum : float
        What is left of a running statistic after a step.
    running_mean, running_var : (D,) array or None
        Zeros before the first call. Each step of training makes new arrays.
    dgamma, dbeta : (D,) array
        Gradients, after `backward`.
    input_shape, batch_size
        Of the last call, and of the last one in training.
    """

    def __init__(
        self, gamma: Any, beta: Any, momentum: float = 0.9, running_mean: Any = None, running_var: Any = None
    ) -> None:
        self.gamma = gamma
        self.beta = beta
        self.momentum = momentum
        self.input_shape: Any = None
        self.running_mean = running_mean
        self.running_var = running_var
        self.batch_size: Any = None
        self.xc: Any = None
        self.std: Any = None
        self.dgamma: Any = None
        self.dbeta: Any = None

    def forward(self, x: Any, train_flg: bool = True) -> Array:
        if floats(x).ndim not in (2, 4) or x.shape[0] < 2 or not x.size:
            raise Unserved("not a batch of features or of images")
        gamma, beta = floats(self.gamma), floats(self.beta)
        rows, gamma, beta = same_dtype(x.reshape(x.shape[0], -1), gamma, beta)
        running = (self.running_mean, self.running_var)
        if running[0] is None:
            running = (np.zeros(rows.shape[1]), np.zeros(rows.shape[1]))
        y, ctx = F.batch_norm_forward(
            rows, gamma, beta, *(narrow(of) for of in running), training=bool(train_flg), eps=1e-6, axis=1
        )
        if train_flg:
            kept, taken = self.momentum, 1 - self.momentum
            running = (kept * running[0] + taken * ctx.mean, kept * running[1] + taken * ctx.var)
            self.batch_size = x.shape[0]
            remember(self, ctx)
        self.running_mean, self.running_var = running
        self.input_shape = x.shape
        return y.reshape(x.shape)

    def backward(self, dout: Any) -> Array:
        ctx = recall(self)
        dout = floats(dout).reshape(dout.shape[0], -1).astype(ctx.mean.dtype, copy=False)
        dx, self.dgamma, self.dbeta = F.batch_norm_backward(dout, ctx)
        assert dx is not None
        return dx.reshape(self.input_shape)


class Convolution:
    """The convolution of (N, C, H, W) images with (FN, C, FH, FW) kernels W, plus b; always in float64.

    Attributes
    ----------
    W, b, stride, pad
        Read anew at each call. b is an (FN,) array or a number.
    dW, db : array
        Gradients, after `backward`.
    x : array
        The last input.
    """

    def __init__(self, W: Any, b: Any, stride: int = 1, pad: int = 0) -> None:
        self.W = W
        self.b = b
        self.stride = stride
        self.pad = pad
        self.x: Any = None
        self.col: Any = None
        self.col_W: Any = None
        self.dW: Any = None
        self.db: Any = None

    def forward(self, x: Any) -> Array:
        y, ctx = convolve(self, x)
        self.x = x
        self.col_W = self.W.reshape(self.W.shape[0], -1).T
        remember(self, ctx)
        return y

    def backward(self, dout: Any) -> Array:
        ctx = recall(self)
        dx, self.dW, db = F.conv2d_backward(floats(dout).astype(computing(), copy=False), ctx)
        self.db = dout.sum(axis=(0, 2, 3)) if db is None else db
        assert dx is not None
        return dx


def convolve(layer: Any, x: Any, activation: str | None = None) -> tuple[Array, Any]:
    """Return what a layer's convolution gives, and the ctx of it, and change nothing."""
    dtype = computing()
    w = floats(layer.W)
    stride, pad = sizes(layer.stride, layer.pad)
    b = bias_of(layer.b, w.shape[0], dtype)
    return F.conv2d_forward(
        image_stack(x, dtype),
        w.astype(dtype, copy=False),
        b,
        stride=stride,
        padding=pad,
        activation=activation,
    )


def bias_of(b: Any, outputs: int, dtype: np.dtype[Any]) -> Array | None:
    """Return a bias as an array of one entry an output, or None for the number 0."""
    if type(b) is not np.ndarray:
        if b != 0 or isinstance(b, complex):
            raise Unserved("a bias that is neither an array nor 0")
        return None
    if b.shape != (outputs,):
        raise Unserved(f"a bias of shape {b.shape}")
    return floats(b).astype(dtype, copy=False)


class Pooling:
    """The largest value of each window of (N, C, H, W) images; always in float64.

    Attributes
    ----------
    pool_h, pool_w, stride, pad
        Read anew at each call; pad must be 0, as in the original.
    x : array
        The last input.
    """

    def __init__(self, pool_h: int, pool_w: int, stride: int = 2, pad: int = 0) -> None:
        self.pool_h = pool_h
        self.pool_w = pool_w
        self.stride = stride
        self.pad = pad
        self.x: Any = None
        self.arg_max: Any = None

    def forward(self, x: Any) -> Array:
        y, ctx = F.max_pool2d_forward(image_stack(x, computing()), window_of(self), stride=self.stride)
        self.x = x
        remember(self, ctx)
        return y

    def backward(self, dout: Any) -> Array:
        ctx = recall(self)
        return pooling_gradient(floats(dout).astype(computing(FLOAT64), copy=False), ctx)


def window_of(layer: Any) -> tuple[int, int]:
    """Return the height and width of a pooling's window."""
    high, wide, _, pad = sizes(layer.pool_h, layer.pool_w, layer.stride, layer.pad)
    if pad:
        raise Unserved("a padded pooling")
    return high, wide


def pooling_gradient(dy: Array, ctx: Any) -> Array:
    """Return the (N, C, H, W) zeros to which each dy has been added where its largest value was.

    A cell that several windows share gets its sum tap by tap, in the order of the original's col2im.
    """
    plan = ctx.plan
    if all(size <= step for size, step in zip(plan.size, plan.stride)):
        return F.max_pool2d_backward(dy, ctx)
    rows = np.zeros((dy.size, math.prod(plan.size)), dy.dtype)
    rows[np.arange(dy.size), ctx.index.reshape(-1)] = dy.reshape(-1)
    n, channels, *cells = plan.x_shape
    image = F.col2im(rows, (n * channels, 1, *cells), plan.size[-2:], stride=plan.stride[-2:])
    return image.reshape(plan.x_shape)
