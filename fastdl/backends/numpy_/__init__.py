"""Every primitive in vectorised NumPy: complete, always importable, and able to train a small network.

# Design:
# (a) Same names and families as `naive`, which defines what each must compute.
# (b) Python loops run over kernel taps or blocks of a bounded size, never over images, channels or pixels.
# (c) A NaN meets a weight of zero only where the specification multiplies the two: windows are sliced, never
#     gathered by a product with a matrix of zeros and ones.
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
