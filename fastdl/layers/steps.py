"""What a graph does one after another: a call of a layer forward, and what comes together on the way back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from .. import nested
from .base import Array, Back

Form: TypeAlias = tuple[tuple[int, ...], np.dtype[Any]]
Masks: TypeAlias = dict[int, Array]  # by the places of what they belong to


@dataclass(frozen=True, slots=True)
class Step:
    """One call of a layer, its tensors written as places in a list of values.

    Attributes
    ----------
    reads, writes : int or group of int
        Places of what the layer is given and of what it returns. Most calls have one of each, and take a
        short way.
    sources, targets : list of int
        The same without their form.
    training : bool or None
        As in `Call`.
    mask : int or None
        Place of the mask that the call was given.
    makes_mask : bool
        As for the layer.
    drops : list of int
        Places that nobody reads any more.
    """

    layer: Any
    reads: Any
    writes: Any
    sources: list[int]
    targets: list[int]
    training: bool | None
    mask: int | None
    makes_mask: bool
    drops: list[int]

    def call(self, values: list[Any], masks: Masks, training: bool) -> None:
        """Run the layer on what is in its places, and keep what it returns."""
        x = self.read(values)
        if masks or self.makes_mask or self.mask is not None:
            y, mask = self.layer.masked_call(x, training, mask=self.read_mask(values, masks))
            self.write_mask(masks, mask)
        else:
            y = self.layer(x, training)
        self.write(values, y)

    def vjp(self, values: list[Any], masks: Masks, training: bool, **options: bool) -> tuple[Any, Back]:
        """Do the same, and return the output and the way back."""
        x = self.read(values)
        if masks or self.makes_mask or self.mask is not None:
            given = self.read_mask(values, masks)
            y, back, mask = self.layer.masked_vjp(x, training, mask=given, **options)
            self.write_mask(masks, mask)
        else:
            y, back = self.layer.partial_vjp(x, training, **options)
        self.write(values, y)
        return y, back

    def read(self, values: list[Any]) -> Any:
        """Return what the layer is given."""
        reads = self.reads
        return values[reads] if type(reads) is int else nested.apply(values.__getitem__, reads)

    def write(self, values: list[Any], y: Any) -> None:
        """Keep what the layer returned, and let go of what was read for the last time."""
        if type(self.writes) is int:
            values[self.writes] = y
        else:
            for place, part in zip(self.targets, nested.parts(y)):
                values[place] = part
        for place in self.drops:
            values[place] = None

    def read_mask(self, values: list[Any], masks: Masks) -> Any:
        """Return the mask of what the layer is given: one, or a list where it is given several arrays."""
        if self.mask is not None:
            return values[self.mask]
        found = [masks.get(place) for place in self.sources]
        if all(mask is None for mask in found):
            return None
        return found[0] if type(self.reads) is int else found

    def write_mask(self, masks: Masks, mask: Any) -> None:
        """Keep the mask of what the layer returned."""
        if mask is not None:
            parts = [mask] if type(self.writes) is int else mask
            masks.update((place, part) for place, part in zip(self.targets, parts) if part is not None)


class Gradients:
    """The gradients of a graph's tensors, by their places. What comes to one place adds up.

    Parameters
    ----------
    wanted : list of bool
        Which places take any.
    """

    def __init__(self, wanted: list[bool]) -> None:
        self._wanted = wanted
        self._sums: list[Array | None] = [None] * len(wanted)

    def add(self, places: Sequence[int], parts: Sequence[Array | None]) -> None:
        """Add to some places; None adds nothing."""
        for place, part in zip(places, parts):
            if part is not None and self._wanted[place]:
                own = self._sums[place]
                self._sums[place] = part if own is None else own + part

    def any_at(self, places: Sequence[int]) -> bool:
        """Whether something has come to one of these places."""
        return any(self._sums[place] is not None for place in places)

    def take(self, places: Sequence[int], forms: Sequence[Form]) -> list[Array]:
        """Return what has come to some places, zeros where nothing has, and let go of it."""
        parts = []
        for place, form in zip(places, forms):
            own, self._sums[place] = self._sums[place], None
            parts.append(np.zeros(*form) if own is None else own)
        return parts
