"""Losses: the check matrix, the ends of their ranges, and torch."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import fastdl
import fastdl.functional as F
from harness import ENGINES, TAILS, Matrix, Operation, case, normal, positive

# 4 ULP in each logarithm and a few roundings after it; sums are made in float64.
ROUNDINGS = 24

CASES = [
    case((3, 4)),
    case((2, 5), reduction="sum"),
    case((7,), reduction="none"),
    *(case((n,), reduction="none") for n in TAILS),
]

ELEMENTWISE = (
    "mean_squared_error",
    "mean_absolute_error",
    "huber",
    "hinge",
    "binary_cross_entropy",
    "kl_divergence",
    "log_cosh",
    "squared_hinge",
    "poisson",
)


def shaped_refusals(name: str) -> list[Any]:
    loss = getattr(F, name)
    x = np.full((2, 3), 0.5)
    return [
        (ValueError, r"target must have the shape of x, \(2, 3\); got \(3,\)", lambda: loss(x, x[0])),
        (ValueError, "reduction must be one of.*'avg'", lambda: loss(x, x, reduction="avg")),
        (TypeError, "x must hold float", lambda: loss(x.astype(int), x)),
        (TypeError, "target must hold float", lambda: loss(x, x.astype(int))),
        (TypeError, "mask must hold booleans or floats; got int64", lambda: loss(x, x, mask=[1, 0, 1])),
        (ValueError, r"mask must fit x's shape, \(2, 3\); got \(2,\)", lambda: loss(x, x, mask=[True] * 2)),
        (ValueError, "mask must hold weights of 0 or more; got -1", lambda: loss(x, x, mask=-x - 0.5)),
    ]


def row(
    name: str, draw: Any, target: Any, cases: list[Any] = CASES, trusted: bool = True, **options: Any
) -> Operation:
    return Operation(
        name,
        [(shapes, {**own, **options}) for shapes, own in cases],
        kind="curve",
        terms=ROUNDINGS,
        draw=draw,
        given=lambda rng, shapes: {"target": target(rng, shapes[0]).astype(np.float16).astype(np.float64)},
        batched=(),  # the target has the batch axis as well; see test_empty_batch below
        large=[case((64, 3001), reduction="none", **options)],
        refusals=shaped_refusals(name),
        trusted=trusted,
    )


def sign(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return rng.choice([-1.0, 1.0], size=shape)


class TestElementwise(Matrix):
    operations = [
        row("mean_squared_error", normal, normal),
        row("mean_absolute_error", normal, normal),
        row("huber", normal, normal, [*CASES, case((2, 4), delta=0.5)]),
        row("hinge", normal, sign, trusted=False),
        row("binary_cross_entropy", positive, positive),
        row("binary_cross_entropy", normal, positive, from_logits=True),
        row("kl_divergence", positive, positive),
        row("log_cosh", normal, normal),
        row("squared_hinge", normal, sign, trusted=False),
        row("poisson", positive, positive),
    ]


def labels(rng: np.random.Generator, shapes: tuple[Any, ...]) -> dict[str, Any]:
    return {"target": rng.integers(0, shapes[0][-1], size=shapes[0][:-1])}


def distribution(rng: np.random.Generator, shapes: tuple[Any, ...]) -> dict[str, Any]:
    """Not quite normalised, as label smoothing and rounding leave it."""
    return {"target": positive(rng, shapes[0]).astype(np.float16).astype(np.float64)}


def gaps(rng: np.random.Generator, shapes: tuple[Any, ...]) -> dict[str, Any]:
    """Labels, some of which are none."""
    drawn = labels(rng, shapes)["target"]
    drawn.reshape(-1)[::3] = -100
    return {"target": drawn}


class TestCrossEntropy(Matrix):
    operations = [
        Operation(
            "softmax_cross_entropy",
            [
                case((3, 4)),
                case((2, 5), reduction="sum"),
                case((2, 3, 4), reduction="none"),
                *(case((3, n), reduction="none") for n in TAILS[1:]),
            ],
            kind="curve",
            terms=ROUNDINGS + max(TAILS),
            given=given,
            batched=(),
            large=[case((64, 1001), reduction="none")],
            refusals=refusals,
        )
        for given, refusals in (
            (
                labels,
                [
                    (
                        ValueError,
                        r"target has label 4 at \(1,\); with x of 4 classes labels are 0 to 3",
                        lambda: F.softmax_cross_entropy(np.ones((2, 4)), np.array([0, 4])),
                    ),
                    (
                        ValueError,
                        "label -1",
                        lambda: F.softmax_cross_entropy(np.ones((2, 4)), np.array([-1, 0])),
                    ),
                    (
                        ValueError,
                        r"label 4 at \(1,\)",
                        lambda: F.softmax_cross_entropy(np.ones((2, 4)), np.array([9, 4]), ignore_index=9),
                    ),
                    (
                        ValueError,
                        "label_smoothing must be at most 1",
                        lambda: F.softmax_cross_entropy(np.ones((1, 4)), np.array([0]), label_smoothing=1.5),
                    ),
                    (
                        ValueError,
                        "ignore_index goes with labels",
                        lambda: F.softmax_cross_entropy(np.ones((2, 4)), np.ones((2, 4)), ignore_index=0),
                    ),
                    (
                        TypeError,
                        "target must hold integers",
                        lambda: F.softmax_cross_entropy(np.ones((2, 4)), np.ones(2)),
                    ),
                    (
                        ValueError,
                        "target",
                        lambda: F.softmax_cross_entropy(np.ones((2, 4)), np.array([0, 1, 2])),
                    ),
                    (
                        ValueError,
                        "at least one class",
                        lambda: F.softmax_cross_entropy(np.ones((2, 0)), np.zeros(2, int)),
                    ),
                    (
                        ValueError,
                        "reduction must be one of",
                        lambda: F.softmax_cross_entropy(np.ones((2, 4)), np.array([0, 1]), reduction="avg"),
                    ),
                ],
            ),
            (
                distribution,
                [(ValueError, "target", lambda: F.softmax_cross_entropy(np.ones((2, 4)), np.ones((2, 3))))],
            ),
        )
    ]


HOW_MUCH_COUNTS: tuple[dict[str, Any], ...] = (
    {"label_smoothing": 0.25},
    {"ignore_index": -100},
    {"ignore_index": -100, "label_smoothing": 0.5},
)


class TestLabelsThatCountInPart(Matrix):
    operations = [
        Operation(
            "softmax_cross_entropy",
            [
                case((3, 4), **options),
                case((2, 5), reduction="sum", **options),
                case((2, 3, 4), reduction="none", **options),
                *(case((3, n), reduction="none", **options) for n in TAILS[1:]),
            ],
            kind="curve",
            terms=ROUNDINGS + max(TAILS),
            given=gaps if "ignore_index" in options else labels,
            batched=(),
            trusted=False,
            large=[case((64, 1001), reduction="none", **options)],
        )
        for options in HOW_MUCH_COUNTS
    ]


# ---- by hand


@pytest.mark.parametrize("engine", ENGINES)
class TestEnds:
    def test_probabilities_are_held_off_0_and_1(self, engine: str) -> None:
        """Keras's clip: log(1e-7) and no infinity, and outside the range no slope."""
        p, t = np.array([0.0, 1.0, 0.5]), np.array([1.0, 0.0, 0.5])
        with fastdl.use(backend=engine):
            loss, ctx = F.binary_cross_entropy_forward(p, t, reduction="none")
            slope = F.binary_cross_entropy_backward(np.ones(3), ctx)
            divergence = F.kl_divergence(p, t, reduction="none")
        np.testing.assert_allclose(loss, [-math.log(1e-7), -math.log(1e-7), math.log(2)], rtol=1e-8)
        np.testing.assert_array_equal(slope, [0, 0, 0])
        np.testing.assert_allclose(
            divergence, [-math.log(1e-7), 1e-7 * math.log(1e-7), 0], rtol=1e-12, atol=1e-12
        )

    def test_large_logits(self, engine: str) -> None:
        z = np.array([-1e4, 1e4, -1e4, 1e4])
        t = np.array([0.0, 1.0, 1.0, 0.0])
        with fastdl.use(backend=engine), np.errstate(all="raise", under="ignore"):
            loss = F.binary_cross_entropy(z, t, from_logits=True, reduction="none")
            rows = F.softmax_cross_entropy(np.array([[1e4, -1e4]] * 2), np.array([0, 1]), reduction="none")
        np.testing.assert_array_equal(loss, [0, 0, 1e4, 1e4])
        np.testing.assert_array_equal(rows, [0, 2e4])

    def test_corners_have_slope_zero(self, engine: str) -> None:
        one = np.array([1.0])
        with fastdl.use(backend=engine):
            for name in ("mean_absolute_error", "hinge"):
                _, ctx = getattr(F, f"{name}_forward")(one, one)
                np.testing.assert_array_equal(getattr(F, f"{name}_backward")(1.0, ctx), [0], err_msg=name)

    @pytest.mark.parametrize("name", ELEMENTWISE)
    def test_nan_reaches_the_mean(self, engine: str, name: str) -> None:
        x = np.array([0.5, np.nan])
        with fastdl.use(backend=engine):
            assert np.isnan(getattr(F, name)(x, np.array([1.0, 1.0])))
            assert np.isnan(getattr(F, name)(np.array([0.5, 0.5]), x))

    def test_empty_batch(self, engine: str) -> None:
        with fastdl.use(backend=engine):
            for name in ELEMENTWISE:
                assert getattr(F, name)(np.ones((0, 3)), np.ones((0, 3)), reduction="none").shape == (0, 3)
            loss = F.softmax_cross_entropy(np.ones((0, 3)), np.zeros(0, int), reduction="none")
        assert loss.shape == (0,)

    def test_two_classes_are_a_sigmoid(self, engine: str) -> None:
        """softmax over (z, 0) is sigmoid(z), so both cross-entropies agree."""
        z = np.linspace(-5, 5, 11)
        with fastdl.use(backend=engine):
            one = F.binary_cross_entropy(z, np.ones(11), from_logits=True, reduction="none")
            two = F.softmax_cross_entropy(np.stack([z, 0 * z], 1), np.zeros(11, int), reduction="none")
        np.testing.assert_allclose(one, two, rtol=1e-12, atol=1e-14)


