"""An LSTM and the plain recurrence, step by step."""

from __future__ import annotations

from typing import Any

import numpy as np

from .pointwise import sigmoid


def lstm_forward(
    x: np.ndarray, h: np.ndarray, c: np.ndarray, w_x: np.ndarray, w_h: np.ndarray, b: np.ndarray
) -> tuple[np.ndarray, Any]:
    hs, steps = np.empty((*x.shape[:2], h.shape[1]), x.dtype), []
    for t in range(x.shape[1]):
        i, f, g, o = np.split(x[:, t] @ w_x + h @ w_h + b, 4, axis=1)
        i, f, g, o = sigmoid(i), sigmoid(f), np.tanh(g), sigmoid(o)
        steps.append((h, c, i, f, g, o))
        c = f * c + i * g
        h = hs[:, t] = o * np.tanh(c)
    return hs, (x, w_x, w_h, steps)


def lstm_backward(dhs: np.ndarray, cache: Any) -> tuple[np.ndarray, ...]:
    x, w_x, w_h, steps = cache
    dx, dw_x, dw_h, db = np.empty_like(x), np.zeros_like(w_x), np.zeros_like(w_h), np.zeros_like(w_x[0])
    dh, dc = np.zeros_like(dhs[:, 0]), np.zeros_like(dhs[:, 0])
    for t in reversed(range(x.shape[1])):
        h, c, i, f, g, o = steps[t]
        dh = dh + dhs[:, t]
        tanh_c = np.tanh(f * c + i * g)
        dc = dc + dh * o * (1 - tanh_c**2)
        di, df = dc * g * i * (1 - i), dc * c * f * (1 - f)
        dg, do = dc * i * (1 - g**2), dh * tanh_c * o * (1 - o)
        dz = np.concatenate([di, df, dg, do], axis=1)
        dx[:, t], dh, dc = dz @ w_x.T, dz @ w_h.T, dc * f
        dw_x, dw_h, db = dw_x + x[:, t].T @ dz, dw_h + h.T @ dz, db + dz.sum(0)
    return dx, dh, dc, dw_x, dw_h, db


def lstm(
    x: np.ndarray, h: np.ndarray, c: np.ndarray, w_x: np.ndarray, w_h: np.ndarray, b: np.ndarray
) -> np.ndarray:
    return lstm_forward(x, h, c, w_x, w_h, b)[0]


def rnn_forward(
    x: np.ndarray, h: np.ndarray, w_x: np.ndarray, w_h: np.ndarray, b: np.ndarray
) -> tuple[np.ndarray, Any]:
    hs, before = np.empty((*x.shape[:2], h.shape[1]), x.dtype), []
    for t in range(x.shape[1]):
        before.append(h)
        h = hs[:, t] = np.tanh(x[:, t] @ w_x + h @ w_h + b)
    return hs, (x, hs, w_x, w_h, before)


def rnn_backward(dhs: np.ndarray, cache: Any) -> tuple[np.ndarray, ...]:
    x, hs, w_x, w_h, before = cache
    dx, dw_x, dw_h, db = np.empty_like(x), np.zeros_like(w_x), np.zeros_like(w_h), np.zeros_like(w_x[0])
    dh = np.zeros_like(dhs[:, 0])
    for t in reversed(range(x.shape[1])):
        dz = (dh + dhs[:, t]) * (1 - hs[:, t] ** 2)
        dx[:, t], dh = dz @ w_x.T, dz @ w_h.T
        dw_x, dw_h, db = dw_x + x[:, t].T @ dz, dw_h + before[t].T @ dz, db + dz.sum(0)
    return dx, dh, dw_x, dw_h, db


def rnn(x: np.ndarray, h: np.ndarray, w_x: np.ndarray, w_h: np.ndarray, b: np.ndarray) -> np.ndarray:
    return rnn_forward(x, h, w_x, w_h, b)[0]


OPERATIONS = {"lstm": (lstm, lstm_forward, lstm_backward), "rnn": (rnn, rnn_forward, rnn_backward)}
