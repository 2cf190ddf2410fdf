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
