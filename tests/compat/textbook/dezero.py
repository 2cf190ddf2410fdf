"""DeZero's nodes written out again, one window and one tap at a time."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np


class Config:
    """The two switches of the framework."""

    enable_backprop = True
    train = True


dezero = SimpleNamespace(
    Config=Config, cuda=SimpleNamespace(get_array_module=lambda x: np)
)  # what the framework's modules see of the package


def two(size):
    return (size, size) if isinstance(size, int) else size


def cut(x, size, stride, pad):
    """The windows of x as (N, C, OH, OW, KH, KW), zeros around x."""
    (kh, kw), (sh, sw), (ph, pw) = two(size), two(stride), two(pad)
    n, c, height, width = x.shape
    frame = np.zeros((n, c, height + 2 * ph, width + 2 * pw), x.dtype)
    frame[:, :, ph : ph + height, pw : pw + width] = x
    rows = range(0, frame.shape[2] - kh + 1, sh)
    columns = range(0, frame.shape[3] - kw + 1, sw)
    out = np.empty((n, c, len(rows), len(columns), kh, kw), x.dtype)
    for i, row in enumerate(rows):
        for j, column in enumerate(columns):
            out[:, :, i, j] = frame[:, :, row : row + kh, column : column + kw]
    return out


def put(windows, shape, stride, pad):
    """The image of a shape on which windows (N, C, OH, OW, KH, KW) have been laid, tap after tap."""
    (sh, sw), (ph, pw) = two(stride), two(pad)
    n, c, height, width = shape
    oh, ow, kh, kw = windows.shape[2:]
    frame = np.zeros((n, c, height + 2 * ph + sh, width + 2 * pw + sw), windows.dtype)
    for a in range(kh):
        for b in range(kw):
            for i in range(oh):
                for j in range(ow):
                    frame[:, :, a + i * sh, b + j * sw] += windows[:, :, i, j, a, b]
    return frame[:, :, ph : ph + height, pw : pw + width]


def im2col_array(img, kernel_size, stride, pad, to_matrix=True):
    windows = cut(img, kernel_size, stride, pad)
    if not to_matrix:
        return np.ascontiguousarray(windows.transpose(0, 1, 4, 5, 2, 3))
    n, c, oh, ow, kh, kw = windows.shape
    return windows.transpose(0, 2, 3, 1, 4, 5).reshape(n * oh * ow, c * kh * kw)


def col2im_array(col, img_shape, kernel_size, stride, pad, to_matrix=True):
    if not to_matrix:
        return put(col.transpose(0, 1, 4, 5, 2, 3), img_shape, stride, pad)
    (kh, kw), (sh, sw), (ph, pw) = two(kernel_size), two(stride), two(pad)
    n, c, height, width = img_shape
    oh, ow = (height + 2 * ph - kh) // sh + 1, (width + 2 * pw - kw) // sw + 1
    return put(col.reshape(n, oh, ow, c, kh, kw).transpose(0, 3, 1, 2, 4, 5), img_shape, stride, pad)


class Conv2d:
    def __init__(self, stride=1, pad=0):
        self.stride, self.pad = two(stride), two(pad)

    def forward(self, x, W, b):
        y = np.einsum("ncijab,ocab->noij", cut(x, W.shape[2:], self.stride, self.pad), W)
        return y if b is None else (y + b[:, None, None]).astype(y.dtype)


class Deconv2d:
    def __init__(self, stride=1, pad=0, outsize=None):
        self.stride, self.pad, self.outsize = two(stride), two(pad), outsize

    def forward(self, x, W, b):
        n, _, height, width = x.shape
        (sh, sw), (ph, pw), (kh, kw) = self.stride, self.pad, W.shape[2:]
        natural = (height - 1) * sh + kh - 2 * ph, (width - 1) * sw + kw - 2 * pw
        size = natural if self.outsize is None else two(self.outsize)
        y = put(np.einsum("ncij,coab->noijab", x, W), (n, W.shape[1], *size), self.stride, self.pad)
        if b is not None:
            self.no_bias = True
            y += b[:, None, None]
        return y


class Conv2DGradW:
    def __init__(self, conv2d):
        self.kernel_size = conv2d.inputs[1].shape[2:]
        self.stride, self.pad = conv2d.stride, conv2d.pad

    def forward(self, x, gy):
        return np.einsum("ncijab,noij->ocab", cut(x, self.kernel_size, self.stride, self.pad), gy)


class Pooling:
    def __init__(self, kernel_size, stride=1, pad=0):
        self.kernel_size, self.stride, self.pad = kernel_size, stride, pad

    def forward(self, x):
        flat = cut(x, self.kernel_size, self.stride, self.pad)
        flat = flat.reshape(*flat.shape[:4], -1)
        self.indexes = flat.argmax(axis=4)
        return flat.max(axis=4)


class Pooling2DGrad:
    def __init__(self, mpool2d):
        self.mpool2d = mpool2d
        self.kernel_size, self.stride, self.pad = mpool2d.kernel_size, mpool2d.stride, mpool2d.pad
        self.input_shape, self.dtype = mpool2d.inputs[0].shape, mpool2d.inputs[0].dtype
        self.indexes = mpool2d.indexes

    def forward(self, gy):
        kh, kw = two(self.kernel_size)
        windows = np.zeros((*gy.shape, kh * kw), self.dtype)
        np.put_along_axis(windows, self.indexes[..., None].astype(int), gy[..., None], axis=4)
        return put(windows.reshape(*gy.shape, kh, kw), self.input_shape, self.stride, self.pad)


class Pooling2DWithIndexes:
    def __init__(self, mpool2d):
        self.kernel_size, self.stride, self.pad = mpool2d.kernel_size, mpool2d.stride, mpool2d.pad
        self.indexes = mpool2d.indexes

    def forward(self, x):
        flat = cut(x, self.kernel_size, self.stride, self.pad)
        flat = flat.reshape(*flat.shape[:4], -1)
        return np.take_along_axis(flat, self.indexes[..., None].astype(int), axis=4)[..., 0]


class AveragePooling:
    def __init__(self, kernel_size, stride=1, pad=0):
        self.kernel_size, self.stride, self.pad = kernel_size, stride, pad
        self.input_shape = None

    def forward(self, x):
        self.input_shape = x.shape
        windows = cut(x, self.kernel_size, self.stride, self.pad)
        total = np.zeros(windows.shape[:4], x.dtype)
        for a, b in np.ndindex(windows.shape[4:]):
            total += windows[..., a, b]
        return total / (windows.shape[4] * windows.shape[5])


class Sigmoid:
    def forward(self, x):
        return 0.5 + 0.5 * np.tanh(0.5 * x)


class Softmax:
    def __init__(self, axis=1):
        self.axis = axis

    def forward(self, x):
        weights = np.exp(x - np.max(x, self.axis, keepdims=True))
        return weights / np.sum(weights, self.axis, keepdims=True)


class SoftmaxCrossEntropy:
    def forward(self, x, t):
        shifted = x - np.max(x, 1, keepdims=True)
        scores = shifted - np.log(np.sum(np.exp(shifted), 1, keepdims=True))
        return -np.take_along_axis(scores, t.reshape(-1, 1), 1).mean()


class BatchNorm:
    def __init__(self, mean, var, decay, eps):
        self.avg_mean, self.avg_var, self.decay, self.eps = mean, var, decay, eps
        self.inv_std = None

    def forward(self, x, gamma, beta):
        axes = (0, 2, 3)[: x.ndim - 1]
        shape = (1, -1, 1, 1)[: x.ndim]
        mean, var = self.avg_mean, self.avg_var
        if dezero.Config.train:
            mean, var = x.mean(axes), x.var(axes)
            n = x.size // x.shape[1]
            self.avg_mean[...] = self.decay * self.avg_mean + (1 - self.decay) * mean
            self.avg_var[...] = self.decay * self.avg_var + (1 - self.decay) * var * n / max(n - 1.0, 1.0)
            self.inv_std = 1 / np.sqrt(var + self.eps)
        scale = gamma / np.sqrt(var + self.eps)
        return (x - mean.reshape(shape)) * scale.reshape(shape) + beta.reshape(shape)


class GetItemGrad:
    def __init__(self, slices, in_shape):
        self.slices, self.in_shape = slices, in_shape

    def forward(self, gy):
        gx = np.zeros(self.in_shape, gy.dtype)
        np.add.at(gx, self.slices, gy)
        return gx


class SGD:
    def __init__(self, lr=0.01):
        self.lr = lr

    def update_one(self, param):
        param.data[...] = param.data - self.lr * param.grad.data


class MomentumSGD:
    def __init__(self, lr=0.01, momentum=0.9):
        self.lr, self.momentum, self.vs = lr, momentum, {}

    def update_one(self, param):
        v = self.vs.setdefault(id(param), np.zeros_like(param.data))
        v[...] = self.momentum * v - self.lr * param.grad.data
        param.data += v


class AdaDelta:
    def __init__(self, rho=0.95, eps=1e-6):
        self.rho, self.eps, self.msg, self.msdx = rho, eps, {}, {}

    def update_one(self, param):
        g = param.grad.data
        sizes = self.msg.setdefault(id(param), np.zeros_like(param.data))
        steps = self.msdx.setdefault(id(param), np.zeros_like(param.data))
        sizes[...] = self.rho * sizes + (1 - self.rho) * g**2
        step = g * np.sqrt(steps + self.eps) / np.sqrt(sizes + self.eps)
        steps[...] = self.rho * steps + (1 - self.rho) * step**2
        param.data -= step


class Adam:
    def __init__(self, alpha=0.001, beta1=0.9, beta2=0.999, eps=1e-8):
        self.t, self.alpha, self.beta1, self.beta2, self.eps = 0, alpha, beta1, beta2, eps
        self.ms, self.vs = {}, {}

    @property
    def lr(self):
        return self.alpha * np.sqrt(1 - self.beta2**self.t) / (1 - self.beta1**self.t)

    def update_one(self, param):
        g = param.grad.data
        m = self.ms.setdefault(id(param), np.zeros_like(param.data))
        v = self.vs.setdefault(id(param), np.zeros_like(param.data))
        m[...] = self.beta1 * m + (1 - self.beta1) * g
        v[...] = self.beta2 * v + (1 - self.beta2) * g**2
        param.data -= (self.lr * m / (np.sqrt(v) + self.eps)).astype(param.data.dtype)


class Variable:
    """A value, the gradient of it, and the node that made it."""

    def __init__(self, data):
        self.data, self.grad, self.creator, self.generation = data, None, None, 0

    def __add__(self, other):
        return Plus()(self, other)

    def __mul__(self, other):
        return Times()(self, other)

    def backward(self, retain_grad=False, create_graph=False):
        self.grad = self.grad or Variable(np.ones_like(self.data))
        waiting, met, before = [self.creator], {self.creator}, Config.enable_backprop
        while waiting:
            latest = max(node.generation for node in waiting)
            node = [node for node in waiting if node.generation == latest][-1]
            waiting.remove(node)
            Config.enable_backprop = create_graph
            found = node.backward(*[output().grad for output in node.outputs])
            for x, gradient in zip(node.inputs, found):
                x.grad = gradient if x.grad is None else x.grad + gradient
                if x.creator is not None and x.creator not in met:
                    met.add(x.creator)
                    waiting.append(x.creator)
            Config.enable_backprop = before
            if not retain_grad:
                node.outputs[0]().grad = None


class Node:
    """A function that remembers what it was called with; `visits` is the order of the walks."""

    visits = []

    def __call__(self, *inputs):
        import weakref

        output = Variable(self.forward(*[x.data for x in inputs]))
        if Config.enable_backprop:
            self.inputs, self.outputs = inputs, [weakref.ref(output)]
            self.generation = max(x.generation for x in inputs)
            output.creator, output.generation = self, self.generation + 1
        return output


class Plus(Node):
    def forward(self, a, b):
        return a + b

    def backward(self, gy):
        self.visits.append(self)
        return gy, gy


class Times(Node):
    def forward(self, a, b):
        return a * b

    def backward(self, gy):
        self.visits.append(self)
        a, b = self.inputs
        return gy * b, gy * a
