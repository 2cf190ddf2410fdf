"""What a learner may hand in for Deep Learning from Scratch, all of it right."""

import numpy as np
from functions import sigmoid, softmax


def sigmoid_grad(x):
    return sigmoid(x) * (1 - sigmoid(x))


def cross_entropy_error(y, t):
    return -np.sum(t * np.log(y + 1e-7)) / len(y)


def sum_squared_error(y, t):
    return 0.5 * np.sum((y - t) ** 2)


def im2col(input_data, filter_h, filter_w, stride=1, pad=0):
    wide = np.pad(input_data, [(0, 0), (0, 0), (pad, pad), (pad, pad)])
    seen = np.lib.stride_tricks.sliding_window_view(wide, (filter_h, filter_w), axis=(2, 3))
    seen = seen[:, :, ::stride, ::stride].transpose(0, 2, 3, 1, 4, 5)
    return seen.reshape(-1, input_data.shape[1] * filter_h * filter_w)


def col2im(col, input_shape, filter_h, filter_w, stride=1, pad=0):
    n, c, h, w = input_shape
    rows, columns = (h + 2 * pad - filter_h) // stride + 1, (w + 2 * pad - filter_w) // stride + 1
    parts = col.reshape(n, rows, columns, c, filter_h, filter_w)
    wide = np.zeros((n, c, h + 2 * pad, w + 2 * pad))
    for i, j in np.ndindex(rows, columns):
        top, left = i * stride, j * stride
        wide[:, :, top : top + filter_h, left : left + filter_w] += parts[:, i, j]
    return wide[:, :, pad : pad + h, pad : pad + w]


class Relu:
    def forward(self, x):
        self.mask = x <= 0
        return np.where(self.mask, 0, x)

    def backward(self, dout):
        dout[self.mask] = 0
        return dout


class Sigmoid:
    def forward(self, x):
        self.out = sigmoid(x)
        return self.out

    def backward(self, dout):
        return dout * self.out * (1 - self.out)


class Affine:
    def __init__(self, W, b):
        self.W, self.b = W, b

    def forward(self, x):
        self.x = x
        return x @ self.W + self.b

    def backward(self, dout):
        self.dW = self.x.T @ dout
        self.db = dout.sum(axis=0)
        return dout @ self.W.T


class MatMul:
    def __init__(self, W):
        self.params, self.grads = [W], [np.zeros_like(W)]

    def forward(self, x):
        self.x = x
        return x @ self.params[0]

    def backward(self, dout):
        self.grads[0][...] = self.x.T @ dout
        return dout @ self.params[0].T


class SoftmaxWithLoss:
    def forward(self, x, t):
        self.y, self.t = softmax(x), t
        return cross_entropy_error(self.y, t)

    def backward(self, dout=1):
        return (self.y - self.t) * dout / len(self.t)


class SigmoidWithLoss:
    def forward(self, x, t):
        self.y, self.t = sigmoid(x), t
        return -np.mean(np.log(np.where(t == 1, self.y, 1 - self.y) + 1e-7))

    def backward(self, dout=1):
        return (self.y - self.t) * dout / len(self.t)


class TimeAffine:
    def __init__(self, W, b):
        self.W, self.b = W, b

    def forward(self, x):
        self.x = x
        return x @ self.W + self.b

    def backward(self, dout):
        self.dW = np.tensordot(self.x, dout, axes=([0, 1], [0, 1]))
        self.db = dout.sum(axis=(0, 1))
        return dout @ self.W.T


class TimeSoftmaxWithLoss:
    def forward(self, xs, ts):
        self.y = np.exp(xs - xs.max(axis=2, keepdims=True))
        self.y /= self.y.sum(axis=2, keepdims=True)
        self.right = np.eye(xs.shape[2])[ts]
        return -np.mean(np.log((self.y * self.right).sum(axis=2)))

    def backward(self, dout=1):
        return dout * (self.y - self.right) / self.right[..., 0].size


class Convolution:
    def __init__(self, W, b, stride=1, pad=0):
        self.W, self.b, self.stride, self.pad = W, b, stride, pad

    def forward(self, x):
        h, w = self.W.shape[2:]
        self.shape, self.col = x.shape, im2col(x, h, w, self.stride, self.pad)
        rows = (x.shape[2] + 2 * self.pad - h) // self.stride + 1
        out = self.col @ self.W.reshape(len(self.W), -1).T + self.b
        return out.reshape(len(x), rows, -1, len(self.W)).transpose(0, 3, 1, 2)

    def backward(self, dout):
        flat = dout.transpose(0, 2, 3, 1).reshape(-1, len(self.W))
        self.db = flat.sum(axis=0)
        self.dW = (flat.T @ self.col).reshape(self.W.shape)
        dcol = flat @ self.W.reshape(len(self.W), -1)
        return col2im(dcol, self.shape, *self.W.shape[2:], self.stride, self.pad)


