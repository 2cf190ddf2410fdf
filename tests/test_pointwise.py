"""Activations, softmax, PReLU and dropout: the check matrix, accuracy in ULP, and torch."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest

import fastdl
import fastdl.functional as F
from harness import ENGINES, FAST_ENGINES, TAILS, Matrix, Operation, case

# What a curve may lose: 4 ULP in each exponential or tanh, and a rounding in each of a dozen steps after it.
CURVE = 24

CASES = [case((3, 5)), case((2, 3, 2, 2)), *(case((n,)) for n in TAILS)]
LARGE = case((64, 3001))


def wide(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """From the bend in the middle to the flat ends, but not so near 0 that a corner is within reach."""
    x = 4 * rng.normal(size=shape)
    return x + np.copysign(0.125, x)


def row(name: str, cases: list[Any] = CASES, large: Any = (LARGE,), **more: Any) -> Operation:
    return Operation(name, cases, kind="curve", terms=CURVE, draw=wide, large=large, **more)


def with_alpha(**options: float) -> list[Any]:
    return [*CASES, case((3, 5), **options)]


class TestActivations(Matrix):
    operations = [
        row("relu", trusted=False),
        row("leaky_relu", with_alpha(alpha=0.5)),
        row("elu", with_alpha(alpha=0.5), trusted=False),
        row("selu", trusted=False),
        row("sigmoid", trusted=False),
        row("tanh", trusted=False),
        row("softplus"),
        row("gelu", [*CASES, case((3, 5), approximate=True)], trusted=False),
        row("silu"),
        Operation(
            "relu",
            CASES,
            kind="curve",
            exact=True,
            trusted=False,
            refusals=[
                (TypeError, "x must hold float.*int64", lambda: F.relu(np.arange(3))),
                (TypeError, "x must hold float.*object", lambda: F.relu([None])),
            ],
        ),
        Operation(
            "leaky_relu",
            [case((3, 5), alpha=0.5)],
            kind="curve",
            exact=True,
            refusals=[
                (ValueError, "alpha must be at least 0", lambda: F.leaky_relu(np.ones(3), alpha=-1)),
                (ValueError, "alpha must be at least 0", lambda: F.leaky_relu(np.ones(3), alpha=np.nan)),
                (TypeError, "alpha must be a number", lambda: F.leaky_relu(np.ones(3), alpha="steep")),
            ],
        ),
    ]


class TestRows(Matrix):
    """What works along an axis, or needs more than x."""

    operations = [
        *(
            Operation(
                name,
                [
                    case((3, 5)),
                    case((2, 7, 3), axis=1),
                    case((4, 2), axis=0),
                    *(case((2, n), axis=-1) for n in TAILS[1:]),
                ],
                kind="curve",
                terms=CURVE + max(TAILS),
                draw=wide,
                batched=(),  # the smallest case works along axis 0
                trusted=name == "log_softmax",  # a softmax is mostly near 0
                large=[case((64, 1001)), case((2, 3, 700), axis=1)],
                refusals=[
                    (ValueError, "axis", lambda name=name: getattr(F, name)(np.ones((2, 3)), axis=2)),
                ],
            )
            for name in ("softmax", "log_softmax")
        ),
        Operation(
            "prelu",
            [
                case((2, 3, 4), (3,)),
                case((2, 4, 3), (3,), axis=-1),
                *(case((2, n), (n,)) for n in TAILS),
                *(case((2, 2, n), (2,)) for n in TAILS),
            ],
            arguments=("x", "alpha"),
            kind="curve",
            terms=2 * max(TAILS),
            large=[case((32, 40, 301), (40,))],
            refusals=[
                (ValueError, r"alpha must have shape \(3,\)", lambda: F.prelu(np.ones((2, 3)), np.ones(2))),
                (ValueError, "axis", lambda: F.prelu(np.ones((2, 3)), np.ones(3), axis=5)),
                (TypeError, "alpha must hold float", lambda: F.prelu(np.ones((2, 3)), np.arange(3))),
            ],
        ),
        Operation(
            "dropout",
            [case((8, 16), rate=0.25), case((40,), rate=0.0), *(case((2, n), rate=0.5) for n in TAILS)],
            kind="curve",
            terms=2,
            given=lambda rng, shapes: {"rng": partial(np.random.default_rng, 7)},
            trusted=False,
            large=[case((64, 3001), rate=0.5)],
            refusals=[
                (
                    ValueError,
                    "rate must be.*below 1",
                    lambda: F.dropout(np.ones(3), 1.0, rng=np.random.default_rng()),
                ),
                (
                    ValueError,
                    "rate must be at least 0",
                    lambda: F.dropout(np.ones(3), -0.1, rng=np.random.default_rng()),
                ),
                (
                    TypeError,
                    "rng must be a numpy.random.Generator; got 3",
                    lambda: F.dropout(np.ones(3), 0.5, rng=3),
                ),
            ],
        ),
    ]


# ---- by hand


@pytest.mark.parametrize("engine", ENGINES)
class TestEnds:
    @pytest.mark.parametrize("dtype", ["float32", "float64"])
    def test_relu_of_what_is_no_positive_number(self, engine: str, dtype: str) -> None:
        x = np.array([-0.0, 0.0, np.nan, -np.inf, np.inf, -np.nan], dtype)
        with fastdl.use(backend=engine):
            y, ctx = F.relu_forward(x)
            dx = F.relu_backward(np.full(6, 7, dtype), ctx)
        np.testing.assert_array_equal(y, [0, 0, np.nan, 0, np.inf, np.nan])
        assert not np.signbit(y[:2]).any()
        np.testing.assert_array_equal(dx, [0, 0, 7, 0, 7, 7])

    def test_a_closed_gate_stops_a_nan_gradient(self, engine: str) -> None:
        with fastdl.use(backend=engine):
            _, ctx = F.relu_forward(np.array([-1.0, 1.0]))
            np.testing.assert_array_equal(F.relu_backward(np.full(2, np.nan), ctx), [0, np.nan])

    @pytest.mark.parametrize(
        "name, low, high",
        [
            ("sigmoid", 0, 1),
            ("tanh", -1, 1),
            ("softplus", 0, np.inf),
            ("elu", -1, np.inf),
            ("relu", 0, np.inf),
        ],
    )
    @pytest.mark.parametrize("dtype", ["float32", "float64"])
    def test_far_out(self, engine: str, name: str, low: float, high: float, dtype: str) -> None:
        """No overflow on the way to the limits, and no warning of one."""
        x = np.array([-np.inf, -3e38, -1e4, 1e4, 3e38, np.inf], dtype)
        with fastdl.use(backend=engine), np.errstate(all="raise", under="ignore"):
            y = getattr(F, name)(x)
        np.testing.assert_array_equal(y, [low] * 3 + ([high] * 3 if high == 1 else [*x[3:5], np.inf]))

    def test_softmax_of_large_numbers(self, engine: str) -> None:
        x = np.array([[1e4, 1e4, -1e4], [-1e4, -1e4, -2e4]])
        with fastdl.use(backend=engine):
            np.testing.assert_array_equal(F.softmax(x), [[0.5, 0.5, 0], [0.5, 0.5, 0]])
            np.testing.assert_allclose(F.log_softmax(x)[:, 0], math.log(0.5), atol=1e-11)  # ULP of 1e4

    def test_softmax_of_nothing(self, engine: str) -> None:
        with fastdl.use(backend=engine):
            assert F.softmax(np.ones((2, 0))).shape == (2, 0)
            assert F.log_softmax(np.ones((0, 2)), axis=0).shape == (0, 2)

    def test_nan_takes_its_row_and_no_other(self, engine: str) -> None:
        x = np.zeros((3, 4))
        x[1, 2] = np.nan
        with fastdl.use(backend=engine):
            np.testing.assert_array_equal(np.isnan(F.softmax(x)).all(axis=1), [False, True, False])
            np.testing.assert_array_equal(np.isnan(F.softmax(x)).any(axis=1), [False, True, False])


EVERYWHERE = np.concatenate(
    [np.linspace(-20, 20, 1 << 16), np.geomspace(1e-30, 20, 1 << 14), -np.geomspace(1e-30, 20, 1 << 14)]
)


@pytest.mark.parametrize("engine", FAST_ENGINES)
@pytest.mark.parametrize("name, exactly", [("sigmoid", lambda x: 1 / (1 + np.exp(-x))), ("tanh", np.tanh)])
def test_within_four_ulp(engine: str, name: str, exactly: Callable[[np.ndarray], np.ndarray]) -> None:
    """float32 over the whole range of interest, against float64."""
    x = EVERYWHERE.astype(np.float32)
    reference = exactly(x.astype(np.float64))
    with fastdl.use(backend=engine):
        error = np.abs(getattr(F, name)(x) - reference) / np.spacing(np.abs(reference).astype(np.float32))
    assert error.max() <= 4, f"{error.max()} ULP at {x[error.argmax()]}"


@pytest.mark.skipif("native" not in ENGINES, reason="the promise is the compiled engine's")
def test_normal_distribution_within_four_ulp() -> None:
    """float32, of the factor of x in gelu, as far out as it is a normal number; and the product rounds."""
    x = EVERYWHERE[np.abs(EVERYWHERE) < 12].astype(np.float32)
    wide = x.astype(np.float64)
    phi = np.array([math.erfc(-value / math.sqrt(2)) / 2 for value in wide])
    spacing = np.spacing(phi.astype(np.float32)).astype(np.float64)
    with fastdl.use(backend="native"):
        error = np.abs(F.gelu(x) - wide * phi) - np.spacing(np.abs(wide * phi).astype(np.float32)) / 2
    ulp = error / (np.abs(wide) * spacing)
    assert ulp.max() <= 4, f"{ulp.max()} ULP at {x[ulp.argmax()]}"


def test_error_function() -> None:
    """NumPy's engine has its own; math.erf knows better. 4 ULP."""
    from fastdl.backends.numpy_.erf import erf

    x = np.concatenate([np.linspace(-7, 7, 20001), np.geomspace(1e-300, 30, 2001), [0.0, np.inf]])
    reference = np.array([math.erf(value) for value in x])
    assert (np.abs(erf(x) - reference) <= 4 * np.spacing(np.abs(reference))).all()
    assert np.isnan(erf(np.array(np.nan)))


