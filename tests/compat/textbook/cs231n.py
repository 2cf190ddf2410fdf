"""The assignments' functions as a textbook writes them: a loop for each sum, and one formula a line."""

from __future__ import annotations

import itertools

import numpy as np


def places(out, param, high, wide):
    """Each output's index, and the slices of the padded image that it comes from."""
    s = param["stride"]
    for i, j in itertools.product(range(out.shape[2]), range(out.shape[3])):
        yield i, j, slice(i * s, i * s + high), slice(j * s, j * s + wide)


def framed(x, pad):
    frame = np.zeros((*x.shape[:2], x.shape[2] + 2 * pad, x.shape[3] + 2 * pad), x.dtype)
    frame[:, :, pad : pad + x.shape[2], pad : pad + x.shape[3]] = x
    return frame


def conv_forward_naive(x, w, b, conv_param):
    stride, pad = conv_param["stride"], conv_param["pad"]
    size = [(n + 2 * pad - k) // stride + 1 for n, k in zip(x.shape[2:], w.shape[2:])]
    out = np.zeros((x.shape[0], w.shape[0], *size))
    image = framed(x, pad)
    for n, f in itertools.product(range(len(x)), range(len(w))):
        for i, j, rows, columns in places(out, conv_param, *w.shape[2:]):
            out[n, f, i, j] = (image[n, :, rows, columns] * w[f]).sum() + b[f]
    return out, (x, w, b, conv_param)


def conv_backward_naive(dout, cache):
    x, w, b, conv_param = cache
    pad = conv_param["pad"]
    image = framed(x, pad)
    dimage, dw, db = np.zeros_like(image), np.zeros_like(w), np.zeros_like(b)
    for n, f in itertools.product(range(len(x)), range(len(w))):
        for i, j, rows, columns in places(dout, conv_param, *w.shape[2:]):
            dimage[n, :, rows, columns] += dout[n, f, i, j] * w[f]
            dw[f] += dout[n, f, i, j] * image[n, :, rows, columns]
            db[f] += dout[n, f, i, j]
    return dimage[:, :, pad : pad + x.shape[2], pad : pad + x.shape[3]], dw, db


def max_pool_forward_naive(x, pool_param):
    window = pool_param["pool_height"], pool_param["pool_width"]
    size = [(n - k) // pool_param["stride"] + 1 for n, k in zip(x.shape[2:], window)]
    out = np.zeros((*x.shape[:2], *size))
    for n, c in itertools.product(range(len(x)), range(x.shape[1])):
        for i, j, rows, columns in places(out, pool_param, *window):
            out[n, c, i, j] = np.max(x[n, c, rows, columns])
    return out, (x, pool_param)


def max_pool_backward_naive(dout, cache):
    x, pool_param = cache
    window = pool_param["pool_height"], pool_param["pool_width"]
    dx = np.zeros_like(x)
    for n, c in itertools.product(range(len(x)), range(x.shape[1])):
        for i, j, rows, columns in places(dout, pool_param, *window):
            part = x[n, c, rows, columns]
            dx[n, c, rows, columns] += (part == part.max()) * dout[n, c, i, j]
    return dx


def pool_backward_shared(dout, x, size):
    """The gradient of side by side windows in which equals share."""
    dx = np.zeros_like(x)
    for n, c, i, j in np.ndindex(dout.shape):
        part = x[n, c, i * size : (i + 1) * size, j * size : (j + 1) * size]
        hit = part == part.max()
        with np.errstate(invalid="ignore"):
            dx[n, c, i * size : (i + 1) * size, j * size : (j + 1) * size] = (
                hit * dout[n, c, i, j] / hit.sum()
            )
    return dx


def relu_backward(dout, cache):
    return np.where(cache > 0, dout, 0)


def softmax(x):
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def softmax_loss(x, y):
    rows = np.arange(len(x))
    dx = softmax(x)
    loss = -np.log(dx[rows, y]).mean()
    dx[rows, y] -= 1
    return loss, dx / len(x)


def temporal_softmax_loss(x, y, mask):
    n, t, v = x.shape
    p = softmax(x).reshape(n * t, v)
    at = np.arange(n * t), y.reshape(-1)
    loss = -(mask.reshape(-1) * np.log(p[at])).sum() / n
    p[at] -= 1
    return loss, (p * mask.reshape(-1, 1) / n).reshape(x.shape)


def svm_loss(x, y):
    loss, dx = 0.0, np.zeros_like(x)
    for n, row in enumerate(x):
        for j, score in enumerate(row):
            margin = score - row[y[n]] + 1
            if j != y[n] and margin > 0:
                loss += margin / len(x)
                dx[n, j] += 1 / len(x)
                dx[n, y[n]] -= 1 / len(x)
    return loss, dx


def svm_loss_naive(W, X, y, reg):
    loss, dscores = svm_loss(X.dot(W), y)
    return loss + reg * (W * W).sum(), X.T.dot(dscores) + 2 * reg * W


def softmax_loss_naive(W, X, y, reg):
    loss, dscores = softmax_loss(X.dot(W), y)
    return loss + reg * (W * W).sum(), X.T.dot(dscores) + 2 * reg * W


def distances(known, X):
    return np.array([[np.sqrt(((row - other) ** 2).sum()) for other in known] for row in X])


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def rnn_step_forward(x, prev_h, Wx, Wh, b):
    next_h = np.tanh(x.dot(Wx) + prev_h.dot(Wh) + b)
    return next_h, (x, prev_h, Wx, Wh, b, next_h)


def lstm_step_forward(x, prev_h, prev_c, Wx, Wh, b):
    a = x.dot(Wx) + prev_h.dot(Wh) + b
    i, f, o, g = np.split(a, 4, axis=1)
    next_c = sigmoid(f) * prev_c + sigmoid(i) * np.tanh(g)
    return sigmoid(o) * np.tanh(next_c), next_c, None


def gru_step_forward(x, prev_h, Wx, Wh, bh, Wxt, Wht, bht):
    r, u = np.split(sigmoid(x.dot(Wx) + prev_h.dot(Wh) + bh), 2, axis=1)
    new = np.tanh((r * prev_h).dot(Wht) + x.dot(Wxt) + bht)
    return (1 - u) * prev_h + u * new, None


def rnn_forward(x, h0, *weights):
    return over_time(x, h0, lambda x, h: rnn_step_forward(x, h, *weights)[0])


def gru_forward(x, h0, *weights):
    return over_time(x, h0, lambda x, h: gru_step_forward(x, h, *weights)[0])


def lstm_forward(x, h0, *weights):
    c = [np.zeros_like(h0)]

    def step(x, h):
        h, c[0], _ = lstm_step_forward(x, h, c[0], *weights)
        return h

    return over_time(x, h0, step)


def over_time(x, h, step):
    out = np.zeros((*x.shape[:2], h.shape[1]))
    for t in range(x.shape[1]):
        h = out[:, t] = step(x[:, t], h)
    return out


def word_embedding_backward(dout, cache):
    x, W = cache
    dW = np.zeros_like(W)
    np.add.at(dW, x, dout)
    return dW


def im2col(x, high, wide, pad, stride):
    """Patches as columns, the image's number last."""
    image = framed(x, pad)
    rows = range(0, image.shape[2] - high + 1, stride)
    columns = range(0, image.shape[3] - wide + 1, stride)
    found = [
        image[n, :, i : i + high, j : j + wide].ravel() for i in rows for j in columns for n in range(len(x))
    ]
    return np.array(found).T


def col2im(cols, shape, high, wide, pad, stride):
    """The sums of columns, taps in order."""
    n, c, h, w = shape
    image = np.zeros((n, c, h + 2 * pad, w + 2 * pad), cols.dtype)
    down, right = (h + 2 * pad - high) // stride + 1, (w + 2 * pad - wide) // stride + 1
    parts = cols.reshape(c, high, wide, down, right, n)
    for i, j, y, x in itertools.product(range(high), range(wide), range(down), range(right)):
        image[:, :, y * stride + i, x * stride + j] += parts[:, i, j, y, x].T
    return image[:, :, pad : pad + h, pad : pad + w]


def adam(w, dw, config):
    config["t"] += 1
    config["m"] = config["beta1"] * config["m"] + (1 - config["beta1"]) * dw
    config["v"] = config["beta2"] * config["v"] + (1 - config["beta2"]) * dw * dw
    m = config["m"] / (1 - config["beta1"] ** config["t"])
    v = config["v"] / (1 - config["beta2"] ** config["t"])
    return w - config["learning_rate"] * m / (np.sqrt(v) + config["epsilon"])


def adam_hat(w, dw, config):
    config["t"] += 1
    config["m"] = config["beta1"] * config["m"] + (1 - config["beta1"]) * dw
    config["v"] = config["beta2"] * config["v"] + (1 - config["beta2"]) * dw * dw
    rate = config["learning_rate"] * np.sqrt(1 - config["beta2"] ** config["t"])
    rate = rate / (1 - config["beta1"] ** config["t"])
    return w - rate * config["m"] / (np.sqrt(config["v"]) + config["epsilon"])


def rmsprop(w, dw, config):
    config["cache"] = config["decay_rate"] * config["cache"] + (1 - config["decay_rate"]) * dw * dw
    return w - config["learning_rate"] * dw / (np.sqrt(config["cache"]) + config["epsilon"])


def batchnorm(x, gamma, beta, eps, axes):
    """Normalised over some axes, with the statistics."""
    mean = x.mean(axis=axes, keepdims=True)
    var = ((x - mean) ** 2).mean(axis=axes, keepdims=True)
    return (x - mean) / np.sqrt(var + eps) * gamma + beta, mean, var


def numerical(f, x, dout, h=1e-5):
    """The gradient of Σ f() · dout in x, which is changed in place and put back."""
    found = np.zeros_like(x)
    for i in np.ndindex(x.shape):
        was = x[i]
        x[i] = was + h
        above = f()
        x[i] = was - h
        found[i] = ((above - f()) * dout).sum() / (2 * h)
        x[i] = was
    return found
