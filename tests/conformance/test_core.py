"""ONNX's core, 133 cases of convolution, pooling, batch normalisation and recurrence: that none gets lost.

Each runs in its own module, on every engine; here they are only counted.
"""

from __future__ import annotations

from collections import Counter

from . import test_onnx_node, test_onnx_recorded, test_onnx_recurrent

# onnx 1.23. A later release may add cases but not take one away.
NODE = {
    "Conv": 6,
    "ConvTranspose": 11,
    "MaxPool": 19,
    "AveragePool": 20,
    "GlobalAveragePool": 2,
    "GlobalMaxPool": 2,
    "BatchNormalization": 4,
    "LSTM": 6,
    "GRU": 6,
    "RNN": 6,
}
RECORDED = {"Conv": 27, "ConvTranspose": 3, "MaxPool": 9, "AveragePool": 7, "BatchNormalization": 5}


def test_82_cases_of_one_node() -> None:
    cases = [*test_onnx_node.CASES, *test_onnx_recurrent.CASES]
    assert len({case.name for case in cases}) == len(cases)
    found = Counter(case.model.graph.node[0].op_type for case in cases)
    assert {op: min(found[op], count) for op, count in NODE.items()} == NODE
    assert sum(NODE.values()) == 82


def test_51_recorded_cases() -> None:
    found = Counter(op for (_, op), _, _ in test_onnx_recorded.CASES.values())
    assert {op: min(found[op], count) for op, count in RECORDED.items()} == RECORDED
    assert sum(RECORDED.values()) == 51


def test_lstm_has_its_peepholes() -> None:
    names = {case.name for case in test_onnx_recurrent.CASES if "P" in case.model.graph.node[0].input}
    assert "test_lstm_with_peepholes" in names
