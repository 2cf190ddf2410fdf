"""ONNX's backend cases of one node, for the operators that fastdl has."""

from __future__ import annotations

import importlib
from collections import Counter
from typing import Any

import numpy as np
import pytest

from . import normalization
from .bounds import gamma, mismatch
from .calls import LAYOUTS
from .onnx_adapter import REASON, longest_sum, run_model

# onnx 1.23; a later release may add cases, and those have to pass as well.
COUNTS = {
    "Conv": 6,
    "ConvTranspose": 11,
    "MaxPool": 19,
    "AveragePool": 20,
    "GlobalAveragePool": 2,
    "GlobalMaxPool": 2,
    "BatchNormalization": 4,
    "InstanceNormalization": 2,
    "GroupNormalization": 2,
    "LayerNormalization": 19,
}
# Where a module of cases is not named like its operator.
MODULES = {
    "BatchNormalization": "batch_normalization",
    "InstanceNormalization": "instance_normalization",
}
# A case whose input and output stand in onnx's source as numbers printed with four decimals, each rounded
# for itself: half a unit of the last for the output, and up to as much for a mean of the inputs.
PRINTED = {"test_averagepool_2d_ceil_last_window_starts_on_pad": 1e-4}
# The loops of `naive` take a second for a few thousand windows of one of the larger cases.
NAIVE_ELEMENTS = 1000


def collect() -> list[Any]:
    """Build the cases of COUNTS: importing a case module appends to one list of onnx."""
    package = "onnx.backend.test.case.node"
    built = pytest.importorskip(package, reason=REASON)._NodeTestCases
    for op in COUNTS:
        importlib.import_module(f"{package}.{MODULES.get(op, op.lower())}")
    return [case for case in built if case.model.graph.node[0].op_type in COUNTS]


CASES = collect()
SMALL = [case for case in CASES if case.data_sets[0][0][0].size <= NAIVE_ELEMENTS]
RUNS = [
    pytest.param(backend, case, id=f"{case.name}-{backend}")
    for backend, cases in (("native", CASES), ("numpy", CASES), ("naive", SMALL))
    for case in cases
]


def test_every_case_is_there() -> None:
    found = Counter(case.model.graph.node[0].op_type for case in CASES)
    assert all(found[op] >= count for op, count in COUNTS.items()), found
    assert len(SMALL) >= 35


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(("backend", "case"), RUNS)
@pytest.mark.usefixtures("use_backend")
def test_node(backend: str, case: Any, layout: str) -> None:
    for inputs, outputs in case.data_sets:
        got = run_model(case.model, inputs, layout)
        bounds = error_bounds(case.model, inputs, outputs)
        for y, want, bound in zip(got, outputs, bounds, strict=True):
            np.testing.assert_allclose(y, want, rtol=case.rtol, atol=case.atol)
            slack = PRINTED.get(case.name, 0.0)
            assert mismatch(y, want, bound + slack, want.dtype) is None


def error_bounds(model: Any, inputs: list[np.ndarray], outputs: list[np.ndarray]) -> list[np.ndarray | float]:
    """Bound how far two float32 results of one model may be apart: each may be off by gamma of its sums."""
    if model.graph.node[0].op_type in normalization.OPERATORS:
        return normalization.error_bounds(inputs[0], outputs)
    terms = longest_sum(model, inputs)
    if terms == 0:
        return [0.0] * len(outputs)  # a maximum, and where it was found, have no rounding
    unit = 2 * gamma(terms, np.dtype("float32"))
    return [unit * scale for scale in run_model(model, inputs, "NCHW", dtype=np.float64)]
