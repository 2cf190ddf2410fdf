"""Initial weights: their mean, spread and limits, and what a seed means."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import fastdl
from fastdl import initializers
from fastdl.initializers import NAMES, Identity, Initializer, Orthogonal, RandomUniform, VarianceScaling

KERNEL = (3, 3, 40, 80)  # 28 800 numbers; the fans are 360 and 720

# Mean, variance and largest distance from the mean, by Keras's documentation.
CUT = 2 / 0.87962566103423978  # a normal distribution cut off at 2 has this standard deviation less
DRAWN: list[tuple[Initializer, float, float, float]] = [
    (initializers.RandomNormal(0.5, 0.1), 0.5, 0.1**2, math.inf),
    (initializers.RandomUniform(-1.0, 3.0), 1.0, 4**2 / 12, 2.0),
    (initializers.TruncatedNormal(0.5, 0.1), 0.5, (0.1 * 2 / CUT) ** 2, 0.2),
    (initializers.GlorotUniform(), 0.0, 2 / 1080, math.sqrt(6 / 1080)),
    (initializers.GlorotNormal(), 0.0, 2 / 1080, CUT * math.sqrt(2 / 1080)),
    (initializers.HeUniform(), 0.0, 2 / 360, math.sqrt(6 / 360)),
    (initializers.HeNormal(), 0.0, 2 / 360, CUT * math.sqrt(2 / 360)),
    (initializers.LecunUniform(), 0.0, 1 / 360, math.sqrt(3 / 360)),
    (initializers.LecunNormal(), 0.0, 1 / 360, CUT * math.sqrt(1 / 360)),
    (VarianceScaling(3.0, "fan_out", "untruncated_normal"), 0.0, 3 / 720, math.inf),
]


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.mark.parametrize(("initializer", "mean", "variance", "limit"), DRAWN, ids=lambda value: repr(value))
def test_mean_variance_and_limit(
    initializer: Initializer, mean: float, variance: float, limit: float
) -> None:
    values = initializer(KERNEL, "float64", rng())
    # Four standard deviations of a mean, and of a variance: no distribution here has a kurtosis above 3.
    assert abs(values.mean() - mean) < 4 * math.sqrt(variance / values.size)
    assert abs(values.var() - variance) < 4 * variance * math.sqrt(2 / values.size)
    farthest = abs(values - mean).max()
    assert farthest <= limit
    assert limit == math.inf or farthest > 0.98 * limit


@pytest.mark.parametrize(
    ("shape", "fans"), [((), (1, 1)), ((7,), (7, 7)), ((4, 6), (4, 6)), ((3, 2, 4, 6), (24, 36))]
)
def test_fans(shape: tuple[int, ...], fans: tuple[int, int]) -> None:
    assert initializers.fans(shape) == fans


@pytest.mark.parametrize("shape", [(6, 4), (4, 6), (3, 2, 4)])
def test_orthogonal(shape: tuple[int, ...]) -> None:
    q = Orthogonal(2.0)(shape, "float64", rng()).reshape(-1, shape[-1])
    small = q @ q.T if q.shape[0] < q.shape[1] else q.T @ q
    np.testing.assert_allclose(small, 4 * np.eye(len(small)), atol=1e-12)


def test_orthogonal_prefers_no_sign() -> None:
    """Of 64 first elements half are positive, give or take four standard deviations of 4."""
    positive = sum(Orthogonal()((3, 3), rng=rng(seed))[0, 0] > 0 for seed in range(64))
    assert 16 < positive < 48


def test_the_same_everywhere() -> None:
    for initializer, value in (
        (initializers.Zeros(), 0),
        (initializers.Ones(), 1),
        (initializers.Constant(2), 2),
    ):
        assert (initializer((2, 3)) == value).all()
    np.testing.assert_array_equal(Identity(3.0)((2, 3)), [[3, 0, 0], [0, 3, 0]])


@pytest.mark.parametrize("name", [name for name, cls in NAMES.items() if "seed" in cls().get_config()])
def test_seed(name: str) -> None:
    """Its own seed is stronger than the layer's generator; without either the run's decides."""
    kind = NAMES[name]
    seeded, free = kind(seed=3), kind()
    np.testing.assert_array_equal(seeded((4, 5), rng=rng(1)), seeded((4, 5), rng=rng(2)))
    assert (free((4, 5), rng=rng(1)) != free((4, 5), rng=rng(2))).any()
    drawn = []
    for _ in range(2):
        fastdl.set_random_seed(7)
        drawn.append(free((4, 5)))
    np.testing.assert_array_equal(*drawn)
    np.testing.assert_array_equal(free((4, 5), "float64", rng(1)).astype("float32"), free((4, 5), rng=rng(1)))


@pytest.mark.parametrize(
    ("message", "call"),
    [
        ("minval 1 is above maxval 0", lambda: RandomUniform(1, 0)),
        ("mode must be one of 'fan_in'", lambda: VarianceScaling(mode="fan")),
        ("distribution must be one of", lambda: VarianceScaling(distribution="normal")),
        ("stddev must be at least 0", lambda: initializers.RandomNormal(stddev=-1)),
        ("two axes or more; got shape", lambda: Orthogonal()((3,))),
        ("must be a matrix; got shape", lambda: Identity()((3,))),
    ],
)
def test_mistakes_are_named(message: str, call: Any) -> None:
    with pytest.raises(ValueError, match=message):
        call()
