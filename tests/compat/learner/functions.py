"""What a learner may hand in for cs231n, all of it right."""

import numpy as np


def affine_forward(x, w, b):
    rows = x.reshape(len(x), -1)
    return rows @ w + b, (x, w)


def affine_backward(dout, cache):
    x, w = cache
    rows = x.reshape(len(x), -1)
    dx = (dout @ w.T).reshape(x.shape)
    dw = rows.T @ dout
    db = dout.sum(axis=0)
    return dx, dw, db


def relu_forward(x):
    return np.maximum(x, 0), x


def relu_backward(dout, x):
    return np.where(x > 0, dout, 0)


def conv_forward_naive(x, w, b, conv_param):
    stride, pad = conv_param["stride"], conv_param["pad"]
    wide = np.pad(x, [(0, 0), (0, 0), (pad, pad), (pad, pad)])
    hh, ww = w.shape[2:]
    rows, columns = (wide.shape[2] - hh) // stride + 1, (wide.shape[3] - ww) // stride + 1
    out = np.zeros((len(x), len(w), rows, columns))
    for i in range(rows):
        for j in range(columns):
            patch = wide[:, :, i * stride : i * stride + hh, j * stride : j * stride + ww]
            out[:, :, i, j] = np.tensordot(patch, w, axes=([1, 2, 3], [1, 2, 3])) + b
    return out, (wide, w, conv_param)


def conv_backward_naive(dout, cache):
    wide, w, conv_param = cache
    stride, pad = conv_param["stride"], conv_param["pad"]
    hh, ww = w.shape[2:]
    dwide, dw = np.zeros_like(wide), np.zeros_like(w)
    for i, j in np.ndindex(dout.shape[2:]):
        window = np.s_[:, :, i * stride : i * stride + hh, j * stride : j * stride + ww]
        dw += np.tensordot(dout[:, :, i, j], wide[window], axes=(0, 0))
        dwide[window] += np.tensordot(dout[:, :, i, j], w, axes=(1, 0))
    height, width = wide.shape[2:]
    db = dout.sum(axis=(0, 2, 3))
    return dwide[:, :, pad : height - pad, pad : width - pad], dw, db


