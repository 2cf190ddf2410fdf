"""Arrays by name: what a layer's parameters, gradients and state are kept in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np

Array: TypeAlias = np.ndarray[Any, Any]


class ArrayDict(dict[str, Array]):
    """Arrays by name, which stay the same arrays for as long as the layer lives.

    Assigning to a name that is there copies into its array, so that everyone who holds the array sees the
    change: ``params["kernel"] -= 0.1 * grads["kernel"]`` and ``params["kernel"] = other`` both change the
    layer.

    Attributes
    ----------
    version : int
        How often the arrays were changed; see `touch`.
    """

    version = 0
    parts: Sequence[ArrayDict] = ()

    @classmethod
    def gather(cls, named: Sequence[tuple[str, ArrayDict]]) -> ArrayDict:
        """Return one dict over several, with the prefix of each before its names."""
        whole = cls()
        for prefix, part in named:
            whole.update({prefix + name: array for name, array in part.items()})
        whole.parts = [part for _, part in named]
        return whole

    def __setitem__(self, name: str, value: Any) -> None:
        own = self.get(name)
        if own is None:
            super().__setitem__(name, value)
        elif own is not value:
            own[...] = value
        self.touch()

    def touch(self) -> None:
        """Note that the arrays were changed in place: gradients that still need the old ones are void."""
        self.version += 1
        for part in self.parts:
            part.touch()


class GradientDict(ArrayDict):
    """Gradients by name, which add up.

    Attributes
    ----------
    awaited : set of str
        Those that count as zeros whatever is in their arrays: what is added takes the place of it. To clear
        an array and add to it would be two more passes over memory.
    """

    def __init__(self, *arrays: Any) -> None:
        super().__init__(*arrays)
        self.awaited: set[str] = set()

    def place(self, name: str) -> Array | None:
        """Return the array of an awaited gradient, for `add` to be given it filled; None of any other."""
        return self[name] if name in self.awaited else None

    def add(self, name: str, gradient: Array) -> None:
        """Add to a gradient, in place."""
        own = self[name]
        if name not in self.awaited:
            np.add(own, gradient, out=own)
            return
        self.awaited.remove(name)
        if gradient is not own:
            np.copyto(own, gradient)

    def expect(self) -> None:
        """Let all count as zeros."""
        self.awaited.update(self)

    def zero(self) -> None:
        """Set all to zero."""
        self.expect()
        self.settle()

    def settle(self) -> GradientDict:
        """Set to zero what is awaited and has not come, and return the gradients."""
        for name in self.awaited:
            self[name].fill(0)
        self.awaited.clear()
        return self
