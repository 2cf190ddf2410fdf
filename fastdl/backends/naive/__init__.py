"""The specification: every primitive as plain loops, one product or one element at a time.

Slow on purpose. It defines what the other engines must compute, and it is the bottom rung of the benchmarks.

# Design:
# (a) One name per family, as in every folder. An engine is this module: the names below.
# (b) Sums run in the array's dtype, in ascending order of the index; the bias comes last.
# (c) Functions of one number (exp, log, erf ...) are computed in double precision and rounded once.
"""

from .conv import CONV_ALGORITHMS, col2im, conv_algorithm, conv_dw, conv_dx, conv_fwd, im2col
from .dense import bias_grad, gemm
from .embedding import gather, outside, scatter_add
from .loss import loss_bwd, loss_fwd, loss_sum, softmax_bwd, softmax_fwd, softmax_xent_bwd, softmax_xent_fwd
from .norm import norm_apply, norm_bwd, norm_fwd, norm_stats
from .optimizer import update
from .pointwise import (
    act_bwd,
    act_fwd,
    dropout_bwd,
    dropout_fwd,
    gate_bwd,
    gate_fwd,
    prelu_bwd,
    prelu_fwd,
)
from .pool import (
    avgpool_bwd,
    avgpool_fwd,
    conv_dw_pooled,
    maxpool_bwd,
    maxpool_fwd,
    maxpool_gated,
    maxpool_share,
    upsample_bwd,
    upsample_fwd,
)
from .recurrent import rnn_bwd, rnn_fwd

__all__ = [
    "CONV_ALGORITHMS",
    "act_bwd",
    "act_fwd",
    "avgpool_bwd",
    "avgpool_fwd",
    "bias_grad",
    "col2im",
    "conv_algorithm",
    "conv_dw",
    "conv_dw_pooled",
    "conv_dx",
    "conv_fwd",
    "dropout_bwd",
    "dropout_fwd",
    "gate_bwd",
    "gate_fwd",
    "gather",
    "gemm",
    "im2col",
    "loss_bwd",
    "loss_fwd",
    "loss_sum",
    "maxpool_bwd",
    "maxpool_fwd",
    "maxpool_gated",
    "maxpool_share",
    "norm_apply",
    "norm_bwd",
    "norm_fwd",
    "norm_stats",
    "outside",
    "prelu_bwd",
    "prelu_fwd",
    "rnn_bwd",
    "rnn_fwd",
    "scatter_add",
    "softmax_bwd",
    "softmax_fwd",
    "softmax_xent_bwd",
    "softmax_xent_fwd",
    "update",
    "upsample_bwd",
    "upsample_fwd",
]