class Pooling:
    def __init__(self, pool_h, pool_w, stride=2, pad=0):
        self.size, self.stride, self.pad = (pool_h, pool_w), stride, pad

    def forward(self, x):
        n, c, h, w = x.shape
        col = im2col(x.reshape(n * c, 1, h, w), *self.size, self.stride, self.pad)
        self.shape, self.cells, self.winner = x.shape, col.shape, col.argmax(axis=1)
        rows = (h + 2 * self.pad - self.size[0]) // self.stride + 1
        return col.max(axis=1).reshape(n, c, rows, -1)

    def backward(self, dout):
        n, c, h, w = self.shape
        col = np.zeros(self.cells)
        col[np.arange(len(col)), self.winner] = dout.ravel()
        return col2im(col, (n * c, 1, h, w), *self.size, self.stride, self.pad).reshape(self.shape)


class BatchNormalization:
    def __init__(self, gamma, beta, momentum=0.9):
        self.gamma, self.beta, self.momentum = gamma, beta, momentum

    def forward(self, x, train_flg=True):
        self.std = np.sqrt(x.var(axis=0) + 1e-7)
        self.hat = (x - x.mean(axis=0)) / self.std
        return self.gamma * self.hat + self.beta

    def backward(self, dout):
        self.dgamma, self.dbeta = (dout * self.hat).sum(axis=0), dout.sum(axis=0)
        n = len(dout)
        return self.gamma / self.std * (dout - self.dbeta / n - self.hat * self.dgamma / n)


class Dropout:
    def __init__(self, dropout_ratio=0.5):
        self.ratio = dropout_ratio

    def forward(self, x, train_flg=True):
        if not train_flg:
            return x * (1 - self.ratio)
        self.mask = np.random.rand(*x.shape) > self.ratio  # noqa: NPY002
        return x * self.mask

    def backward(self, dout):
        return dout * self.mask


class Embedding:
    def __init__(self, W):
        self.W = W

    def forward(self, idx):
        self.idx = idx
        return self.W[idx]

    def backward(self, dout):
        self.dW = np.zeros_like(self.W)
        np.add.at(self.dW, self.idx, dout)


class Recurrent:
    def __init__(self, Wx, Wh, b):
        self.params = [Wx, Wh, b]
        self.grads = [np.zeros_like(one) for one in self.params]

    def weights(self, da, h):
        for kept, found in zip(self.grads, (self.x.T @ da, h.T @ da, da.sum(axis=0))):
            kept[...] = found


class RNN(Recurrent):
    def forward(self, x, h_prev):
        Wx, Wh, b = self.params
        self.x, self.h_prev = x, h_prev
        self.h = np.tanh(x @ Wx + h_prev @ Wh + b)
        return self.h

    def backward(self, dh_next):
        da = dh_next * (1 - self.h**2)
        self.weights(da, self.h_prev)
        return da @ self.params[0].T, da @ self.params[1].T


class LSTM(Recurrent):
    def forward(self, x, h_prev, c_prev):
        Wx, Wh, b = self.params
        self.x, self.h_prev, self.c_prev = x, h_prev, c_prev
        f, g, i, o = np.split(x @ Wx + h_prev @ Wh + b, 4, axis=1)
        self.f, self.g, self.i, self.o = sigmoid(f), np.tanh(g), sigmoid(i), sigmoid(o)
        self.c = self.f * c_prev + self.g * self.i
        return self.o * np.tanh(self.c), self.c

    def backward(self, dh_next, dc_next):
        f, g, i, o = self.f, self.g, self.i, self.o
        squashed = np.tanh(self.c)
        dc = dc_next + dh_next * o * (1 - squashed**2)
        df, dg, di = dc * self.c_prev * f * (1 - f), dc * i * (1 - g**2), dc * g * i * (1 - i)
        da = np.hstack([df, dg, di, dh_next * squashed * o * (1 - o)])
        self.weights(da, self.h_prev)
        return da @ self.params[0].T, da @ self.params[1].T, dc * f


