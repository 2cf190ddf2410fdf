"""NumPy, as a textbook writes it: see ``textbook/``."""

from __future__ import annotations

import inspect
from importlib import import_module
from typing import Any

import numpy as np

from case import FORWARD, STEP, Case
from model_cases import ModelCase
from textbook import optimizer

from . import Call, Results, gradient, steady_gradient
from .fastdl_ import LEARNING_RATE


def version() -> str:
    return np.__version__


def prepare(case: Case | ModelCase, direction: str, threads: int) -> Call | None:
    from threadpoolctl import threadpool_limits

    threadpool_limits(threads, user_api="blas")
    if isinstance(case, ModelCase):
        return None
    arrays = case.arrays()
    if direction == STEP:
        return _step(case, arrays)
    operations = import_module(f"textbook.{case.family}").OPERATIONS
    if case.op not in operations:
        return None
    infer, forward, backward = operations[case.op]
    options = dict(case.options)
    if not can(infer, arrays, options):
        return None
    if direction == FORWARD:
        return Call(lambda: infer(*arrays, **options), lambda y: (np.asarray(y),))
    dy = gradient(case.output_shape(), case.dtype)

    def train() -> tuple[Any, Any]:
        y, cache = forward(*arrays, **options)
        return y, backward(dy, cache)

    def read(result: tuple[Any, Any]) -> Results:
        y, gradients = result
        return (np.asarray(y), *(gradients if isinstance(gradients, tuple) else (gradients,)))

    return Call(train, read)


def can(function: Any, arrays: Results, options: dict[str, Any]) -> bool:
    """Whether the function has an argument for everything that the case asks for."""
    if isinstance(function, np.ufunc):
        return not options
    try:
        inspect.signature(function).bind(*arrays, **options)
    except TypeError:
        return False
    return True


def _step(case: Case, arrays: Results) -> Call | None:
    if not hasattr(optimizer, case.op):
        return None
    grads = [steady_gradient(array.shape, case.dtype) for array in arrays]
    update = getattr(optimizer, case.op)(LEARNING_RATE, arrays).update
    return Call(lambda: update(arrays, grads), lambda _: arrays)
