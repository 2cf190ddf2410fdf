"""Plain NumPy with the names of the second book: what its layers compute, written down from the formulas."""

from __future__ import annotations

import numpy as np


def logistic(a):
    return 1 / (1 + np.exp(-a))


class Recurrent:
    def __init__(self, Wx, Wh, b, stateful=False):
        self.params = [Wx, Wh, b]
        self.grads = [np.zeros_like(p) for p in self.params]
        self.layers = None
        self.h, self.dh = None, None
        self.stateful = stateful

    def _start(self, state, xs):
        if self.stateful and state is not None:
            return state
        return np.zeros((xs.shape[0], self.params[1].shape[0]), np.float32)

    def _back(self, dhs):
        """Go from the last step to the first; `step` gives dz, the gradient of the h before it, and dWh."""
        Wx, Wh, _ = self.params
        totals = [np.zeros_like(p) for p in self.params]
        dxs = np.empty(self.xs.shape, np.float32)
        dh, self.dc = np.zeros_like(dhs[:, 0]), 0
        for t in range(self.xs.shape[1] - 1, -1, -1):
            dz, dh, dWh = self.step(t, dhs[:, t] + dh)
            for total, term in zip(totals, (self.xs[:, t].T @ dz, dWh, dz.sum(axis=0))):
                total += term
            dxs[:, t] = dz @ Wx.T
        self.dh = dh
        for grad, total in zip(self.grads, totals):
            grad[...] = total
        return dxs

    def backward(self, dhs):
        return self._back(dhs)


class TimeRNN(Recurrent):
    def forward(self, xs):
        Wx, Wh, b = self.params
        self.tape, self.xs = [self._start(self.h, xs)], xs
        for t in range(xs.shape[1]):
            self.tape.append(np.tanh(xs[:, t] @ Wx + self.tape[-1] @ Wh + b))
        self.h, self.layers = self.tape[-1], []
        return np.stack(self.tape[1:], axis=1).astype("f")

    def step(self, t, dh):
        dz = dh * (1 - self.tape[t + 1] * self.tape[t + 1])
        return dz, dz @ self.params[1].T, self.tape[t].T @ dz


class TimeLSTM(Recurrent):
    def __init__(self, Wx, Wh, b, stateful=False):
        super().__init__(Wx, Wh, b, stateful)
        self.c = None

    def forward(self, xs):
        Wx, Wh, b = self.params
        h, c = self._start(self.h, xs), self._start(self.c, xs)
        self.tape, self.xs, hs = [], xs, []
        for t in range(xs.shape[1]):
            f, g, i, o = np.split(xs[:, t] @ Wx + h @ Wh + b, 4, axis=1)
            f, g, i, o = logistic(f), np.tanh(g), logistic(i), logistic(o)
            after = f * c + g * i
            self.tape.append((h, c, f, g, i, o, after))
            h, c = o * np.tanh(after), after
            hs.append(h)
        self.h, self.c, self.layers = h, c, []
        return np.stack(hs, axis=1).astype("f")

    def step(self, t, dh):
        h, c, f, g, i, o, after = self.tape[t]
        squashed = np.tanh(after)
        dc = self.dc + dh * o * (1 - squashed * squashed)
        parts = dc * c * f * (1 - f), dc * i * (1 - g * g), dc * g * i * (1 - i), dh * squashed * o * (1 - o)
        dz = np.concatenate(parts, axis=1)
        self.dc = dc * f
        return dz, dz @ self.params[1].T, h.T @ dz


class TimeGRU(Recurrent):
    def forward(self, xs):
        Wx, Wh, b = self.params
        H = Wh.shape[0]
        h = self._start(self.h, xs)
        self.tape, self.xs, hs = [], xs, []
        for t in range(xs.shape[1]):
            a = xs[:, t] @ Wx + b
            gates = logistic(a[:, : 2 * H] + h @ Wh[:, : 2 * H])
            z, r = gates[:, :H], gates[:, H:]
            new = np.tanh(a[:, 2 * H :] + (r * h) @ Wh[:, 2 * H :])
            self.tape.append((h, z, r, new))
            h = h - z * h + z * new
            hs.append(h)
        self.h, self.layers = h, []
        return np.stack(hs, axis=1).astype("f")

    def step(self, t, dh):
        Wh = self.params[1]
        H = Wh.shape[0]
        h, z, r, new = self.tape[t]
        dnew = dh * z * (1 - new * new)
        through = dnew @ Wh[:, 2 * H :].T
        first = np.concatenate((dh * (new - h) * z * (1 - z), through * h * r * (1 - r)), axis=1)
        dWh = np.concatenate((h.T @ first, (r * h).T @ dnew), axis=1)
        before = dh * (1 - z) + through * r + first @ Wh[:, : 2 * H].T
        return np.concatenate((first, dnew), axis=1), before, dWh


class TimeEmbedding:
    def __init__(self, W):
        self.params, self.grads, self.W, self.layers = [W], [np.zeros_like(W)], W, None

    def forward(self, xs):
        self.xs, self.layers = xs, []
        return self.W[xs].astype("f")

    def backward(self, dout):
        total = 0
        for t in range(self.xs.shape[1]):
            step = np.zeros_like(self.W)
            np.add.at(step, self.xs[:, t], dout[:, t])
            total = total + step
        self.grads[0][...] = total