def test_dropout_keeps_the_mean() -> None:
    y = F.dropout(np.ones(100_000), 0.3, rng=np.random.default_rng(0))
    assert set(np.unique(y)) == {0, 1 / 0.7}
    assert abs(y.mean() - 1) < 0.01  # five standard deviations of the mean of that many


# ---- torch


class TestTorch:
    """In float64, to the 1e-12 that two implementations of exp leave."""

    @pytest.mark.parametrize(
        "name, theirs, options",
        [
            ("relu", {}, {}),
            ("leaky_relu", {"negative_slope": 0.3}, {"alpha": 0.3}),
            ("elu", {"alpha": 0.7}, {"alpha": 0.7}),
            ("selu", {}, {}),
            ("sigmoid", {}, {}),
            ("tanh", {}, {}),
            ("softplus", {}, {}),
            ("gelu", {}, {}),
            ("gelu", {"approximate": "tanh"}, {"approximate": True}),
            ("silu", {}, {}),
            ("softmax", {"dim": 1}, {"axis": 1}),
            ("log_softmax", {"dim": -1}, {"axis": -1}),
        ],
    )
    def test_curve(self, name: str, theirs: dict[str, Any], options: dict[str, Any]) -> None:
        torch = pytest.importorskip("torch")
        rng = np.random.default_rng(3)
        x, dy = 3 * rng.normal(size=(4, 5, 3)), rng.normal(size=(4, 5, 3))
        t = torch.tensor(x, requires_grad=True)
        expected = getattr(torch.nn.functional, name)(t, **theirs)
        expected.backward(torch.tensor(dy))
        y, ctx = getattr(F, f"{name}_forward")(x, **options)
        np.testing.assert_allclose(y, expected.detach().numpy(), rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(
            getattr(F, f"{name}_backward")(dy, ctx), t.grad.numpy(), rtol=1e-12, atol=1e-12
        )

    @pytest.mark.parametrize("shape", [(4, 3), (4, 3, 5), (2, 3, 4, 2)])
    def test_prelu(self, shape: tuple[int, ...]) -> None:
        torch = pytest.importorskip("torch")
        rng = np.random.default_rng(3)
        x, alpha, dy = rng.normal(size=shape), rng.normal(size=3), rng.normal(size=shape)
        ts = [torch.tensor(array, requires_grad=True) for array in (x, alpha)]
        expected = torch.nn.functional.prelu(*ts)
        expected.backward(torch.tensor(dy))
        y, ctx = F.prelu_forward(x, alpha)
        for came, reference in zip(
            (y, *F.prelu_backward(dy, ctx)), (expected.detach(), *(t.grad for t in ts))
        ):
            np.testing.assert_allclose(came, reference.numpy(), rtol=1e-12, atol=1e-12)
