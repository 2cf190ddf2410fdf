"""The cases as ONNX graphs of a node or two, for those who run such graphs: forward only, float32, NCHW.

The data is the graph's input; weights are part of the graph, so that whoever compiles it may repack them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from case import Case

OPSET = 21
POINTWISE = {
    "relu": "Relu",
    "elu": "Elu",
    "sigmoid": "Sigmoid",
    "tanh": "Tanh",
    "gelu": "Gelu",
    "softplus": "Softplus",
    "softmax": "Softmax",
    "log_softmax": "LogSoftmax",
}
POOLS = {"max_pool": "MaxPool", "avg_pool": "AveragePool"}


class Graph(NamedTuple):
    """A model, what to feed it, and how its output becomes fastdl's."""

    model: bytes
    feeds: dict[str, np.ndarray]
    read: Callable[[np.ndarray], np.ndarray]


class Nodes(NamedTuple):
    """The nodes between the inputs x0, x1, ... and the output y, and what they know already."""

    nodes: list[Any]
    feeds: tuple[np.ndarray, ...]
    constants: dict[str, np.ndarray]
    read: Callable[[np.ndarray], np.ndarray] = lambda y: y


def build(case: Case) -> Graph | None:
    """Return the case as a graph, or None if ONNX has no such operation or the case is not for it."""
    if case.dtype != "float32" or case.layout != "NCHW" or "axis" in case.options:
        return None
    makers = {
        "conv": convolution,
        "dense": dense,
        "pool": pooling,
        "norm": normalisation,
        "pointwise": pointwise,
        "loss": loss,
        "embedding": embedding,
        "recurrent": recurrence,
    }
    made = makers[case.family](case, case.arrays()) if case.family in makers else None
    return None if made is None else whole(made)


def whole(made: Nodes) -> Graph:
    feeds = {f"x{i}": np.ascontiguousarray(array) for i, array in enumerate(made.feeds)}
    inputs = [
        helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape)
        for name, array in feeds.items()
    ]
    output = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    constants = [
        numpy_helper.from_array(np.ascontiguousarray(array), name) for name, array in made.constants.items()
    ]
    graph = helper.make_graph(made.nodes, "case", inputs, [output], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=10)
    return Graph(model.SerializeToString(), feeds, made.read)


def activated(nodes: list[Any], activation: str | None) -> list[Any]:
    """Let an activation follow the last node, whose output is y."""
    if activation is None:
        return nodes
    nodes[-1].output[0] = "z"
    return [*nodes, helper.make_node(POINTWISE[activation], ["z"], ["y"])]


def convolution(case: Case, arrays: tuple[np.ndarray, ...]) -> Nodes:
    x, w, b = arrays
    options, ndim = case.options, x.ndim - 2
    attributes = {
        "strides": [options.get("stride", 1)] * ndim,
        "pads": [options["padding"]] * 2 * ndim,
        "dilations": [options.get("dilation", 1)] * ndim,
        "group": options.get("groups", 1),
    }
    if "output_padding" in options:
        attributes["output_padding"] = [options["output_padding"]] * ndim
    kind = "ConvTranspose" if "transpose" in case.op else "Conv"
    node = helper.make_node(kind, ["x0", "w", "b"], ["y"], **attributes)
    return Nodes(activated([node], options.get("activation")), (x,), {"w": w, "b": b})


def dense(case: Case, arrays: tuple[np.ndarray, ...]) -> Nodes:
    x, w, b = arrays
    node = helper.make_node("Gemm", ["x0", "w", "b"], ["y"])
    return Nodes(activated([node], case.options.get("activation")), (x,), {"w": w, "b": b})


def pooling(case: Case, arrays: tuple[np.ndarray, ...]) -> Nodes:
    if case.op.startswith("global"):
        nodes = [
            helper.make_node("GlobalAveragePool", ["x0"], ["z"]),
            helper.make_node("Flatten", ["z"], ["y"]),
        ]
        return Nodes(nodes, arrays, {})
    options, ndim = case.options, arrays[0].ndim - 2
    node = helper.make_node(
        POOLS[case.op[:8]],
        ["x0"],
        ["y"],
        kernel_shape=[options["size"]] * ndim,
        strides=[options.get("stride", options["size"])] * ndim,
        pads=[options.get("padding", 0)] * 2 * ndim,
    )
    return Nodes([node], arrays, {})


