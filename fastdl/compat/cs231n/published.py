"""What one published set of solutions does in its own way: other parameters, other settings."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..tier import Unserved
from . import rnn_layers
from .arrays import Array
from .optim import adam_hat_in_place, checked, remembered, stepped
from .recurrence import Sequence

__all__ = ["adam", "adam_hat", "lstm_forward", "rmsprop", "rnn_forward"]


def rnn_forward(x: Any, h0: Any, Wx: Any, Wh: Any, bh: Any) -> tuple[Array, Sequence]:
    """Return what `rnn_layers.rnn_forward` returns."""
    return rnn_layers.rnn_forward(x, h0, Wx, Wh, bh)


def lstm_forward(x: Any, h0: Any, Wx: Any, Wh: Any, bh: Any) -> tuple[Array, Sequence]:
    """Return what `rnn_layers.lstm_forward` returns."""
    return rnn_layers.lstm_forward(x, h0, Wx, Wh, bh)


def rmsprop(w: Any, dw: Any, config: Any = None) -> tuple[Array, Any]:
    """Do the step of `optim.rmsprop`, putting no settings into config."""
    dw = checked(w, dw)
    config = {} if config is None else config
    cache = remembered(config, "cache", w)
    rate, decay, eps = _settings(config, learning_rate=1e-3, decay_rate=0.99, eps=1e-8)
    next_w = stepped(np.array(w, order="C"), dw, np.zeros_like(w), cache, (rate, 0.0, decay, eps))
    config["cache"] = cache
    return next_w, config


def adam(w: Any, dw: Any, config: Any = None) -> tuple[Array, Any]:
    """Do the step of `optim.adam`, counting from 2 and putting no settings into config."""
    dw = checked(w, dw)
    if w.dtype != np.float64:
        raise Unserved("float32, of which the count in an unsigned integer makes float64")
    config = {} if config is None else config
    m, v = (remembered(config, key, w) for key in ("m", "v"))
    t = config.get("t", np.uint32(1)) + 1
    rate, beta1, beta2, eps = _settings(config, learning_rate=1e-3, beta1=0.9, beta2=0.999, eps=1e-8)
    root = math.sqrt(1 - beta2 ** int(t))
    hyper = (rate * root / (1 - beta1 ** int(t)), beta1, beta2, eps * root)
    next_w = stepped(np.array(w, order="C"), dw, m, v, hyper)
    config["v"], config["m"], config["t"] = v, m, t
    return next_w, config


def adam_hat(x: Any, dx: Any, config: Any = None) -> tuple[Array, Any]:
    """Return what `optim.adam_hat_in_place` returns."""
    return adam_hat_in_place(x, dx, config)


def _settings(config: Any, **defaults: float) -> list[float]:
    return [config.get(key, value) for key, value in defaults.items()]
