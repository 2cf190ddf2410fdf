"""What every optimizer shares: the step, from gradients to parameters."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, MutableMapping
from typing import Any, TypeAlias

import numpy as np

from . import backends, checks, clipping, config
from .configurable import Configurable
from .functional._arrays import FLOAT32, FLOAT64, canonical
from .layers.arrays import Array, ArrayDict
from .layers.base import Layer
from .layers.rows import RowGradient
from .layers.weights import constrain
from .schedules import LearningRateSchedule
from .shapes import Updated

Work: TypeAlias = "tuple[str, Array, Array | RowGradient]"  # a parameter's key, itself, its gradient


class Optimizer(Configurable, ABC):
    """Base of the optimizers.

    A subclass names its `kind`, the primitive that does the work, and says what that takes: `slots`, the
    arrays to remember beside a parameter, and `hyper`, the numbers.

    Parameters
    ----------
    learning_rate : float or LearningRateSchedule
        Can be read between steps; a number can be set, too.
    weight_decay : float, optional
        Before each step p -= learning_rate weight_decay p (Loshchilov & Hutter, 2019).
    clipnorm : float, optional
        Most that the norm of a parameter's gradient may be.
    clipvalue : float, optional
        Most that an element of a gradient may be, up or down.
    global_clipnorm : float, optional
        Most that the norm of all gradients together may be. One of the three may be given.

    Attributes
    ----------
    iterations : int
        Steps taken so far.
    state : dict of str to list of ndarray
        The arrays that are remembered, by the parameter's key.
    """

    kind: str
    decays = False  # whether the primitive takes weight_decay among its numbers
    clipnorm: float | None
    clipvalue: float | None
    global_clipnorm: float | None

    def __init__(
        self,
        learning_rate: float | LearningRateSchedule,
        *,
        weight_decay: float | None = None,
        clipnorm: float | None = None,
        clipvalue: float | None = None,
        global_clipnorm: float | None = None,
    ) -> None:
        self.iterations = 0
        self._schedule: LearningRateSchedule | None = None
        if isinstance(learning_rate, LearningRateSchedule):
            self._schedule = learning_rate
        else:
            self.learning_rate = learning_rate
        name = type(self).__name__
        self.weight_decay = (
            None if weight_decay is None else checks.number(name, "weight_decay", weight_decay)
        )
        given = {"clipnorm": clipnorm, "clipvalue": clipvalue, "global_clipnorm": global_clipnorm}
        vars(self).update(clipping.limits(name, given))
        self.state: dict[str, list[Array]] = {}

    @abstractmethod
    def slots(self, parameter: Array) -> list[Array]:
        """Return the arrays to begin with for a parameter that is seen for the first time."""

    @abstractmethod
    def hyper(self) -> tuple[float, ...]:
        """Return the primitive's numbers for the next step."""

    @property
    def learning_rate(self) -> float:
        """How far the next step goes."""
        return self._learning_rate if self._schedule is None else self._schedule(self.iterations)

    @learning_rate.setter
    def learning_rate(self, value: float) -> None:
        if self._schedule is not None:
            raise TypeError(
                f"{type(self).__name__}: the learning rate follows {self._schedule!r} and cannot be set"
            )
        self._learning_rate = checks.number(type(self).__name__, "learning_rate", value)

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | ({"learning_rate": self._schedule} if self._schedule else {})

    def update(self, params: MutableMapping[str, Array], grads: Mapping[str, Any]) -> None:
        """Take one step: change `params` in place along `grads`.

        Parameters
        ----------
        params : dict of str to ndarray
            Arrays of floats; give all the parameters of a network in one call, since a call is a step.
        grads : dict of str to ndarray
            Their gradients under the same keys.

        Raises
        ------
        ValueError
            If a gradient is missing, or its shape is not the parameter's. Nothing has been changed then.
        TypeError
            If a parameter is not a writable array of floats.

        Examples
        --------
        >>> import numpy as np
        >>> from fastdl.optimizers import SGD
        >>> params = {"w": np.array([1.0, 2.0])}
        >>> SGD(learning_rate=0.5).update(params, {"w": np.array([1.0, 0.0])})
        >>> params["w"]
        array([0.5, 2. ])
        """
        work: list[Work] = []
        for key, parameter in params.items():
            if key not in grads:
                raise ValueError(f"update: there is no gradient for {key!r}")
            given = grads[key]
            gradient = given if isinstance(given, RowGradient) else np.asarray(given)
            if (
                not isinstance(parameter, np.ndarray)
                or parameter.dtype.kind != "f"
                or not parameter.flags.writeable
            ):
                raise TypeError(f"update: {key!r} must be a writable array of floats; got {parameter!r}")
            if gradient.shape != parameter.shape:
                checks.same_shape(
                    "update", f"the gradient of {key!r}", gradient.shape, parameter.shape, "the parameter"
                )
            work.append((key, parameter, gradient))
        self._change(work)
        if isinstance(params, ArrayDict):
            params.touch()

    def step(self, model: Layer) -> None:
        """Take one step with a model's or layer's trainable parameters and the gradients it added up.

        Constraints of the layers are applied to the result.
        """
        trained: list[Layer] = []
        work: list[Work] = []
        for prefix, leaf in model.leaves():
            if leaf.params and leaf.trainable:
                trained.append(leaf)
                grads = leaf.gradients()
                for name, parameter in leaf.params.items():
                    work.append((prefix + name, parameter, grads[name]))
        self._change(work)
        for leaf in trained:
            constrain(leaf)
            leaf.params.touch()

    def _remembered(self, key: str, parameter: Array) -> list[Array]:
        """Return the slots of a parameter."""
        slots = self.state.get(key)
        if slots is None:
            slots = self.state[key] = self.slots(np.empty(parameter.shape, _computed_in(parameter)))
        elif slots and slots[0].shape != parameter.shape:
            raise ValueError(
                f"update: {key!r} has shape {parameter.shape}, but had {slots[0].shape} before;"
                " another network needs an optimizer of its own"
            )
        return slots

    def _change(self, work: list[Work]) -> None:
        """Change parameters by their gradients, as one step."""
        slots = [self._remembered(key, parameter) for key, parameter, _ in work]
        gradients = self._clipped(work)
        hyper = self.hyper()
        shrinkage = 0.0 if self.decays else self.learning_rate * (self.weight_decay or 0.0)
        self.iterations += 1
        updated: list[Updated] = []
        copied: list[tuple[Array, Array]] = []
        for (_, parameter, _), gradient, remembered in zip(work, gradients, slots):
            rows = None
            if isinstance(gradient, RowGradient):
                rows = np.ascontiguousarray(gradient.rows, np.int64)
                gradient = gradient.values
            plain = parameter
            if backends.common_dtype("parameter gradient", (parameter, gradient)) is None:
                # The primitive wants plain arrays; of a view, or float16, it gets a copy.
                plain, gradient = canonical((parameter, gradient), _computed_in(parameter))
                copied.append((parameter, plain))
            if shrinkage:
                shrunk = ... if rows is None else rows
                plain[shrunk] -= shrinkage * plain[shrunk]
            updated.append((plain, gradient, remembered, rows))
        # In one call: after each the interpreter would find that its own memory has left the cache.
        backends.select(config.current().backend).update(self.kind, updated, hyper)
        for parameter, plain in copied:
            parameter[...] = plain

    def _clipped(self, work: list[Work]) -> list[clipping.Gradient]:
        keys, gradients = [key for key, _, _ in work], [gradient for _, _, gradient in work]
        if self.clipvalue:
            return clipping.by_value(gradients, self.clipvalue)
        if self.clipnorm:
            return clipping.by_norm(keys, gradients, self.clipnorm)
        if self.global_clipnorm:
            return clipping.by_global_norm(keys, gradients, self.global_clipnorm)
        return gradients


def _computed_in(parameter: Array) -> np.dtype[Any]:
    return FLOAT64 if parameter.dtype.itemsize == 8 else FLOAT32
