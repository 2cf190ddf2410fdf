"""The table of a model's layers."""

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
