"""What a definition should compute: inputs, fastdl's answer, and what usual mistakes give instead."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

__all__ = ["Array", "Gradients", "Inputs", "Operation", "Outputs"]

Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]
Inputs: TypeAlias = dict[str, Any]
Outputs: TypeAlias = tuple[Any, ...]
Gradients: TypeAlias = dict[str, Any]


def _no_mistakes(inputs: Inputs) -> Iterable[tuple[str, Outputs]]:
    return ()


def _no_slips(inputs: Inputs, douts: Outputs) -> Iterable[tuple[str, Gradients]]:
    return ()


@dataclass(frozen=True)
class Operation:
    """A forward pass and its gradients, as fastdl computes them with the engine in force.

    Attributes
    ----------
    inputs : callable
        Returns the arguments by name, drawn from a generator: few numbers, or with True many, for timing.
    forward : callable
        Returns the outputs, a tuple, and what `backward` needs.
    backward : callable or None
        Returns the gradients by name, of what `forward` kept and the gradients of the outputs.
    wrt : tuple of str
        The inputs that have gradients, in the order in which a backward pass returns them.
    outputs : tuple of str
        What the outputs are called.
    mistakes : callable
        Returns pairs of a hint and the outputs that a usual mistake gives.
    slips : callable
        Returns pairs of a hint and the gradients, some of them, that a usual mistake gives.
    tolerance : float
        How far a number may be off, relative to the largest of its array.
    scalar : bool
        Whether the output is a loss, whose own gradient is 1.
    """

    inputs: Callable[[np.random.Generator, bool], Inputs]
    forward: Callable[[Inputs], tuple[Outputs, Any]]
    backward: Callable[[Any, Outputs], Gradients] | None = None
    wrt: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ("out",)
    mistakes: Callable[[Inputs], Iterable[tuple[str, Outputs]]] = _no_mistakes
    slips: Callable[[Inputs, Outputs], Iterable[tuple[str, Gradients]]] = _no_slips
    tolerance: float = 1e-6
    scalar: bool = False

    def gradients_of_outputs(self, outputs: Outputs, generator: np.random.Generator) -> Outputs:
        """Return random gradients of the shapes of outputs; 1 for a loss."""
        if self.scalar:
            return (1.0,)
        return tuple(generator.standard_normal(np.shape(output)) for output in outputs)
