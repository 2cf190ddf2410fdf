"""The layers of a model in text: as a table, and as a tree."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from . import nested
from .layers.chain import Chain
from .layers.graph import Graph
from .layers.symbolic import Tensor

if TYPE_CHECKING:
    from .training import Trainer


def print_summary(model: Trainer, line_length: int, print_fn: Callable[[str], Any]) -> None:
    """Print the layers, the shapes of their outputs and their numbers of parameters.

    Where the layers are more than a line, a column says what each is connected to. A plus is before those
    that take no pass of their own at inference.
    """
    titles = ["Layer (type)", "Output Shape", "Param #"]
    wide = line_length * 3 // 8
    widths = [wide, wide, line_length - 2 * wide]
    if not _is_line(model):
        titles.append("Connected to")
        wide = line_length * 3 // 10
        widths = [wide, wide, line_length - 3 * wide, wide]

    def row(*cells: str) -> str:
        return "".join(cell[: width - 1].ljust(width) for cell, width in zip(cells, widths)).rstrip()

    print_fn(f'Model: "{model.name}"')
    print_fn("_" * line_length)
    print_fn(row(*titles))
    print_fn("=" * line_length)
    for cells in _rows(model):
        print_fn(row(*cells))
    print_fn("=" * line_length)
    if model.fused_calls:
        print_fn("+ at inference part of the layer before, or dropped")
    total = model.count_params()
    trainable = sum(weight.size for weight in model.trainable_weights)
    print_fn(f"Total params: {total:,}")
    print_fn(f"Trainable params: {trainable:,}")
    print_fn(f"Non-trainable params: {total - trainable:,}")


def tree(model: Trainer) -> str:
    """Return the layers as lines of plain text, those of a model within the model one step further in.

    Where the layers are more than a line, it says behind an arrow what each reads.

    Examples
    --------
    >>> from fastdl import Input, Model, Sequential
    >>> from fastdl.layers import Add, Dense
    >>> from fastdl.summary import tree
    >>> x = Input((4,), name="x")
    >>> head = Sequential([Input((4,)), Dense(2, name="logits")], name="head")
    >>> print(tree(Model(x, head(Add(name="sum")([x, Dense(4, name="hidden")(x)])), name="net")))
    net (Model)
    |-- x (Input) (None, 4)
    |-- hidden (Dense) (None, 4) <- x
    |-- sum (Add) (None, 4) <- x, hidden
    `-- head (Sequential) (None, 2) <- sum
        `-- logits (Dense) (None, 2)
    """
    return "\n".join([f"{model.name} ({type(model).__name__})", *_branches(model)])


def _branches(graph: Graph) -> list[str]:
    """Return the lines of a tree below its root."""
    rows: list[tuple[str, list[str]]] = []
    arrows = not _is_line(graph)
    if not isinstance(graph, Chain):
        rows = [(f"{tensor.name} (Input) {tensor.shape}", []) for tensor in graph.inputs]
    for layer in dict.fromkeys(call.layer for call in graph.calls):
        calls = [call for call in graph.calls if call.layer is layer]
        shapes = ", ".join(str(tensor.shape) for tensor in nested.parts(calls[0].outputs))
        line = f"{layer.name} ({type(layer).__name__}) {shapes}"
        if arrows:
            reads = [
                ", ".join(_port(tensor, graph) for tensor in nested.parts(call.inputs)) for call in calls
            ]
            line += " <- " + "; ".join(reads)
        rows.append((line, _branches(layer) if isinstance(layer, Graph) else []))
    lines = []
    for number, (line, below) in enumerate(rows):
        is_last = number == len(rows) - 1
        lines.append(("`-- " if is_last else "|-- ") + line)
        lines += [("    " if is_last else "|   ") + deeper for deeper in below]
    return lines


def _is_line(graph: Graph) -> bool:
    """Whether each call reads what the one before it returns, and nothing else."""
    tensor = graph.input
    for call in graph.calls:
        if call.inputs is not tensor:
            return False
        tensor = call.outputs
    return True


def _rows(graph: Graph) -> list[list[str]]:
    """Return the cells of the table, with a line of its own for each further connection."""
    rows = []
    if not isinstance(graph, Chain):
        rows = [[f"{tensor.name} (Input)", str(tensor.shape), "0", "-"] for tensor in graph.inputs]
    for layer in dict.fromkeys(graph.layers):
        calls = [call for call in graph.calls if call.layer is layer]
        shapes = [str(tensor.shape) for tensor in nested.parts(calls[0].outputs)]
        first, *others = [_port(tensor, graph) for call in calls for tensor in nested.parts(call.inputs)]
        fused = all(call in graph.fused_calls for call in calls)
        title = f"{'+ ' if fused else ''}{layer.name} ({type(layer).__name__})"
        rows.append([title, ", ".join(shapes), f"{layer.count_params():,}", first])
        rows += [["", "", "", other] for other in others]
    return rows


def _port(tensor: Tensor, graph: Graph) -> str:
    """Return the name of what returns a tensor, with the number of the call and output if it has several."""
    if tensor in graph.inputs or tensor.call is None:
        return tensor.name
    calls = [call for call in graph.calls if call.layer is tensor.call.layer]
    outputs = nested.parts(tensor.call.outputs)
    call_number = f"[{calls.index(tensor.call)}]" if len(calls) > 1 else ""
    output_number = f"[{outputs.index(tensor)}]" if len(outputs) > 1 else ""
    return tensor.name + call_number + output_number
