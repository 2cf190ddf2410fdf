"""Layers around a layer: in both directions of time, and at each step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .. import checks, nested
from .base import Array, Back, Layer, Shape
from .composite import Composite
from .masks import as_mask
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
    merge_mode : {"concat", "sum", "mul", "ave"} or None
        How the outputs of both become one; with None they are returned as two. Outputs of one step are
        merged: with `return_sequences` those of the backward layer are put in the order of x again. Steps
        that a mask leaves out are 0 then.
    backward_layer : SimpleRNN, LSTM or GRU, optional
        The backward direction, where it is to be another; it must have ``go_backwards=True``.
    **options
        As for every `Layer`.

    Notes
    -----
    With `return_state` the layer returns a list: the output, the states of the forward layer, those of the
    backward one. ``layer(x, initial_state=states)`` takes the states in the same order.

    Examples
    --------
    >>> import numpy as np
    >>> from fastdl.layers import LSTM, Bidirectional
    >>> layer = Bidirectional(LSTM(4, return_sequences=True))
    >>> x = np.ones((2, 5, 3), np.float32)
    >>> layer(x).shape
    (2, 5, 8)
    >>> y, h, c, back_h, back_c = Bidirectional(LSTM(4, return_state=True))(x)
    >>> bool((y == np.concatenate([h, back_h], axis=1)).all())
    True
    """

    def __init__(
        self,
        layer: Recurrent,
        merge_mode: str | None = "concat",
        backward_layer: Recurrent | None = None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        for what, given in (("layer", layer), ("backward_layer", backward_layer or layer)):
            if not isinstance(given, Recurrent):
                raise TypeError(f"{self.name}: {what} must be a SimpleRNN, LSTM or GRU; got {given!r}")
        if merge_mode is not None:
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
        for attribute in ("return_sequences", "return_state", "stateful"):
            if getattr(self._forward, attribute) != getattr(self._backward, attribute):
                raise ValueError(f"{self.name}: both layers must have the same {attribute}")
        if self._forward.go_backwards == self._backward.go_backwards:
            raise ValueError(f"{self.name}: one layer must have go_backwards, and the other must not")
        self._forward.zero_output_for_mask = self._backward.zero_output_for_mask = True
        self.directions = (self._forward, self._backward)
        self.layers = list(self.directions)

    @property
    def return_sequences(self) -> bool:
        """Whether the output of each step is returned, as for the layer in it."""
        return self._forward.return_sequences

    @property
    def return_state(self) -> bool:
        """Whether the last states are returned, too, as for the layer in it."""
        return self._forward.return_state

    @property
    def stateful(self) -> bool:
        """Whether each batch begins where the last one ended, as for the layer in it."""
        return self._forward.stateful

    def build(self, input_shape: Any) -> None:
        if isinstance(input_shape, list):  # the initial states follow
            input_shape = input_shape[0]
        for layer in self.layers:
            layer.build(input_shape)

    def __call__(
        self, x: Any, training: bool | None = None, *, mask: Any = None, initial_state: Any = None
    ) -> Any:
        """Return the output; `training` and `mask` as for `LSTM.vjp`.

        `initial_state`, of LSTMs [h, c, h, c], is the same as x being [x, h, c, h, c].
        """
        if initial_state is not None:
            x = [x, *nested.parts(initial_state)]
        return super().__call__(x, training, mask=mask)

    def accept(self, x: Any) -> Any:
        """Return x as an array, or [x, *states] as a list of them; build the layer if it is not built."""
        if not (nested.is_group(x) and len(x) and np.ndim(x[0]) == 3):
            return super().accept(x)
        count = sum(layer.states for layer in self.directions)
        if len(x) != 1 + count:
            raise ValueError(f"{self.name}: the initial state must be {count} arrays; got {len(x) - 1}")
        return [super().accept(x[0]), *map(self.as_floats, x[1:])]

    def compute_mask(self, x: Any, mask: Any = None) -> Any:
        """Return the mask of the output, which is that of x where all steps are returned."""
        steps = as_mask(self.name, mask, x) if mask is not None and self.return_sequences else None
        count = sum(layer.states for layer in self.directions) if self.return_state else 0
        masks = [steps] * (2 if self.merge_mode is None else 1) + [None] * count
        return masks if len(masks) > 1 else steps

    def call(self, x: Any, mask: Any = None) -> Any:
        if mask is not None:
            mask = as_mask(self.name, mask, x)
        there, again = (layer(part, mask=mask) for layer, part in zip(self.directions, self._sides(x)))
        return self._merged(there, again)

    def vjp(self, x: Any, training: bool = True, mask: Any = None) -> tuple[Any, Any]:
        return self.partial_vjp(x, training, mask=mask)

    def partial_vjp(
        self,
        x: Any,
        training: bool = True,
        *,
        wants_dx: bool = True,
        logits: bool = False,
        mask: Any = None,
    ) -> tuple[Any, Any]:
        if mask is not None:
            mask = as_mask(self.name, mask, x)
        ways = [
            layer.partial_vjp(part, training, wants_dx=wants_dx, mask=mask)
            for layer, part in zip(self.directions, self._sides(x))
        ]
        (there, back_there), (again, back_again) = ways

        def back(dy: Any) -> Any:
            dthere, dagain = self._merged_back(dy, there, again)
            dx, dx_again = nested.parts(back_there(dthere)), nested.parts(back_again(dagain))
            if not wants_dx:
                return None
            whole = [dx[0] + dx_again[0], *dx[1:], *dx_again[1:]]
            return whole if nested.is_group(x) else whole[0]

        return self._merged(there, again), back

    def _sides(self, x: Any) -> tuple[Any, Any]:
        """Return what each direction is given: x, with its own initial states where there are any."""
        x, *states = nested.parts(x)
        if not states:
            return x, x
        count = self._forward.states
        return [x, *states[:count]], [x, *states[count:]]

    def _merged(self, there: Any, again: Any) -> Any:
        """Return the output of both directions' outputs."""
        there, *states = nested.parts(there)
        again, *others = nested.parts(again)
        ends = [there, self._in_order(again)]
        if self.merge_mode is not None:
            ends = [_MERGES[self.merge_mode][0](*ends)]
        whole = [*ends, *states, *others]
        return whole if len(whole) > 1 else whole[0]

    def _merged_back(self, dy: Any, there: Any, again: Any) -> tuple[Any, Any]:
        """Return the gradients of both directions' outputs from that of `_merged`'s result."""
        there, *states = nested.parts(there)
        again = nested.parts(again)[0]
        parts = nested.parts(dy)
        ends: Any = (None, None)
        if self.merge_mode is None:
            ends, dstates = parts[:2], parts[2:]
        else:
            dmerged, *dstates = parts
            if dmerged is not None:
                ends = _MERGES[self.merge_mode][1](dmerged, there, self._in_order(again))
        dthere, dagain = ends
        if dagain is not None:
            dagain = self._in_order(dagain)
        if not self.return_state:
            return dthere, dagain
        return [dthere, *dstates[: len(states)]], [dagain, *dstates[len(states) :]]

    def _in_order(self, y: Array) -> Array:
        return y[:, ::-1] if self.return_sequences else y

    reset_state = Composite.reset_states  # Keras has had both names


def _like(layer: Recurrent, **changes: Any) -> Recurrent:
    return type(layer).from_config({**layer.get_config(), **changes})


class TimeDistributed(Composite):
    """A layer applied to each step, with the same weights.

    Parameters
    ----------
    layer : Layer
        Takes (N, ...) where this one takes (N, T, ...). A mask (N, T, ...) of sequences of sequences
        reaches it as (N·T, ...).
    **options
        As for every `Layer`.

    Examples
    --------
    >>> import numpy as np
    >>> from fastdl.layers import Dense, TimeDistributed
    >>> TimeDistributed(Dense(4))(np.ones((2, 5, 3), np.float32)).shape
    (2, 5, 4)
    """

    supports_masking = True

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

    def accept(self, x: Any) -> Array:
        """Return `x` as an array, of whatever the layer takes; build the layer if it is not built."""
        x = np.asarray(x)
        self.build((None, *x.shape[1:]))
        return x

    def call(self, x: Array, mask: Any = None) -> Array:
        return _unfold(self.layer(_fold(x), mask=self._step_mask(mask)), x)

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
        y, back = self.layer.vjp_under(
            self._step_mask(mask), _fold(x), training, wants_dx=wants_dx, logits=logits
        )

        def back_folded(dy: Array) -> Array:
            dx = back(_fold(dy))
            return _unfold(dx, x) if wants_dx else dx

        return _unfold(y, x), back_folded

    def _step_mask(self, mask: Any) -> Array | None:
        """Return what of a mask concerns the layer: that of each step, where steps have parts."""
        has_parts = mask is not None and self.layer.uses_mask and np.ndim(mask) > 2
        return _fold(np.asarray(mask)) if has_parts else None

    @property
    def final_activation(self) -> str:
        return self.layer.final_activation


def _fold(x: Array) -> Array:
    """(N, T, ...) as (N·T, ...)."""
    return x.reshape(x.shape[0] * x.shape[1], *x.shape[2:])


def _unfold(y: Array, x: Array) -> Array:
    """(N·T, ...) as (N, T, ...), with the N and T of x."""
    return y.reshape(*x.shape[:2], *y.shape[1:])
