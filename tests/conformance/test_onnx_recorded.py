"""Models exported from PyTorch with the outputs PyTorch gave, as the onnx package ships them."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from .bounds import mismatch
from .calls import LAYOUTS
from .onnx_adapter import REASON, numpy_helper, run_model
from .test_onnx_node import NAIVE_ELEMENTS, error_bounds

onnx = pytest.importorskip("onnx", reason=REASON)
loader = pytest.importorskip("onnx.backend.test.loader", reason=REASON)

COUNTS = {
    ("pytorch-converted", "Conv"): 26,
    ("pytorch-operator", "Conv"): 1,
    ("pytorch-converted", "ConvTranspose"): 2,
    ("pytorch-operator", "ConvTranspose"): 1,
    ("pytorch-converted", "MaxPool"): 8,
    ("pytorch-operator", "MaxPool"): 1,
    ("pytorch-converted", "AveragePool"): 7,
    ("pytorch-converted", "BatchNormalization"): 5,
    ("pytorch-operator", "InstanceNormalization"): 1,
}


def collect() -> dict[str, tuple[tuple[str, str], Any, Any]]:
    """Load every model with an operator of COUNTS among its nodes: {name: (row, case, model)}."""
    found = {}
    for kind in ("pytorch-converted", "pytorch-operator"):
        for case in loader.load_model_tests(kind=kind):
            model = onnx.load(Path(case.model_dir) / "model.onnx")
            rows = {(kind, node.op_type) for node in model.graph.node} & set(COUNTS)
            if rows:
                found[case.name] = (rows.pop(), case, model)
    return dict(sorted(found.items()))


CASES = collect()


def load_tensors(folder: Path, role: str) -> list[np.ndarray]:
    files = sorted(folder.glob(f"{role}_*.pb"), key=lambda file: int(file.stem.split("_")[1]))
    return [numpy_helper.to_array(onnx.load_tensor(file)) for file in files]


def is_small(name: str) -> bool:
    """Whether the loops of `naive` are through in a second."""
    (folder, *_) = sorted(Path(CASES[name][1].model_dir).glob("test_data_set_*"))
    return load_tensors(folder, "input")[0].size <= NAIVE_ELEMENTS


RUNS = [
    *((backend, name) for backend in ("native", "numpy") for name in CASES),
    *(("naive", name) for name in CASES if is_small(name)),
]


def test_every_case_is_there() -> None:
    found = Counter(row for row, _, _ in CASES.values())
    assert all(found[row] >= count for row, count in COUNTS.items()), found
    assert len(RUNS) >= 2 * len(CASES) + 47


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(("backend", "name"), RUNS)
@pytest.mark.usefixtures("use_backend")
def test_recorded(backend: str, name: str, layout: str) -> None:
    _, case, model = CASES[name]
    folders = sorted(Path(case.model_dir).glob("test_data_set_*"))
    assert folders
    for folder in folders:
        inputs, outputs = load_tensors(folder, "input"), load_tensors(folder, "output")
        got = run_model(model, inputs, layout)
        bounds = error_bounds(model, inputs, outputs)
        for y, want, bound in zip(got, outputs, bounds, strict=True):
            np.testing.assert_allclose(y, want, rtol=case.rtol, atol=case.atol)
            assert mismatch(y, want, bound, want.dtype) is None
