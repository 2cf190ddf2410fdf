"""What is asked of weights beside the loss.

A layer that keeps a regularizer or a constraint as an attribute, named as the constructor's argument is,
needs nothing else: ``kernel_regularizer`` belongs to ``params["kernel"]``, and as Keras has it
``recurrent_regularizer`` to ``params["recurrent_kernel"]``. Constraints go by the same names.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from typing import Any, NamedTuple

from .base import Layer


class Penalised(NamedTuple):
    """A weight that an optimizer changes, and its regularizer."""

    layer: Layer
    name: str
    regularizer: Any


def penalised(leaves: Iterable[tuple[str, Layer]]) -> list[Penalised]:
    """Return all that there are in a model of these `Layer.leaves`."""
    return [
        Penalised(leaf, name, regularizer)
        for _, leaf in leaves
        for name, regularizer in _asked(leaf, "regularizer")
        if leaf.trainable
    ]


def penalty(all_penalised: Sequence[Penalised]) -> float:
    """Return the sum of the penalties."""
    return sum(regularizer(layer.params[name]) for layer, name, regularizer in all_penalised)


def add_penalty_gradients(all_penalised: Sequence[Penalised]) -> None:
    """Add the gradients of the penalties to `grads`."""
    for layer, name, regularizer in all_penalised:
        layer.grads[name][...] += regularizer.vjp(layer.params[name])[1]


def constrain(leaf: Layer) -> None:
    """Bring the weights of a layer that an optimizer has changed back to what their constraints allow."""
    for name, constraint in _asked(leaf, "constraint"):
        leaf.params[name] = constraint(leaf.params[name])


def _asked(leaf: Layer, what: str) -> Iterator[tuple[str, Any]]:
    """Yield the names of a layer's weights of which something is asked, and what."""
    for name in leaf.params:
        rule = getattr(leaf, _attribute(name, what), None)
        if rule is not None:
            yield name, rule


@cache
def _attribute(name: str, what: str) -> str:
    return f"{name.removesuffix('_kernel')}_{what}"
