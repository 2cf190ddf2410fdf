"""Layers as an introductory book has them, written for these tests: plain NumPy, one step after the other."""

from __future__ import annotations

from typing import Any

import numpy as np

Array = Any


def sigmoid(x: Array) -> Array:
    return 1 / (1 + np.exp(-x))


def sigmoid_grad(x: Array) -> Array:
    return sigmoid(x) * (1.0 - sigmoid(x))


def relu_grad(x: Array) -> Array:
    slope = np.ones_like(x)
    slope[x < 0] = 0
    return slope


def softmax(x: Array) -> Array:
    powers = np.exp(x - x.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def cross_entropy_error(y: Array, t: Array) -> Any:
    rows = y.reshape(1, -1) if y.ndim == 1 else y
    labels = t.reshape(rows.shape).argmax(axis=1) if t.size == y.size else np.ravel(t)
    picked = np.array([row[label] for row, label in zip(rows, labels)])
    return -np.sum(np.log(picked + 1e-7)) / len(rows)


def softmax_loss(X: Array, t: Array) -> Any:
    return cross_entropy_error(softmax(X), t)


def windows(size: int, window: int, stride: int, pad: int) -> int:
    return (size + 2 * pad - window) // stride + 1


def im2col(input_data: Array, filter_h: int, filter_w: int, stride: int = 1, pad: int = 0) -> Array:
    count, channels, height, width = input_data.shape
    rows = windows(height, filter_h, stride, pad)
    columns = windows(width, filter_w, stride, pad)
    padded = np.zeros((count, channels, height + 2 * pad, width + 2 * pad))
    padded[:, :, pad : pad + height, pad : pad + width] = input_data
    taken = np.zeros((count, channels, filter_h, filter_w, rows, columns))
    for i in range(filter_h):
        for j in range(filter_w):
            down, across = slice(i, i + stride * rows, stride), slice(j, j + stride * columns, stride)
            taken[:, :, i, j] = padded[:, :, down, across]
    return taken.transpose(0, 4, 5, 1, 2, 3).reshape(count * rows * columns, -1)


def col2im(
    col: Array, input_shape: Any, filter_h: int, filter_w: int, stride: int = 1, pad: int = 0
) -> Array:
    count, channels, height, width = input_shape
    rows = windows(height, filter_h, stride, pad)
    columns = windows(width, filter_w, stride, pad)
    taken = col.reshape(count, rows, columns, channels, filter_h, filter_w).transpose(0, 3, 4, 5, 1, 2)
    spare = 2 * pad + stride - 1
    total = np.zeros((count, channels, height + spare, width + spare))
    for i in range(filter_h):
        for j in range(filter_w):
            down, across = slice(i, i + stride * rows, stride), slice(j, j + stride * columns, stride)
            total[:, :, down, across] += taken[:, :, i, j]
    return total[:, :, pad : pad + height, pad : pad + width]


class Relu:
    def __init__(self) -> None:
        self.mask: Any = None

    def forward(self, x: Array) -> Array:
        self.mask = x <= 0
        return np.where(self.mask, np.zeros((), x.dtype), x)

    def backward(self, dout: Array) -> Array:
        dout[self.mask] = 0
        return dout


class Sigmoid:
    def __init__(self) -> None:
        self.out: Any = None

    def forward(self, x: Array) -> Array:
        self.out = sigmoid(x)
        return self.out

    def backward(self, dout: Array) -> Array:
        return dout * self.out * (1.0 - self.out)


class Affine:
    def __init__(self, W: Array, b: Array) -> None:
        self.W, self.b = W, b
        self.x: Any = None
        self.original_x_shape: Any = None
        self.dW: Any = None
        self.db: Any = None

    def forward(self, x: Array) -> Array:
        self.original_x_shape = x.shape
        self.x = x.reshape(len(x), -1)
        return self.x @ self.W + self.b

    def backward(self, dout: Array) -> Array:
        self.db = dout.sum(axis=0)
        self.dW = self.x.T @ dout
        return (dout @ self.W.T).reshape(self.original_x_shape)


class SoftmaxWithLoss:
    def __init__(self) -> None:
        self.loss: Any = None
        self.y: Any = None
        self.t: Any = None

    def forward(self, x: Array, t: Array) -> Any:
        self.t, self.y = t, softmax(x)
        self.loss = cross_entropy_error(self.y, t)
        return self.loss

    def backward(self, dout: Any = 1) -> Array:
        count = self.t.shape[0]
        if self.t.size == self.y.size:
            return (self.y - self.t) / count
        slope = self.y.copy()
        for i in range(count):
            slope[i, self.t[i]] -= 1
        return slope / count


class Dropout:
    def __init__(self, dropout_ratio: float = 0.5) -> None:
        self.dropout_ratio = dropout_ratio
        self.mask: Any = None

    def forward(self, x: Array, train_flg: bool = True) -> Array:
        if not train_flg:
            return x * (1.0 - self.dropout_ratio)
        self.mask = np.random.random_sample(x.shape) > self.dropout_ratio  # noqa: NPY002
        return np.where(self.mask, x, 0.0)

    def backward(self, dout: Array) -> Array:
        return np.where(self.mask, dout, 0.0)


class BatchNormalization:
    def __init__(
        self,
        gamma: Array,
        beta: Array,
        momentum: float = 0.9,
        running_mean: Any = None,
        running_var: Any = None,
    ) -> None:
        self.gamma, self.beta, self.momentum = gamma, beta, momentum
        self.running_mean, self.running_var = running_mean, running_var
        self.input_shape: Any = None
        self.batch_size: Any = None
        self.dgamma: Any = None
        self.dbeta: Any = None

    def forward(self, x: Array, train_flg: bool = True) -> Array:
        self.input_shape = x.shape
        flat = x.reshape(len(x), -1)
        if self.running_mean is None:
            self.running_mean, self.running_var = np.zeros(flat.shape[1]), np.zeros(flat.shape[1])
        mean, variance = self.running_mean, self.running_var
        if train_flg:
            mean, variance = flat.mean(axis=0), flat.var(axis=0)
            self.batch_size = len(x)
            self.running_mean = self.momentum * self.running_mean + (1 - self.momentum) * mean
            self.running_var = self.momentum * self.running_var + (1 - self.momentum) * variance
            self._scale = np.sqrt(variance + 1e-6)
            self._normal = (flat - mean) / self._scale
        normal = (flat - mean) / np.sqrt(variance + 1e-6)
        return (self.gamma * normal + self.beta).reshape(x.shape)

    def backward(self, dout: Array) -> Array:
        flat = dout.reshape(len(dout), -1)
        self.dbeta = flat.sum(axis=0)
        self.dgamma = (flat * self._normal).sum(axis=0)
        slope = self.gamma * flat
        inner = slope - slope.mean(axis=0) - self._normal * (slope * self._normal).mean(axis=0)
        return (inner / self._scale).reshape(self.input_shape)


class Convolution:
    def __init__(self, W: Array, b: Any, stride: int = 1, pad: int = 0) -> None:
        self.W, self.b, self.stride, self.pad = W, b, stride, pad
        self.x: Any = None
        self.col: Any = None
        self.col_W: Any = None
        self.dW: Any = None
        self.db: Any = None

    def forward(self, x: Array) -> Array:
        outputs, _, high, wide = self.W.shape
        rows = windows(x.shape[2], high, self.stride, self.pad)
        self.x = x
        self.col = im2col(x, high, wide, self.stride, self.pad)
        self.col_W = self.W.reshape(outputs, -1).T
        flat = np.dot(self.col, self.col_W) + self.b
        return flat.reshape(len(x), rows, -1, outputs).transpose(0, 3, 1, 2)

    def backward(self, dout: Array) -> Array:
        outputs, _, high, wide = self.W.shape
        flat = dout.transpose(0, 2, 3, 1).reshape(-1, outputs)
        self.db = np.sum(flat, axis=0)
        self.dW = np.dot(self.col.T, flat).transpose(1, 0).reshape(self.W.shape)
        return col2im(np.dot(flat, self.col_W.T), self.x.shape, high, wide, self.stride, self.pad)


class Pooling:
    def __init__(self, pool_h: int, pool_w: int, stride: int = 2, pad: int = 0) -> None:
        self.pool_h, self.pool_w, self.stride, self.pad = pool_h, pool_w, stride, pad
        self.x: Any = None
        self.arg_max: Any = None

    def forward(self, x: Array) -> Array:
        rows = windows(x.shape[2], self.pool_h, self.stride, 0)
        taps = im2col(x, self.pool_h, self.pool_w, self.stride, self.pad)
        taps = taps.reshape(-1, self.pool_h * self.pool_w)
        self.x, self.arg_max = x, taps.argmax(axis=1)
        largest = taps.max(axis=1).reshape(len(x), rows, -1, x.shape[1])
        return largest.transpose(0, 3, 1, 2)

    def backward(self, dout: Array) -> Array:
        flat = dout.transpose(0, 2, 3, 1).reshape(-1)
        taps = np.zeros((flat.size, self.pool_h * self.pool_w))
        taps[np.arange(flat.size), self.arg_max] = flat
        return col2im(taps, self.x.shape, self.pool_h, self.pool_w, self.stride, self.pad)


class _Optimizer:
    """A rule for one parameter, in whole-array steps; `slots` names its state."""

    slots: tuple[str, ...] = ()

    def __init__(self) -> None:
        for name in self.slots:
            setattr(self, name, None)

    def update(self, params: dict[str, Array], grads: dict[str, Array]) -> None:
        for name in self.slots:
            if getattr(self, name) is None:
                setattr(self, name, {key: np.zeros_like(value) for key, value in params.items()})
        self.begin()
        for key in params:
            self.rule(key, params, grads[key])

    def begin(self) -> None:
        pass

    def rule(self, key: str, params: dict[str, Array], g: Array) -> None:
        raise NotImplementedError


class SGD(_Optimizer):
    def __init__(self, lr: float = 0.01) -> None:
        super().__init__()
        self.lr = lr

    def rule(self, key: str, params: dict[str, Array], g: Array) -> None:
        params[key] -= self.lr * g


class Momentum(_Optimizer):
    slots = ("v",)
    v: Any

    def __init__(self, lr: float = 0.01, momentum: float = 0.9) -> None:
        super().__init__()
        self.lr, self.momentum = lr, momentum

    def rule(self, key: str, params: dict[str, Array], g: Array) -> None:
        self.v[key] = self.momentum * self.v[key] - self.lr * g
        params[key] += self.v[key]


class Nesterov(Momentum):
    def rule(self, key: str, params: dict[str, Array], g: Array) -> None:
        params[key] += self.momentum * self.momentum * self.v[key]
        params[key] -= (1 + self.momentum) * self.lr * g
        self.v[key] *= self.momentum
        self.v[key] -= self.lr * g


class AdaGrad(_Optimizer):
    slots = ("h",)
    h: Any

    def __init__(self, lr: float = 0.01) -> None:
        super().__init__()
        self.lr = lr

    def rule(self, key: str, params: dict[str, Array], g: Array) -> None:
        self.h[key] += g * g
        params[key] -= self.lr * g / (np.sqrt(self.h[key]) + 1e-7)


class RMSprop(AdaGrad):
    def __init__(self, lr: float = 0.01, decay_rate: float = 0.99) -> None:
        super().__init__(lr)
        self.decay_rate = decay_rate

    def rule(self, key: str, params: dict[str, Array], g: Array) -> None:
        self.h[key] *= self.decay_rate
        self.h[key] += (1 - self.decay_rate) * g * g
        params[key] -= self.lr * g / (np.sqrt(self.h[key]) + 1e-7)


class Adam(_Optimizer):
    slots = ("m", "v")
    m: Any
    v: Any

    def __init__(self, lr: float = 0.001, beta1: float = 0.9, beta2: float = 0.999) -> None:
        super().__init__()
        self.lr, self.beta1, self.beta2, self.iter = lr, beta1, beta2, 0

    def begin(self) -> None:
        self.iter += 1
        self._rate = self.lr * np.sqrt(1.0 - self.beta2**self.iter) / (1.0 - self.beta1**self.iter)

    def rule(self, key: str, params: dict[str, Array], g: Array) -> None:
        self.m[key] += (1 - self.beta1) * (g - self.m[key])
        self.v[key] += (1 - self.beta2) * (g**2 - self.v[key])
        params[key] -= self._rate * self.m[key] / (np.sqrt(self.v[key]) + 1e-7)
