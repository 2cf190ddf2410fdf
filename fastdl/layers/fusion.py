"""Inference in fewer passes: which calls of a graph are made in one.

# Design: with its moving statistics a batch normalisation is a scale and a shift of each channel, and an
# activation is a function of each number. The pass of the product before them does both while a result is
# still in registers. What goes together is decided once, when a graph is connected. Weights are read in each
# call, so nothing is kept on a layer that could be out of date.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from .base import Array, Layer
from .norm import BatchNormalization
from .pointwise import ELU, Activation, Dropout, GaussianNoise, LeakyReLU, Pointwise, ReLU, SpatialDropout2D
from .symbolic import Call

if TYPE_CHECKING:
    from .steps import Step

# By their own types: what is derived from them may do something else.
_ACTIVATIONS = (Activation, ReLU, LeakyReLU, ELU)
_DISTURBANCES = (Dropout, SpatialDropout2D, GaussianNoise)


class Fused:
    """A layer, and those behind it that are computed in its pass, for inference.

    Parameters
    ----------
    head : Layer
        Anything. Only one with `call_fused` takes in what computes; what does nothing at inference is
        dropped behind any layer.
    """

    def __init__(self, head: Any) -> None:
        self.head = head
        self.norm: BatchNormalization | None = None
        self.after: Pointwise | None = None
        self._is_open = _does_as_told(head) and head.fusible

    def takes(self, layer: Layer, axes: int) -> bool:
        """Take in the layer that comes next, if that is possible; its input has so many axes."""
        if layer.dtype != self.head.dtype:
            return False
        if type(layer) in _DISTURBANCES or _activation(layer) == "linear":
            return True
        if not self._is_open or self.after is not None:
            return False
        if isinstance(layer, Pointwise) and _activation(layer) is not None:
            self.after = layer
            return True
        if self.norm is None and isinstance(layer, BatchNormalization) and _does_as_told(layer):
            own = self.head.channel_axis
            if own is not None and own % axes == layer.axis % axes:
                self.norm = layer
                return True
        return False

    def __call__(self, x: Any, training: bool = False) -> Array:
        if self.norm is None and self.after is None:
            return self.head(x)
        return self.head.call_fused(self.head.accept(x), self.norm, self.after)


def fused(steps: Sequence[Step], calls: Sequence[Call], uses: Counter[int]) -> tuple[list[Step], list[Call]]:
    """Return the steps of inference, and the calls that are part of another one's.

    Parameters
    ----------
    steps, calls
        Those of a graph, in the same order.
    uses : Counter
        How many steps and results read each place. What is read twice is computed as it is.
    """
    readers = {step.reads: number for number, step in enumerate(steps) if type(step.reads) is int}
    together: list[Step] = []
    absorbed: dict[int, Call] = {}
    for number, step in enumerate(steps):
        if number in absorbed:
            continue
        whole, last = Fused(step.layer), step
        while not last.training and type(last.writes) is int and uses[last.writes] == 1:
            next_number = readers.get(last.writes)
            if next_number is None or steps[next_number].training:
                break
            call = calls[next_number]
            if not whole.takes(call.layer, len(call.inputs.shape)):
                break
            absorbed[next_number], last = call, steps[next_number]
        if last is not step:
            step = replace(step, layer=whole, writes=last.writes, targets=last.targets)
        together.append(step)
    return together, list(absorbed.values())


def _activation(layer: Layer) -> Any:
    """Return the name under which an activation layer can be part of another pass, or None."""
    return layer.fused if isinstance(layer, Pointwise) and type(layer) in _ACTIVATIONS else None


def _does_as_told(layer: Layer) -> bool:
    """Whether it has `call_fused`, and no class derived from the one that defines it runs it otherwise."""
    owners = {
        name: next((owner for owner in type(layer).__mro__ if name in vars(owner)), None)
        for name in ("call_fused", "call", "accept", "__call__")
    }
    fuses = owners.pop("call_fused")
    return fuses is not None and all(owner and issubclass(fuses, owner) for owner in owners.values())
