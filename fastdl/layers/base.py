"""What every layer shares: parameters, gradients, and the three ways to run it."""

from __future__ import annotations

import functools
import itertools
import threading
from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import DTypeLike

from .. import checks, config, initializers
from ..configurable import Configurable, snake_case
from ..random import generator
from .arrays import Array, ArrayDict

Back: TypeAlias = Callable[[Array], Array]
Shape: TypeAlias = tuple[int | None, ...]

_building = threading.RLock()
_numbers: defaultdict[str, Iterator[int]] = defaultdict(itertools.count)

# The sizes an axis of unknown length is tried with; see `Layer.compute_output_shape`.
_TRIAL_SIZES = (96, 160)


def _next_name(kind: str) -> str:
    stem = snake_case(kind)
    number = next(_numbers[stem])
    return f"{stem}_{number}" if number else stem


def _build_once(build: Callable[[Any, Shape], None]) -> Callable[[Any, Shape], None]:
    @functools.wraps(build)
    def guarded(self: Layer, input_shape: Shape) -> None:
        with _building:  # threads may meet a layer for the first time together
            if self.built:
                return
            outermost, self._being_built = not self._being_built, True  # build may call the one of its base
            try:
                build(self, tuple(input_shape))
                self.built = outermost
            except BaseException:
                for arrays in (self._params, self._grads, self._state):
                    arrays.clear()
                raise
            finally:
                self._being_built = not outermost

    return guarded


def _guard_vjp(vjp: Callable[..., tuple[Array, Back]]) -> Callable[..., tuple[Array, Back]]:
    @functools.wraps(vjp)
    def guarded(self: Layer, x: Any, training: bool = True, **options: bool) -> tuple[Array, Back]:
        y, back = vjp(self, self.accept(x), training, **options)
        params = self._params
        version = params.version

        def guarded_back(dy: Array) -> Array:
            if params.version != version:
                raise RuntimeError(
                    f"{self.name}: the parameters have changed since the forward pass, its gradient is void;"
                    " run backward before the optimizer's step"
                )
            return back(dy)

        return y, guarded_back

    return guarded


