"""What is asked of weights beside the loss.

A layer that keeps a regularizer or a constraint as an attribute, named as the constructor's argument is,
needs nothing else: ``kernel_regularizer`` belongs to ``params["kernel"]``, and as Keras has it
``recurrent_regularizer`` to ``params["recurrent_kernel"]``. Constraints go by the same names.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from .base import Layer


def penalty(model: Layer) -> float:
    """Return the sum of the penalties on the weights that an optimizer changes."""
    return sum(regularizer(leaf.params[name]) for leaf, name, regularizer in _asked(model, "regularizer"))


def add_penalty_gradients(model: Layer) -> None:
    """Add the gradients of the penalties to `grads`."""
    for leaf, name, regularizer in _asked(model, "regularizer"):
        leaf.grads[name][...] += regularizer.vjp(leaf.params[name])[1]


def constrain(layer: Layer) -> None:
    """Bring the weights that an optimizer changes back to what their constraints allow."""
    for leaf, name, constraint in _asked(layer, "constraint"):
        leaf.params[name] = constraint(leaf.params[name])


def _asked(model: Layer, what: str) -> Iterator[tuple[Layer, str, Any]]:
    """Yield each trainable layer, the name of a weight, and what is asked of it."""
    for _, leaf in model.leaves():
        for name in leaf.params if leaf.trainable else ():
            rule = getattr(leaf, f"{name.removesuffix('_kernel')}_{what}", None)
            if rule is not None:
                yield leaf, name, rule
