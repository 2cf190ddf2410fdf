"""Layers with ML-From-Scratch's interface, written out place by place."""

from __future__ import annotations

import numpy as np


def pads_of(filter_shape, output_shape):
    if output_shape == "valid":
        return (0, 0), (0, 0)
    return tuple(((side - 1) // 2, side // 2) for side in filter_shape)


def patches(images, filter_shape, stride, output_shape):
    """What lies under the filter at each place (i, j), as views of the padded images."""
    wide = np.pad(images, ((0, 0), (0, 0), *pads_of(filter_shape, output_shape)))
    counts = [(size - side) // stride + 1 for size, side in zip(wide.shape[2:], filter_shape)]
    places = [
        [slice(i * stride, i * stride + side) for i in range(n)] for n, side in zip(counts, filter_shape)
    ]
    return wide, places


def image_to_column(images, filter_shape, stride, output_shape="same"):
    wide, (rows, cols) = patches(images, filter_shape, stride, output_shape)
    found = np.stack([wide[:, :, row, col].transpose(1, 2, 3, 0) for row in rows for col in cols], axis=3)
    return found.reshape(images.shape[1] * filter_shape[0] * filter_shape[1], -1)


def column_to_image(cols, images_shape, filter_shape, stride, output_shape="same"):
    batch, channels, height, width = images_shape
    wide, (rows, columns) = patches(np.zeros(images_shape), filter_shape, stride, output_shape)
    taps = cols.reshape(channels, *filter_shape, len(rows), len(columns), batch)
    for channel, p, q, i, j, image in np.ndindex(*taps.shape):
        wide[image, channel, rows[i].start + p, columns[j].start + q] += taps[channel, p, q, i, j, image]
    (top, _), (left, _) = pads_of(filter_shape, output_shape)
    return wide[:, :, top : top + height, left : left + width]


class PlainSteps:
    """An optimizer that counts its steps."""

    def __init__(self, rate=0.1):
        self.rate, self.steps = rate, 0

    def update(self, w, grad_wrt_w):
        self.steps += 1
        return w - self.rate * grad_wrt_w


class Conv2D:
    def __init__(self, W, w0, input_shape, padding="same", stride=1):
        self.n_filters, self.filter_shape = W.shape[0], W.shape[2:]
        self.W, self.w0, self.input_shape = W, w0, input_shape
        self.padding, self.stride, self.trainable = padding, stride, True
        self.W_opt, self.w0_opt = PlainSteps(), PlainSteps()

    def forward_pass(self, X, training=True):
        self.layer_input = X
        self.W_col = self.W.reshape(self.n_filters, -1)
        self.X_col = image_to_column(X, self.filter_shape, self.stride, self.padding)
        wide, (rows, cols) = patches(X, self.filter_shape, self.stride, self.padding)
        y = np.zeros((len(X), self.n_filters, len(rows), len(cols)))
        for i, j in np.ndindex(*y.shape[2:]):
            y[:, :, i, j] = np.einsum("ncpq,ocpq->no", wide[:, :, rows[i], cols[j]], self.W) + self.w0[:, 0]
        return y

    def backward_pass(self, accum_grad):
        X, filters = self.layer_input, self.W_col.reshape(self.W.shape)
        wide, (rows, cols) = patches(X, self.filter_shape, self.stride, self.padding)
        dW, dX = np.zeros_like(self.W), np.zeros(wide.shape)
        for i, j in np.ndindex(*accum_grad.shape[2:]):
            dy = accum_grad[:, :, i, j]
            dW += np.einsum("no,ncpq->ocpq", dy, wide[:, :, rows[i], cols[j]])
            dX[:, :, rows[i], cols[j]] += np.einsum("no,ocpq->ncpq", dy, filters)
        if self.trainable:
            self.W = self.W_opt.update(self.W, dW)
            self.w0 = self.w0_opt.update(self.w0, accum_grad.sum(axis=(0, 2, 3)).reshape(-1, 1))
        (top, _), (left, _) = pads_of(self.filter_shape, self.padding)
        return dX[:, :, top : top + X.shape[2], left : left + X.shape[3]]


class BatchNormalization:
    def __init__(self, shape, momentum=0.99):
        self.momentum, self.eps, self.trainable = momentum, 0.01, True
        self.gamma, self.beta = np.ones(shape), np.zeros(shape)
        self.gamma_opt, self.beta_opt = PlainSteps(), PlainSteps()
        self.running_mean = self.running_var = None

    def forward_pass(self, X, training=True):
        batch = X.mean(axis=0), ((X - X.mean(axis=0)) ** 2).mean(axis=0)
        if self.running_mean is None:
            self.running_mean, self.running_var = batch
        mean, var = self.running_mean, self.running_var
        if training and self.trainable:
            old, new = self.momentum, 1 - self.momentum
            mean, var = batch
            self.running_mean = old * self.running_mean + new * mean
            self.running_var = old * self.running_var + new * var
        self.X_centered, self.stddev_inv = X - mean, (var + self.eps) ** -0.5
        return self.gamma * self.X_centered * self.stddev_inv + self.beta

    def backward_pass(self, accum_grad):
        gamma, count = self.gamma, len(accum_grad)
        normal = self.X_centered * self.stddev_inv
        dgamma, dbeta = (accum_grad * normal).sum(axis=0), accum_grad.sum(axis=0)
        if self.trainable:
            self.gamma = self.gamma_opt.update(gamma, dgamma)
            self.beta = self.beta_opt.update(self.beta, dbeta)
        return gamma * self.stddev_inv * (accum_grad - (dbeta + normal * dgamma) / count)


class RNN:
    def __init__(self, U, V, W, activation, bptt_trunc):
        self.U, self.V, self.W, self.n_units = U, V, W, len(U)
        self.activation, self.bptt_trunc, self.trainable = activation, bptt_trunc, True
        self.U_opt, self.V_opt, self.W_opt = PlainSteps(), PlainSteps(), PlainSteps()

    def forward_pass(self, X, training=True):
        batch, steps, _ = X.shape
        self.layer_input = X
        self.state_input = np.zeros((batch, steps, self.n_units))
        self.states = np.zeros((batch, steps + 1, self.n_units))
        self.outputs = np.zeros(X.shape)
        for n, t in np.ndindex(batch, steps):
            self.state_input[n, t] = self.U @ X[n, t] + self.W @ self.states[n, t - 1]
            self.states[n, t] = self.activation(self.state_input[n, t])
            self.outputs[n, t] = self.V @ self.states[n, t]
        return self.outputs

    def backward_pass(self, accum_grad):
        """Each output goes back through its own step and `bptt_trunc` steps before it."""
        dU, dV, dW, dX = (np.zeros_like(array) for array in (self.U, self.V, self.W, accum_grad))
        for n, t in np.ndindex(*accum_grad.shape[:2]):
            dV += np.outer(accum_grad[n, t], self.states[n, t])
            reaching = (self.V.T @ accum_grad[n, t]) * self.activation.gradient(self.state_input[n, t])
            dX[n, t] = self.U.T @ reaching
            for step in range(t, max(0, t - self.bptt_trunc) - 1, -1):
                dU += np.outer(reaching, self.layer_input[n, step])
                dW += np.outer(reaching, self.states[n, step - 1])
                if step:
                    slope = self.activation.gradient(self.state_input[n, step - 1])
                    reaching = (self.W.T @ reaching) * slope
        self.U, self.V = self.U_opt.update(self.U, dU), self.V_opt.update(self.V, dV)
        self.W = self.W_opt.update(self.W, dW)
        return dX


class TanH:
    def __call__(self, x):
        return np.tanh(x)

    def gradient(self, x):
        return 1 - np.tanh(x) ** 2


class Adam:
    """Both means are corrected as in the first step, in every step."""

    def __init__(self):
        self.learning_rate, self.b1, self.b2, self.eps = 0.001, 0.9, 0.999, 1e-8
        self.m = self.v = None

    def update(self, w, g):
        m, v = (0, 0) if self.m is None else (self.m, self.v)
        self.m, self.v = m + (1 - self.b1) * (g - m), v + (1 - self.b2) * (g * g - v)
        self.w_updt = self.learning_rate * self.m / (1 - self.b1)
        self.w_updt = self.w_updt / (np.sqrt(self.v / (1 - self.b2)) + self.eps)
        return w - self.w_updt


class RMSprop:
    def __init__(self):
        self.learning_rate, self.rho, self.eps, self.Eg = 0.01, 0.9, 1e-8, None

    def update(self, w, g):
        old = 0 if self.Eg is None else self.Eg
        self.Eg = self.rho * old + (1 - self.rho) * g * g
        return w - self.learning_rate * g / np.sqrt(self.Eg + self.eps)


class Adagrad:
    def __init__(self):
        self.learning_rate, self.eps, self.G = 0.01, 1e-8, None

    def update(self, w, g):
        if self.G is None:
            self.G = np.zeros(w.shape)
        self.G += g * g
        return w - self.learning_rate * g / np.sqrt(self.G + self.eps)


class Adadelta:
    def __init__(self):
        self.rho, self.eps = 0.95, 1e-6
        self.w_updt = self.E_w_updt = self.E_grad = None

    def update(self, w, g):
        grads, steps = (0, 0) if self.w_updt is None else (self.E_grad, self.E_w_updt)
        self.E_grad = self.rho * grads + (1 - self.rho) * g * g
        self.w_updt = g * np.sqrt(steps + self.eps) / np.sqrt(self.E_grad + self.eps)
        self.E_w_updt = self.rho * steps + (1 - self.rho) * self.w_updt**2
        return w - self.w_updt