class Layer(Configurable, ABC):
    """Base of all layers: a function of one array with parameters.

    There are three ways to run a layer::

        y = layer(x)                        # inference; writes nothing on a built layer
        y, back = layer.vjp(x)              # for a gradient; may be used many times in one step
        dx = back(dy)                       # adds into layer.grads
        y = layer.forward(x)                # the same with one slot, as the books write it
        dx = layer.backward(dy)

    A new layer is a class with `build`, which makes the parameters once the shape of the input is known,
    and `vjp`, which returns the output and a function from the output's gradient to the input's.

    Parameters
    ----------
    name : str, optional
        Unique within a model. By default the class's name, with a number from the second on.
    trainable : bool
        Whether an optimizer changes the parameters.
    dtype : {"float32", "float64"}, optional
        Of parameters and results; by default that of ``fastdl.use``. Floating-point input of another dtype
        is converted.
    seed : int, optional
        Of all that the layer draws; by default the run's, see `fastdl.set_random_seed`.
    input_shape : tuple of int, optional
        Shape of one sample. It lets a model whose first layer this is be built before it sees data.
    input_dim : int, optional
        The same for samples of one axis.

    Attributes
    ----------
    built : bool
        Whether `build` has run.

    Examples
    --------
    >>> import numpy as np
    >>> from fastdl.layers import Layer
    >>> class Scale(Layer):
    ...     def build(self, input_shape):
    ...         self.add_weight("scale", input_shape[-1:], "ones")
    ...
    ...     def vjp(self, x, training=True):
    ...         def back(dy):
    ...             self.grads["scale"] += (dy * x).sum(axis=0)
    ...             return dy * self.params["scale"]
    ...
    ...         return x * self.params["scale"], back
    >>> layer = Scale()
    >>> layer(np.ones((2, 3), np.float32)).shape
    (2, 3)
    """

    def __init__(
        self,
        *,
        name: str | None = None,
        trainable: bool = True,
        dtype: DTypeLike | None = None,
        seed: int | None = None,
        input_shape: Sequence[int | None] | None = None,
        input_dim: int | None = None,
    ) -> None:
        kind = type(self).__name__
        self.name = name or _next_name(kind)
        self.trainable = trainable
        self.dtype = np.dtype(dtype or config.current().dtype)
        checks.one_of(kind, "dtype", self.dtype.name, config.DTYPES)
        self.seed = seed
        if input_dim is not None:
            input_shape = (checks.integer(kind, "input_dim", input_dim),)
        self._sample_shape: Shape | None = None if input_shape is None else tuple(input_shape)
        self.input_dim = None  # said by input_shape from here on
        self.built = False
        self._being_built = False
        self._params = ArrayDict()
        self._grads = ArrayDict()
        self._state = ArrayDict()
        self._rng = generator(seed)
        self._back: Back | None = None

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        # What a subclass writes is the mathematics alone; the checks that surround it are the same for all.
        for method, guard in (("build", _build_once), ("vjp", _guard_vjp), ("partial_vjp", _guard_vjp)):
            if method in cls.__dict__:
                setattr(cls, method, guard(cls.__dict__[method]))
        if cls.build is Layer.build:
            cls.build = _build_once(Layer.build)  # type: ignore[method-assign, assignment]

    # -- what a subclass defines -------------------------------------------------------------------

    def build(self, input_shape: Shape) -> None:
        """Make the parameters for input of this shape, whose first axis is the batch. Runs once."""

    @abstractmethod
    def vjp(self, x: Array, training: bool = True) -> tuple[Array, Back]:
        """Return the output and its vector-Jacobian product.

        Parameters
        ----------
        x : ndarray, (N, ...)
        training : bool
            Whether layers that behave differently in training do so.

        Returns
        -------
        y : ndarray
        back : callable
            Takes dy, shaped like y; adds into `grads` and returns dx, shaped like x. Each call adds again.
            After the parameters have changed it raises RuntimeError.
        """

    def call(self, x: Array) -> Array:
        """Return the output for inference. Worth defining where it can keep less than `vjp` does."""
        return self.vjp(x, training=False)[0]

    @property
    def final_activation(self) -> str:
        """The activation the output has just come through; a loss that contains it may ask for its input."""
        return "linear"

    def partial_vjp(
        self, x: Array, training: bool = True, *, wants_dx: bool = True, logits: bool = False
    ) -> tuple[Array, Back]:
        """Return what `vjp` does, less what a trainer has no use for.

        Parameters
        ----------
        x, training
            As for `vjp`.
        wants_dx : bool
            Without it `back` may return anything: the input of a model's first layer needs no gradient.
        logits : bool
            Return the input of `final_activation` and the gradient from there. Never asked of a layer where
            that is "linear".
        """
        return self.vjp(x, training)

    # -- running -----------------------------------------------------------------------------------

    def __call__(self, x: Any, training: bool = False) -> Array:
        """Return the output; `training` as for `vjp`."""
        x = self.accept(x)
        return self.vjp(x, True)[0] if training else self.call(x)

    def forward(self, x: Any, training: bool = True) -> Array:
        """Return the output and remember what `backward` needs, until the next call of either."""
        y, self._back = self.vjp(x, training)
        return y

    def backward(self, dy: Array) -> Array:
        """Return the gradient of the last `forward`'s input and add to `grads`.

        Raises
        ------
        RuntimeError
            Without a forward before it, or if the parameters have changed since.
        """
        if self._back is None:
            raise RuntimeError(f"{self.name}: backward needs a forward before it, one for each backward")
        back, self._back = self._back, None
        return back(dy)

    def accept(self, x: Any) -> Array:
        """Return `x` as an array of the layer's dtype; build the layer on its shape if it is not built."""
        if type(x) is not np.ndarray:
            x = np.asarray(x)
        if x.dtype is not self.dtype:  # a byte-swapped one is not, either
            if x.dtype.kind != "f":
                raise TypeError(
                    f"{self.name}: x must hold floating-point numbers; got {x.dtype.name}"
                    f" (x.astype({self.dtype.name!r}) converts it)"
                )
            x = x.astype(self.dtype)
        if not self.built:
            if x.ndim == 0:
                raise ValueError(f"{self.name}: x must have a first axis, the batch; got a single number")
            self.build((None, *x.shape[1:]))
        return x

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Return the shape of the output for input of this shape, building the layer if that is still to do.

        A batch of no samples walks through the layer: it meets every check and takes no time. Where an axis
        of the input may have any length, written None, two lengths are tried; what differs in the output is
        None again.
        """
        self.build(input_shape)
        sizes = _TRIAL_SIZES if None in input_shape[1:] else _TRIAL_SIZES[:1]
        trials = [
            np.empty((0, *(size if n is None else n for n in input_shape[1:])), self.dtype) for size in sizes
        ]
        shapes = [self(trial).shape[1:] for trial in trials]
        return (None, *(lengths[0] if len(set(lengths)) == 1 else None for lengths in zip(*shapes)))

    @property
    def input_shape(self) -> Shape | None:
        """The shape of one sample, where it was given."""
        return self._sample_shape

    # -- parameters --------------------------------------------------------------------------------

    @property
    def params(self) -> ArrayDict:
        """The parameters by name."""
        return self._params

    @property
    def grads(self) -> ArrayDict:
        """The gradients, under the names of `params`; they add up until `zero_grads`."""
        return self._grads

    @property
    def state(self) -> ArrayDict:
        """What the layer keeps beside its parameters and training changes without a gradient, by name."""
        return self._state

    def add_weight(
        self,
        name: str,
        shape: Shape,
        initializer: str | initializers.Initializer = "glorot_uniform",
        trainable: bool = True,
    ) -> Array:
        """Make and return a parameter and its gradient, or else an array of `state`. For use in `build`."""
        if None in shape:
            raise ValueError(
                f"{self.name}: {name} of shape {tuple(shape)} needs an axis of the input whose size is open"
            )
        size = checks.shape(self.name, name, tuple(shape))
        checks.check_bytes(self.name, name, size)
        arrays = self._params if trainable else self._state
        arrays[name] = initializers.get(initializer)(size, self.dtype, self._rng)
        if trainable:
            self._grads[name] = np.zeros(size, self.dtype)
        return arrays[name]

    def accumulate(self, **gradients: Array | None) -> None:
        """Add gradients by name to `grads`, in place; what was not computed is None."""
        for name, gradient in gradients.items():
            if gradient is not None:
                own = self._grads[name]
                np.add(own, gradient, out=own)

    def zero_grads(self) -> None:
        """Set all gradients to zero."""
        for gradient in self._grads.values():
            gradient.fill(0)

    def leaves(self) -> Iterator[tuple[str, Layer]]:
        """Yield the layers this one is made of, each once, with the prefix of its parameters' names."""
        yield "", self

    @property
    def learns(self) -> bool:
        """Whether there is a parameter in it that an optimizer changes."""
        return any(leaf.trainable and leaf.params for _, leaf in self.leaves())

    def count_params(self) -> int:
        """Return how many numbers the weights hold: the parameters and the state."""
        if not self.built:
            raise ValueError(
                f"{self.name}: count_params needs a built layer; call build(input_shape) or run it once"
            )
        return sum(array.size for array in self.named_weights().values())

    def named_weights(self) -> dict[str, Array]:
        """Return parameters and state by name, in Keras's order: those of one layer, then of the next."""
        return {
            prefix + name: array
            for prefix, leaf in self.leaves()
            for arrays in (leaf.params, leaf.state)
            for name, array in arrays.items()
        }

    @property
    def trainable_weights(self) -> list[Array]:
        """The parameters an optimizer changes."""
        return [p for _, leaf in self.leaves() if leaf.trainable for p in leaf.params.values()]

    @property
    def non_trainable_weights(self) -> list[Array]:
        """The parameters an optimizer leaves alone, and the state."""
        return [
            array
            for _, leaf in self.leaves()
            for arrays in ((leaf.state,) if leaf.trainable else (leaf.params, leaf.state))
            for array in arrays.values()
        ]

    def get_weights(self) -> list[Array]:
        """Return copies of the weights, in the order of `named_weights`."""
        return [array.copy() for array in self.named_weights().values()]

    def set_weights(self, weights: Sequence[Any]) -> None:
        """Copy arrays in the order of `get_weights` into the layer's.

        Raises
        ------
        ValueError
            If their number or a shape does not fit; nothing has been changed then.
        """
        owned = self.named_weights()
        if len(weights) != len(owned):
            raise ValueError(f"{self.name}: set_weights expects {len(owned)} arrays; got {len(weights)}")
        arrays = [np.asarray(weight) for weight in weights]
        for (name, own), array in zip(owned.items(), arrays):
            checks.same_shape(f"{self.name}: set_weights", name, array.shape, own.shape, "the layer's")
        for own, array in zip(owned.values(), arrays):
            own[...] = array
        self.params.touch()

    def astype(self, dtype: DTypeLike) -> Layer:
        """Compute in another dtype from here on; convert the parameters, clear the gradients."""
        self.dtype = np.dtype(dtype)
        self._params.touch()
        self._params = ArrayDict({name: array.astype(dtype) for name, array in self._params.items()})
        self._grads = ArrayDict({name: np.zeros_like(array) for name, array in self._params.items()})
        self._state = ArrayDict({name: array.astype(dtype) for name, array in self._state.items()})
        return self

    def __repr__(self) -> str:
        return f"<{type(self).__name__} name={self.name}, built={self.built}>"


class Input:
    """The shape of the samples a model will be given, as its first entry.

    Parameters
    ----------
    shape : tuple of int or None
        Of one sample; None where an axis may have any length.

    Examples
    --------
    >>> from fastdl import Input, Sequential
    >>> from fastdl.layers import Dense
    >>> Sequential([Input((4,)), Dense(3)]).count_params()
    15
    """

    def __init__(self, shape: Sequence[int | None]) -> None:
        if not checks.is_sequence(shape):
            raise TypeError(f"Input: shape must be a tuple, such as (28, 28, 1); got {shape!r}")
        self.shape = tuple(
            None if n is None else checks.integer("Input", "shape", n, minimum=0) for n in shape
        )
