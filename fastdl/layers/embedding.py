"""The embedding layer, whose gradient is as large as the batch and not as the table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from .. import checks, constraints, functional, initializers, regularizers
from .arrays import Array, ArrayDict
from .base import Back, Layer, Shape
from .rows import RowGradient


class Embedding(Layer):
    """A trainable vector for each number: y = embeddings[x].

    Parameters
    ----------
    input_dim : int
        How many numbers there are, V; x holds 0 to V - 1.
    output_dim : int
        Size of a vector, E.
    embeddings_initializer : str or Initializer
    embeddings_regularizer : str or Regularizer, optional
        Its gradient reaches every row, so that none is left out of a step any more.
    embeddings_constraint : str or Constraint, optional
    mask_zero : bool
        Whether 0 stands for padding, which the layers behind this one leave out; see `Masking`.
    weights : (V, E) array, optional
        To begin with, such as vectors that were trained before.
    input_length : int, optional
        Of the sequences: the same as ``input_shape=(input_length,)``.
    **options
        As for every `Layer`.

    Notes
    -----
    x is (...) of integers, or of floats that are whole; y is (..., E). ``params`` hold the embeddings (V, E).

    A step of an optimizer takes the time of the rows in the batch, whatever V is: rows whose gradient is zero
    are left as they are. For `SGD` without momentum and for `Adagrad` that is what a zero gradient means
    anyway. The others remember: with them a row that is left out also keeps its momentum and its mean squares
    until it is used again, where Keras would let them fade and let the row drift on. PyTorch calls that
    SparseAdam. Whoever reads `grads` is given the whole array, which is kept up to date from then on; what a
    step does is the same.

    References
    ----------
    Bengio and others, "A Neural Probabilistic Language Model", 2003.

    Examples
    --------
    >>> import numpy as np
    >>> from fastdl.layers import Embedding
    >>> layer = Embedding(1000, 8)
    >>> layer(np.array([[4, 10, 999], [0, 0, 1]])).shape
    (2, 3, 8)
    >>> layer.count_params()
    8000
    """

    def __init__(
        self,
        input_dim: int,
        output_dim: int,
        embeddings_initializer: str | initializers.Initializer = "uniform",
        embeddings_regularizer: str | regularizers.Regularizer | None = None,
        embeddings_constraint: str | constraints.Constraint | None = None,
        mask_zero: bool = False,
        weights: Any = None,
        input_length: int | None = None,
        **options: Any,
    ) -> None:
        if input_length is not None:
            options["input_shape"] = (checks.integer("Embedding", "input_length", input_length),)
        super().__init__(**options)
        self._shape = (
            checks.integer(self.name, "input_dim", input_dim),
            checks.integer(self.name, "output_dim", output_dim),
        )
        self.input_dim, self.output_dim = self._shape
        self.embeddings_initializer = initializers.get(embeddings_initializer)
        self.embeddings_regularizer = regularizers.get(embeddings_regularizer)
        self.embeddings_constraint = constraints.get(embeddings_constraint)
        self.mask_zero = self.makes_mask = bool(mask_zero)
        self.input_length = None  # said by input_shape from here on
        self._rows: RowGradient | None = None
        self._whole = False  # whether someone holds the whole gradient
        if weights is not None:
            self.build((None,))
            self.set_weights(weights if isinstance(weights, (list, tuple)) else [weights])
        self.weights = None  # held by params from here on

    def build(self, input_shape: Shape) -> None:
        self.add_weight("embeddings", self._shape, self.embeddings_initializer)

    def accept(self, x: Any) -> Array:
        """Return `x` as integers; build the layer if it is not built."""
        x = np.asarray(x)
        if x.dtype.kind == "f":
            if not (x == np.floor(x)).all():
                raise TypeError(f"{self.name}: x must hold integers; got {x.dtype} that are not whole")
            x = x.astype(np.int64)
        elif x.dtype.kind not in "iu":
            raise TypeError(f"{self.name}: x must hold integers; got {x.dtype}")
        if not self.built:
            self.build((None, *x.shape[1:]))
        return x

    def compute_mask(self, x: Any, mask: Any = None) -> Array | None:
        """Return where x is not 0, with `mask_zero`."""
        return np.asarray(x) != 0 if self.mask_zero else None

    def call(self, x: Array) -> Array:
        return functional.embedding(x, self._params["embeddings"])

    def vjp(self, x: Array, training: bool = True) -> tuple[Array, Back]:
        y, ctx = functional.embedding_forward(x, self._params["embeddings"])
        learns = self.trainable

        def back(dy: Array) -> Array:
            if learns:
                rows, values = functional.embedding_backward(dy, ctx, sparse=True)
                self._add(RowGradient(rows, values, self._shape))
            return np.zeros(x.shape, self.dtype)  # numbers of rows have no slope

        return y, back

    def _add(self, gradient: RowGradient) -> None:
        if self._whole:
            gradient.add_to(self._grads["embeddings"])
        else:
            self._rows = gradient if self._rows is None else self._rows.plus(gradient)

    @property
    def grads(self) -> ArrayDict:
        """The gradients by name, as whole arrays; see the notes."""
        if not self._whole:
            self._whole = True
            if self._rows is not None:
                self._add(self._rows)
                self._rows = None
        return self._grads

    def gradients(self) -> Mapping[str, RowGradient]:
        if self._whole:
            return {"embeddings": RowGradient.of(self._grads["embeddings"])}
        if self._rows is None:
            return {
                "embeddings": RowGradient(np.empty(0, np.int64), np.empty((0, self.output_dim)), self._shape)
            }
        return {"embeddings": self._rows.without_zeros()}

    def zero_grads(self) -> None:
        self._rows = None
        if self._whole:
            super().zero_grads()

    def astype(self, dtype: DTypeLike) -> Layer:
        self._rows, self._whole = None, False
        return super().astype(dtype)
