"""PyTorch's own sample inputs (OpInfo) for convolution and pooling, forward and every gradient.

The reference is PyTorch in float64. Each element of fastdl's float32 result has to lie within the rounding
of its own sum; of the float64 result within twice that, since the reference rounds as much.
"""

from __future__ import annotations

import functools
import importlib
import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

import fastdl.functional as F

from . import torch_adapter
from .bounds import gamma, mismatch
from .calls import LAYOUTS

# PyTorch 2.13: samples, and among them those that fastdl's arguments cannot express (see `torch_adapter`).
COUNTS = {
    "conv1d": (10, 0),
    "conv2d": (30, 0),
    "conv3d": (20, 0),
    "conv_transpose1d": (10, 0),
    "conv_transpose2d": (12, 0),
    "conv_transpose3d": (10, 0),
    "max_pool1d": (864, 0),
    "max_pool2d": (1440, 720),  # dilation
    "max_pool3d": (576, 288),  # dilation
    "avg_pool1d": (9, 0),
    "avg_pool2d": (7, 5),  # divisor_override
    "avg_pool3d": (8, 4),  # divisor_override
}
DTYPES = ("float32", "float64")
# PyTorch, about the speed of its own "same".
pytestmark = pytest.mark.filterwarnings("ignore:Using padding='same':UserWarning")

# PyTorch 2.13: error inputs of all operations together ...
ERRORS = {"conv1d": 10, "conv2d": 10, "conv3d": 10, "max_pool1d": 24, "max_pool2d": 7, "max_pool3d": 7,
          "avg_pool1d": 2, "avg_pool2d": 5, "avg_pool3d": 6}  # fmt: skip
# ... and those that are no errors in fastdl: how many, and which.
DIFFERENCES: dict[str, tuple[int, Callable[[str, Any], bool]]] = {
    "a max-pooling of fastdl has no dilation to be wrong": (
        4,
        lambda name, call: "pool" in name and call.kwargs.get("dilation", 1) != 1,
    ),
    "an average pooling of fastdl has no divisor_override to be wrong": (
        2,
        lambda name, call: "divisor_override" in call.kwargs,
    ),
    "fastdl pads 'same' with a stride too, by TensorFlow's rule": (
        1,
        lambda name, call: call.kwargs.get("padding") == "same" and "stride" in call.kwargs,
    ),
    "fastdl pools an array without channels to another": (
        3,
        lambda name, call: call.input.shape in [(0, 10), (0, 1, 2, 10)] and call.kwargs == {"kernel_size": 1},
    ),
}


@dataclass(frozen=True)
class Sample:
    """One call, and for each array it gives PyTorch's value with the largest allowed distance from it."""

    label: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    dy: np.ndarray
    expected: list[tuple[np.ndarray, np.ndarray | float]]


@functools.cache
def opinfos() -> dict[str, Any]:
    """Load PyTorch's table of operations (it takes seconds, so not while tests are collected)."""
    reason = "PyTorch's samples need the packages torch and expecttest"
    torch = pytest.importorskip("torch", reason=reason)
    pytest.importorskip("expecttest", reason=reason)
    torch.set_num_threads(1)  # thousands of tiny calls: handing them to other threads only costs time
    table = importlib.import_module("torch.testing._internal.common_methods_invocations").op_db
    return {op.name.removeprefix("nn.functional."): op for op in table}


