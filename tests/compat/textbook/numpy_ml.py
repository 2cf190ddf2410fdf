"""Layers with numpy-ml's interface, written out cell by cell: what the replacements are held against."""

from __future__ import annotations

import math

import numpy as np


def same_pads(length, taps, stride, gap):
    """Zeros before and after that keep a length for every stride; an odd one goes to the end."""
    reach = (taps - 1) * (gap + 1) + 1
    half = (stride * (length - 1) + reach - length) // 2
    windows = (length + 2 * half - reach) // stride + 1
    return half, half + length - windows


def four_pads(pad, size, kernel, stride, gap=0):
    if pad == "same":
        return (*same_pads(size[0], kernel[0], stride, gap), *same_pads(size[1], kernel[1], stride, gap))
    if isinstance(pad, int):
        return (pad,) * 4
    return (pad[0], pad[0], pad[1], pad[1]) if len(pad) == 2 else pad


def padded(X, pads):
    return np.pad(X, ((0, 0), pads[:2], pads[2:], (0, 0)))


def windows(size, kernel, pads, stride, gap=0):
    """The windows of one image: for each place (i, j) the rows and columns of the padded image under it."""
    places = []
    for axis in (0, 1):
        reach = (kernel[axis] - 1) * (gap + 1) + 1
        count = (size[axis] + sum(pads[2 * axis : 2 * axis + 2]) - reach) // stride + 1
        places.append([slice(i * stride, i * stride + reach, gap + 1) for i in range(count)])
    return places


def im2col(X, W_shape, pad, stride, dilation=0):
    kernel = W_shape[:2]
    pads = four_pads(pad, X.shape[1:3], kernel, stride, dilation)
    rows, cols = windows(X.shape[1:3], kernel, pads, stride, dilation)
    patches = [padded(X, pads)[:, row, col].transpose(3, 1, 2, 0) for row in rows for col in cols]
    columns = np.stack(patches, axis=3)  # channel, tap, tap, place, image
    return columns.reshape(X.shape[3] * kernel[0] * kernel[1], -1), pads


def col2im(X_col, X_shape, W_shape, pad, stride, dilation=0):
    batch, height, width, channels = X_shape
    rows, cols = windows((height, width), W_shape[:2], pad, stride, dilation)
    taps = X_col.reshape(channels, *W_shape[:2], len(rows), len(cols), batch)
    images = np.zeros((batch, channels, height + sum(pad[:2]), width + sum(pad[2:])))
    for channel, p, q, i, j, image in np.ndindex(*taps.shape):
        row, col = rows[i].start + p * (dilation + 1), cols[j].start + q * (dilation + 1)
        images[image, channel, row, col] += taps[channel, p, q, i, j, image]
    return images[:, :, pad[0] : pad[0] + height, pad[2] : pad[2] + width]


def conv2D(X, W, stride, pad, dilation=0):
    pads = four_pads(pad, X.shape[1:3], W.shape[:2], stride, dilation)
    rows, cols = windows(X.shape[1:3], W.shape[:2], pads, stride, dilation)
    wide = padded(X, pads)
    return np.stack(
        [np.stack([np.tensordot(wide[:, row, col], W, 3) for col in cols], axis=1) for row in rows], axis=1
    )


def deconv2D(X, W, stride, pad):
    """Every cell adds the kernel, times itself, to the result, whose border is cut off."""
    pads = four_pads(pad, [(n - 1) * stride + 1 for n in X.shape[1:3]], W.shape[:2], 1)
    sizes = [(n - 1) * stride + k for n, k in zip(X.shape[1:3], W.shape)]
    whole = np.zeros((X.shape[0], *sizes, W.shape[3]))
    for i, j in np.ndindex(*X.shape[1:3]):
        place = whole[:, i * stride : i * stride + W.shape[0], j * stride : j * stride + W.shape[1]]
        place += np.einsum("nc,pqco->npqo", X[:, i, j], W)
    return whole[:, pads[0] : sizes[0] - pads[1], pads[2] : sizes[1] - pads[3]]


