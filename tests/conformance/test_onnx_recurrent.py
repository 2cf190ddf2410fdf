"""ONNX's LSTM, GRU and RNN: its backend cases of one node, and onnxruntime on what those leave out."""

from __future__ import annotations

import importlib
from collections import Counter
from typing import Any

import numpy as np
import pytest

import fastdl.functional as F

from .bounds import gamma, mismatch
from .onnx_adapter import REASON, helper

Array = np.ndarray

# onnx 1.23; a later release may add cases, and those have to pass as well.
COUNTS = {"LSTM": 6, "GRU": 6, "RNN": 6}
# The order of fastdl's gates in ONNX's: i, o, f, g and z, r, h.
GATES = {"LSTM": (0, 2, 3, 1), "GRU": (0, 1, 2), "RNN": (0,)}
INPUTS = ("X", "W", "R", "B", "sequence_lens", "initial_h", "initial_c", "P")
BACKENDS = ("native", "numpy", "naive")


def run_node(op: str, attributes: dict[str, Any], *values: Array | None) -> list[Array]:
    """Run one node: [Y, Y_h] and of an LSTM Y_c, one direction after the other."""
    given = dict(zip(INPUTS, values)) | dict.fromkeys(INPUTS[len(values) :])
    batch_first = bool(attributes.get("layout", 0))
    x = given["X"] if batch_first else given["X"].swapaxes(0, 1)
    direction = attributes.get("direction", "forward")
    reverses = {"forward": [False], "reverse": [True], "bidirectional": [False, True]}[direction]
    sides = [one_direction(op, attributes, given, x, side, reverse) for side, reverse in enumerate(reverses)]
    y, *last = (np.stack(parts) for parts in zip(*sides))  # (directions, N, ...)
    if batch_first:
        return [np.moveaxis(y, 0, 2), *(state.swapaxes(0, 1) for state in last)]
    return [y.transpose(2, 0, 1, 3), *last]


def one_direction(
    op: str, attributes: dict[str, Any], given: dict[str, Any], x: Array, side: int, reverse: bool
) -> list[Array]:
    """Return hs (N, T, H) and the last states of one direction."""
    weights = {name: given[name][side] for name in ("W", "R", "B", "P") if given[name] is not None}
    after = bool(attributes.get("linear_before_reset", 0))
    options: dict[str, Any] = {"reverse": reverse, "lengths": given["sequence_lens"]}
    if op == "GRU":
        options["reset_after"] = after
    if "P" in weights:
        options["peepholes"] = weights["P"].reshape(3, -1)[[0, 2, 1]]
    bias = None
    if "B" in weights:
        bias = np.stack([in_order(op, part) for part in np.split(weights["B"], 2)])
        bias = bias if op == "GRU" and after else bias.sum(axis=0)
    states = [given[name] for name in ("initial_h", "initial_c")][: 2 if op == "LSTM" else 1]
    axis = 1 if attributes.get("layout", 0) else 0
    states = [None if state is None else state.take(side, axis) for state in states]
    w_x, w_h = (in_order(op, weights[name]).T for name in "WR")
    hs, last = getattr(F, op.lower())(x, *states, w_x, w_h, bias, **options)
    return [hs, *last] if op == "LSTM" else [hs, last]


def in_order(op: str, rows: Array) -> Array:
    """Bring the rows of the gates into fastdl's order."""
    gates = np.split(rows, len(GATES[op]))
    return np.concatenate([gates[index] for index in GATES[op]])


def roundings(values: list[Array | None]) -> float:
    """How far two float32 results may be apart, in units of 1 + |result|: at each step a sum over inputs and
    state, and some twenty roundings in the gates."""
    x, _, r = values[:3]
    return 2 * float(gamma(max(x.shape[:2]) * (x.shape[2] + r.shape[2] + 20), np.dtype("float32")))


