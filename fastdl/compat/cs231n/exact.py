"""What gives the original's bits: data that is moved and selected, and sums in the original's order.

Convolutions are not here: what the course's are made of, products and the matrix of patches, is NumPy's in
either case, and nothing that moves the same bytes is faster.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..inputs import in_order
from ..tier import Unserved
from . import fast_layers, layers, rnn_layers
from .arrays import Array
from .im2col import col2im_indices, im2col_indices

__all__ = [
    "col2im_indices",
    "im2col_indices",
    "max_pool_backward_reshape",
    "max_pool_forward_naive",
    "max_pool_forward_reshape",
    "word_embedding_backward",
]

max_pool_backward_reshape = fast_layers.max_pool_backward_reshape


def max_pool_forward_naive(x: Any, pool_param: Any) -> tuple[Array, tuple[Any, Any]]:
    """Take the largest value of each window of x (N, C, H, W)."""
    return _unambiguous(x, layers.max_pool_forward_naive(x, pool_param))


def max_pool_forward_reshape(x: Any, pool_param: Any) -> tuple[Array, tuple[Array, Array, Array]]:
    """Take the largest value of each window of x (N, C, H, W), the windows being square and side by side."""
    return _unambiguous(x, fast_layers.max_pool_forward_reshape(x, pool_param))


def word_embedding_backward(dout: Any, cache: Any) -> Array:
    """Return the gradient of W (V, D) from that of the words (N, T, D), summed in their order."""
    if cache[1].dtype != dout.dtype:
        raise Unserved("words in another dtype, to which each sum is rounded")
    in_order()
    return rnn_layers.word_embedding_backward(dout, cache)


def _unambiguous(x: Array, result: tuple[Array, Any]) -> tuple[Array, Any]:
    """Refuse what has several largest values that differ in their bits: 0.0 and -0.0, and kinds of NaN."""
    bits = np.int64 if x.dtype == np.float64 else np.int32
    if not x.flags.c_contiguous or (x.view(bits) == np.iinfo(bits).min).any() or np.isnan(result[0]).any():
        raise Unserved("a view, -0.0 or NaN")
    return result
