"""Losses and look-ups: ONNX's cases of one node, and PyTorch's own samples with their gradients.

Left out is what fastdl has no argument for, weights of classes; the counts say how many cases that leaves.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fastdl.functional as F

from .onnx_adapter import REASON, helper
from .test_torch_opinfo import arrays, opinfos, torch_call
from .torch_adapter import Outputs

BACKENDS = ("native", "numpy", "naive")

# ---- ONNX

ONNX_COUNTS = {"SoftmaxCrossEntropyLoss": 17, "Gather": 1}
# float32 logarithms of a few terms, against a reference made of other roundings.
TOLERANCE = {"rtol": 1e-5, "atol": 1e-6}


def collect() -> list[Any]:
    package = "onnx.backend.test.case.node"
    built = pytest.importorskip(package, reason=REASON)._NodeTestCases
    for module in ("softmax_cross_entropy_loss", "gather"):
        importlib.import_module(f"{package}.{module}")
    found = []
    for case in built:
        node = case.model.graph.node[0]
        inputs = case.data_sets[0][0]
        weighted = node.op_type == "SoftmaxCrossEntropyLoss" and len(inputs) == 3
        by_row = node.op_type == "Gather" and (inputs[1] >= 0).all() and axis(case) == 0
        if len(case.model.graph.node) == 1 and (
            by_row or (node.op_type == "SoftmaxCrossEntropyLoss" and not weighted)
        ):
            found.append(case)
    return found


def attributes(case: Any) -> dict[str, Any]:
    found = {a.name: helper.get_attribute_value(a) for a in case.model.graph.node[0].attribute}
    return {name: value.decode() if isinstance(value, bytes) else value for name, value in found.items()}


def axis(case: Any) -> int:
    return int(attributes(case).get("axis", 0))


CASES = collect()


@pytest.mark.parametrize("op", ONNX_COUNTS)
def test_every_case_is_there(op: str) -> None:
    assert sum(case.model.graph.node[0].op_type == op for case in CASES) >= ONNX_COUNTS[op]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
@pytest.mark.usefixtures("use_backend")
def test_node(case: Any, backend: str) -> None:
    (inputs, outputs), *others = case.data_sets
    assert not others
    if case.model.graph.node[0].op_type == "Gather":
        table, ids = inputs
        y = F.embedding(ids, table.reshape(len(table), -1)).reshape(*ids.shape, *table.shape[1:])
        np.testing.assert_array_equal(y, outputs[0])
        return
    scores, labels = inputs
    x = np.moveaxis(scores, 1, -1)
    loss = F.softmax_cross_entropy(x, labels, **attributes(case))
    np.testing.assert_allclose(loss, outputs[0], **TOLERANCE)
    if len(outputs) == 2:
        np.testing.assert_allclose(F.log_softmax(x), np.moveaxis(outputs[1], 1, -1), **TOLERANCE)


# ---- PyTorch

# In PyTorch 2.13, without those with weights.
TORCH_COUNTS = {
    "embedding": 3,
    "cross_entropy": 15,
    "mse_loss": 6,
    "l1_loss": 6,
    "huber_loss": 9,
    "binary_cross_entropy": 8,
    "binary_cross_entropy_with_logits": 8,
}
Run = tuple[Any, Callable[[Any], Any]]


def elementwise(name: str, **fixed: Any) -> Callable[..., Run]:
    def run(x: Any, target: Any, **options: Any) -> Run:
        y, ctx = getattr(F, f"{name}_forward")(x, target, **options, **fixed)
        return y, lambda dy: getattr(F, f"{name}_backward")(dy, ctx)

    return run


def cross_entropy(x: Any, target: Any, **options: Any) -> Run:
    """PyTorch has the classes on axis 1."""
    if target.shape == x.shape:
        target = np.moveaxis(target, 1, -1)
    y, ctx = F.softmax_cross_entropy_forward(np.moveaxis(x, 1, -1), target, **options)
    return y, lambda dy: np.moveaxis(F.softmax_cross_entropy_backward(dy, ctx), -1, 1)


def embedding(table: Any, ids: Any) -> Run:
    """The sample has the table first."""
    y, ctx = F.embedding_forward(ids, table)
    return y, lambda dy: F.embedding_backward(dy, ctx)


OURS: dict[str, Callable[..., Run]] = {
    "embedding": embedding,
    "cross_entropy": cross_entropy,
    "mse_loss": elementwise("mean_squared_error"),
    "l1_loss": elementwise("mean_absolute_error"),
    "huber_loss": elementwise("huber"),
    "binary_cross_entropy": elementwise("binary_cross_entropy"),
    "binary_cross_entropy_with_logits": elementwise("binary_cross_entropy", from_logits=True),
}


def samples(name: str) -> list[Any]:
    torch = importlib.import_module("torch")
    op = opinfos()[name]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        drawn = list(op.sample_inputs("cpu", torch.float64, requires_grad=True))
    return [sample for sample in drawn if not sample.kwargs.keys() & {"weight", "pos_weight"}]


@pytest.mark.parametrize("name", TORCH_COUNTS)
def test_every_sample_is_there(name: str) -> None:
    opinfos()
    assert len(samples(name)) >= TORCH_COUNTS[name]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", TORCH_COUNTS)
@pytest.mark.usefixtures("use_backend")
def test_samples(name: str, backend: str) -> None:
    op = opinfos()[name]
    for sample in samples(name):
        args, kwargs = arrays(sample)
        (expected,), back = of_first(op, args, kwargs)
        y, ours_back = OURS[name](*args, **kwargs)
        dy = np.random.default_rng(0).uniform(-1, 1, np.shape(expected))
        # In float64: two implementations of log, and sums of at most 125 terms.
        np.testing.assert_allclose(y, expected, rtol=1e-12, atol=1e-13, err_msg=str(sample))
        np.testing.assert_allclose(ours_back(dy), back(dy)[0], rtol=1e-12, atol=1e-13, err_msg=str(sample))


def of_first(op: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Outputs:
    """Call PyTorch for the gradient of its first argument alone."""
    torch = importlib.import_module("torch")
    rest = [torch.from_numpy(np.asarray(a)) for a in args[1:]]
    return torch_call(lambda x, **options: op(x, *rest, **options), [args[0]], kwargs)