def normalisation(case: Case, arrays: tuple[np.ndarray, ...]) -> Nodes | None:
    x, *rest = arrays
    constants = dict(zip(("gamma", "beta", "mean", "var"), rest))
    names = ["x0", *constants]
    kinds: dict[str, tuple[str, dict[str, Any]]] = {
        "layer_norm": ("LayerNormalization", {"axis": -1}),
        "instance_norm": ("InstanceNormalization", {}),
        "group_norm": ("GroupNormalization", {"num_groups": case.options.get("groups")}),
        "batch_norm": ("BatchNormalization", {}),
    }
    if case.options.get("training"):  # graphs are for inference
        return None
    kind, attributes = kinds[case.op]
    return Nodes([helper.make_node(kind, names, ["y"], epsilon=1e-5, **attributes)], (x,), constants)


def pointwise(case: Case, arrays: tuple[np.ndarray, ...]) -> Nodes:
    if case.op == "silu":
        nodes = [
            helper.make_node("Sigmoid", ["x0"], ["s"]),
            helper.make_node("Mul", ["x0", "s"], ["y"]),
        ]
        return Nodes(nodes, arrays, {})
    if case.op == "leaky_relu":
        return Nodes([helper.make_node("LeakyRelu", ["x0"], ["y"], alpha=0.2)], arrays, {})
    return Nodes([helper.make_node(POINTWISE[case.op], ["x0"], ["y"])], arrays, {})


def loss(case: Case, arrays: tuple[np.ndarray, ...]) -> Nodes:
    if case.op == "softmax_cross_entropy":
        nodes = [helper.make_node("SoftmaxCrossEntropyLoss", ["x0", "x1"], ["y"])]
    else:
        nodes = [
            helper.make_node("Sub", ["x0", "x1"], ["d"]),
            helper.make_node("Mul", ["d", "d"], ["s"]),
            helper.make_node("ReduceMean", ["s"], ["y"], keepdims=0),
        ]
    return Nodes(nodes, arrays, {})


def embedding(case: Case, arrays: tuple[np.ndarray, ...]) -> Nodes:
    ids, table = arrays
    return Nodes([helper.make_node("Gather", ["table", "x0"], ["y"])], (ids,), {"table": table})


def recurrence(case: Case, arrays: tuple[np.ndarray, ...]) -> Nodes:
    """ONNX has time first, and an axis for directions; a cell is a sequence of one."""
    x, *states, w_x, w_h, b = arrays
    kind, cell = case.op.removesuffix("_cell"), case.op.endswith("_cell")
    x = x[None] if cell else x.transpose(1, 0, 2)
    biases = b if kind == "gru" else (b, np.zeros_like(b))
    w_x, w_h, *biases = (reordered(kind, w) for w in (w_x, w_h, *biases))
    constants = {"w": w_x.T[None], "r": w_h.T[None], "b": np.concatenate(biases)[None]}
    given = [f"x{1 + i}" for i in range(len(states))]
    node = helper.make_node(
        kind.upper(),
        ["x0", "w", "r", "b", "", *given],
        ["y"],
        hidden_size=len(arrays[-2]),
        **({"linear_before_reset": 1} if kind == "gru" else {}),
    )

    def read(y: np.ndarray) -> np.ndarray:
        return y[0, 0] if cell else y[:, 0].transpose(1, 0, 2)

    return Nodes([node], (x, *(state[None] for state in states)), constants, read)


def reordered(kind: str, w: np.ndarray) -> np.ndarray:
    """An LSTM's gates i, f, g, o as ONNX's i, o, f, c; a GRU's are in the same order."""
    if kind != "lstm":
        return w
    i, f, g, o = np.split(w, 4, axis=-1)
    return np.concatenate([i, o, f, g], axis=-1)
