"""Layers around a layer: in both directions of time, and at each step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .. import checks
from .base import Array, Back, Layer, Shape
from .composite import Composite
from .recurrent import Recurrent

Merge = Callable[[Array, Array], Array]
# Of each merge: the output, and the gradients of both sides from dy and both sides.
_MERGES: dict[str, tuple[Merge, Callable[[Array, Array, Array], tuple[Array, Array]]]] = {
    "concat": (
        lambda a, b: np.concatenate([a, b], axis=-1),
        lambda dy, a, b: (dy[..., : a.shape[-1]], dy[..., a.shape[-1] :]),
    ),
    "sum": (np.add, lambda dy, a, b: (dy, dy)),
    "mul": (np.multiply, lambda dy, a, b: (dy * b, dy * a)),
    "ave": (lambda a, b: (a + b) / 2, lambda dy, a, b: (dy / 2, dy / 2)),
}


class Bidirectional(Composite):
    """A recurrent layer in both directions of time (Schuster and Paliwal, 1997).

    Parameters
    ----------
    layer : SimpleRNN, LSTM or GRU
        What both directions are like; they have weights of their own.
    merge_mode : {"concat", "sum", "mul", "ave"}
        How the outputs of both become one. Outputs of one step are merged: with `return_sequences` those of
        the backward layer are put in the order of x again. Behind a mask they are 0.
    backward_layer : SimpleRNN, LSTM or GRU, optional
        The backward direction, where it is to be another; it must have ``go_backwards=True``.
    **options
        As for every `Layer`.

    Examples
    --------
    >>> import numpy as np
    >>> from fastdl.layers import LSTM, Bidirectional
    >>> layer = Bidirectional(LSTM(4, return_sequences=True))
    >>> layer(np.ones((2, 5, 3), np.float32)).shape
    (2, 5, 8)
    """

    def __init__(
        self,
        layer: Recurrent,
        merge_mode: str = "concat",
        backward_layer: Recurrent | None = None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        for what, given in (("layer", layer), ("backward_layer", backward_layer or layer)):
            if not isinstance(given, Recurrent):
                raise TypeError(f"{self.name}: {what} must be a SimpleRNN, LSTM or GRU; got {given!r}")
            if given.return_state:
                raise ValueError(f"{self.name}: {what} must not have return_state")
        checks.one_of(self.name, "merge_mode", merge_mode, _MERGES)
        self.layer = layer
        self.merge_mode = merge_mode
        self.backward_layer = backward_layer
        self._forward = _like(layer, name=f"forward_{layer.name}")
        self._backward = _like(
            backward_layer or layer,
            name=f"backward_{layer.name}",
            go_backwards=backward_layer.go_backwards if backward_layer else not layer.go_backwards,
        )
        for attribute in ("return_sequences", "stateful"):
            if getattr(self._forward, attribute) != getattr(self._backward, attribute):
                raise ValueError(f"{self.name}: both layers must have the same {attribute}")
        if self._forward.go_backwards == self._backward.go_backwards:
            raise ValueError(f"{self.name}: one layer must have go_backwards, and the other must not")
        self._forward.zero_output_for_mask = self._backward.zero_output_for_mask = True
        self.directions = (self._forward, self._backward)
        self.layers = list(self.directions)

    def build(self, input_shape: Shape) -> None:
        for layer in self.layers:
            layer.build(input_shape)

    def __call__(self, x: Any, training: bool | None = None, *, mask: Any = None) -> Any:
        """Return the output; `training` and `mask` as for `LSTM.vjp`."""
        if mask is None:
            return super().__call__(x, training)
        return self.vjp(x, bool(training), mask=mask)[0]

    def call(self, x: Array) -> Array:
        merge, _ = _MERGES[self.merge_mode]
        return merge(self._forward(x), self._in_order(self._backward(x)))

    def vjp(self, x: Array, training: bool = True, mask: Any = None) -> tuple[Array, Back]:
        return self.partial_vjp(x, training, mask=mask)

    def partial_vjp(
        self,
        x: Array,
        training: bool = True,
        *,
        wants_dx: bool = True,
        logits: bool = False,
        mask: Any = None,
    ) -> tuple[Array, Back]:
        merge, split = _MERGES[self.merge_mode]
        there, back_there = self._forward.partial_vjp(x, training, wants_dx=wants_dx, mask=mask)
        again, back_again = self._backward.partial_vjp(x, training, wants_dx=wants_dx, mask=mask)
        again = self._in_order(again)

        def back(dy: Array) -> Array:
            dthere, dagain = split(dy, there, again)
            dx, dx_again = back_there(dthere), back_again(self._in_order(dagain))
            return dx + dx_again if wants_dx else dx

        return merge(there, again), back

    def _in_order(self, y: Array) -> Array:
        return y[:, ::-1] if self._backward.return_sequences else y

    def reset_states(self) -> None:
        """Begin the next batch with states of 0."""
        self._forward.reset_states()
        self._backward.reset_states()


def _like(layer: Recurrent, **changes: Any) -> Recurrent:
    return type(layer).from_config({**layer.get_config(), **changes})


class TimeDistributed(Composite):
    """A layer applied to each step, with the same weights.

    Parameters
    ----------
    layer : Layer
        Takes (N, ...) where this one takes (N, T, ...).
    **options
        As for every `Layer`.

    Examples
    --------
    >>> import numpy as np
    >>> from fastdl.layers import Dense, TimeDistributed
    >>> TimeDistributed(Dense(4))(np.ones((2, 5, 3), np.float32)).shape
    (2, 5, 4)
    """

    def __init__(self, layer: Layer, **options: Any) -> None:
        super().__init__(**options)
        if not isinstance(layer, Layer):
            raise TypeError(f"{self.name}: layer must be a layer; got {layer!r}")
        self.layer = layer
        self.layers = [layer]

    def build(self, input_shape: Shape) -> None:
        if len(input_shape) < 3:
            raise ValueError(f"{self.name}: x must be (batch, steps, ...); got shape {input_shape}")
        self.layer.build((None, *input_shape[2:]))

    def call(self, x: Array) -> Array:
        return _unfold(self.layer(_fold(x)), x)

    def vjp(self, x: Array, training: bool = True) -> tuple[Array, Back]:
        return self.partial_vjp(x, training)

    def partial_vjp(
        self, x: Array, training: bool = True, *, wants_dx: bool = True, logits: bool = False
    ) -> tuple[Array, Back]:
        y, back = self.layer.partial_vjp(_fold(x), training, wants_dx=wants_dx, logits=logits)

        def back_folded(dy: Array) -> Array:
            dx = back(_fold(dy))
            return _unfold(dx, x) if wants_dx else dx

        return _unfold(y, x), back_folded

    @property
    def final_activation(self) -> str:
        return self.layer.final_activation


def _fold(x: Array) -> Array:
    """(N, T, ...) as (N·T, ...)."""
    return x.reshape(x.shape[0] * x.shape[1], *x.shape[2:])


def _unfold(y: Array, x: Array) -> Array:
    """(N·T, ...) as (N, T, ...), with the N and T of x."""
    return y.reshape(*x.shape[:2], *y.shape[1:])
