"""Masks: which steps of a sequence count, and how layers hand that on.

A mask is an array of bool, True where a step counts, shaped like the first axes of what it belongs to: (N, T)
for sequences (N, T, ...). No array carries its own; in a graph the masks go beside the arrays, from the
layer that makes one to those that use it.
"""

from __future__ import annotations

import inspect
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import nested
from ..backends import select
from ..config import current
from .arrays import Array

if TYPE_CHECKING:
    from .base import Back


class Maskable:
    """What a mask is to a layer; part of every `Layer`.

    Attributes
    ----------
    supports_masking : bool
        Whether the mask of the input is that of the output, too. What else may become of it, `compute_mask`
        says.
    makes_mask : bool
        Whether the output may have a mask where the input has none.
    mask_methods : frozenset of str
        Which of call, vjp and partial_vjp have an argument `mask`. A layer whose output depends on the mask
        has it in `vjp`; without it in the others they do without what those leave out.
    """

    name: str
    supports_masking = False
    makes_mask = False
    mask_methods: frozenset[str] = frozenset()

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        for name in {"call", "vjp", "partial_vjp"} & cls.__dict__.keys():
            has_mask = "mask" in inspect.signature(cls.__dict__[name]).parameters
            cls.mask_methods = cls.mask_methods | {name} if has_mask else cls.mask_methods - {name}

    @property
    def uses_mask(self) -> bool:
        """Whether the output depends on the mask."""
        return "vjp" in self.mask_methods

    def compute_mask(self, x: Any, mask: Any = None) -> Any:
        """Return the mask of the output, or None where all of it counts.

        Parameters
        ----------
        x : ndarray or group of ndarray
            The input.
        mask : ndarray, or a list with an entry for each input, optional
            Of the input.
        """
        if mask is not None and not (self.supports_masking or self.uses_mask):
            warnings.warn(
                f"{self.name}: takes no mask and hands none on; behind it every step counts", stacklevel=2
            )
        return mask if self.supports_masking else None

    def masked_call(self, x: Any, training: bool = False, *, mask: Any = None) -> tuple[Any, Any]:
        """Return the output and its mask."""
        given = mask if self.uses_mask else None
        return self(x, training, mask=given), self.compute_mask(x, mask)  # type: ignore[operator]

    def masked_vjp(
        self, x: Any, training: bool = True, *, mask: Any = None, wants_dx: bool = True, logits: Any = False
    ) -> tuple[Any, Back, Any]:
        """Return what `Layer.partial_vjp` does, and the mask of the output."""
        y, back = self.vjp_under(mask, x, training, wants_dx=wants_dx, logits=logits)
        return y, back, self.compute_mask(x, mask)

    def call_under(self: Any, mask: Any, x: Any) -> Any:
        """Return `call` of x under a mask."""
        return self.call(x, mask=mask) if "call" in self.mask_methods else self.vjp(x, False, mask=mask)[0]

    def vjp_under(self: Any, mask: Any, x: Any, training: bool, **options: Any) -> tuple[Any, Back]:
        """Return `partial_vjp` of x under a mask, or without one where it makes no difference."""
        if mask is None or not self.uses_mask:
            return self.partial_vjp(x, training, **options)
        if "partial_vjp" in self.mask_methods:
            return self.partial_vjp(x, training, mask=mask, **options)
        return self.vjp(x, training, mask=mask)


class KeptSteps:
    """The steps of sequences that a mask keeps, moved to the front, where a recurrence goes over them.

    Parameters
    ----------
    mask : (N, T) array of bool
    backwards : bool
        Whether the recurrence goes from the last step to the first.

    Attributes
    ----------
    lengths : (N,) array
        How many steps are kept of each sequence.
    """

    def __init__(self, mask: Array, backwards: bool) -> None:
        self.lengths = mask.sum(axis=1)
        self._mask = mask
        self._rows = np.arange(len(mask))[:, None]
        behind_each = np.arange(mask.shape[1]) >= self.lengths[:, None]
        self._are_in_front = not (mask & behind_each).any()
        self._order = np.argsort(~mask, axis=1, kind="stable")
        # For each step the kept one whose state is the state there: its own or, where it is left out, the one
        # that the recurrence came to before it; -1 where it has come to none.
        kept_so_far = mask.cumsum(axis=1)
        self._seen_from = kept_so_far - (mask if backwards else 1)
        self._seen_from[self._seen_from == self.lengths[:, None]] = -1

    def to_front(self, x: Array) -> Array:
        """(N, T, D) with the steps that are kept before the others, in their order."""
        return x if self._are_in_front else x[self._rows, self._order]

    def from_front(self, dx: Array) -> Array:
        """Undo `to_front`."""
        if self._are_in_front:
            return dx
        whole = np.empty_like(dx)
        whole[self._rows, self._order] = dx
        return whole

    def states_at(self, hs: Array, h0: Array | None) -> Array:
        """Return the state at each step in its place.

        Parameters
        ----------
        hs : (N, T, H) array
            The states after the kept steps, in front.
        h0 : (N, H) array, or None
            The state before the first; None is 0.
        """
        y = hs[self._rows, self._seen_from]
        before = self._seen_from < 0
        y[before] = 0 if h0 is None else h0[np.nonzero(before)[0]]
        return y

    def states_at_back(self, dy: Array) -> tuple[Array, Array]:
        """Return the gradients of hs and h0 from that of `states_at`'s result."""
        n, t, units = dy.shape
        before = n * t + self._rows
        place = np.where(self._seen_from < 0, before, self._rows * t + self._seen_from)
        add = select(current().backend).scatter_add
        sums = add(np.ascontiguousarray(dy).reshape(n * t, units), place.reshape(-1), n * t + n)
        return sums[: n * t].reshape(dy.shape), sums[n * t :]

    def only_kept(self, y: Array) -> Array:
        """Return y with 0 at the steps that are left out."""
        return np.where(self._mask[:, :, None], y, y.dtype.type(0))


def as_mask(op: str, mask: Any, x: Any) -> Array:
    """Return the mask of sequences, or of the first of several inputs, as an array (N, T)."""
    if nested.is_group(x):
        x = nested.parts(x)[0]
        if nested.is_group(mask):
            mask = nested.parts(mask)[0]
    array = np.asarray(mask, bool)
    if array.shape != x.shape[:2]:
        raise ValueError(
            f"{op}: mask must have the shape of x without its last axis, {x.shape[:2]}; got {array.shape}"
        )
    return array
