"""A layer made of a person's own functions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn

import numpy as np

from .. import nested
from .base import Array, Layer


class Lambda(Layer):
    """A function as a layer, and if there is one its vector-Jacobian product.

    Parameters
    ----------
    function : callable
        Takes an array, or a list of them where there are several inputs, and returns the output.
    vjp : callable, optional
        Takes the same, and returns the output and a function from its gradient to that of the input, or a
        list of gradients. Without it nothing can be trained that lies before the layer.
    **options
        As for every `Layer`.

    Raises
    ------
    TypeError
        If a model is saved with functions that have no name: it keeps their names, and ``load_model`` is
        given them as `custom_objects`.

    Examples
    --------
    >>> import numpy as np
    >>> from fastdl.layers import Lambda
    >>> def square(x):
    ...     return x**2
    >>> def square_vjp(x):
    ...     return x**2, lambda dy: 2 * x * dy
    >>> layer = Lambda(square, square_vjp)
    >>> y, back = layer.vjp(np.array([[1.0, 3.0]]))
    >>> back(np.ones_like(y))
    array([[2., 6.]], dtype=float32)
    """

    supports_masking = True

    def __init__(
        self,
        function: Callable[[Any], Array],
        vjp: Callable[[Any], tuple[Array, Callable[[Array], Any]]] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.function = function
        self._function_vjp = vjp

    def accept(self, x: Any) -> Any:
        group = nested.is_group(x) and all(isinstance(part, np.ndarray) for part in x)
        arrays = nested.apply(self._as_array, list(x)) if group else self._as_array(x)
        self.built = True
        return arrays

    def _as_array(self, x: Any) -> Array:
        """Return floats in the layer's dtype, and all else, which a function may make floats of, as it is."""
        x = np.asarray(x)
        return self.as_floats(x) if x.dtype.kind == "f" else x

    def call(self, x: Any) -> Array:
        return self.function(x)

    def vjp(self, x: Any, training: bool = True) -> tuple[Array, Any]:
        if self._function_vjp is not None:
            return self._function_vjp(x)

        def back(dy: Array) -> NoReturn:
            raise RuntimeError(
                f"{self.name}: a gradient needs the function's vjp; give Lambda(function, vjp)"
            )

        return self.function(x), back

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"vjp": self._function_vjp}
