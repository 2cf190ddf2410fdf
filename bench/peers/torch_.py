"""PyTorch, eager, as a person calls it: contiguous NCHW; channels_last where the case has channels last."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from case import FORWARD, STEP, Case
from model_cases import ModelCase

from . import Call, Results, gradient, steady_gradient, torch_recurrent
from .fastdl_ import LEARNING_RATE

Permutation = tuple[int, ...]

# Keras adds its epsilon before the second moment's bias is corrected and PyTorch afterwards. So placed both
# take the same first step, the one that is compared.
ADAM_EPSILON = 1e-7 / math.sqrt(1 - 0.999)


def version() -> str:
    import torch

    return str(torch.__version__)


def prepare(case: Case | ModelCase, direction: str, threads: int, channels_last: bool = False) -> Call | None:
    """Prepare the case; `channels_last` stores the images of an NCHW case with the channels last."""
    import torch

    torch.set_num_threads(threads)
    if isinstance(case, ModelCase):
        from . import torch_training

        return torch_training.prepare(case, direction, tuned=channels_last)
    arrays = case.arrays()
    if direction == STEP:
        return _step(case, arrays, fused=channels_last)
    if case.family == "recurrent":
        return torch_recurrent.prepare(case, direction, arrays)

    function = _function(case)
    orders = [_order(case, i) for i in range(len(arrays))]
    tensors = [_to_torch(array, order) for array, order in zip(arrays, orders)]
    if channels_last:
        tensors = [
            tensor.contiguous(memory_format=torch.channels_last) if tensor.ndim == 4 else tensor
            for tensor in tensors
        ]
    y_order = orders[0] if len(case.output_shape()) > 2 else None
    if direction == FORWARD:
        return Call(lambda: function(*tensors), lambda y: (_to_numpy(y, y_order),))

    wanted = [i for i, tensor in enumerate(tensors) if tensor.is_floating_point()]
    if case.family == "loss":  # fastdl's give no gradient for the target
        wanted = wanted[:1]
    for i in wanted:
        tensors[i].requires_grad_(True)
    dy = _to_torch(gradient(case.output_shape(), case.dtype), y_order)
    if channels_last and dy.ndim == 4:
        dy = dy.contiguous(memory_format=torch.channels_last)
    sources = [tensors[i] for i in wanted]

    def train() -> Any:
        y = function(*tensors)
        return y, torch.autograd.grad(y, sources, dy)

    def read(result: Any) -> Results:
        y, gradients = result
        return (_to_numpy(y, y_order), *(_to_numpy(g, orders[i]) for g, i in zip(gradients, wanted)))

    return Call(train, read)


def has_channels_last(case: Case) -> bool:
    """Whether the arrays of the case itself have their channels last."""
    return case.layout == "NHWC" or case.options.get("axis") == -1


def _order(case: Case, index: int) -> Permutation | None:
    """Where PyTorch's axes are in fastdl's array: images and kernels that have their channels last."""
    ndim = len(case.shapes[index]) if index < len(case.shapes) else 0
    if not has_channels_last(case) or ndim < 3:
        return None
    spatial = range(ndim - 2)
    if index == 0:
        return (0, ndim - 1, *(1 + i for i in spatial))  # NHWC
    return (ndim - 1, ndim - 2, *spatial)  # HWIO, and HWOI of a transposed convolution: IOHW


def _to_torch(array: np.ndarray, order: Permutation | None) -> Any:
    """A view: of channels that are last it is what PyTorch calls channels_last."""
    import torch

    return torch.from_numpy(array if order is None else array.transpose(order))


def _to_numpy(tensor: Any, order: Permutation | None) -> np.ndarray:
    array: np.ndarray = tensor.detach().numpy()
    return array if order is None else array.transpose(np.argsort(order))


def _function(case: Case) -> Callable[..., Any]:
    """The case's operation with PyTorch's name and arguments."""
    import torch
    import torch.nn.functional as TF

    options = {key: value for key, value in case.options.items() if key not in ("layout", "axis")}
    activation = options.pop("activation", None)
    if "size" in options:
        options["kernel_size"] = options.pop("size")

    def linear(x: Any, w: Any, b: Any) -> Any:
        return torch.addmm(b, x, w)

    def batch_norm(x: Any, gamma: Any, beta: Any, mean: Any = None, var: Any = None, **options: Any) -> Any:
        options = {"running_mean": mean, "running_var": var, **options}
        return TF.batch_norm(x, weight=gamma, bias=beta, **options)

    functions: dict[str, Callable[..., Any]] = {
        "linear": linear,
        "batch_norm": batch_norm,
        "layer_norm": lambda x, gamma, beta: TF.layer_norm(x, gamma.shape, gamma, beta),
        "group_norm": lambda x, gamma, beta, groups: TF.group_norm(x, groups, gamma, beta),
        "instance_norm": lambda x, gamma, beta: TF.instance_norm(x, weight=gamma, bias=beta),
        "global_avg_pool2d": lambda x: x.mean((2, 3)),
        "gelu": TF.gelu,
        "leaky_relu": lambda x: TF.leaky_relu(x, 0.2),
        "softmax": lambda x: torch.softmax(x, dim=-1),
        "log_softmax": lambda x: torch.log_softmax(x, dim=-1),
        "softmax_cross_entropy": TF.cross_entropy,
        "mean_squared_error": TF.mse_loss,
    }
    function = functions.get(case.op) or getattr(TF, case.op)
    if activation:
        after = getattr(torch, activation)
        return lambda *tensors: after(function(*tensors, **options))
    return lambda *tensors: function(*tensors, **options)


def _step(case: Case, arrays: Results, fused: bool) -> Call | None:
    import torch

    params = [torch.from_numpy(array) for array in arrays]
    optimizer = make_optimizer(case.op, params, fused)
    if optimizer is None:
        return None
    for parameter in params:
        parameter.grad = torch.from_numpy(steady_gradient(tuple(parameter.shape), case.dtype))
    return Call(optimizer.step, lambda _: tuple(parameter.numpy() for parameter in params))


def make_optimizer(
    name: str, params: Any, fused: bool = False, learning_rate: float = LEARNING_RATE, **options: Any
) -> Any:
    """Return PyTorch's optimizer with Keras's defaults, or None if it cannot be fused."""
    import torch

    options |= {
        "SGD": {},
        "Momentum": {"momentum": 0.9},
        "Adagrad": {"initial_accumulator_value": 0.1, "eps": 1e-7},
        "RMSprop": {"alpha": 0.9, "eps": 1e-7},
        "Adam": {"eps": ADAM_EPSILON},
        "AdamW": {"eps": ADAM_EPSILON, "weight_decay": 0.004},
    }[name]
    if fused:
        if name == "RMSprop":
            return None
        options["fused"] = True
    kind = getattr(torch.optim, "SGD" if name == "Momentum" else name)
    return kind(params, lr=learning_rate, **options)
