"""Initial weights, with Keras's names, arguments and defaults.

An initializer is called with a shape, a dtype and a generator, and returns a new array. What varies with
the size of the layer counts its inputs and outputs as Keras does: for a kernel ``(*window, in, out)`` the
fan in is the product of the window times ``in``, the fan out the same with ``out``.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from . import checks
from .configurable import Configurable, lookup
from .random import generator

Array = np.ndarray[Any, Any]
Shape = tuple[int, ...]

# The standard deviation of a standard normal distribution that is cut off at -2 and 2.
_CUT_NORMAL_STD = 0.87962566103423978


class Initializer(Configurable, ABC):
    """Base of the initializers.

    A subclass has one method, `draw`. With a `seed`, each call returns the same numbers, whichever
    generator the layer brings.
    """

    seed: int | None = None

    def __call__(
        self, shape: Shape, dtype: DTypeLike = "float32", rng: np.random.Generator | None = None
    ) -> Array:
        """Return a new array of `shape` and `dtype`."""
        if self.seed is not None or rng is None:
            rng = generator(self.seed)
        # The numbers are drawn in float64 whatever the dtype: one seed means one network, rounded.
        return np.ascontiguousarray(self.draw(tuple(shape), rng), dtype=dtype)

    @abstractmethod
    def draw(self, shape: Shape, rng: np.random.Generator) -> Array:
        """Return the numbers, as float64."""


class Zeros(Initializer):
    """All zero."""

    def draw(self, shape: Shape, rng: np.random.Generator) -> Array:
        return np.zeros(shape)


class Ones(Initializer):
    """All one."""

    def draw(self, shape: Shape, rng: np.random.Generator) -> Array:
        return np.ones(shape)


class Constant(Initializer):
    """All `value`."""

    def __init__(self, value: float = 0.0) -> None:
        self.value = value

    def draw(self, shape: Shape, rng: np.random.Generator) -> Array:
        return np.full(shape, self.value, dtype=np.float64)


class RandomNormal(Initializer):
    """Normally distributed."""

    def __init__(self, mean: float = 0.0, stddev: float = 0.05, seed: int | None = None) -> None:
        self.mean = mean
        self.stddev = checks.number("RandomNormal", "stddev", stddev)
        self.seed = seed

    def draw(self, shape: Shape, rng: np.random.Generator) -> Array:
        return rng.normal(self.mean, self.stddev, shape)


class RandomUniform(Initializer):
    """Evenly distributed over [minval, maxval)."""

    def __init__(self, minval: float = -0.05, maxval: float = 0.05, seed: int | None = None) -> None:
        if not minval <= maxval:
            raise ValueError(f"RandomUniform: minval {minval} is above maxval {maxval}")
        self.minval = minval
        self.maxval = maxval
        self.seed = seed

    def draw(self, shape: Shape, rng: np.random.Generator) -> Array:
        return rng.uniform(self.minval, self.maxval, shape)


class TruncatedNormal(Initializer):
    """Normally distributed; what lies more than two standard deviations away is drawn again."""

    def __init__(self, mean: float = 0.0, stddev: float = 0.05, seed: int | None = None) -> None:
        self.mean = mean
        self.stddev = checks.number("TruncatedNormal", "stddev", stddev)
        self.seed = seed

    def draw(self, shape: Shape, rng: np.random.Generator) -> Array:
        return self.mean + self.stddev * _cut_normal(shape, rng)


def _cut_normal(shape: Shape, rng: np.random.Generator) -> Array:
    values = rng.standard_normal(shape)
    while (far := np.abs(values) > 2).any():
        values[far] = rng.standard_normal(np.count_nonzero(far))
    return values


class VarianceScaling(Initializer):
    """Random numbers whose variance is `scale` over the layer's fan.

    Parameters
    ----------
    scale : float
        Positive.
    mode : {"fan_in", "fan_out", "fan_avg"}
        What the variance is divided by.
    distribution : {"truncated_normal", "untruncated_normal", "uniform"}
    seed : int, optional
    """

    def __init__(
        self,
        scale: float = 1.0,
        mode: str = "fan_in",
        distribution: str = "truncated_normal",
        seed: int | None = None,
    ) -> None:
        checks.one_of("VarianceScaling", "mode", mode, ("fan_in", "fan_out", "fan_avg"))
        checks.one_of(
            "VarianceScaling",
            "distribution",
            distribution,
            ("truncated_normal", "untruncated_normal", "uniform"),
        )
        self.scale = checks.number("VarianceScaling", "scale", scale)
        self.mode = mode
        self.distribution = distribution
        self.seed = seed

    def draw(self, shape: Shape, rng: np.random.Generator) -> Array:
        fan_in, fan_out = fans(shape)
        fan = {"fan_in": fan_in, "fan_out": fan_out, "fan_avg": (fan_in + fan_out) / 2}[self.mode]
        variance = self.scale / max(1.0, fan)
        if self.distribution == "uniform":
            limit = math.sqrt(3 * variance)
            return rng.uniform(-limit, limit, shape)
        if self.distribution == "untruncated_normal":
            return rng.normal(0, math.sqrt(variance), shape)
        return math.sqrt(variance) / _CUT_NORMAL_STD * _cut_normal(shape, rng)


class _Scaled(VarianceScaling):
    """A `VarianceScaling` with a name of its own, which takes only the seed."""

    settings: tuple[float, str, str]

    def __init__(self, seed: int | None = None) -> None:
        super().__init__(*self.settings, seed)


class GlorotUniform(_Scaled):
    """Uniform within ±sqrt(6 / (fan in + fan out)) (Glorot & Bengio, 2010)."""

    settings = (1.0, "fan_avg", "uniform")


class GlorotNormal(_Scaled):
    """Normal with variance 2 / (fan in + fan out) (Glorot & Bengio, 2010)."""

    settings = (1.0, "fan_avg", "truncated_normal")


class HeUniform(_Scaled):
    """Uniform within ±sqrt(6 / fan in) (He et al., 2015)."""

    settings = (2.0, "fan_in", "uniform")


class HeNormal(_Scaled):
    """Normal with variance 2 / fan in (He et al., 2015)."""

    settings = (2.0, "fan_in", "truncated_normal")


class LecunUniform(_Scaled):
    """Uniform within ±sqrt(3 / fan in) (LeCun et al., 1998)."""

    settings = (1.0, "fan_in", "uniform")


class LecunNormal(_Scaled):
    """Normal with variance 1 / fan in (LeCun et al., 1998)."""

    settings = (1.0, "fan_in", "truncated_normal")


class Orthogonal(Initializer):
    """Orthonormal rows or columns, whichever are fewer, times `gain` (Saxe et al., 2014)."""

    def __init__(self, gain: float = 1.0, seed: int | None = None) -> None:
        self.gain = gain
        self.seed = seed

    def draw(self, shape: Shape, rng: np.random.Generator) -> Array:
        if len(shape) < 2:
            raise ValueError(f"Orthogonal: the weights need two axes or more; got shape {shape}")
        rows, columns = math.prod(shape[:-1]), shape[-1]
        q, r = np.linalg.qr(rng.standard_normal((max(rows, columns), min(rows, columns))))
        q *= np.sign(np.diagonal(r))  # else the distribution would depend on QR's choice of signs
        return self.gain * (q if rows >= columns else q.T).reshape(shape)


class Identity(Initializer):
    """The identity matrix times `gain`."""

    def __init__(self, gain: float = 1.0) -> None:
        self.gain = gain

    def draw(self, shape: Shape, rng: np.random.Generator) -> Array:
        if len(shape) != 2:
            raise ValueError(f"Identity: the weights must be a matrix; got shape {shape}")
        return self.gain * np.eye(*shape)


def fans(shape: Shape) -> tuple[int, int]:
    """Return how many inputs feed one output of weights of `shape`, and how many outputs one input feeds."""
    if len(shape) < 2:
        size = math.prod(shape)
        return size, size
    window = math.prod(shape[:-2])
    return window * shape[-2], window * shape[-1]


NAMES: dict[str, type[Initializer]] = {
    "constant": Constant,
    "glorot_normal": GlorotNormal,
    "glorot_uniform": GlorotUniform,
    "he_normal": HeNormal,
    "he_uniform": HeUniform,
    "identity": Identity,
    "lecun_normal": LecunNormal,
    "lecun_uniform": LecunUniform,
    "normal": RandomNormal,
    "ones": Ones,
    "orthogonal": Orthogonal,
    "random_normal": RandomNormal,
    "random_uniform": RandomUniform,
    "truncated_normal": TruncatedNormal,
    "uniform": RandomUniform,
    "variance_scaling": VarianceScaling,
    "zeros": Zeros,
}


def get(initializer: str | Initializer | type[Initializer]) -> Initializer:
    """Return the initializer of that name; an `Initializer` is returned as it is.

    Examples
    --------
    >>> get("he_normal")
    HeNormal()
    """
    return lookup("initializer", initializer, NAMES, Initializer)
