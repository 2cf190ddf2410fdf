"""Optimizers, with Keras's names, arguments, defaults and formulas.

An optimizer changes parameters in place. It is given two dicts with the same keys, as the books write it::

    optimizer.update(params, grads)

or a model or layer, of which it takes those that are trainable::

    optimizer.step(model)

What it remembers of a parameter it keeps in `state` under the parameter's key. All of them take
``weight_decay``, one of ``clipnorm``, ``clipvalue`` and ``global_clipnorm``, and a schedule as learning rate;
see `Optimizer`. A gradient may be a
`RowGradient`: rows that are not in it are not looked at, and what is remembered of them stays as it is.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from . import checks
from .configurable import lookup
from .layers.arrays import Array
from .schedules import LearningRateSchedule
from .stepping import Optimizer


def _unused(parameter: Array) -> Array:
    return np.empty(0, parameter.dtype)


class SGD(Optimizer):
    """Gradient descent: p -= learning_rate g; with momentum v = m v - learning_rate g, p += v.

    Parameters
    ----------
    learning_rate : float
    momentum : float
        In [0, 1].
    nesterov : bool
        Whether the momentum looks ahead: p += m v - learning_rate g (Sutskever et al., 2013).
    """

    def __init__(
        self,
        learning_rate: float | LearningRateSchedule = 0.01,
        momentum: float = 0.0,
        nesterov: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(learning_rate, **options)
        self.momentum = _fraction("SGD", "momentum", momentum)
        self.nesterov = nesterov
        self.kind = "sgd" if not momentum else "nesterov" if nesterov else "momentum"

    def slots(self, parameter: Array) -> list[Array]:
        return [np.zeros_like(parameter)] if self.momentum else []

    def hyper(self) -> tuple[float, ...]:
        return (self.learning_rate, self.momentum) if self.momentum else (self.learning_rate,)


class Momentum(SGD):
    """`SGD` with momentum: v = m v - learning_rate g; p += v (Polyak, 1964).

    Parameters
    ----------
    learning_rate : float
    momentum : float
        In [0, 1].
    """

    def __init__(
        self, learning_rate: float | LearningRateSchedule = 0.01, momentum: float = 0.9, **options: Any
    ) -> None:
        super().__init__(learning_rate, momentum, **options)


class Nesterov(SGD):
    """`SGD` with Nesterov's momentum: v = m v - learning_rate g; p += m v - learning_rate g.

    Parameters
    ----------
    learning_rate : float
    momentum : float
        In [0, 1].
    """

    def __init__(
        self, learning_rate: float | LearningRateSchedule = 0.01, momentum: float = 0.9, **options: Any
    ) -> None:
        super().__init__(learning_rate, momentum, **options | {"nesterov": True})


class Adagrad(Optimizer):
    """a += g²; p -= learning_rate g / sqrt(a + epsilon) (Duchi et al., 2011).

    Parameters
    ----------
    learning_rate, initial_accumulator_value, epsilon : float
    """

    kind = "adagrad"

    def __init__(
        self,
        learning_rate: float | LearningRateSchedule = 0.001,
        initial_accumulator_value: float = 0.1,
        epsilon: float = 1e-7,
        **options: Any,
    ) -> None:
        super().__init__(learning_rate, **options)
        self.initial_accumulator_value = checks.number(
            "Adagrad", "initial_accumulator_value", initial_accumulator_value
        )
        self.epsilon = checks.number("Adagrad", "epsilon", epsilon)

    def slots(self, parameter: Array) -> list[Array]:
        return [np.full_like(parameter, self.initial_accumulator_value)]

    def hyper(self) -> tuple[float, ...]:
        return self.learning_rate, self.epsilon


class Adadelta(Optimizer):
    """Steps as large as the ones before them, whatever the gradient's unit (Zeiler, 2012).

    a = rho a + (1 - rho) g²; d = g sqrt(u + epsilon) / sqrt(a + epsilon); u = rho u + (1 - rho) d²;
    p -= learning_rate d

    Parameters
    ----------
    learning_rate, rho, epsilon : float
    """

    kind = "adadelta"

    def __init__(
        self,
        learning_rate: float | LearningRateSchedule = 0.001,
        rho: float = 0.95,
        epsilon: float = 1e-7,
        **options: Any,
    ) -> None:
        super().__init__(learning_rate, **options)
        self.rho = _fraction("Adadelta", "rho", rho)
        self.epsilon = checks.number("Adadelta", "epsilon", epsilon)

    def slots(self, parameter: Array) -> list[Array]:
        return [np.zeros_like(parameter), np.zeros_like(parameter)]

    def hyper(self) -> tuple[float, ...]:
        return self.learning_rate, self.rho, self.epsilon


class RMSprop(Optimizer):
    """v = rho v + (1 - rho) g²; p -= learning_rate g / sqrt(v + epsilon) (Tieleman & Hinton, 2012).

    Parameters
    ----------
    learning_rate, rho : float
    momentum : float
        In [0, 1]; with it the steps are gathered first, u = momentum u + step.
    epsilon : float
    centered : bool
        Whether the square of the gradients' mean is taken off v.
    """

    kind = "rmsprop"

    def __init__(
        self,
        learning_rate: float | LearningRateSchedule = 0.001,
        rho: float = 0.9,
        momentum: float = 0.0,
        epsilon: float = 1e-7,
        centered: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(learning_rate, **options)
        self.rho = _fraction("RMSprop", "rho", rho)
        self.momentum = _fraction("RMSprop", "momentum", momentum)
        self.epsilon = checks.number("RMSprop", "epsilon", epsilon)
        self.centered = bool(centered)

    def slots(self, parameter: Array) -> list[Array]:
        return [
            np.zeros_like(parameter),
            np.zeros_like(parameter) if self.centered else _unused(parameter),
            np.zeros_like(parameter) if self.momentum else _unused(parameter),
        ]

    def hyper(self) -> tuple[float, ...]:
        return self.learning_rate, self.rho, self.epsilon, self.momentum, self.centered


class Adam(Optimizer):
    """Steps along the mean gradient, in units of its own size (Kingma & Ba, 2015).

    m += (1 - beta_1)(g - m); v += (1 - beta_2)(g² - v);
    p -= learning_rate m sqrt(1 - beta_2^t) / (1 - beta_1^t) / (sqrt(v) + epsilon) at step t

    Parameters
    ----------
    learning_rate, beta_1, beta_2 : float
    epsilon : float
        As in Keras it is the paper's "epsilon hat", added to sqrt(v) before the correction.
    amsgrad : bool
        Whether the largest v so far takes v's place (Reddi et al., 2018).
    """

    kind = "adam"
    decays = True

    def __init__(
        self,
        learning_rate: float | LearningRateSchedule = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        amsgrad: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(learning_rate, **options)
        name = type(self).__name__
        self.beta_1 = checks.number(name, "beta_1", beta_1, below=1.0)
        self.beta_2 = checks.number(name, "beta_2", beta_2, below=1.0)
        self.epsilon = checks.number(name, "epsilon", epsilon)
        self.amsgrad = bool(amsgrad)

    def slots(self, parameter: Array) -> list[Array]:
        largest = np.zeros_like(parameter) if self.amsgrad else _unused(parameter)
        return [np.zeros_like(parameter), np.zeros_like(parameter), largest]

    def hyper(self) -> tuple[float, ...]:
        rate, decay, t = self.learning_rate, self.weight_decay or 0.0, self.iterations + 1
        alpha = rate * math.sqrt(1 - self.beta_2**t) / (1 - self.beta_1**t)
        return alpha, self.beta_1, self.beta_2, self.epsilon, self.amsgrad, rate * decay


class AdamW(Adam):
    """`Adam`, before each step of which p -= learning_rate weight_decay p (Loshchilov & Hutter, 2019).

    Parameters
    ----------
    learning_rate, weight_decay, beta_1, beta_2, epsilon : float
    amsgrad : bool
    """

    def __init__(
        self,
        learning_rate: float | LearningRateSchedule = 0.001,
        weight_decay: float = 0.004,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        amsgrad: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(
            learning_rate, beta_1, beta_2, epsilon, amsgrad, weight_decay=weight_decay, **options
        )


def _fraction(owner: str, name: str, value: Any) -> float:
    number = checks.number(owner, name, value)
    if number > 1:
        raise ValueError(f"{owner}: {name} must be at most 1; got {value!r}")
    return number


# DESIGN's and Keras's spellings are both understood.
AdaGrad = Adagrad
AdaDelta = Adadelta

NAMES: dict[str, type[Optimizer]] = {
    "adadelta": Adadelta,
    "adagrad": Adagrad,
    "adam": Adam,
    "adamw": AdamW,
    "momentum": Momentum,
    "nesterov": Nesterov,
    "rmsprop": RMSprop,
    "sgd": SGD,
}


def get(optimizer: str | Optimizer | type[Optimizer]) -> Optimizer:
    """Return the optimizer of that name; an `Optimizer` is returned as it is.

    Examples
    --------
    >>> get("adam").learning_rate
    0.001
    """
    return lookup("optimizer", optimizer, NAMES, Optimizer)
