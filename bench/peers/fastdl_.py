"""fastdl itself, on the engine that `fastdl.use` has chosen."""

from __future__ import annotations

from typing import Any

import numpy as np

import fastdl
import fastdl.functional as F
from case import FORWARD, STEP, Case
from fastdl import optimizers
from model_cases import ModelCase

from . import Call, Results, fastdl_models, gradient, steady_gradient

LEARNING_RATE = 1e-3


def version() -> str:
    return fastdl.__version__


def prepare(case: Case | ModelCase, direction: str, threads: int, arrays: Results | None = None) -> Call:
    """Prepare the case with its own arrays or with others, such as the same numbers in float64."""
    fastdl.set_num_threads(threads)
    arrays = case.arrays() if arrays is None else arrays
    if isinstance(case, ModelCase):
        return fastdl_models.prepare(case, direction, arrays)
    if direction == STEP:
        return _step(case, arrays)
    options = dict(case.options)
    infer, forward, backward = (getattr(F, case.op + suffix) for suffix in ("", "_forward", "_backward"))
    if direction == FORWARD:
        return Call(lambda: infer(*arrays, **options), lambda y: (np.asarray(_output(y)),))

    dtype = arrays[1 if case.op == "embedding" else 0].dtype.name
    dy = gradient(case.output_shape(), dtype)

    def train() -> tuple[Any, Any]:
        y, ctx = forward(*arrays, **options)
        return y, backward(dy, ctx)

    def read(result: tuple[Any, Any]) -> Results:
        y, gradients = result
        return (np.asarray(_output(y)), *(gradients if isinstance(gradients, tuple) else (gradients,)))

    return Call(train, read)


def _output(y: Any) -> Any:
    """Of what a recurrence returns, the states of all steps: the last one is among them."""
    return y[0] if isinstance(y, tuple) else y


def _step(case: Case, arrays: Results) -> Call:
    params = {str(i): array.copy() for i, array in enumerate(arrays)}
    grads = {str(i): steady_gradient(array.shape, case.dtype) for i, array in enumerate(arrays)}
    optimizer = getattr(optimizers, case.op)(learning_rate=LEARNING_RATE)
    return Call(lambda: optimizer.update(params, grads), lambda _: tuple(params.values()))