class Embedding:
    def __init__(self, W):
        self.params, self.grads, self.idx = [W], [np.zeros_like(W)], None

    def forward(self, idx):
        self.idx = idx
        return self.params[0][idx]

    def backward(self, dout):
        self.grads[0].fill(0)
        np.add.at(self.grads[0], self.idx, dout)


class TimeAffine:
    def __init__(self, W, b):
        self.params, self.grads, self.x = [W, b], [np.zeros_like(W), np.zeros_like(b)], None

    def forward(self, x):
        self.x = x
        rows = np.dot(x.reshape(-1, x.shape[-1]), self.params[0])
        return (rows + self.params[1]).reshape(*x.shape[:-1], -1)

    def backward(self, dout):
        x, terms = self.x.reshape(-1, self.x.shape[-1]), dout.reshape(-1, dout.shape[-1])
        self.grads[0][...] = np.dot(x.T, terms)
        self.grads[1][...] = terms.sum(axis=0)
        return np.dot(terms, self.params[0].T).reshape(self.x.shape)


class Affine(TimeAffine):
    pass


def softmax(x):
    if x.ndim not in (1, 2):
        return x
    powers = np.exp(x - np.max(x, axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


class TimeSoftmaxWithLoss:
    def __init__(self):
        self.params, self.grads, self.cache, self.ignore_label = [], [], None, -1

    def forward(self, xs, ts):
        N, T, V = xs.shape
        labels = (ts.argmax(axis=2) if ts.ndim == 3 else ts).reshape(-1)
        counts = labels != self.ignore_label
        ys = softmax(xs.reshape(-1, V))
        self.cache = (labels, ys, counts, (N, T, V))
        return -np.sum(np.log(ys[np.arange(N * T), labels]) * counts) / counts.sum()

    def backward(self, dout=1):
        labels, ys, counts, shape = self.cache
        ys[np.arange(len(ys)), labels] -= 1
        ys *= dout
        ys /= counts.sum()
        ys *= counts[:, None]
        return ys.reshape(shape)


class SoftmaxWithLoss:
    def __init__(self):
        self.params, self.grads, self.y, self.t = [], [], None, None

    def forward(self, x, t):
        self.y = softmax(x)
        self.t = t.argmax(axis=1) if t.size == x.size else t
        return -np.sum(np.log(self.y[np.arange(len(x)), self.t] + 1e-7)) / len(x)

    def backward(self, dout=1):
        return (self.y - np.eye(self.y.shape[1], dtype=self.y.dtype)[self.t]) * dout / len(self.y)


class SigmoidWithLoss:
    def __init__(self):
        self.params, self.grads, self.loss, self.y, self.t = [], [], None, None, None

    def forward(self, x, t):
        self.t, self.y = t, logistic(x)
        both = np.stack([1 - self.y, self.y], axis=1)
        self.loss = -np.sum(np.log(both[np.arange(len(x)), t] + 1e-7)) / len(x)
        return self.loss

    def backward(self, dout=1):
        return (self.y - self.t) * dout / len(self.t)


class TimeAttention:
    def __init__(self):
        self.params, self.grads, self.layers, self.attention_weights = [], [], None, None

    def forward(self, hs_enc, hs_dec):
        self.saved = hs_enc, hs_dec
        self.layers, self.attention_weights, out = [], [], np.empty_like(hs_dec)
        for t in range(hs_dec.shape[1]):
            a = softmax((hs_enc * hs_dec[:, t, None]).sum(axis=2))
            self.attention_weights.append(a)
            out[:, t] = (hs_enc * a[:, :, None]).sum(axis=1)
        return out

    def backward(self, dout):
        enc, dec = self.saved
        denc, ddec = 0, np.empty_like(dout)
        for t, a in enumerate(self.attention_weights):
            da = (dout[:, t, None] * enc).sum(axis=2)
            ds = a * (da - (a * da).sum(axis=1, keepdims=True))
            denc = denc + dout[:, t, None] * a[:, :, None] + ds[:, :, None] * dec[:, t, None]
            ddec[:, t] = (ds[:, :, None] * enc).sum(axis=1)
        return denc, ddec


class UnigramSampler:
    def __init__(self, corpus, power, sample_size):
        weights = np.bincount(corpus).astype(float) ** power
        self.sample_size, self.vocab_size, self.word_p = sample_size, len(weights), weights / np.sum(weights)

    def get_negative_sample(self, target):
        rows = np.zeros((len(target), self.sample_size), np.int32)
        for row, word in zip(rows, target):
            p = self.word_p.copy()
            p[word] = 0
            p /= p.sum()
            row[:] = np.random.choice(self.vocab_size, size=self.sample_size, replace=False, p=p)  # noqa: NPY002
        return rows


class SGD:
    def __init__(self, lr=0.01):
        self.lr = lr

    def update(self, params, grads):
        for i, grad in enumerate(grads):
            params[i] -= self.lr * grad


class Momentum:
    def __init__(self, lr=0.01, momentum=0.9):
        self.lr, self.momentum, self.v = lr, momentum, None

    def update(self, params, grads):
        self.v = self.v or [np.zeros_like(p) for p in params]
        for i, grad in enumerate(grads):
            self.v[i] = self.momentum * self.v[i] - self.lr * grad
            params[i] += self.v[i]


class Nesterov(Momentum):
    def update(self, params, grads):
        self.v = self.v or [np.zeros_like(p) for p in params]
        for i, grad in enumerate(grads):
            self.v[i] *= self.momentum
            self.v[i] -= self.lr * grad
            params[i] += self.momentum * self.momentum * self.v[i]
            params[i] -= (1 + self.momentum) * self.lr * grad


class AdaGrad(SGD):
    h = None

    def update(self, params, grads):
        self.h = self.h or [np.zeros_like(p) for p in params]
        for i, grad in enumerate(grads):
            self.h[i] += grad * grad
            params[i] -= self.lr * grad / (np.sqrt(self.h[i]) + 1e-7)


class RMSprop(AdaGrad):
    decay_rate = 0.99

    def update(self, params, grads):
        self.h = self.h or [np.zeros_like(p) for p in params]
        for i, grad in enumerate(grads):
            self.h[i] *= self.decay_rate
            self.h[i] += (1 - self.decay_rate) * grad * grad
            params[i] -= self.lr * grad / (np.sqrt(self.h[i]) + 1e-7)


class Adam:
    def __init__(self, lr=0.001, beta1=0.9, beta2=0.999):
        self.lr, self.beta1, self.beta2, self.iter, self.m, self.v = lr, beta1, beta2, 0, None, None

    def update(self, params, grads):
        self.m = self.m or [np.zeros_like(p) for p in params]
        self.v = self.v or [np.zeros_like(p) for p in params]
        self.iter += 1
        rate = self.lr * np.sqrt(1.0 - self.beta2**self.iter) / (1.0 - self.beta1**self.iter)
        for i, grad in enumerate(grads):
            self.m[i] += (1 - self.beta1) * (grad - self.m[i])
            self.v[i] += (1 - self.beta2) * (grad**2 - self.v[i])
            params[i] -= rate * self.m[i] / (np.sqrt(self.v[i]) + 1e-7)


def remove_duplicate(params, grads):
    params, grads = list(params), list(grads)
    for i in range(len(params)):
        j = i + 1
        while j < len(params):
            a, b = params[i], params[j]
            turned = a is not b and a.ndim == 2 and a.T.shape == b.shape and bool((b == a.T).all())
            if a is b or turned:
                grads[i] += grads[j].T if turned else grads[j]
                del params[j], grads[j]
            else:
                j += 1
    return params, grads


class RnnlmTrainer:
    def __init__(self, model, optimizer):
        self.time_idx = 0

    def get_batch(self, x, t, batch_size, time_size):
        batch = np.empty((2, batch_size, time_size), "i")
        for step in range(time_size):
            for i in range(batch_size):
                at = (i * (len(x) // batch_size) + self.time_idx) % len(x)
                batch[:, i, step] = x[at], t[at]
            self.time_idx += 1
        return batch[0], batch[1]


def clip_grads(grads, max_norm):
    norm = np.sqrt(sum(np.sum(grad**2) for grad in grads))
    if max_norm / (norm + 1e-6) < 1:
        for grad in grads:
            grad *= max_norm / (norm + 1e-6)


def convert_one_hot(corpus, vocab_size):
    return np.eye(vocab_size, dtype=np.int32)[corpus]


def create_co_matrix(corpus, vocab_size, window_size=1):
    counts = np.zeros((vocab_size, vocab_size), np.int32)
    for here, word in enumerate(corpus):
        for there in range(here - window_size, here + window_size + 1):
            if there != here and 0 <= there < len(corpus):
                counts[word, corpus[there]] += 1
    return counts


def create_contexts_target(corpus, window_size=1):
    places = range(window_size, len(corpus) - window_size)
    around = [k for k in range(-window_size, window_size + 1) if k != 0]
    contexts = [[corpus[i + k] for k in around] for i in places]
    return np.array(contexts), np.array([corpus[i] for i in places])


def ppmi(C, verbose=False, eps=1e-8):
    M = np.zeros_like(C, dtype=np.float32)
    S = C.sum(axis=0)
    for (i, j), count in np.ndenumerate(C):
        M[i, j] = max(0, np.log2(count * C.sum() / (S[j] * S[i]) + eps))
    return M


def most_similar(query, word_to_id, id_to_word, word_matrix, top=5):
    def unit(x):
        return x / (np.sqrt(np.sum(x**2)) + 1e-8)

    print("\n[query] " + query)
    nearness = np.zeros(len(id_to_word))
    for i in range(len(nearness)):
        nearness[i] = np.dot(unit(word_matrix[i]), unit(word_matrix[word_to_id[query]]))
    for i in [i for i in np.argsort(-nearness) if id_to_word[i] != query][:top]:
        print(f" {id_to_word[i]}: {nearness[i]}")
