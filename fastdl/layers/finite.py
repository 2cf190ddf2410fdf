"""Who made the first number that is not finite: layers that are watched as they run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .. import nested
from .base import Layer
from .rows import RowGradient


class NonFiniteError(ValueError):
    """A layer has made NaN or infinity.

    Attributes
    ----------
    path : tuple of str
        The names of the models that lead to the layer, and its own.
    """

    def __init__(self, path: Sequence[str], what: str) -> None:
        self.path = tuple(path)
        self._what = what
        super().__init__(f"{'/'.join(path)} {what}")

    def within(self, name: str) -> NonFiniteError:
        """Return the same as seen from outside a model of this name."""
        return NonFiniteError((name, *self.path), self._what)


class Watched:
    """A layer of a graph whose results are looked at: what is not finite is an error that names the layer.

    Parameters
    ----------
    layer : Layer
        What is not defined here is as it is there.
    """

    def __init__(self, layer: Layer) -> None:
        self._layer = layer

    def __getattr__(self, name: str) -> Any:
        return getattr(self._layer, name)

    def __call__(self, x: Any, training: bool) -> Any:
        return self._forward(self._layer, x, training)[0]

    def masked_call(self, x: Any, training: bool, *, mask: Any) -> Any:
        return self._forward(self._layer.masked_call, x, training, mask=mask)

    def partial_vjp(self, x: Any, training: bool, **options: Any) -> Any:
        return self._both_ways(self._layer.partial_vjp, x, training, **options)

    def masked_vjp(self, x: Any, training: bool, **options: Any) -> Any:
        return self._both_ways(self._layer.masked_vjp, x, training, **options)

    def _forward(self, run: Any, x: Any, training: bool, **options: Any) -> Any:
        try:
            found = run(x, training, **options)
        except NonFiniteError as error:
            raise error.within(self._layer.name) from None
        results = found if isinstance(found, tuple) else (found,)
        if not _is_finite(results[0]):
            raise self._error("is the first layer whose output is not finite", "input", x)
        return results

    def _both_ways(self, run: Any, x: Any, training: bool, **options: Any) -> Any:
        y, back, *more = self._forward(run, x, training, **options)

        def watched_back(dy: Any) -> Any:
            try:
                dx = back(dy)
            except NonFiniteError as error:
                raise error.within(self._layer.name) from None
            if not (_is_finite(dx) and all(_is_finite(g) for g in self._gradients().values())):
                raise self._error(
                    "is the first layer, on the way back, whose gradient is not finite", "dy", dy
                )
            return dx

        return (y, watched_back, *more)

    def _gradients(self) -> Mapping[str, Any]:
        return {
            prefix + name: gradient
            for prefix, leaf in self._layer.leaves()
            if leaf.trainable
            for name, gradient in leaf.gradients().items()
        }

    def _error(self, what: str, given: str, value: Any) -> NonFiniteError:
        came = "is finite" if _is_finite(value) else "is not finite either"
        bad = [name for name, weight in self._layer.named_weights().items() if not _is_finite(weight)]
        weights = f"of its weights {', '.join(bad)} are not" if bad else "its weights are finite"
        return NonFiniteError((self._layer.name,), f"{what}: its {given} {came}, {weights}")


def _is_finite(whole: Any) -> bool:
    """Whether all numbers are, in an array or a group of them; None and integers are."""
    for part in nested.parts(whole):
        array = part.values if isinstance(part, RowGradient) else part
        if isinstance(array, np.ndarray) and array.dtype.kind == "f" and not np.isfinite(array).all():
            return False
    return True