# ---- torch

THEIRS = {
    "mean_squared_error": "mse_loss",
    "mean_absolute_error": "l1_loss",
    "huber": "huber_loss",
    "binary_cross_entropy": "binary_cross_entropy",
    "softmax_cross_entropy": "cross_entropy",
}


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
class TestTorch:
    """In float64, to the 1e-12 that two implementations of log leave."""

    def held_against(
        self, name: str, theirs: str, x: np.ndarray, target: np.ndarray, reduction: str, **options: Any
    ) -> None:
        torch = pytest.importorskip("torch")
        t = torch.tensor(x, requires_grad=True)
        expected = getattr(torch.nn.functional, theirs)(t, torch.tensor(target), reduction=reduction)
        dloss = np.random.default_rng(1).normal(size=tuple(expected.shape))
        expected.backward(torch.tensor(dloss))
        loss, ctx = getattr(F, f"{name}_forward")(x, target, reduction=reduction, **options)
        np.testing.assert_allclose(loss, expected.detach().numpy(), rtol=1e-12, atol=1e-12)
        dx = getattr(F, f"{name}_backward")(dloss, ctx)
        np.testing.assert_allclose(dx, t.grad.numpy(), rtol=1e-12, atol=1e-12)

    @pytest.mark.parametrize("name", THEIRS)
    def test_probabilities_or_numbers(self, name: str, reduction: str) -> None:
        rng = np.random.default_rng(5)
        x, target = positive(rng, (4, 6)), positive(rng, (4, 6))
        scale = 1 if name == "binary_cross_entropy" else 4
        self.held_against(name, THEIRS[name], scale * x, target, reduction)

    def test_logits(self, reduction: str) -> None:
        rng = np.random.default_rng(5)
        x, target = 4 * rng.normal(size=(4, 6)), positive(rng, (4, 6))
        self.held_against(
            "binary_cross_entropy", "binary_cross_entropy_with_logits", x, target, reduction, from_logits=True
        )

    def test_labels(self, reduction: str) -> None:
        rng = np.random.default_rng(5)
        x, target = 4 * rng.normal(size=(5, 6)), rng.integers(0, 6, size=5)
        self.held_against("softmax_cross_entropy", "cross_entropy", x, target, reduction)
