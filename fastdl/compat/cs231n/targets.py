"""Which functions of the assignments are recognised, and what serves them.

The fast layers are the course's own, the same in all years; the other fingerprints are of one published set
of solutions. Where a cache holds what the course's template puts into it, forward and backward are served
each alone; where it does not, together.
"""

from __future__ import annotations

from typing import Any

from ..target import Target

_CONV = frozenset({"stride", "pad"})
_POOL = frozenset({"pool_height", "pool_width", "stride"})
_SEQUENCE = frozenset({"N", "T", "W", "D", "H", "cache0"})
_RMSPROP = frozenset({"learning_rate", "epsilon", "decay_rate", "cache"})
_ADAM = frozenset({"learning_rate", "epsilon", "beta1", "beta2", "m", "v", "t"})


def _target(name: str, fast: str | None, *fingerprints: str, **options: Any) -> Target:
    return Target(name, "cs231n", fast=fast, fingerprints=frozenset(fingerprints), **options)


def _pair(
    forward: str,
    backward: str,
    fast: tuple[str, str],
    fingerprints: tuple[tuple[str, ...], tuple[str, ...]],
    **options: Any,
) -> tuple[Target, Target]:
    return (
        _target(forward, fast[0], *fingerprints[0], partner=backward, **options),
        _target(backward, fast[1], *fingerprints[1], partner=forward, **options),
    )


_NAIVE = (
    _target(
        "conv_forward_naive",
        "layers:conv_forward_naive",
        "d3fe78c2a20106ed",
        by_name=True,
        keys=_CONV,
        sample="samples:conv_forward",
    ),
    _target(
        "conv_backward_naive",
        "layers:conv_backward_naive",
        "a7ff2ce9f72b31cf",
        by_name=True,
        keys=_CONV,
        sample="samples:conv_backward",
    ),
    _target(
        "max_pool_forward_naive",
        "layers:max_pool_forward_naive",
        "d7d8efed8046c21b",
        exact="exact:max_pool_forward_naive",
        by_name=True,
        keys=_POOL,
        sample="samples:pool_forward",
    ),
    _target(
        "max_pool_backward_naive",
        "layers:max_pool_backward_naive",
        by_name=True,
        keys=_POOL,
        sample="samples:pool_backward",
    ),
)

_FAST = (
    *_pair(
        "conv_forward_strides",
        "conv_backward_strides",
        ("fast_layers:conv_forward_strides", "fast_layers:conv_backward_strides"),
        (("2ba3f02ba5bf4fd5", "f3fdbf6a8c0b533f"), ("c103bb77038d7a2a", "178f381a3982088a")),
        by_name=True,
        keys=_CONV,
        batch=("x",),
    ),
    *_pair(
        "conv_forward_im2col",
        "conv_backward_im2col",
        ("fast_layers:conv_forward_im2col", "fast_layers:conv_backward_im2col"),
        (("c085208ef9b5fc73", "147c98edb20b4267"), ("0ae70017ac06406a", "e94bf9d7a8f4d601")),
        by_name=True,
        keys=_CONV,
        batch=("x",),
    ),
    _target(
        "max_pool_forward_reshape",
        "fast_layers:max_pool_forward_reshape",
        *("cbede60617ffa5e4", "d38d25e1b1d5d144"),
        exact="exact:max_pool_forward_reshape",
        by_name=True,
        keys=_POOL,
        batch=("x",),
    ),
    _target(
        "max_pool_backward_reshape",
        "fast_layers:max_pool_backward_reshape",
        *("3aec563805fbc689", "aa56a0fd2f3b17df"),
        exact="exact:max_pool_backward_reshape",
        by_name=True,
        sample="samples:tied_backward",
    ),
    *_pair(
        "max_pool_forward_im2col",
        "max_pool_backward_im2col",
        ("fast_layers:max_pool_forward_im2col", "fast_layers:max_pool_backward_im2col"),
        ((), ()),
        by_name=True,
        keys=_POOL,
        sample="samples:tied",
    ),
    _target(
        "im2col_indices", "im2col:im2col_indices", exact="exact:im2col_indices", by_name=True, batch=("x",)
    ),
    _target("col2im_indices", "im2col:col2im_indices", exact="exact:col2im_indices", by_name=True),
)

