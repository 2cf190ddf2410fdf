"""What every layer shares: parameters, gradients, and the three ways to run it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from types import MappingProxyType
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import DTypeLike

from .. import checks, config, initializers, nested
from ..backends import RecycledMemory
from ..configurable import Configurable, next_name
from ..random import generator
from .arrays import Array, ArrayDict, GradientDict
from .guards import as_shapes, build_once, check_version
from .masks import Maskable
from .symbolic import Call, is_symbolic
from .undo import note_drawing

Back: TypeAlias = Callable[[Array], Array]
Shape: TypeAlias = tuple[int | None, ...]

# The sizes an axis of unknown length is tried with; see `Layer.compute_output_shape`.
_TRIAL_SIZES = (96, 160)

_as_compiled: ContextVar[Mapping[Layer, bool]] = ContextVar("as_compiled", default=MappingProxyType({}))


@contextmanager
def as_compiled(trainable: Mapping[Layer, bool]) -> Iterator[None]:
    """Let `trainable` of these layers be what it was when a model was compiled, for this thread only."""
    token = _as_compiled.set(trainable)
    try:
        yield
    finally:
        _as_compiled.reset(token)


class Layer(Maskable, Configurable, ABC):
    """Base of all layers: a function of an array, or of several, with parameters.

    There are three ways to run a layer::

        y = layer(x)                        # inference; writes nothing on a built layer
        y, back = layer.vjp(x)              # for a gradient; may be used many times in one step
        dx = back(dy)                       # adds into layer.grads
        y = layer.forward(x)                # the same with one slot, as the books write it
        dx = layer.backward(dy)

    On a symbolic tensor, such as an `Input`, ``layer(x)`` is another one: a graph grows, which `Model` makes
    a model of.

    A new layer is a class with `build`, which makes the parameters once the shape of the input is known,
    and `vjp`, which returns the output and a function from the output's gradient to the input's. If `vjp` has
    an argument `mask`, a model gives it that of the input; see `masks`.

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
        self.name = name or next_name(kind)
        self._trainable = trainable
        self.dtype = np.dtype(dtype or config.current().dtype)
        checks.one_of(kind, "dtype", self.dtype.name, config.DTYPES)
        self.seed = seed
        if input_dim is not None:
            input_shape = (checks.integer(kind, "input_dim", input_dim),)
        self._sample_shape: Shape | None = None if input_shape is None else tuple(input_shape)
        self.input_dim: int | None = None  # said by input_shape from here on
        self.built = False
        self._being_built = False
        self._params = ArrayDict()
        self._grads = GradientDict()
        self._state = ArrayDict()
        self._random = generator(seed)
        self._back: Back | None = None
        self._calls: list[Call] = []

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        # What a subclass writes is the mathematics alone; the checks that surround it are the same for all.
        if "build" in cls.__dict__:
            cls.build = build_once(cls.__dict__["build"])  # type: ignore[method-assign, assignment]
        for method in ("vjp", "partial_vjp", "vjp_fused", "vjp_pooled", "masked_vjp"):
            if method in cls.__dict__:
                setattr(cls, method, check_version(cls.__dict__[method]))
        if "zero_grads" in cls.__dict__ and "await_grads" not in cls.__dict__:  # it may do more than zero
            cls.await_grads = lambda self: self.zero_grads()  # type: ignore[method-assign]
        if cls.build is Layer.build:
            cls.build = build_once(Layer.build)  # type: ignore[method-assign, assignment]

    # -- what a subclass defines -------------------------------------------------------------------

    def build(self, input_shape: Any) -> None:
        """Make the parameters for input of this shape, whose first axis is the batch. Runs once.

        A layer of several inputs is given a list of shapes.
        """

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

    def __call__(self, x: Any, training: bool | None = None, *, mask: Any = None) -> Any:
        """Return the output; `training` as for `vjp`.

        Of a symbolic tensor the output is symbolic; the call then keeps the mode it was given, and without
        one follows the model. `mask`, an array or a symbolic tensor, is for the layers that use one; where
        it is not given in a graph, it is that of x.
        """
        if mask is not None and not self.uses_mask:
            raise TypeError(f"{self.name}: a {type(self).__name__} takes no mask")
        if type(x) is not np.ndarray and is_symbolic(x):
            self._calls.append(Call(self, x, training, mask))
            return self._calls[-1].outputs
        x = self.accept(x)
        if mask is None:
            return self.vjp(x, True)[0] if training else self.call(x)
        return self.vjp_under(mask, x, True)[0] if training else self.call_under(mask, x)

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

    def accept(self, x: Any) -> Any:
        """Return `x` as `vjp` takes it; build the layer on its shape if it is not built."""
        if type(x) is not np.ndarray or x.dtype is not self.dtype or x.ndim == 0:
            x = self.as_floats(x)
        if not self.built:
            self.build((None, *x.shape[1:]))
        return x

    def as_floats(self, x: Any) -> Array:
        """Return `x` as an array of the layer's dtype."""
        x = np.asarray(x)
        if x.dtype is not self.dtype:  # a byte-swapped one is not, either
            if x.dtype.kind != "f":
                raise TypeError(
                    f"{self.name}: x must hold floating-point numbers; got {x.dtype.name}"
                    f" (x.astype({self.dtype.name!r}) converts it)"
                )
            x = x.astype(self.dtype)
        if x.ndim == 0:
            raise ValueError(f"{self.name}: x must have a first axis, the batch; got a single number")
        return x

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Return the shape of the output for input of this shape, building the layer if that is still to do.

        A batch of no samples walks through the layer: it meets every check and takes no time. Where an axis
        of the input may have any length, written None, two lengths are tried; what differs in the output is
        None again. Several inputs or outputs are lists, or dicts, of shapes.
        """
        given = as_shapes(input_shape)
        self.build(given)
        shapes = [given] if isinstance(given, tuple) else nested.parts(given)
        is_open = any(None in shape[1:] for shape in shapes)
        trials = []
        for size in _TRIAL_SIZES if is_open else _TRIAL_SIZES[:1]:
            x = [np.empty((0, *(size if n is None else n for n in s[1:])), self.dtype) for s in shapes]
            trials.append(self(x[0] if isinstance(given, tuple) else nested.rebuild(given, x)))

        def common(outputs: tuple[Array, ...]) -> Shape:
            sizes = zip(*(y.shape[1:] for y in outputs))
            return (None, *(lengths[0] if len(set(lengths)) == 1 else None for lengths in sizes))

        together = [common(outputs) for outputs in zip(*map(nested.parts, trials))]
        form = list(trials[0]) if isinstance(trials[0], tuple) else trials[0]
        return nested.rebuild(form, together)

    @property
    def input_shape(self) -> Shape | None:
        """The shape of one sample, where it was given."""
        return self._sample_shape

    @property
    def input(self) -> Any:
        """What the layer's one call in a graph is given: a symbolic tensor, or a group of them."""
        return self._only_call.inputs

    @property
    def output(self) -> Any:
        """What the layer's one call in a graph returns: a symbolic tensor, or a group of them."""
        return self._only_call.outputs

    @property
    def _only_call(self) -> Call:
        if len(self._calls) != 1:
            raise ValueError(
                f"{self.name}: input and output are those of its one call in a graph;"
                f" there are {len(self._calls)}"
            )
        return self._calls[0]

    # -- parameters --------------------------------------------------------------------------------

    @property
    def _rng(self) -> np.random.Generator:
        """The stream of all that the layer draws."""
        note_drawing(self._random)
        return self._random

    def reset_states(self) -> None:
        """Begin the next batch anew, where a `stateful` layer would go on from the last one."""

    @property
    def params(self) -> ArrayDict:
        """The parameters by name."""
        return self._params

    @property
    def grads(self) -> ArrayDict:
        """The gradients, under the names of `params`; they add up until `zero_grads`."""
        return self._grads.settle() if self._grads.awaited else self._grads

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
        with RecycledMemory():  # which begins on a cache line: kernels read rows of weights as they lie
            arrays[name] = initializers.get(initializer)(size, self.dtype, self._rng)
            if trainable:
                self._grads[name] = np.zeros(size, self.dtype)
        return arrays[name]

    def accumulate(self, **gradients: Array | None) -> None:
        """Add gradients by name to `grads`, in place; what was not computed is None."""
        for name, gradient in gradients.items():
            if gradient is not None:
                self._grads.add(name, gradient)

    @property
    def trainable(self) -> bool:
        """Whether an optimizer changes the parameters; a model goes by what it was when it was compiled."""
        return _as_compiled.get().get(self, self._trainable)

    @trainable.setter
    def trainable(self, value: bool) -> None:
        self._trainable = bool(value)

    def gradients(self) -> Mapping[str, Any]:
        """Return the gradients as an optimizer takes them: `grads`, or a `RowGradient` where most is zero."""
        return self.grads

    def zero_grads(self) -> None:
        """Set all gradients to zero."""
        self._grads.zero()

    def await_grads(self) -> None:
        """Do what `zero_grads` does, for somebody who goes back and takes an optimizer's step at once."""
        self._grads.expect() if self.trainable else self._grads.zero()

    def leaves(self) -> Iterator[tuple[str, Layer]]:
        """Yield the layers this one is made of, each once, with the prefix of its parameters' names."""
        yield "", self

    @property
    def learns(self) -> bool:
        """Whether there is a parameter in it that an optimizer changes."""
        return bool(self._params) and self.trainable

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
        self._grads = GradientDict({name: np.zeros_like(array) for name, array in self._params.items()})
        self._state = ArrayDict({name: array.astype(dtype) for name, array in self._state.items()})
        return self

    def __repr__(self) -> str:
        return f"<{type(self).__name__} name={self.name}, built={self.built}>"
