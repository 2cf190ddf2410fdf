"""PyTorch's functional calls in terms of `fastdl.functional`, one for each family.

Each function takes the arguments PyTorch's own function takes, as arrays and under its names, and gives
the outputs as a tuple with a function for the gradients. Arguments are handed on as they are, wrong ones
too: refusing them is fastdl's task. Only what has no counterpart in fastdl is worked out here:

* input without a batch axis gets one;
* dilated max-pooling is composed (`pooling.lattice_pool`);
* ``divisor_override`` rescales the mean;
* ``return_indices`` turns the tap numbers that fastdl remembers into PyTorch's offsets.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from . import pooling
from .calls import Array, call

Outputs = tuple[tuple[Array, ...], Callable[[Array], tuple[Array, ...]]]


def run(name: str, layout: str, *args: Any, **kwargs: Any) -> Outputs:
    """Run the fastdl counterpart of ``torch.nn.functional.<name>`` on arrays.

    Returns
    -------
    outputs : tuple of ndarray
        What PyTorch returns: y, and the indices of a max-pooling asked to ``return_indices``.
    back : callable
        ``back(dy)`` gives the gradients of the arrays among `args`, in their order.
    """
    family, ndim = name[:-2], int(name[-2])
    x, *rest = args
    unbatched = x.ndim == ndim + 1
    function = {"max_pool": max_pool, "avg_pool": avg_pool}.get(family, convolution)
    outputs, back = function(name, layout, x[None] if unbatched else x, *rest, **kwargs)
    if not unbatched:
        return outputs, back

    def back_unbatched(dy: Array) -> tuple[Array, ...]:
        dx, *others = back(dy[None])
        return dx[0], *others

    return tuple(output[0] for output in outputs), back_unbatched


def convolution(
    name: str, layout: str, x: Array, w: Array, b: Array | None = None, **options: Any
) -> Outputs:
    result = call(name, x, w, b, layout=layout, **options)
    return (result.y,), lambda dy: tuple(grad for grad in result.back(dy) if grad is not None)


def max_pool(
    name: str,
    layout: str,
    x: Array,
    kernel_size: int | Sequence[int],
    stride: int | Sequence[int] | None = None,
    padding: int | Sequence[int] = 0,
    dilation: int | Sequence[int] = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Outputs:
    where = (x, kernel_size, stride, padding, dilation, ceil_mode)
    if np.any(np.not_equal(dilation, 1)):
        result = pooling.lattice_pool(name, x, place_windows(*where), fill=-np.inf, layout=layout)
    else:
        options = {"stride": stride, "padding": padding, "ceil_mode": ceil_mode}
        result = call(name, x, size=kernel_size, layout=layout, **options)
    if not return_indices:
        return (result.y,), result.back
    windows = place_windows(*where)
    row_major = [math.prod(x.shape[3 + i :]) for i in range(len(windows))]
    return (result.y, pooling.flat_indices(result.taps, windows, row_major)), result.back


def avg_pool(
    name: str,
    layout: str,
    x: Array,
    kernel_size: int | Sequence[int],
    stride: int | Sequence[int] | None = None,
    padding: int | Sequence[int] = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Outputs:
    stride = None if stride == () else stride  # PyTorch's other way to leave it out
    padding = padding[0] if np.shape(padding) == (1,) else padding  # and to give one for all axes
    options = {"stride": stride, "padding": padding, "ceil_mode": ceil_mode}
    result = call(name, x, size=kernel_size, layout=layout, count_include_pad=count_include_pad, **options)
    if divisor_override is not None:
        windows = place_windows(x, kernel_size, stride, padding, 1, ceil_mode)
        result = pooling.rescaled(result, pooling.divisors(windows, count_include_pad), divisor_override)
    return (result.y,), result.back


def place_windows(
    x: Array,
    kernel_size: int | Sequence[int],
    stride: int | Sequence[int] | None,
    padding: int | Sequence[int],
    dilation: int | Sequence[int],
    ceil_mode: bool,
) -> list[pooling.Window]:
    """Place the windows of a pooling; as in PyTorch, a single int or entry counts for every axis."""
    stride = kernel_size if stride is None else stride
    per_axis = [np.broadcast_to(a, x.ndim - 2).tolist() for a in (kernel_size, stride, dilation, padding)]
    return [
        pooling.Window.place(n, k, s, d, p, p, ceil_mode) for n, k, s, d, p in zip(x.shape[2:], *per_axis)
    ]