class Tanh:
    def __call__(self, z):
        return np.tanh(z)

    def grad(self, z):
        return 1 - np.tanh(z) ** 2


class Layer:
    """What numpy-ml's layers have in common."""

    def __init__(self):
        self.X = []
        self.trainable = True
        self.is_initialized = False
        self.derived_variables = {}
        self.act_fn = Tanh()


class Pool2D(Layer):
    def __init__(self, kernel_shape, stride=1, pad=0, mode="max"):
        super().__init__()
        self.kernel_shape, self.stride, self.pad, self.mode = kernel_shape, stride, pad, mode
        self.in_ch = self.out_ch = None

    def _init_params(self):
        self.derived_variables = {"out_rows": [], "out_cols": []}
        self.is_initialized = True

    def _places(self, X):
        pads = four_pads(self.pad, X.shape[1:3], self.kernel_shape, self.stride)
        return pads, *windows(X.shape[1:3], self.kernel_shape, pads, self.stride)

    def forward(self, X, retain_derived=True):
        if not self.is_initialized:
            self.in_ch = self.out_ch = X.shape[3]
            self._init_params()
        pads, rows, cols = self._places(X)
        wide = padded(X, pads)
        Y = np.zeros((X.shape[0], len(rows), len(cols), X.shape[3]))
        for n, i, j, c in np.ndindex(*Y.shape):
            window = wide[n, rows[i], cols[j], c]
            Y[n, i, j, c] = window.max() if self.mode == "max" else window.mean()
        if retain_derived:
            self.X.append(X)
            self.derived_variables["out_rows"].append(np.intp(len(rows)))
            self.derived_variables["out_cols"].append(np.intp(len(cols)))
        return Y

    def backward(self, dLdY, retain_grads=True):
        assert self.trainable
        found = [self._one(X, dy) for X, dy in zip(self.X, dLdY if isinstance(dLdY, list) else [dLdY])]
        return found[0] if len(self.X) == 1 else found

    def _one(self, X, dy):
        pads, rows, cols = self._places(X)
        wide = np.zeros_like(padded(X, pads))
        for n, i, j, c in np.ndindex(*dy.shape):
            share = np.full(self.kernel_shape, dy[n, i, j, c] / math.prod(self.kernel_shape))
            if self.mode == "max":
                window = X[n, rows[i], cols[j], c]
                share = np.zeros(window.size)
                share[window.argmax()] = 1
                share = share.reshape(window.shape) * dy[n, i, j, c]
            wide[n, rows[i], cols[j], c] += share
        return wide[:, pads[0] : pads[0] + X.shape[1], pads[2] : pads[2] + X.shape[2]]


class Conv2D(Layer):
    def __init__(self, W, pad=0, stride=1, dilation=0):
        super().__init__()
        self.parameters = {"W": W}
        self.kernel_shape, self.pad, self.stride, self.dilation = W.shape[:2], pad, stride, dilation

    def product(self, X):
        return conv2D(X, self.parameters["W"], self.stride, self.pad, self.dilation)

    def _bwd(self, dLdy, X, Z):
        W = self.parameters["W"]
        dZ = dLdy * self.act_fn.grad(Z)
        pads = four_pads(self.pad, X.shape[1:3], W.shape[:2], self.stride, self.dilation)
        rows, cols = windows(X.shape[1:3], W.shape[:2], pads, self.stride, self.dilation)
        wide, dW = padded(X, pads), np.zeros_like(W)
        dX = np.zeros(wide.shape)
        for (i, row), (j, col) in ((a, b) for a in enumerate(rows) for b in enumerate(cols)):
            dX[:, row, col] += np.tensordot(dZ[:, i, j], W, (1, 3))
            dW += np.tensordot(wide[:, row, col], dZ[:, i, j], (0, 0))
        dX = dX[:, pads[0] : pads[0] + X.shape[1], pads[2] : pads[2] + X.shape[2]]
        return dX, dW, dZ.sum(axis=(0, 1, 2)).reshape(1, 1, 1, -1)


