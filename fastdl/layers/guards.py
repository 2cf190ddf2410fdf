"""What surrounds the methods that a layer's class defines, the same for every layer."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from .. import nested
from .arrays import Array

if TYPE_CHECKING:
    from .base import Layer

_building = threading.RLock()


def as_shapes(given: Any) -> Any:
    """Return a shape as a tuple, and those of several inputs as a list or a dict of tuples."""
    if isinstance(given, dict):
        return {name: tuple(shape) for name, shape in given.items()}
    if any(nested.is_group(part) for part in given):
        return [tuple(shape) for shape in given]
    return tuple(given)


def build_once(build: Callable[[Any, Any], None]) -> Callable[[Any, Any], None]:
    """Make `build` run once, and leave nothing behind where it fails."""

    @functools.wraps(build)
    def guarded(self: Layer, input_shape: Any) -> None:
        with _building:  # threads may meet a layer for the first time together
            if self.built:
                return
            outermost, self._being_built = not self._being_built, True  # build may call the one of its base
            try:
                build(self, as_shapes(input_shape))
                self.built = outermost
            except BaseException:
                for arrays in (self._params, self._grads, self._state):
                    arrays.clear()
                raise
            finally:
                self._being_built = not outermost

    return guarded


def check_version(vjp: Callable[..., Any]) -> Callable[..., Any]:
    """Let `vjp` be given what `accept` makes of its input, and refuse a gradient of parameters of before.

    `vjp` returns the output, the way back, and perhaps more.
    """

    @functools.wraps(vjp)
    def guarded(self: Layer, x: Any, training: bool = True, **options: Any) -> Any:
        y, back, *more = vjp(self, self.accept(x), training, **options)
        params = self._params
        version = params.version

        def guarded_back(dy: Array) -> Array:
            if params.version != version:
                raise RuntimeError(
                    f"{self.name}: the parameters have changed since the forward pass, its gradient is void;"
                    " run backward before the optimizer's step"
                )
            return back(dy)

        return (y, guarded_back, *more)

    return guarded