def max_pool_forward_naive(x, pool_param):
    h, w, s = pool_param["pool_height"], pool_param["pool_width"], pool_param["stride"]
    n, c, height, width = x.shape
    out = np.zeros((n, c, (height - h) // s + 1, (width - w) // s + 1))
    for i, j in np.ndindex(out.shape[2:]):
        out[:, :, i, j] = x[:, :, i * s : i * s + h, j * s : j * s + w].max(axis=(2, 3))
    return out, (x, pool_param)


def max_pool_backward_naive(dout, cache):
    x, pool_param = cache
    h, w, s = pool_param["pool_height"], pool_param["pool_width"], pool_param["stride"]
    dx = np.zeros_like(x)
    for n, c, i, j in np.ndindex(dout.shape):
        window = x[n, c, i * s : i * s + h, j * s : j * s + w]
        dx[n, c, i * s : i * s + h, j * s : j * s + w] += (window == window.max()) * dout[n, c, i, j]
    return dx


def batchnorm_forward(x, gamma, beta, bn_param):
    eps, momentum = bn_param.get("eps", 1e-5), bn_param.get("momentum", 0.9)
    mean, var = x.mean(axis=0), x.var(axis=0)
    std = np.sqrt(var + eps)
    hat = (x - mean) / std
    bn_param["running_mean"] = (
        momentum * bn_param.get("running_mean", np.zeros_like(mean)) + (1 - momentum) * mean
    )
    return gamma * hat + beta, (hat, std, gamma)


def batchnorm_backward(dout, cache):
    hat, std, gamma = cache
    dgamma, dbeta = (dout * hat).sum(axis=0), dout.sum(axis=0)
    n = len(dout)
    dx = gamma / std * (dout - dbeta / n - hat * dgamma / n)
    return dx, dgamma, dbeta


def spatial_batchnorm_forward(x, gamma, beta, bn_param):
    n, c, h, w = x.shape
    out, cache = batchnorm_forward(x.transpose(0, 2, 3, 1).reshape(-1, c), gamma, beta, bn_param)
    return out.reshape(n, h, w, c).transpose(0, 3, 1, 2), cache


def spatial_batchnorm_backward(dout, cache):
    n, c, h, w = dout.shape
    dx, dgamma, dbeta = batchnorm_backward(dout.transpose(0, 2, 3, 1).reshape(-1, c), cache)
    return dx.reshape(n, h, w, c).transpose(0, 3, 1, 2), dgamma, dbeta


def layernorm_forward(x, gamma, beta, ln_param):
    mean, var = x.mean(axis=1, keepdims=True), x.var(axis=1, keepdims=True)
    std = np.sqrt(var + ln_param["eps"])
    hat = (x - mean) / std
    return gamma * hat + beta, (hat, std, gamma)


def layernorm_backward(dout, cache):
    hat, std, gamma = cache
    dhat = dout * gamma
    inner = dhat - dhat.mean(axis=1, keepdims=True) - hat * (dhat * hat).mean(axis=1, keepdims=True)
    return inner / std, (dout * hat).sum(axis=0), dout.sum(axis=0)


def dropout_forward(x, dropout_param):
    if "seed" in dropout_param:
        np.random.seed(dropout_param["seed"])  # noqa: NPY002
    mask = 1.0
    if dropout_param["mode"] == "train":
        mask = (np.random.rand(*x.shape) < dropout_param["p"]) / dropout_param["p"]  # noqa: NPY002
    return x * mask, mask


def dropout_backward(dout, cache):
    return dout * cache


def softmax_loss(x, y):
    shifted = x - x.max(axis=1, keepdims=True)
    scores = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    n = len(x)
    dx = np.exp(scores)
    dx[np.arange(n), y] -= 1
    return -scores[np.arange(n), y].mean(), dx / n


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def softmax(x):
    e = np.exp(x - x.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def rnn_step_forward(x, prev_h, Wx, Wh, b):
    h = np.tanh(x @ Wx + prev_h @ Wh + b)
    return h, (x, prev_h, Wx, Wh, h)


def rnn_step_backward(dnext_h, cache):
    x, prev_h, Wx, Wh, h = cache
    da = dnext_h * (1 - h**2)
    return da @ Wx.T, da @ Wh.T, x.T @ da, prev_h.T @ da, da.sum(axis=0)


def rnn_forward(x, h0, Wx, Wh, b):
    h, hs, caches = h0, [], []
    for t in range(x.shape[1]):
        h, cache = rnn_step_forward(x[:, t], h, Wx, Wh, b)
        hs.append(h)
        caches.append(cache)
    return np.stack(hs, axis=1), caches


def rnn_backward(dh, cache):
    dprev, dxs, weights = 0, [], [0, 0, 0]
    for t in reversed(range(dh.shape[1])):
        dx, dprev, *parts = rnn_step_backward(dh[:, t] + dprev, cache[t])
        dxs.insert(0, dx)
        weights = [total + part for total, part in zip(weights, parts)]
    return np.stack(dxs, axis=1), dprev, *weights


def lstm_step_forward(x, prev_h, prev_c, Wx, Wh, b):
    i, f, o, g = np.split(x @ Wx + prev_h @ Wh + b, 4, axis=1)
    i, f, o, g = sigmoid(i), sigmoid(f), sigmoid(o), np.tanh(g)
    next_c = f * prev_c + i * g
    next_h = o * np.tanh(next_c)
    return next_h, next_c, (x, prev_h, prev_c, Wx, Wh, i, f, o, g, next_c)


def lstm_step_backward(dnext_h, dnext_c, cache):
    x, prev_h, prev_c, Wx, Wh, i, f, o, g, next_c = cache
    squashed = np.tanh(next_c)
    dc = dnext_c + dnext_h * o * (1 - squashed**2)
    parts = (
        dc * g * i * (1 - i),
        dc * prev_c * f * (1 - f),
        dnext_h * squashed * o * (1 - o),
        dc * i * (1 - g**2),
    )
    da = np.concatenate(parts, axis=1)
    return da @ Wx.T, da @ Wh.T, dc * f, x.T @ da, prev_h.T @ da, da.sum(axis=0)


def lstm_forward(x, h0, Wx, Wh, b):
    h, c, hs, caches = h0, np.zeros_like(h0), [], []
    for t in range(x.shape[1]):
        h, c, cache = lstm_step_forward(x[:, t], h, c, Wx, Wh, b)
        hs.append(h)
        caches.append(cache)
    return np.stack(hs, axis=1), caches


def lstm_backward(dh, cache):
    dprev, dc, dxs, weights = 0, 0, [], [0, 0, 0]
    for t in reversed(range(dh.shape[1])):
        dx, dprev, dc, *parts = lstm_step_backward(dh[:, t] + dprev, dc, cache[t])
        dxs.insert(0, dx)
        weights = [total + part for total, part in zip(weights, parts)]
    return np.stack(dxs, axis=1), dprev, *weights


def temporal_affine_forward(x, w, b):
    return x @ w + b, (x, w)


def temporal_affine_backward(dout, cache):
    x, w = cache
    return dout @ w.T, np.einsum("ntd,ntm->dm", x, dout), dout.sum(axis=(0, 1))


def word_embedding_forward(x, W):
    return W[x], (x, W)


def word_embedding_backward(dout, cache):
    x, W = cache
    dW = np.zeros_like(W)
    np.add.at(dW, x, dout)
    return dW


def temporal_softmax_loss(x, y, mask):
    n = len(x)
    p = np.exp(x - x.max(axis=2, keepdims=True))
    p /= p.sum(axis=2, keepdims=True)
    right = np.eye(x.shape[2])[y]
    loss = -(np.log((p * right).sum(axis=2)) * mask).sum() / n
    return loss, (p - right) * mask[:, :, None] / n


def sgd(w, dw, config):
    return w - config["learning_rate"] * dw, config


def sgd_momentum(w, dw, config):
    v = 0.9 * config.get("velocity", 0) - config["learning_rate"] * dw
    config["velocity"] = v
    return w + v, config


def rmsprop(w, dw, config):
    config["cache"] = 0.99 * config.get("cache", 0) + 0.01 * dw**2
    return w - config["learning_rate"] * dw / (np.sqrt(config["cache"]) + 1e-8), config


def adam(w, dw, config):
    t = config["t"] = config.get("t", 0) + 1
    m = config["m"] = 0.9 * config.get("m", 0) + 0.1 * dw
    v = config["v"] = 0.999 * config.get("v", 0) + 0.001 * dw**2
    step = m / (1 - 0.9**t) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)
    return w - config["learning_rate"] * step, config
