"""JAX on the CPU: every case is one compiled function, with its arrays as arguments."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np

from case import FORWARD, STEP, Case
from model_cases import ModelCase

from . import Call, Results, gradient

_threads = 0


def version() -> str:
    import jax

    return str(jax.__version__)


def prepare(case: Case | ModelCase, direction: str, threads: int) -> Call | None:
    if isinstance(case, ModelCase) or direction == STEP:
        return None
    import jax

    from . import jax_functions

    use_threads(threads)
    function = jax_functions.find(case)
    if function is None:
        return None
    arrays = [jax.numpy.asarray(array) for array in case.arrays()]
    if direction == FORWARD:
        forward = compiled(function, arrays)
        return Call(lambda: jax.block_until_ready(forward(*arrays)), lambda y: (np.asarray(y),))

    wanted = [i for i, array in enumerate(arrays) if array.dtype.kind == "f"]
    if case.family == "loss":  # fastdl's give no gradient for the target
        wanted = wanted[:1]
    dy = jax.numpy.asarray(gradient(case.output_shape(), case.dtype))

    def both_ways(dy: Any, *arrays: Any) -> Any:
        def of_wanted(*parts: Any) -> Any:
            whole = list(arrays)
            for i, part in zip(wanted, parts):
                whole[i] = part
            return function(*whole)

        y, back = jax.vjp(of_wanted, *(arrays[i] for i in wanted))
        return y, back(dy)

    train = compiled(both_ways, [dy, *arrays])

    def read(result: Any) -> Results:
        y, gradients = result
        return (np.asarray(y), *map(np.asarray, gradients))

    return Call(lambda: jax.block_until_ready(train(dy, *arrays)), read)


def compiled(function: Callable[..., Any], arrays: list[Any]) -> Any:
    import jax

    return jax.jit(function).lower(*arrays).compile()


def use_threads(threads: int) -> None:
    """Let JAX compute with so many threads.

    It makes its threads when it starts, as many as the processors that the process may use at that moment;
    for another number it is started anew.
    """
    global _threads
    import jax
    from jax.extend.backend import clear_backends

    if threads == _threads:
        return
    jax.config.update("jax_platforms", "cpu")
    jax.config.update("jax_enable_x64", True)
    if _threads:
        clear_backends()
    allowed = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set()
    try:
        if allowed:
            os.sched_setaffinity(0, sorted(allowed)[:threads])
        jax.devices()
    finally:
        if allowed:
            os.sched_setaffinity(0, allowed)
    _threads = threads