class Deconv2D(Layer):
    def __init__(self, W, pad=0, stride=1):
        super().__init__()
        self.parameters = {"W": W}
        self.kernel_shape, self.pad, self.stride = W.shape[:2], pad, stride

    def product(self, X):
        return deconv2D(X, self.parameters["W"], self.stride, self.pad)

    def _bwd(self, dLdY, X, Z):
        """One entry of X or of the kernel at a time: the product is linear in both."""
        W = self.parameters["W"]
        dZ = dLdY * self.act_fn.grad(Z)
        dX, dW = np.zeros_like(X), np.zeros_like(W)
        for place in np.ndindex(*X.shape):
            one = np.zeros_like(X)
            one[place] = 1
            dX[place] = (deconv2D(one, W, self.stride, self.pad) * dZ).sum()
        for place in np.ndindex(*W.shape):
            one = np.zeros_like(W)
            one[place] = 1
            dW[place] = (deconv2D(X, one, self.stride, self.pad) * dZ).sum()
        return dX, dW, dZ.sum(axis=(0, 1, 2)).reshape(1, 1, 1, -1)


class Softmax(Layer):
    dim = -1

    def _bwd(self, dLdy, X):
        found = np.zeros_like(X)
        for place in np.ndindex(*X.shape[:-1]):
            y = np.exp(X[place] - X[place].max())
            y /= y.sum()
            found[place] = dLdy[place] @ (np.diag(y) - np.outer(y, y))
        return found


class Embedding(Layer):
    def __init__(self, W, pool=None):
        super().__init__()
        self.parameters, self.pool, self.n_out = {"W": W}, pool, W.shape[1]

    def _bwd(self, dLdy, X):
        dW = np.zeros_like(self.parameters["W"])
        dy = dLdy.reshape(-1, self.n_out)
        if self.pool is None:
            for number, row in zip(X.ravel(), dy):
                dW[number] += row
        else:
            for numbers, row in zip(X, dy):
                for number in {int(n) % len(dW) for n in numbers}:
                    dW[number] += row / len(numbers) if self.pool == "mean" else row
        return dW


class Optimizer:
    def __init__(self):
        self.hyperparameters = {"lr": 0.01, "eps": 1e-7, "clip_norm": None}
        self.hyperparameters.update(decay=0.9, decay1=0.8, decay2=0.95)
        self.cache, self.cur_step = {}, 0
        self.lr_scheduler = Constant(0.01)


class Constant:
    def __init__(self, rate):
        self.rate = rate

    def __call__(self, step, loss):
        return self.rate


class RMSProp(Optimizer):
    def update(self, w, g, name, cur_loss=None):
        decay, eps = self.hyperparameters["decay"], self.hyperparameters["eps"]
        self.cache[name] = decay * self.cache.get(name, 0) + (1 - decay) * g * g
        return w - self.lr_scheduler(self.cur_step, cur_loss) * g / (np.sqrt(self.cache[name]) + eps)


class Adam(Optimizer):
    def update(self, w, g, name, cur_loss=None):
        one, two, eps = (self.hyperparameters[key] for key in ("decay1", "decay2", "eps"))
        kept = self.cache.setdefault(name, {"t": 0, "mean": 0, "var": 0})
        kept["t"] += 1
        kept["mean"] = one * kept["mean"] + (1 - one) * g
        kept["var"] = two * kept["var"] + (1 - two) * g * g
        mean, var = kept["mean"] / (1 - one ** kept["t"]), kept["var"] / (1 - two ** kept["t"])
        return w - self.lr_scheduler(self.cur_step, cur_loss) * mean / (np.sqrt(var) + eps)