def collect() -> list[Any]:
    package = "onnx.backend.test.case.node"
    built = pytest.importorskip(package, reason=REASON)._NodeTestCases
    for op in COUNTS:
        importlib.import_module(f"{package}.{op.lower()}")
    return [case for case in built if case.model.graph.node[0].op_type in COUNTS]


CASES = collect()


def test_every_case_is_there() -> None:
    found = Counter(case.model.graph.node[0].op_type for case in CASES)
    assert all(found[op] >= count for op, count in COUNTS.items()), found


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
@pytest.mark.usefixtures("use_backend")
def test_node(backend: str, case: Any) -> None:
    (node,) = case.model.graph.node
    attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    attributes = {name: v.decode() if isinstance(v, bytes) else v for name, v in attributes.items()}
    for inputs, outputs in case.data_sets:
        fed = iter(inputs)
        values = [next(fed) if name else None for name in node.input]
        named = dict(zip(node.output, run_node(node.op_type, attributes, *values)))
        wanted = [name for name in node.output if name]
        for name, want in zip(wanted, outputs, strict=True):
            assert mismatch(named[name], want, roundings(values) * (1 + np.abs(want)), want.dtype) is None, (
                name
            )


OPTIONS = [
    pytest.param(op, direction, extra, id=f"{op}-{direction}-{'-'.join(extra) or 'plain'}")
    for op in COUNTS
    for direction in ("forward", "reverse", "bidirectional")
    for extra in ((), ("lengths",), *((("peepholes", "lengths"),) if op == "LSTM" else ()),
                  *((("linear_before_reset", "lengths"),) if op == "GRU" else ()))
]  # fmt: skip


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("op, direction, extra", OPTIONS)
@pytest.mark.usefixtures("use_backend")
def test_as_onnxruntime(backend: str, op: str, direction: str, extra: tuple[str, ...]) -> None:
    """Every input there is, and sequences of several lengths."""
    ort = pytest.importorskip("onnxruntime")
    n, t, d, h = 3, 5, 4, 6
    sides, gates, rng = 2 if direction == "bidirectional" else 1, len(GATES[op]), np.random.default_rng(0)

    def draw(*shape: int) -> Array:
        return rng.uniform(-0.75, 0.75, shape).astype(np.float32)

    values: dict[str, Array | None] = {
        "X": draw(t, n, d),
        "W": draw(sides, gates * h, d),
        "R": draw(sides, gates * h, h),
        "B": draw(sides, 2 * gates * h),
        "sequence_lens": np.array([5, 2, 3], np.int32) if "lengths" in extra else None,
        "initial_h": draw(sides, n, h),
        "initial_c": draw(sides, n, h) if op == "LSTM" else None,
        "P": draw(sides, 3 * h) if "peepholes" in extra else None,
    }
    attributes: dict[str, Any] = {"direction": direction, "hidden_size": h}
    if "linear_before_reset" in extra:
        attributes["linear_before_reset"] = 1
    allowed = INPUTS if op == "LSTM" else INPUTS[:6]
    results = ["Y", "Y_h", *(["Y_c"] if op == "LSTM" else [])]
    node = helper.make_node(
        op, ["" if values[name] is None else name for name in allowed], results, **attributes
    )
    fed = {name: value for name, value in values.items() if value is not None}
    graph = helper.make_graph(
        [node],
        "one",
        [
            helper.make_tensor_value_info(name, 6 if v.dtype == np.int32 else 1, v.shape)
            for name, v in fed.items()
        ],
        [helper.make_tensor_value_info(name, 1, None) for name in results],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 14)], ir_version=8)
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    expected = session.run(results, fed)
    given = [values[name] for name in INPUTS]
    for name, came, want in zip(results, run_node(op, attributes, *given), expected, strict=True):
        # onnxruntime's sigmoid and tanh are rational approximations, good to about 1e-6.
        assert mismatch(came, want, roundings(given) + 3e-6, want.dtype) is None, name
