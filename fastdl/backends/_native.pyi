"""The compiled kernels: outputs first, then inputs, then sizes. Arrays are C-contiguous."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..shapes import ConvPlan, PoolPlan, Updated
from ..shapes_norm import NormPlan
from ..shapes_recurrent import RecurrentPlan
from ..shapes_upsample import UpsamplePlan

def isa() -> str: ...
def num_threads(threads: int) -> int: ...
def set_num_threads(threads: int) -> None: ...

class RecycledMemory:
    def __enter__(self) -> None: ...
    def __exit__(self, *exception: object) -> None: ...

def empty(shape: tuple[int, ...], of: np.ndarray | np.dtype[Any]) -> np.ndarray: ...
def empty_as(array: np.ndarray) -> np.ndarray: ...
def memory() -> tuple[int, int, int]: ...
def common_dtype(names: str, values: tuple[Any, ...]) -> np.dtype[Any] | None: ...
def gemm(
    c: np.ndarray,
    a: np.ndarray,
    b: np.ndarray,
    bias: np.ndarray | None,
    scale: np.ndarray | None,
    m: int,
    n: int,
    k: int,
    trans_a: bool,
    trans_b: bool,
    act: int,
    alpha: float,
    threads: int,
) -> None: ...
def conv_fwd(
    y: np.ndarray,
    x: np.ndarray,
    w: np.ndarray,
    b: np.ndarray | None,
    scale: np.ndarray | None,
    plan: ConvPlan,
    act: int,
    alpha: float,
    strict: bool,
    threads: int,
) -> None: ...
def conv_dx(
    dx: np.ndarray,
    dy: np.ndarray,
    w: np.ndarray,
    b: np.ndarray | None,
    scale: np.ndarray | None,
    plan: ConvPlan,
    act: int,
    alpha: float,
    strict: bool,
    threads: int,
) -> None: ...
def conv_dw(
    dw: np.ndarray, dy: np.ndarray, x: np.ndarray, plan: ConvPlan, strict: bool, threads: int
) -> None: ...
def conv_dw_pooled(
    dw: np.ndarray,
    dy: np.ndarray,
    index: np.ndarray,
    x: np.ndarray,
    plan: ConvPlan,
    pool: PoolPlan,
    strict: bool,
    threads: int,
) -> None: ...
def conv_algorithm(primitive: str, dtype: int, plan: ConvPlan, strict: bool) -> int: ...
def maxpool_fwd(
    y: np.ndarray, index: np.ndarray | None, x: np.ndarray, plan: PoolPlan, threads: int
) -> None: ...
def maxpool_gated(
    y: np.ndarray, index: np.ndarray, closed: np.ndarray, x: np.ndarray, plan: PoolPlan, threads: int
) -> None: ...
def maxpool_bwd(dx: np.ndarray, dy: np.ndarray, index: np.ndarray, plan: PoolPlan, threads: int) -> None: ...
def maxpool_share(
    dx: np.ndarray, dy: np.ndarray, x: np.ndarray, y: np.ndarray, plan: PoolPlan, threads: int
) -> None: ...
def avgpool_fwd(y: np.ndarray, x: np.ndarray, plan: PoolPlan, threads: int) -> None: ...
def avgpool_bwd(dx: np.ndarray, dy: np.ndarray, plan: PoolPlan, threads: int) -> None: ...
def upsample_fwd(y: np.ndarray, x: np.ndarray, plan: UpsamplePlan, threads: int) -> None: ...
def upsample_bwd(dx: np.ndarray, dy: np.ndarray, plan: UpsamplePlan, threads: int) -> None: ...
def im2col(cols: np.ndarray, x: np.ndarray, plan: ConvPlan, threads: int) -> None: ...
def col2im(dx: np.ndarray, cols: np.ndarray, plan: ConvPlan, threads: int) -> None: ...
def bias_grad(
    db: np.ndarray, dy: np.ndarray, outer: int, channels: int, inner: int, threads: int
) -> None: ...
def act_fwd(y: np.ndarray, x: np.ndarray, n: int, act: int, alpha: float, threads: int) -> None: ...
def act_bwd(
    dx: np.ndarray, dy: np.ndarray, saved: np.ndarray | None, n: int, act: int, alpha: float, threads: int
) -> None: ...
def prelu_fwd(
    y: np.ndarray, x: np.ndarray, slope: np.ndarray, outer: int, channels: int, inner: int, threads: int
) -> None: ...
def prelu_bwd(
    dx: np.ndarray,
    dslope: np.ndarray,
    dy: np.ndarray,
    x: np.ndarray,
    slope: np.ndarray,
    outer: int,
    channels: int,
    inner: int,
    threads: int,
) -> None: ...
def softmax_fwd(
    y: np.ndarray, x: np.ndarray, outer: int, n: int, inner: int, log: bool, threads: int
) -> None: ...
def softmax_bwd(
    dx: np.ndarray, dy: np.ndarray, y: np.ndarray, outer: int, n: int, inner: int, log: bool, threads: int
) -> None: ...
def dropout_fwd(
    y: np.ndarray, mask: np.ndarray, x: np.ndarray, noise: np.ndarray, n: int, rate: float, threads: int
) -> None: ...
def dropout_bwd(
    dx: np.ndarray, dy: np.ndarray, mask: np.ndarray, n: int, rate: float, threads: int
) -> None: ...
def gate_fwd(y: np.ndarray | None, closed: np.ndarray, x: np.ndarray, n: int, threads: int) -> None: ...
def gate_bwd(dy: np.ndarray, closed: np.ndarray, n: int, threads: int) -> None: ...
def softmax_xent_fwd(
    losses: np.ndarray,
    probs: np.ndarray | None,
    logits: np.ndarray,
    labels: np.ndarray | None,
    target: np.ndarray | None,
    smoothing: float,
    rows: int,
    n: int,
    threads: int,
) -> None: ...
def softmax_xent_bwd(
    dlogits: np.ndarray,
    probs: np.ndarray,
    labels: np.ndarray | None,
    target: np.ndarray | None,
    scale: np.ndarray,
    smoothing: float,
    rows: int,
    n: int,
    threads: int,
) -> None: ...
def loss_fwd(
    loss: np.ndarray, pred: np.ndarray, target: np.ndarray, n: int, kind: int, param: float, threads: int
) -> None: ...
def loss_bwd(
    dpred: np.ndarray, pred: np.ndarray, target: np.ndarray, n: int, kind: int, param: float, threads: int
) -> None: ...
def loss_sum(
    pred: np.ndarray, target: np.ndarray | None, n: int, kind: int, param: float, threads: int
) -> float: ...
def outside(ids: np.ndarray, count: int, rows: int) -> int: ...
def gather(
    y: np.ndarray, table: np.ndarray, ids: np.ndarray, count: int, width: int, threads: int
) -> None: ...
def scatter_add(
    sum: np.ndarray, dy: np.ndarray, ids: np.ndarray, count: int, width: int, threads: int
) -> None: ...
def update(work: Sequence[Updated], kind: int, hyper: Sequence[float], threads: int) -> None: ...
def norm_stats(mean: np.ndarray, var: np.ndarray, x: np.ndarray, plan: NormPlan, threads: int) -> None: ...
def norm_apply(
    y: np.ndarray,
    x: np.ndarray,
    mean: np.ndarray,
    var: np.ndarray,
    gamma: np.ndarray,
    beta: np.ndarray,
    plan: NormPlan,
    act: int,
    alpha: float,
    threads: int,
) -> None: ...
def norm_fwd(
    y: np.ndarray,
    mean: np.ndarray,
    var: np.ndarray,
    x: np.ndarray,
    gamma: np.ndarray,
    beta: np.ndarray,
    plan: NormPlan,
    act: int,
    alpha: float,
    threads: int,
) -> None: ...
def norm_bwd(
    dx: np.ndarray,
    dgamma: np.ndarray,
    dbeta: np.ndarray,
    dy: np.ndarray,
    x: np.ndarray,
    mean: np.ndarray,
    var: np.ndarray,
    gamma: np.ndarray,
    beta: np.ndarray,
    plan: NormPlan,
    act: int,
    alpha: float,
    threads: int,
) -> None: ...
def rnn_fwd(
    hs: np.ndarray,
    h: np.ndarray,
    c: np.ndarray | None,
    previous: np.ndarray | None,
    gates: np.ndarray | None,
    previous_c: np.ndarray | None,
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
    kind: int,
    threads: int,
) -> None: ...
def rnn_bwd(
    dz: np.ndarray,
    ds: np.ndarray | None,
    dh0: np.ndarray,
    dc0: np.ndarray | None,
    dhs: np.ndarray | None,
    dh: np.ndarray | None,
    dc: np.ndarray | None,
    previous: np.ndarray,
    gates: np.ndarray,
    previous_c: np.ndarray | None,
    w_h: np.ndarray,
    peepholes: np.ndarray | None,
    mask: np.ndarray | None,
    lengths: np.ndarray | None,
    plan: RecurrentPlan,
    kind: int,
    threads: int,
) -> None: ...
