"""The compiled engine: allocates the outputs and calls the kernels. `naive` says what each name means.

# Design: no arithmetic here. Activations, losses and update rules become numbers, by their order in
# `shapes`; how many threads a call may use is looked up at the call. Importing this module makes the
# thread pool known to threadpoolctl, if that is installed, so that it does not matter which of the
# two a program imports first.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from .. import shapes, shapes_recurrent
from ..config import current
from ..shapes import CONV_ALGORITHMS

try:
    from ._native import RecycledMemory as RecycledMemory
    from ._native import common_dtype as common_dtype
    from ._native import empty, empty_as
    from ._native import isa as isa
    from ._native import set_num_threads as set_num_threads
except ModuleNotFoundError as error:
    raise ImportError(
        "fastdl is installed without its compiled extension, fastdl.backends._native: either it was left out "
        "(FASTDL_NO_EXT=1) or no C compiler could build it (pip install -v shows why)"
    ) from error
from . import _native, thread_control

if TYPE_CHECKING:
    from ..shapes import ConvPlan, PoolPlan, Updated
    from ..shapes_norm import NormPlan
    from ..shapes_recurrent import RecurrentPlan, Saved
    from ..shapes_upsample import UpsamplePlan

_BOOL, _UINT8, _INT32 = np.dtype(bool), np.dtype(np.uint8), np.dtype(np.int32)
_ACTIVATION = {name: code for code, name in enumerate(shapes.ACTIVATIONS)}
_LOSS = {name: code for code, name in enumerate(shapes.LOSSES)}
_RECURRENCE = {name: code for code, name in enumerate(shapes_recurrent.RECURRENCES)}
_UPDATE = {name: code for code, name in enumerate(shapes.UPDATES)}


def num_threads() -> int:
    """The number of threads that a call made here and now may use."""
    return _native.num_threads(current().threads)


def gemm(
    a: np.ndarray,
    b: np.ndarray,
    bias: np.ndarray | None = None,
    activation: str = "linear",
    alpha: float = 0.0,
    trans_a: bool = False,
    trans_b: bool = False,
    scale: np.ndarray | None = None,
    out: np.ndarray | None = None,
) -> np.ndarray:
    m, k = a.shape
    if trans_a:
        m, k = k, m
    n = b.shape[0 if trans_b else 1]
    c = empty((m, n), a) if out is None else out
    code, threads = _ACTIVATION[activation], current().threads
    _native.gemm(c, a, b, bias, scale, m, n, k, trans_a, trans_b, code, alpha, threads)
    return c


def _strict() -> bool:
    """Whether every product of a convolution is to be computed."""
    return current().precision == "strict"


def conv_fwd(
    x: np.ndarray,
    w: np.ndarray,
    b: np.ndarray | None,
    plan: ConvPlan,
    activation: str = "linear",
    alpha: float = 0.0,
    scale: np.ndarray | None = None,
) -> np.ndarray:
    y = empty(plan.y_shape, x)
    _native.conv_fwd(y, x, w, b, scale, plan, _ACTIVATION[activation], alpha, _strict(), current().threads)
    return y


def conv_dx(
    dy: np.ndarray,
    w: np.ndarray,
    b: np.ndarray | None,
    plan: ConvPlan,
    activation: str = "linear",
    alpha: float = 0.0,
    scale: np.ndarray | None = None,
) -> np.ndarray:
    dx = empty(plan.x_shape, dy)
    _native.conv_dx(dx, dy, w, b, scale, plan, _ACTIVATION[activation], alpha, _strict(), current().threads)
    return dx


def conv_dw(dy: np.ndarray, x: np.ndarray, plan: ConvPlan, out: np.ndarray | None = None) -> np.ndarray:
    dw = empty(plan.w_shape, x) if out is None else out
    _native.conv_dw(dw, dy, x, plan, _strict(), current().threads)
    return dw


def conv_dw_pooled(
    dy: np.ndarray,
    index: np.ndarray,
    x: np.ndarray,
    plan: ConvPlan,
    pool: PoolPlan,
    out: np.ndarray | None = None,
) -> np.ndarray:
    dw = empty(plan.w_shape, x) if out is None else out
    _native.conv_dw_pooled(dw, dy, index, x, plan, pool, _strict(), current().threads)
    return dw


def conv_algorithm(primitive: str, plan: ConvPlan, dtype: np.dtype) -> str:
    return CONV_ALGORITHMS[_native.conv_algorithm(primitive, dtype == np.float64, plan, _strict())]


def bias_grad(dy: np.ndarray, outer: int, channels: int, inner: int) -> np.ndarray:
    db = empty((channels,), dy)
    _native.bias_grad(db, dy, outer, channels, inner, current().threads)
    return db


def maxpool_fwd(
    x: np.ndarray, plan: PoolPlan, want_index: bool = True
) -> tuple[np.ndarray, np.ndarray | None]:
    y, index = empty(plan.y_shape, x), _index(plan) if want_index else None
    _native.maxpool_fwd(y, index, x, plan, current().threads)
    return y, index


def _index(plan: PoolPlan) -> np.ndarray:
    return empty(plan.y_shape, _UINT8 if math.prod(plan.size) <= 256 else _INT32)


def maxpool_gated(x: np.ndarray, plan: PoolPlan) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    y, index, closed = empty(plan.y_shape, x), _index(plan), empty(plan.x_shape, _BOOL)
    _native.maxpool_gated(y, index, closed, x, plan, current().threads)
    return y, index, closed


def maxpool_bwd(dy: np.ndarray, index: np.ndarray, plan: PoolPlan) -> np.ndarray:
    dx = empty(plan.x_shape, dy)
    _native.maxpool_bwd(dx, dy, index, plan, current().threads)
    return dx


def maxpool_share(dy: np.ndarray, x: np.ndarray, y: np.ndarray, plan: PoolPlan) -> np.ndarray:
    dx = empty(plan.x_shape, dy)
    _native.maxpool_share(dx, dy, x, y, plan, current().threads)
    return dx


def avgpool_fwd(x: np.ndarray, plan: PoolPlan) -> np.ndarray:
    y = empty(plan.y_shape, x)
    _native.avgpool_fwd(y, x, plan, current().threads)
    return y


def avgpool_bwd(dy: np.ndarray, plan: PoolPlan) -> np.ndarray:
    dx = empty(plan.x_shape, dy)
    _native.avgpool_bwd(dx, dy, plan, current().threads)
    return dx


def upsample_fwd(x: np.ndarray, plan: UpsamplePlan) -> np.ndarray:
    y = empty(plan.y_shape, x)
    _native.upsample_fwd(y, x, plan, current().threads)
    return y


def upsample_bwd(dy: np.ndarray, plan: UpsamplePlan) -> np.ndarray:
    dx = empty(plan.x_shape, dy)
    _native.upsample_bwd(dx, dy, plan, current().threads)
    return dx


def im2col(x: np.ndarray, plan: ConvPlan) -> np.ndarray:
    cols = empty(shapes.columns_shape(plan), x)
    _native.im2col(cols, x, plan, current().threads)
    return cols


def col2im(cols: np.ndarray, plan: ConvPlan) -> np.ndarray:
    dx = empty(plan.x_shape, cols)
    _native.col2im(dx, cols, plan, current().threads)
    return dx


def act_fwd(x: np.ndarray, kind: str, alpha: float = 0.0) -> np.ndarray:
    y = empty_as(x)
    _native.act_fwd(y, x, x.size, _ACTIVATION[kind], alpha, current().threads)
    return y


def act_bwd(dy: np.ndarray, saved: np.ndarray, kind: str, alpha: float = 0.0) -> np.ndarray:
    dx = empty_as(dy)
    _native.act_bwd(dx, dy, saved, dy.size, _ACTIVATION[kind], alpha, current().threads)
    return dx


def prelu_fwd(x: np.ndarray, slope: np.ndarray, outer: int, channels: int, inner: int) -> np.ndarray:
    y = empty_as(x)
    _native.prelu_fwd(y, x, slope, outer, channels, inner, current().threads)
    return y


def prelu_bwd(
    dy: np.ndarray, x: np.ndarray, slope: np.ndarray, outer: int, channels: int, inner: int
) -> tuple[np.ndarray, np.ndarray]:
    dx = empty_as(x)
    dslope = empty_as(slope)
    _native.prelu_bwd(dx, dslope, dy, x, slope, outer, channels, inner, current().threads)
    return dx, dslope


def softmax_fwd(
    x: np.ndarray, outer: int, n: int, inner: int, log: bool = False, out: np.ndarray | None = None
) -> np.ndarray:
    y = empty_as(x) if out is None else out
    _native.softmax_fwd(y, x, outer, n, inner, log, current().threads)
    return y


def softmax_bwd(
    dy: np.ndarray, y: np.ndarray, outer: int, n: int, inner: int, log: bool = False
) -> np.ndarray:
    dx = empty_as(dy)
    _native.softmax_bwd(dx, dy, y, outer, n, inner, log, current().threads)
    return dx


def dropout_fwd(x: np.ndarray, noise: np.ndarray, rate: float) -> tuple[np.ndarray, np.ndarray]:
    y, mask = empty_as(x), empty(x.shape, _UINT8)
    _native.dropout_fwd(y, mask, x, noise, x.size, rate, current().threads)
    return y, mask


def dropout_bwd(dy: np.ndarray, mask: np.ndarray, rate: float) -> np.ndarray:
    dx = empty_as(dy)
    _native.dropout_bwd(dx, dy, mask, dy.size, rate, current().threads)
    return dx


def gate_fwd(x: np.ndarray, want_y: bool = True) -> tuple[np.ndarray | None, np.ndarray]:
    y, closed = empty_as(x) if want_y else None, empty(x.shape, _BOOL)
    _native.gate_fwd(y, closed, x, x.size, current().threads)
    return y, closed


def gate_bwd(dy: np.ndarray, closed: np.ndarray) -> None:
    _native.gate_bwd(dy, closed, dy.size, current().threads)


def softmax_xent_fwd(
    logits: np.ndarray, target: np.ndarray, smoothing: float = 0.0, want_probs: bool = True
) -> tuple[np.ndarray, np.ndarray | None]:
    rows, n = logits.shape
    losses = empty((rows,), logits)
    probs = empty_as(logits) if want_probs else None
    _native.softmax_xent_fwd(
        losses, probs, logits, *_labels_or_target(target), smoothing, rows, n, current().threads
    )
    return losses, probs


def softmax_xent_bwd(
    probs: np.ndarray, target: np.ndarray, scale: np.ndarray, smoothing: float = 0.0
) -> np.ndarray:
    dlogits, sides, (rows, n) = empty_as(probs), _labels_or_target(target), probs.shape
    _native.softmax_xent_bwd(dlogits, probs, *sides, scale, smoothing, rows, n, current().threads)
    return dlogits


def _labels_or_target(target: np.ndarray) -> tuple[np.ndarray | None, np.ndarray | None]:
    """The two arguments, class numbers and distribution, one of which the kernels expect."""
    return (target, None) if target.ndim == 1 else (None, target)


def loss_fwd(pred: np.ndarray, target: np.ndarray, kind: str, param: float = 0.0) -> np.ndarray:
    loss = empty_as(pred)
    _native.loss_fwd(loss, pred, target, pred.size, _LOSS[kind], param, current().threads)
    return loss


def loss_bwd(pred: np.ndarray, target: np.ndarray, kind: str, param: float = 0.0) -> np.ndarray:
    dpred = empty_as(pred)
    _native.loss_bwd(dpred, pred, target, pred.size, _LOSS[kind], param, current().threads)
    return dpred


def loss_sum(pred: np.ndarray, target: np.ndarray | None, kind: str, param: float = 0.0) -> float:
    code = 0 if target is None else _LOSS[kind]
    return _native.loss_sum(pred, target, pred.size, code, param, current().threads)


def norm_stats(x: np.ndarray, plan: NormPlan) -> tuple[np.ndarray, np.ndarray]:
    mean = empty((plan.blocks * plan.groups,), x)
    var = empty_as(mean)
    _native.norm_stats(mean, var, x, plan, current().threads)
    return mean, var


def norm_apply(
    x: np.ndarray,
    mean: np.ndarray,
    var: np.ndarray,
    gamma: np.ndarray,
    beta: np.ndarray,
    plan: NormPlan,
    activation: str = "linear",
    alpha: float = 0.0,
) -> np.ndarray:
    y, code = empty(plan.shape, x), _ACTIVATION[activation]
    _native.norm_apply(y, x, mean, var, gamma, beta, plan, code, alpha, current().threads)
    return y


def norm_fwd(
    x: np.ndarray,
    gamma: np.ndarray,
    beta: np.ndarray,
    plan: NormPlan,
    activation: str = "linear",
    alpha: float = 0.0,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    y, mean = empty_as(x), empty((plan.blocks * plan.groups,), x)
    var = empty_as(mean)
    _native.norm_fwd(y, mean, var, x, gamma, beta, plan, _ACTIVATION[activation], alpha, current().threads)
    return y, mean, var


def norm_bwd(
    dy: np.ndarray,
    x: np.ndarray,
    mean: np.ndarray,
    var: np.ndarray,
    gamma: np.ndarray,
    beta: np.ndarray,
    plan: NormPlan,
    activation: str = "linear",
    alpha: float = 0.0,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    dx = empty(plan.shape, x)
    dgamma = empty((plan.groups * plan.channels,), x)
    dbeta = empty_as(dgamma)
    code, threads = _ACTIVATION[activation], current().threads
    _native.norm_bwd(dx, dgamma, dbeta, dy, x, mean, var, gamma, beta, plan, code, alpha, threads)
    return dx, dgamma, dbeta


def rnn_fwd(
    x: np.ndarray,
    w_x: np.ndarray,
    b: np.ndarray | None,
    h0: np.ndarray,
    c0: np.ndarray | None,
    w_h: np.ndarray,
    b_h: np.ndarray | None,
    peepholes: np.ndarray | None,
    mask: np.ndarray | None,
    lengths: np.ndarray | None,
    plan: RecurrentPlan,
    keep: bool = True,
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None, Saved | None]:
    hs = empty((plan.batch, plan.steps, plan.units), x)
    h = empty_as(h0)
    c = None if c0 is None else empty_as(c0)
    previous = gates = previous_c = None
    if keep:
        previous = empty_as(hs)
        previous_c = None if c0 is None else empty_as(hs)
        if kept := shapes_recurrent.KEPT_GATES[plan.kind]:
            gates = empty((plan.batch, plan.steps, kept * plan.units), x)
    _native.rnn_fwd(
        hs, h, c, previous, gates, previous_c, x, w_x, b, h0, c0, w_h, b_h, peepholes, mask, lengths,
        plan, _RECURRENCE[plan.kind], current().threads,
    )  # fmt: skip
    saved = None if previous is None else (previous, hs if gates is None else gates, previous_c)
    return hs, h, c, saved


def rnn_bwd(
    dhs: np.ndarray | None,
    dh: np.ndarray | None,
    dc: np.ndarray | None,
    saved: Saved,
    w_h: np.ndarray,
    peepholes: np.ndarray | None,
    mask: np.ndarray | None,
    lengths: np.ndarray | None,
    plan: RecurrentPlan,
) -> tuple[np.ndarray, np.ndarray | None, np.ndarray, np.ndarray | None]:
    dz = empty((plan.batch, plan.steps, plan.columns), w_h)
    ds = empty_as(dz) if plan.kind == "gru" else None
    dh0 = empty((plan.batch, plan.units), w_h)
    dc0 = empty_as(dh0) if plan.kind == "lstm" else None
    _native.rnn_bwd(
        dz, ds, dh0, dc0, dhs, dh, dc, *saved, w_h, peepholes, mask, lengths,
        plan, _RECURRENCE[plan.kind], current().threads,
    )  # fmt: skip
    return dz, ds, dh0, dc0


def outside(ids: np.ndarray, rows: int) -> int:
    return _native.outside(ids, len(ids), rows)


def gather(table: np.ndarray, ids: np.ndarray) -> np.ndarray:
    y = empty((len(ids), table.shape[1]), table)
    _native.gather(y, table, ids, len(ids), table.shape[1], current().threads)
    return y


def scatter_add(dy: np.ndarray, ids: np.ndarray, rows: int) -> np.ndarray:
    total = np.zeros((rows, dy.shape[1]), dy.dtype)
    _native.scatter_add(total, dy, ids, len(ids), dy.shape[1], current().threads)
    return total


def update(kind: str, work: Sequence[Updated], hyper: tuple[float, ...]) -> None:
    _native.update(work, _UPDATE[kind], hyper, current().threads)


thread_control.register()
