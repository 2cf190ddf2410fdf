"""Fewer passes: which calls of a graph are made in one.

# Design:
# (a) With its moving statistics a batch normalisation is a scale and a shift of each channel, and an
#     activation is a function of each number. At inference the pass of the product before them does both
#     while a result is still in registers.
# (b) In training a product or a normalisation takes in the activation behind it. The way back goes through
#     both at once, and what is between them is not kept. A convolution takes in the pooling of its maxima,
#     too: of the activation's slopes, only those at the maxima are asked for.
# (c) What goes together is decided once, when a graph is connected. Weights are read in each call, so nothing
#     is kept on a layer that could be out of date.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from .base import Array, Back, Layer
from .norm import BatchNormalization
from .pointwise import ELU, Activation, Dropout, GaussianNoise, LeakyReLU, Pointwise, ReLU, SpatialDropout2D
from .pool import MaxPooling, MaxPooling1D, MaxPooling2D, MaxPooling3D
from .symbolic import Call

if TYPE_CHECKING:
    from .steps import Step

# By their own types: what is derived from them may do something else.
_ACTIVATIONS = (Activation, ReLU, LeakyReLU, ELU)
_DISTURBANCES = (Dropout, SpatialDropout2D, GaussianNoise)
_POOLINGS = (MaxPooling1D, MaxPooling2D, MaxPooling3D)


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
        self._is_open = _does_as_told(head, "call_fused", ("call", "accept", "__call__")) and head.fusible

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
        if self.norm is None and isinstance(layer, BatchNormalization) and Fused(layer)._is_open:
            own = self.head.channel_axis
            if own is not None and own % axes == layer.axis % axes:
                self.norm = layer
                return True
        return False

    def __call__(self, x: Any, training: bool = False) -> Array:
        if self.norm is None and self.after is None:
            return self.head(x)
        return self.head.call_fused(self.head.accept(x), self.norm, self.after)


class FusedInTraining:
    """A layer, an activation behind it, and a pooling behind that, which are one on the way back.

    Parameters
    ----------
    head : Layer
        Anything. Only one with `vjp_fused` takes in an activation, and only one with `vjp_pooled` a pooling.
    """

    def __init__(self, head: Any) -> None:
        self.head = head
        self.after: Pointwise | None = None
        self.pool: MaxPooling | None = None

    def takes(self, layer: Layer, axes: int) -> bool:
        """Take in the layer that comes next, if that is possible."""
        head, others = self.head, ("vjp", "partial_vjp", "accept")
        if self.pool is not None or layer.dtype != head.dtype:
            return False
        if isinstance(layer, MaxPooling):
            is_told = type(layer) in _POOLINGS and _does_as_told(head, "vjp_pooled", ("vjp_fused", *others))
            if is_told and head.can_be_pooled(self.after or head.own_activation, layer):
                self.pool = layer
            return self.pool is layer
        if self.after is not None or not (_does_as_told(head, "vjp_fused", others) and head.fusible):
            return False
        if isinstance(layer, Pointwise) and _activation(layer) is not None:
            self.after = layer
        return self.after is layer

    @property
    def learns(self) -> bool:
        """As for the layer."""
        return self.head.learns

    def __call__(self, x: Any, training: bool) -> Array:
        for layer in filter(None, (self.head, self.after, self.pool)):
            x = layer(x, training)
        return x

    def partial_vjp(
        self, x: Any, training: bool, *, wants_dx: bool, logits: bool = False
    ) -> tuple[Array, Back]:
        """As for a layer."""
        if self.pool is not None:
            after = self.after or self.head.own_activation
            return self.head.vjp_pooled(x, training, after=after, pool=self.pool, wants_dx=wants_dx)
        return self.head.vjp_fused(x, training, after=None if logits else self.after, wants_dx=wants_dx)


def fused(
    steps: Sequence[Step], calls: Sequence[Call], uses: Counter[int], *, training: bool
) -> tuple[list[Step], list[Call]]:
    """Return the steps in fewer passes, and the calls that are part of another one's.

    Parameters
    ----------
    steps, calls
        Those of a graph, in the same order.
    uses : Counter
        How many steps and results read each place. What is read twice is computed as it is.
    training : bool
        Whether the steps are those of training or of inference.
    """
    kind = FusedInTraining if training else Fused
    readers = {step.reads: number for number, step in enumerate(steps) if type(step.reads) is int}
    together: list[Step] = []
    absorbed: dict[int, Call] = {}
    for number, step in enumerate(steps):
        if number in absorbed:
            continue
        whole, last = kind(step.layer), step
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


def _does_as_told(layer: Layer, method: str, others: Sequence[str]) -> bool:
    """Whether it has the method, and no class derived from the one that defines it has one of the others."""

    def owner(name: str) -> Any:
        return next((base for base in type(layer).__mro__ if name in vars(base)), None)

    fuses = owner(method)
    return fuses is not None and all(issubclass(fuses, owner(name)) for name in others)