_LAYERS = (
    _target(
        "relu_backward",
        "layers:relu_backward",
        *("5631222bd4346b1c", "1c28b9e6f832c365"),
        by_name=True,
        batch=("dout", "cache"),
    ),
    _target("softmax_loss", "layers:softmax_loss", by_name=True, sample="samples:scores"),
)

_RECURRENT = (
    *_pair(
        "rnn_forward",
        "rnn_backward",
        ("published:rnn_forward", "rnn_layers:rnn_backward"),
        (("9ece6de0cec4537b",), ("88109a250ba50e5f",)),
    ),
    *_pair(
        "rnn_forward",
        "rnn_backward",
        ("rnn_layers:rnn_forward", "rnn_layers:rnn_backward"),
        ((), ()),
        by_name=True,
        keys=_SEQUENCE,
    ),
    *_pair(
        "rnn_forward",
        "rnn_backward",
        ("rnn_layers:rnn_forward_wide", "rnn_layers:rnn_backward"),
        ((), ()),
        by_name=True,
        keys=_SEQUENCE,
    ),
    *_pair(
        "lstm_forward",
        "lstm_backward",
        ("published:lstm_forward", "rnn_layers:lstm_backward"),
        (("e9c368dcdea408e9", "e1657bdb553dc3d7"), ("7549a18ca83810f4", "5ac0bedc2a01bf2f")),
    ),
    *_pair(
        "lstm_forward",
        "lstm_backward",
        ("rnn_layers:lstm_forward", "rnn_layers:lstm_backward"),
        ((), ()),
        by_name=True,
        keys=_SEQUENCE,
    ),
    *_pair(
        "lstm_forward",
        "lstm_backward",
        ("rnn_layers:lstm_forward_wide", "rnn_layers:lstm_backward"),
        ((), ()),
        by_name=True,
        keys=_SEQUENCE,
    ),
    *_pair(
        "gru_forward",
        "gru_backward",
        ("gru_layers:gru_forward", "gru_layers:gru_backward"),
        (("dc112448188123e5",), ("a4f6837905854134",)),
    ),
    _target(
        "temporal_softmax_loss",
        "rnn_layers:temporal_softmax_loss",
        *("f40fc29142a34b47", "cf0866ecb364d6ed"),
        by_name=True,
        sample="samples:sequence_scores",
    ),
    _target(
        "softmax_loss_mask",
        "layers:softmax_loss_mask",
        "f96eac93b0797555",
    ),
    _target(
        "word_embedding_backward",
        "rnn_layers:word_embedding_backward",
        "4cd20eea0d4131a2",
        exact="exact:word_embedding_backward",
        by_name=True,
    ),
)

_RULES = (
    *(
        _target("rmsprop", f"optim:{fast}", by_name=True, keys=_RMSPROP, sample="samples:rule")
        for fast in ("rmsprop", "rmsprop_in_place", "rmsprop_unfilled")
    ),
    *(
        _target("adam", f"optim:{fast}", by_name=True, keys=_ADAM, sample="samples:rule")
        for fast in ("adam", "adam_in_place", "adam_unfilled", "adam_hat_in_place")
    ),
    _target("rmsprop", "published:rmsprop", "a7e0d1c830c1ba0f", sample="samples:rule"),
    _target("adam", "published:adam", "a0e8a40bb4c6491c", sample="samples:rule"),
    _target("adam", "published:adam_hat", "a7cc7398178cfd38"),
)

_FIRST = (
    _target(
        "svm_loss_naive",
        "classifiers.linear_svm:svm_loss_naive",
        "1937532504e11328",
        by_name=True,
        sample="samples:linear_loss",
    ),
    _target(
        "softmax_loss_naive",
        "classifiers.softmax:softmax_loss_naive",
        "8796e7f624c55640",
        by_name=True,
        sample="samples:linear_loss",
    ),
    _target(
        "KNearestNeighbor",
        "classifiers.k_nearest_neighbor:KNearestNeighbor",
        "9d0fef8d0b2fca3e",
        by_name=True,
        methods=("compute_distances_two_loops",),
        sample="samples:queries",
    ),
)

TARGETS: tuple[Target, ...] = (*_NAIVE, *_FAST, *_LAYERS, *_RECURRENT, *_RULES, *_FIRST)
