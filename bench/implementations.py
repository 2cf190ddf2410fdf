"""The same operation, as each implementation says it.

`calls` turns a row of the table into two functions without arguments: one runs the operation forward, the
other runs it forward and backward to the gradients of all its inputs. Both return a tuple of NumPy arrays,
outputs first, so that results can be compared before anything is timed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import fastdl.functional as F
import torch_recurrent
from cases import Case

Call = Callable[[], tuple[np.ndarray, ...]]
Functions = tuple[Callable[..., Any], Callable[..., Any], Callable[..., Any]]

# The largest error that is put down to rounding, as a share of the largest value. A float32 sum of n terms is
# off by about sqrt(n) * 6e-8 of their size, 1e-5 for the 32768 terms of the longest sum here; a wrong kernel
# is off by more.
TOLERANCE = 1e-4


def calls(implementation: str, case: Case, dtype: str = "float32") -> tuple[Call, Call]:
    """The forward and the training call of `case`; `fastdl.use` chooses the backend of fastdl's."""
    arrays = case.arrays(dtype)
    if implementation == "torch":
        return (
            torch_recurrent.calls(case, arrays) if case.family == "recurrent" else _torch_calls(case, arrays)
        )
    names = (case.op, f"{case.op}_forward", f"{case.op}_backward")
    infer, forward, backward = (getattr(F, name) for name in names)
    if case.family == "recurrent":
        return function_calls(case, arrays, (_first(infer), _first_and_ctx(forward), backward))
    return function_calls(case, arrays, (infer, forward, backward))


def _first(infer: Callable[..., Any]) -> Callable[..., Any]:
    """Of what a recurrence returns only hs: the last state is in it."""
    return lambda *arrays, **options: infer(*arrays, **options)[0]


def _first_and_ctx(forward: Callable[..., Any]) -> Callable[..., Any]:
    def run(*arrays: Any, **options: Any) -> tuple[Any, Any]:
        result, ctx = forward(*arrays, **options)
        return result[0], ctx

    return run


def check(found: tuple[np.ndarray, ...], expected: tuple[np.ndarray, ...], what: str) -> None:
    """Raise `AssertionError` if two results differ by more than rounding."""
    for i, (a, b) in enumerate(zip(found, expected, strict=True)):
        if a.shape != b.shape:
            raise AssertionError(f"{what}: result {i} has shape {a.shape}, expected {b.shape}")
        error = float(np.max(np.abs(a.astype(np.float64) - b), initial=0))
        scale = float(np.max(np.abs(b), initial=0))
        if not error <= TOLERANCE * scale:
            raise AssertionError(f"{what}: result {i} is off by {error:.3g} where values reach {scale:.3g}")


def cotangent(y: np.ndarray) -> np.ndarray:
    """The gradient that is sent backward: random, since a constant one hides transposed axes."""
    return np.random.default_rng(1).standard_normal(y.shape).astype(y.dtype)


def function_calls(case: Case, arrays: tuple[np.ndarray, ...], functions: Functions) -> tuple[Call, Call]:
    """The two calls of an operation that is given as functions: infer, forward with context, backward."""
    infer, forward, backward = functions
    options = dict(case.options)
    dy = cotangent(np.asarray(infer(*arrays, **options)))

    def run() -> tuple[np.ndarray, ...]:
        return (np.asarray(infer(*arrays, **options)),)

    def train() -> tuple[np.ndarray, ...]:
        y, ctx = forward(*arrays, **options)
        gradients = backward(dy, ctx)
        return (np.asarray(y), *(gradients if isinstance(gradients, tuple) else (gradients,)))

    return run, train


def _torch_calls(case: Case, arrays: tuple[np.ndarray, ...]) -> tuple[Call, Call]:
    import torch

    function = _torch_function(case)
    tensors = [torch.from_numpy(array) for array in arrays]
    # Integers have no gradient, and fastdl's losses give none for their target.
    wanted = {"loss": tensors[:1], "embedding": tensors[1:]}.get(case.family, tensors)

    with torch.no_grad():
        dy = torch.from_numpy(cotangent(function(*tensors).numpy()))

    def run() -> tuple[np.ndarray, ...]:
        with torch.no_grad():
            return (function(*tensors).numpy(),)

    def train() -> tuple[np.ndarray, ...]:
        for tensor in wanted:
            tensor.requires_grad_(True)
        y = function(*tensors)
        gradients = torch.autograd.grad(y, wanted, dy)
        for tensor in wanted:
            tensor.requires_grad_(False)
        return (y.detach().numpy(), *(gradient.numpy() for gradient in gradients))

    return run, train


def _torch_function(case: Case) -> Callable[..., Any]:
    import torch
    import torch.nn.functional as TF

    options = dict(case.options)
    if "size" in options:
        options["kernel_size"] = options.pop("size")

    def linear(x: Any, w: Any, b: Any) -> Any:
        return torch.addmm(b, x, w)

    def layer_norm(x: Any, gamma: Any, beta: Any) -> Any:
        return TF.layer_norm(x, gamma.shape, gamma, beta)

    def group_norm(x: Any, gamma: Any, beta: Any, groups: int) -> Any:
        return TF.group_norm(x, groups, gamma, beta)

    def batch_norm(x: Any, gamma: Any, beta: Any, **options: Any) -> Any:
        return TF.batch_norm(x, weight=gamma, bias=beta, **options)

    def instance_norm(x: Any, gamma: Any, beta: Any) -> Any:
        return TF.instance_norm(x, weight=gamma, bias=beta)

    functions: dict[str, Callable[..., Any]] = {
        "linear": linear,
        "conv2d": TF.conv2d,
        "max_pool2d": TF.max_pool2d,
        "avg_pool2d": TF.avg_pool2d,
        "relu": torch.relu,
        "sigmoid": torch.sigmoid,
        "tanh": torch.tanh,
        "gelu": TF.gelu,
        "softmax": lambda x: torch.softmax(x, dim=-1),
        "batch_norm": batch_norm,
        "layer_norm": layer_norm,
        "group_norm": group_norm,
        "instance_norm": instance_norm,
        "embedding": TF.embedding,
        "softmax_cross_entropy": TF.cross_entropy,
        "mean_squared_error": TF.mse_loss,
    }
    function = functions[case.op]
    return lambda *tensors: function(*tensors, **options)
