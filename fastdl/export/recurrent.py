"""Recurrent layers in ONNX, which has time first, an axis of directions, and an order of gates of its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from .. import nested
from ..layers.base import Array
from ..layers.recurrent import GRU, LSTM, Recurrent, SimpleRNN
from .graph import Converter, Names, OnnxGraph, Value

_EARLIEST = -(2**63)


class _Kind(NamedTuple):
    """What ONNX calls a layer, and in which order it has the gates."""

    operator: str
    gates: tuple[int, ...]


_KINDS = {
    SimpleRNN: _Kind("RNN", (0,)),
    LSTM: _Kind("LSTM", (0, 3, 1, 2)),  # from i f g o to i o f g
    GRU: _Kind("GRU", (0, 1, 2)),
}


class Run(NamedTuple):
    """Names of what a recurrence gives: the outputs of all steps in the order of x, and the last states."""

    sequence: str
    states: list[str]


def run(graph: OnnxGraph, layer: Recurrent, x: Value, states: Sequence[Value] = ()) -> Run:
    """Add one recurrence.

    Raises
    ------
    ValueError
        If the layer is stateful: what a graph returns depends on what it is given alone.
    """
    if layer.stateful:
        raise ValueError(f"export: layer {layer.name!r} is stateful, which has no form in ONNX")
    kind = _KINDS[type(layer)]

    def for_onnx(array: Array) -> Array:
        """(..., gates · units) as (1, gates · units, ...), the gates in ONNX's order."""
        parts = np.split(array, layer.gates, axis=-1)
        return np.concatenate([parts[gate] for gate in kind.gates], axis=-1).T[None]

    params = layer.params
    given = [
        graph.transpose(x.name, (1, 0, 2)),
        graph.weight(layer, "kernel", for_onnx(params["kernel"])),
        graph.weight(layer, "recurrent_kernel", for_onnx(params["recurrent_kernel"])),
    ]
    if layer.use_bias:  # one for the product with x, one for that with the state
        both = np.zeros((2, layer.gates * layer.units), layer.dtype)
        both[: params["bias"].ndim] = params["bias"]
        bias = np.concatenate([for_onnx(row)[0] for row in both])[None]
        given.append(graph.weight(layer, "bias", bias))
    if states:
        given += ["", ""][layer.use_bias :]  # neither a bias nor lengths of the sequences
        given += [graph.insert_axes(state.name, [0]) for state in states]
    settings: dict[str, Any] = {"direction": "reverse" if layer.go_backwards else "forward"}
    if isinstance(layer, GRU):
        settings["linear_before_reset"] = int(layer.reset_after)
    if isinstance(layer, SimpleRNN):
        settings["activations"] = [layer.activation.capitalize()]
    outputs = graph.emit_several(kind.operator, 1 + layer.states, *given, hidden_size=layer.units, **settings)
    without_directions = graph.emit("Squeeze", outputs[0], graph.constant([1]))
    first = graph.constant([0])
    return Run(
        graph.transpose(without_directions, (1, 0, 2)),
        [graph.emit("Squeeze", state, first) for state in outputs[1:]],
    )


def backwards(graph: OnnxGraph, sequence: str) -> str:
    """Return the steps of a sequence from the last to the first."""
    starts, ends, axes, steps = (graph.constant([n]) for n in (-1, _EARLIEST, 1, -1))
    return graph.emit("Slice", sequence, starts, ends, axes, steps)


def recurrent(graph: OnnxGraph, layer: Recurrent, given: Any) -> Names:
    """RNN, LSTM or GRU."""
    x, *states = nested.parts(given)
    sequence, last = run(graph, layer, x, states)
    y = last[0]
    if layer.return_sequences:
        y = backwards(graph, sequence) if layer.go_backwards else sequence
    return [y, *last] if layer.return_state else y


CONVERTERS: dict[type, Converter] = dict.fromkeys(_KINDS, recurrent)