class GRU(Recurrent):
    def forward(self, x, h_prev):
        Wx, Wh, b = self.params
        H = h_prev.shape[1]
        self.x, self.h_prev = x, h_prev
        gates = sigmoid(x @ Wx[:, : 2 * H] + h_prev @ Wh[:, : 2 * H] + b[: 2 * H])
        self.z, self.r = gates[:, :H], gates[:, H:]
        self.g = np.tanh(x @ Wx[:, 2 * H :] + (self.r * h_prev) @ Wh[:, 2 * H :] + b[2 * H :])
        return (1 - self.z) * h_prev + self.z * self.g

    def backward(self, dh_next):
        Wx, Wh, _ = self.params
        z, r, g, h = self.z, self.r, self.g, self.h_prev
        H = h.shape[1]
        dg = dh_next * z * (1 - g**2)
        dreset = dg @ Wh[:, 2 * H :].T
        dz, dr = dh_next * (g - h) * z * (1 - z), dreset * h * r * (1 - r)
        da = np.hstack([dz, dr, dg])
        self.weights(da, h)
        self.grads[1][:, 2 * H :] = (r * h).T @ dg
        dh = dh_next * (1 - z) + dreset * r + da[:, : 2 * H] @ Wh[:, : 2 * H].T
        return da @ Wx.T, dh


class TimeRNN(Recurrent):
    step = RNN

    def forward(self, xs):
        n, t, _ = xs.shape
        h, hs = np.zeros((n, self.params[1].shape[0])), []
        self.steps = [self.step(*self.params) for _ in range(t)]
        for step, x in zip(self.steps, xs.swapaxes(0, 1)):
            h = step.forward(x, h)
            hs.append(h)
        return np.stack(hs, axis=1)

    def backward(self, dhs):
        dh, dxs = 0, []
        self.grads = [0, 0, 0]
        for step, dh_out in zip(reversed(self.steps), reversed(dhs.swapaxes(0, 1))):
            dx, dh = step.backward(dh_out + dh)
            dxs.insert(0, dx)
            self.grads = [total + part for total, part in zip(self.grads, step.grads)]
        return np.stack(dxs, axis=1)


class TimeGRU(TimeRNN):
    step = GRU


class TimeLSTM(Recurrent):
    def forward(self, xs):
        n, t, _ = xs.shape
        h = c = np.zeros((n, self.params[1].shape[0]))
        self.steps, hs = [LSTM(*self.params) for _ in range(t)], []
        for step, x in zip(self.steps, xs.swapaxes(0, 1)):
            h, c = step.forward(x, h, c)
            hs.append(h)
        return np.stack(hs, axis=1).astype("f")

    def backward(self, dhs):
        dh, dc, dxs = 0, 0, []
        self.grads = [0, 0, 0]
        for step, dh_out in zip(reversed(self.steps), reversed(dhs.swapaxes(0, 1))):
            dx, dh, dc = step.backward(dh_out + dh, dc)
            dxs.insert(0, dx)
            self.grads = [total + part for total, part in zip(self.grads, step.grads)]
        return np.stack(dxs, axis=1)


class SGD:
    def __init__(self, lr=0.01):
        self.lr = lr

    def update(self, params, grads):
        for i in range(len(params)):
            params[i] -= self.lr * grads[i]


class Momentum:
    def __init__(self, lr=0.01, momentum=0.9):
        self.lr, self.momentum, self.v = lr, momentum, {}

    def update(self, params, grads):
        for key in params:
            self.v[key] = self.momentum * self.v.get(key, 0) - self.lr * grads[key]
            params[key] += self.v[key]


class AdaGrad:
    def __init__(self, lr=0.01):
        self.lr, self.h = lr, {}

    def update(self, params, grads):
        for key in params:
            self.h[key] = self.h.get(key, 0) + grads[key] ** 2
            params[key] -= self.lr * grads[key] / (np.sqrt(self.h[key]) + 1e-7)


class RMSprop:
    def __init__(self, lr=0.01, decay_rate=0.99):
        self.lr, self.decay_rate, self.h = lr, decay_rate, {}

    def update(self, params, grads):
        for key in params:
            self.h[key] = self.decay_rate * self.h.get(key, 0) + (1 - self.decay_rate) * grads[key] ** 2
            params[key] -= self.lr * grads[key] / (np.sqrt(self.h[key]) + 1e-7)


class Adam:
    def __init__(self, lr=0.001, beta1=0.9, beta2=0.999):
        self.lr, self.betas, self.t, self.m, self.v = lr, (beta1, beta2), 0, {}, {}

    def update(self, params, grads):
        self.t += 1
        one, two = self.betas
        rate = self.lr * np.sqrt(1 - two**self.t) / (1 - one**self.t)
        for key in params:
            self.m[key] = one * self.m.get(key, 0) + (1 - one) * grads[key]
            self.v[key] = two * self.v.get(key, 0) + (1 - two) * grads[key] ** 2
            params[key] -= rate * self.m[key] / (np.sqrt(self.v[key]) + 1e-7)
