"""Attention of decoder states to encoder states: a softmax over their products, and the mean it gives.

The steps of a decoder do not depend on each other here: all of them are two batched products.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..tier import Unserved, recall, remember
from .arrays import Array, engine, ready, working

__all__ = ["TimeAttention"]


class TimeAttention:
    """Attention at each step of a decoder."""

    def __init__(self) -> None:
        self.params: list[Array] = []
        self.grads: list[Array] = []
        self.layers: Any = None
        self.attention_weights: Any = None

    def forward(self, hs_enc: Array, hs_dec: Array) -> Array:
        """Return contexts (N, T, H) of states hs_enc (N, S, H) and hs_dec (N, T, H).

        `attention_weights` holds the weights (N, S) of each step.
        """
        dtype = working(hs_enc, hs_dec)
        if hs_enc.ndim != 3 or hs_dec.ndim != 3 or not hs_enc.size or not hs_dec.size:
            raise Unserved("not (N, S, H) and (N, T, H)")
        if hs_enc.shape[::2] != hs_dec.shape[::2]:
            raise Unserved("encoder and decoder do not fit together")
        enc, dec = ready(hs_enc, dtype), ready(hs_dec, dtype)
        scores = np.matmul(dec, enc.transpose(0, 2, 1))
        sources = scores.shape[2]
        weights = engine().softmax_fwd(scores, scores.size // sources, sources, 1)
        out = np.matmul(weights, enc)
        self.layers = []
        self.attention_weights = list(weights.transpose(1, 0, 2).copy())
        remember(self, (enc, dec, weights))
        return out.astype(hs_dec.dtype, copy=False)

    def backward(self, dout: Array) -> tuple[Array, Array]:
        """Return (dhs_enc, dhs_dec)."""
        enc, dec, weights = recall(self)
        dtype = working(dout, weights)
        if dout.shape != dec.shape:
            raise Unserved("not the shape that went out")
        if dtype != weights.dtype:
            enc, dec, weights = (array.astype(dtype) for array in (enc, dec, weights))
        dout_ = ready(dout, dtype)
        sources = weights.shape[2]
        dweights = np.matmul(dout_, enc.transpose(0, 2, 1))
        dscores = engine().softmax_bwd(dweights, weights, weights.size // sources, sources, 1)
        dhs_enc = np.matmul(weights.transpose(0, 2, 1), dout_)
        dhs_enc += np.matmul(dscores.transpose(0, 2, 1), dec)
        return dhs_enc, np.matmul(dscores, enc).astype(dout.dtype, copy=False)