def arrays(call: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return the arguments of a SampleInput with arrays for tensors: views, strides and all."""
    torch = importlib.import_module("torch")
    args = (call.input, *call.args)
    return tuple(a.detach().numpy() if isinstance(a, torch.Tensor) else a for a in args), call.kwargs


@functools.cache
def samples(name: str, dtype: str) -> list[Sample]:
    """Draw PyTorch's samples of one operation and evaluate each, once for all backends and layouts."""
    op = opinfos()[name]
    torch = importlib.import_module("torch")
    rng = np.random.default_rng(0)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        drawn = list(op.sample_inputs("cpu", getattr(torch, dtype)))
    return [evaluate(op, name, sample, dtype, rng) for sample in drawn]


def evaluate(op: Any, name: str, sample: Any, dtype: str, rng: np.random.Generator) -> Sample:
    """Run PyTorch in float64, and bound how far fastdl may be from it in `dtype`."""
    args, kwargs = arrays(sample)
    doubles = [a.astype(np.float64) if isinstance(a, np.ndarray) else a for a in args]
    outputs, back = torch_call(op, doubles, kwargs)
    dy = rng.uniform(-1, 1, outputs[0].shape).astype(dtype)
    values = [*outputs, *back(dy)]

    def sums(change: Callable[[np.ndarray], np.ndarray]) -> list[np.ndarray]:
        changed = [change(a) if isinstance(a, np.ndarray) else a for a in doubles]
        outputs, back = torch_call(op, changed, kwargs)
        return [*outputs, *back(change(dy))]

    if name.startswith("max_pool"):
        # A maximum rounds nothing; its gradient adds up what overlapping windows send to one element.
        scales = [*(np.zeros(1) for _ in outputs), *back(np.abs(dy))]
    else:
        scales = sums(np.abs)
    # Every convolution of ones, and every gradient of one, counts the terms of its sums.
    terms = [pool_terms(name, args, kwargs)] * len(values) if "pool" in name else sums(np.ones_like)
    factor = 2 if dtype == "float64" else 1
    # The absolute value, since PyTorch allows a divisor below zero.
    bounds = [factor * gamma(count, np.dtype(dtype)) * np.abs(scale) for count, scale in zip(terms, scales)]
    shapes = [a.shape if isinstance(a, np.ndarray) else a for a in args]
    label = f"{name}({', '.join(map(str, shapes))}, {kwargs})"
    return Sample(label, args, kwargs, dy, list(zip(values, bounds)))


def torch_call(op: Any, args: list[Any], kwargs: dict[str, Any]) -> torch_adapter.Outputs:
    """Call PyTorch on arrays; return its outputs and the function that gives the gradients, as arrays."""
    torch = importlib.import_module("torch")
    leaves = [torch.from_numpy(a).requires_grad_() if isinstance(a, np.ndarray) else a for a in args]
    outputs = op(*leaves, **kwargs)
    outputs = outputs if isinstance(outputs, tuple) else (outputs,)
    wanted = [a for a in leaves if isinstance(a, torch.Tensor)]

    def back(dy: np.ndarray) -> tuple[np.ndarray, ...]:
        dy = torch.from_numpy(dy.astype(np.float64))
        return tuple(g.numpy() for g in torch.autograd.grad(outputs[0], wanted, dy, retain_graph=True))

    return tuple(output.detach().numpy() for output in outputs), back


def pool_terms(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> int:
    """The size of a window, which is also the most windows an element is in, and three roundings more."""
    size = args[1] if len(args) > 1 else kwargs["kernel_size"]
    return math.prod(np.broadcast_to(size, int(name[-2])).tolist()) + 3


def judge(name: str, sample: Sample, dtype: str, layout: str) -> list[str]:
    """Run one sample through fastdl and list what is wrong with it."""
    try:
        outputs, back = torch_adapter.run(name, layout, *sample.args, **sample.kwargs)
        grads = back(sample.dy)
    except Exception as error:  # one sample must not hide the others
        return [f"{sample.label}: {type(error).__name__}: {error}"]
    labels = [*("y", "indices")[: len(outputs)], *("dx", "dw", "db")[: len(grads)]]
    problems = []
    for label, got, (want, bound) in zip(labels, (*outputs, *grads), sample.expected, strict=True):
        wrong = mismatch(got, want, bound, np.dtype("int64" if label == "indices" else dtype))
        if wrong:
            problems.append(f"{sample.label}: {label} {wrong}")
    return problems


@pytest.mark.parametrize("name", COUNTS)
def test_every_sample_is_there(name: str) -> None:
    drawn = samples(name, "float32")
    composed = [s for s in drawn if needs_composition(name, s.args, s.kwargs)]
    total, of_these = COUNTS[name]
    assert len(drawn) >= total
    assert len(composed) >= of_these


def needs_composition(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Whether a pooling asks for what fastdl's arguments do not have."""
    if name.startswith("max_pool"):
        return bool(np.any(np.not_equal(kwargs.get("dilation", 1), 1)))
    if name.startswith("avg_pool"):
        return (args[6] if len(args) > 6 else kwargs.get("divisor_override")) is not None
    return False


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("backend", ["native", "numpy"])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", COUNTS)
@pytest.mark.usefixtures("use_backend")
def test_samples(name: str, dtype: str, backend: str, layout: str) -> None:
    problems = [problem for sample in samples(name, dtype) for problem in judge(name, sample, dtype, layout)]
    assert not problems, f"{len(problems)} problems:\n" + "\n".join(problems)


def difference(name: str, call: Any) -> str | None:
    """Return the row of DIFFERENCES to which one of PyTorch's error inputs belongs."""
    return next((reason for reason, (_, applies) in DIFFERENCES.items() if applies(name, call)), None)


@pytest.mark.parametrize("name", ERRORS)
def test_error_inputs_are_refused(name: str) -> None:
    errors = list(opinfos()[name].error_inputs("cpu"))
    assert len(errors) >= ERRORS[name]
    problems = []
    for error in errors:
        if difference(name, error.sample_input):
            continue
        args, kwargs = arrays(error.sample_input)
        try:
            torch_adapter.run(name, "NCHW", *args, **kwargs)
        except (ValueError, TypeError) as refusal:
            # An error of NumPy's from inside would not name the call.
            wrong = None if str(refusal).startswith(f"{name}: ") else f"unclear: {refusal}"
        except Exception as other:
            wrong = f"{type(other).__name__}: {other}"
        else:
            wrong = "accepted"
        if wrong:
            shapes = [getattr(a, "shape", a) for a in args]
            problems.append(f"{error.error_regex}: {shapes}, {kwargs}: {wrong}")
    assert not problems, "\n".join(problems)


def test_every_difference_is_counted() -> None:
    errors = [(name, error) for name in ERRORS for error in opinfos()[name].error_inputs("cpu")]
    found = Counter(difference(name, error.sample_input) for name, error in errors)
    del found[None]
    assert found == {reason: count for reason, (count, _) in DIFFERENCES.items()}


def test_what_only_fastdl_accepts_works() -> None:
    y = F.conv3d(np.ones((18, 27, 9, 1, 9)), np.ones((9, 9, 9, 1, 9)), stride=2, padding="same", groups=3)
    assert y.shape == (18, 9, 5, 1, 5)
    assert F.max_pool1d(np.ones((1, 0, 10)), 1).shape == (1, 0, 10)
