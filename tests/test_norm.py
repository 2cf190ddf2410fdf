"""Normalisation: the check matrix, accuracy and ends by hand, and torch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import fastdl
import fastdl.functional as F
from harness import DTYPES, ENGINES, FAST_ENGINES, TAILS, Matrix, Operation, case

X = np.ones((2, 4, 5))
C = np.ones(4)

# The values of the largest set here, and a few roundings each: of its distance from the mean, of the square,
# of the product with dy and of those with gamma and 1/sqrt(var + eps).
TERMS = 6 * 5 * max(TAILS)
# The values of a small set may be nearly equal: this keeps small what their roundings are multiplied by.
EPS = 0.25


def affine(cases: list[tuple[tuple[int, ...], dict[str, Any]]], channels: Any) -> list[Any]:
    """Cases of x, gamma and beta; `channels` gives the shape of the last two."""
    return [case(x, *(channels(x, options),) * 2, eps=EPS, **options) for x, options in cases]


def running(rng: np.random.Generator, shapes: tuple[Any, ...]) -> dict[str, np.ndarray]:
    size = shapes[1]
    return {"running_mean": rng.integers(-2, 3, size) / 4, "running_var": rng.integers(2, 9, size) / 4}


BATCH: list[tuple[tuple[int, ...], dict[str, Any]]] = [
    ((3, 4), {}),
    ((3, 2, 4), {}),
    ((2, 3, 4, 2), {}),
    ((2, 3, 4, 2), {"axis": -1}),
    ((3, 2, 3, 5), {"axis": 2}),
    ((2, 3, 2, 2, 3), {}),
    ((5, 300), {}),
    ((301, 3), {}),
    ((2, 7, 9, 5), {"axis": -1}),
    *(((4, n), {}) for n in TAILS),
    *(((n, 3), {}) for n in TAILS[1:]),
    *(((2, 3, n), {}) for n in TAILS),
    *(((2, n, 3), {"axis": -1}) for n in TAILS),
    ((2, 3, 4), {"activation": "relu"}),
    ((4, 5), {"activation": "tanh"}),
    ((4, 5), {"activation": "gelu"}),
    ((2, 7, 5), {"activation": "relu", "axis": -1}),
    ((2, 3, 17), {"activation": "leaky_relu"}),
    ((2, 7, 5), {"activation": "leaky_relu", "axis": -1}),
    ((2, 3, 17), {"activation": "softplus"}),
    ((2, 3, 5), {"activation": "silu", "axis": -1}),
]
LAYER: list[tuple[tuple[int, ...], dict[str, Any]]] = [
    ((3, 4), {}),
    ((2, 3, 4), {}),
    ((2, 3, 4), {"axis": (1, 2)}),
    ((2, 3, 4), {"axis": (-1, -2)}),
    ((3, 2, 4), {"axis": 1}),
    ((3, 2, 3, 4), {"axis": (1, 3)}),
    ((40, 3), {}),
    *(((3, n), {}) for n in TAILS[1:]),
]
INSTANCE: list[tuple[tuple[int, ...], dict[str, Any]]] = [
    ((2, 3, 4), {}),
    ((2, 3, 4, 3), {}),
    ((2, 4, 3, 5), {"layout": "NHWC"}),
    ((2, 2, 3, 2, 4), {}),
    *(((2, 2, n), {}) for n in TAILS[1:]),
    *(((2, 3, n), {"layout": "NHWC"}) for n in TAILS),
    *(((2, n, 3), {"layout": "NHWC"}) for n in TAILS[1:]),
]
GROUP: list[tuple[tuple[int, ...], dict[str, Any]]] = [
    ((2, 4, 3), {"groups": 2}),
    ((2, 6), {"groups": 3}),
    ((2, 6), {"groups": 1}),
    ((2, 4, 3, 2), {"groups": 1}),
    ((3, 5, 4), {"groups": 2, "layout": "NHWC"}),
    ((2, 3, 2, 6), {"groups": 3, "layout": "NHWC"}),
    ((2, 3, 66), {"groups": 2, "layout": "NHWC"}),
    *(((2, 4, n), {"groups": 2}) for n in TAILS),
    *(((2, 3, 2 * n), {"groups": 2, "layout": "NHWC"}) for n in TAILS),
]


# Several pieces and tasks of each kind: runs, long runs, columns, folded ones with some left over.
LARGE = {
    "batch_norm": [
        ((8, 16, 33, 41), {"training": True}),
        ((8, 16, 33, 41), {"training": False}),
        ((3, 3, 7001), {"training": True, "activation": "relu"}),
        ((8, 33, 41, 16), {"training": True, "axis": -1}),
        ((8, 33, 41, 16), {"training": False, "axis": -1}),
        ((8, 33, 41, 16), {"training": True, "axis": -1, "activation": "leaky_relu"}),
        ((8, 16, 33, 41), {"training": False, "activation": "relu"}),
        ((8, 16, 33, 41), {"training": True, "activation": "silu"}),
        ((9, 33, 143, 3), {"training": True, "axis": -1}),
        ((300, 20, 2, 3), {"training": True}),
        ((700, 301), {"training": True}),
    ],
    "layer_norm": [((301, 700), {}), ((3, 40, 700), {"axis": (1, 2)}), ((9001, 5), {})],
    "instance_norm": [((4, 16, 33, 41), {}), ((4, 33, 41, 19), {"layout": "NHWC"})],
    "group_norm": [
        ((4, 16, 33, 41), {"groups": 4}),
        ((4, 33, 41, 20), {"groups": 4, "layout": "NHWC"}),
        ((2, 33, 41, 74), {"groups": 2, "layout": "NHWC"}),
    ],
}


def batch_channels(x: tuple[int, ...], options: dict[str, Any]) -> tuple[int, ...]:
    return (x[options.get("axis", 1)],)


def row_shape(x: tuple[int, ...], options: dict[str, Any]) -> tuple[int, ...]:
    axes = np.atleast_1d(options.get("axis", -1)) % len(x)
    return tuple(x[axis] for axis in sorted(axes))


def layout_channels(x: tuple[int, ...], options: dict[str, Any]) -> tuple[int, ...]:
    return (x[-1 if options.get("layout") == "NHWC" else 1],)


def batch_row(training: bool, cases: list[Any], **more: Any) -> Operation:
    cases = [(shapes, {**options, "training": training}) for shapes, options in affine(cases, batch_channels)]
    large = affine([one for one in LARGE["batch_norm"] if one[1]["training"] == training], batch_channels)
    return row("batch_norm", cases, given=running, large=large, **more)


def row(name: str, cases: list[Any], **more: Any) -> Operation:
    # Two values become -1 and 1, whatever they were: equal outputs are no sign of a vacuous case.
    return Operation(name, cases, ("x", "gamma", "beta"), kind="curve", terms=TERMS, trusted=False, **more)


class TestBatchNorm(Matrix):
    operations = [
        batch_row(
            True,
            BATCH,
            refusals=[
                (ValueError, r"gamma must have shape \(4,\), one entry a channel \(axis 1 of",
                 lambda: F.batch_norm(X, C[:3], C, None, None, training=True)),
                (ValueError, r"beta must have shape \(5,\).*axis -1",
                 lambda: F.batch_norm(X, None, C, None, None, training=True, axis=-1)),
                (ValueError, "axis 3 is out of range",
                 lambda: F.batch_norm(X, C, C, None, None, training=True, axis=3)),
                (ValueError, r"more than one value a channel.*\(1, 4\)",
                 lambda: F.batch_norm(X[:1, :, 0], C, C, None, None, training=True)),
                (ValueError, "running_mean must have shape.*got None",
                 lambda: F.batch_norm(X, C, C, None, None, training=False)),
                (ValueError, r"running_var must have shape \(4,\).*got \(5,\)",
                 lambda: F.batch_norm(X, C, C, C, np.ones(5), training=False)),
                (TypeError, "running_mean must hold float",
                 lambda: F.batch_norm(X, C, C, np.arange(4), C, training=False)),
                (ValueError, "eps must be at least 0",
                 lambda: F.batch_norm(X, C, C, C, C, training=False, eps=-1)),
                (ValueError, "activation must be one of",
                 lambda: F.batch_norm(X, C, C, C, C, training=False, activation="softmax")),
            ],
        ),
        batch_row(False, [*BATCH, ((1, 4), {}), ((1, 3, 1), {})]),
    ]  # fmt: skip


class TestLayerNorm(Matrix):
    operations = [
        row(
            "layer_norm",
            affine(LAYER, row_shape),
            large=affine(LARGE["layer_norm"], row_shape),
            refusals=[
                (ValueError, r"gamma must have shape \(5,\).*got \(4,\)", lambda: F.layer_norm(X, C, None)),
                (ValueError, r"beta must have shape \(4, 5\)", lambda: F.layer_norm(X, None, C, axis=(1, 2))),
                (ValueError, "axis 3 is out of range", lambda: F.layer_norm(X, None, None, axis=3)),
                (ValueError, "each once", lambda: F.layer_norm(X, None, None, axis=(2, -1))),
                (ValueError, "each once", lambda: F.layer_norm(X, None, None, axis=())),
                (TypeError, "axis must be an integer", lambda: F.layer_norm(X, None, None, axis=1.0)),
            ],
        )
    ]


class TestInstanceNorm(Matrix):
    operations = [
        row(
            "instance_norm",
            affine(INSTANCE, layout_channels),
            large=affine(LARGE["instance_norm"], layout_channels),
            refusals=[
                (ValueError, r"at least \(N, C\)", lambda: F.instance_norm(C, None, None)),
                (ValueError, r"gamma must have shape \(4,\)", lambda: F.instance_norm(X, C[:2], None)),
                (ValueError, "layout must be one of", lambda: F.instance_norm(X, C, C, layout="CHW")),
            ],
        )
    ]


class TestGroupNorm(Matrix):
    operations = [
        row(
            "group_norm",
            affine(GROUP, layout_channels),
            large=affine(LARGE["group_norm"], layout_channels),
            refusals=[
                (ValueError, r"groups must divide the channels; x has 4 \(axis 1 of",
                 lambda: F.group_norm(X, C, C, 3)),
                (ValueError, "groups must be at least 1; got 0", lambda: F.group_norm(X, C, C, 0)),
                (TypeError, "groups must be an integer", lambda: F.group_norm(X, C, C, 2.0)),
            ],
        )
    ]  # fmt: skip


# ---- accuracy and ends


def normalised(x: np.ndarray, axes: tuple[int, ...], eps: float) -> np.ndarray:
    """The definition, in double precision."""
    x = x.astype(np.float64)
    return (x - x.mean(axes, keepdims=True)) / np.sqrt(x.var(axes, keepdims=True) + eps)


@pytest.mark.parametrize("engine", FAST_ENGINES)
@pytest.mark.parametrize(
    "shape, axis", [((32, 5, 20, 20), 1), ((32, 20, 20, 5), 3), ((2000, 3), 1), ((40, 6, 3), 1)]
)
class TestStatistics:
    """A mean far from zero, where the mean of squares less the square of the mean has no digit left."""

    def test_far_from_zero(self, engine: str, shape: tuple[int, ...], axis: int) -> None:
        x = np.random.default_rng(0).normal(1e4, 1, shape).astype(np.float32)
        others = tuple(i for i in range(len(shape)) if i != axis)
        exact = x.astype(np.float64)
        with fastdl.use(backend=engine):
            y, ctx = F.batch_norm_forward(x, None, None, None, None, training=True, axis=axis)
        # Half a unit in the last place of 1e4, which the mean is rounded to. The variance, near 1, is that of
        # distances from the mean: it has a few roundings of its own and none of the size of 1e4.
        np.testing.assert_allclose(ctx.mean, exact.mean(others), rtol=0, atol=2**-11)
        np.testing.assert_allclose(ctx.var, exact.var(others), rtol=4e-6)
        np.testing.assert_allclose(y, normalised(x, others, 1e-5), rtol=0, atol=2**-10)

    def test_outlier_first(self, engine: str, shape: tuple[int, ...], axis: int) -> None:
        """The first value of each channel is far from all others: their digits survive."""
        x = np.random.default_rng(0).normal(0, 1, shape).astype(np.float32)
        first = (0,) * len(shape)
        x[(*first[:axis], slice(None), *first[axis + 1 :])] = 1e4
        others = tuple(i for i in range(len(shape)) if i != axis)
        exact = x.astype(np.float64)
        with fastdl.use(backend=engine):
            _, ctx = F.batch_norm_forward(x, None, None, None, None, training=True, axis=axis)
        np.testing.assert_allclose(ctx.mean, exact.mean(others), rtol=1e-6, atol=1e-6)
        np.testing.assert_allclose(ctx.var, exact.var(others), rtol=4e-6)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("dtype", DTYPES)
class TestEnds:
    @pytest.mark.parametrize("value", [7.0, 0.1, -3e4])
    @pytest.mark.parametrize("axis", [1, -1])
    def test_equal_values_give_beta(self, engine: str, dtype: str, value: float, axis: int) -> None:
        x, beta = np.full((3, 5, 37, 5), value, dtype), np.arange(5).astype(dtype) / 3
        with fastdl.use(backend=engine):
            y, ctx = F.batch_norm_forward(x, beta + 1, beta, None, None, training=True, axis=axis)
            z = F.layer_norm(x, beta + 1, beta)
        y = np.moveaxis(y, axis, -1)
        np.testing.assert_array_equal(y, np.broadcast_to(beta, y.shape))
        np.testing.assert_array_equal(ctx.mean, np.full(5, value, dtype))
        np.testing.assert_array_equal(ctx.var, np.zeros(5))
        np.testing.assert_array_equal(z, np.broadcast_to(beta, z.shape))

    def test_of_nothing(self, engine: str, dtype: str) -> None:
        with fastdl.use(backend=engine):
            _, ctx = F.batch_norm_forward(np.empty((0, 3), dtype), None, None, None, None, training=True)
            assert not ctx.mean.any()
            assert not ctx.var.any()
            assert F.layer_norm(np.empty((3, 0), dtype), None, None).shape == (3, 0)
            assert F.group_norm(np.empty((3, 0, 2), dtype), None, None, 1).shape == (3, 0, 2)
            assert F.instance_norm(np.empty((3, 0, 2), dtype), None, None).shape == (3, 0, 2)


class TestArguments:
    def test_without_gamma_and_beta(self) -> None:
        x = np.random.default_rng(0).normal(size=(3, 4, 5))
        y, ctx = F.layer_norm_forward(x, None, None)
        np.testing.assert_allclose(y, normalised(x, (2,), 1e-5), atol=1e-14)
        dx, dgamma, dbeta = F.layer_norm_backward(x, ctx)
        assert dx is not None
        assert dgamma is None
        assert dbeta is None

    def test_needs(self) -> None:
        _, ctx = F.batch_norm_forward(X, C, C, None, None, training=True)
        assert [g is not None for g in F.batch_norm_backward(X, ctx, needs=("beta",))] == [False, False, True]
        with pytest.raises(ValueError, match=r"needs must be.*\('x', 'gamma', 'beta'\)"):
            F.batch_norm_backward(X, ctx, needs=("w",))

    def test_running_statistics_are_left_alone(self) -> None:
        mean, var = np.zeros(4), np.ones(4)
        F.batch_norm(X, C, C, mean, var, training=True)
        assert not mean.any()
        assert (var == 1).all()

    def test_ctx_of_another_operation(self) -> None:
        _, ctx = F.instance_norm_forward(X, C, C)
        with pytest.raises(
            TypeError, match="ctx must come from group_norm_forward; got one from instance_norm"
        ):
            F.group_norm_backward(X, ctx)


# ---- torch


def torch_gradients(function: Any, arrays: list[np.ndarray], dy: np.ndarray) -> list[np.ndarray]:
    """y and the gradients of all arrays, from PyTorch."""
    torch = pytest.importorskip("torch")
    torch.set_num_threads(1)
    tensors = [torch.tensor(array, requires_grad=True) for array in arrays]
    y = function(torch.nn.functional, *tensors)
    y.backward(torch.tensor(dy))
    return [y.detach().numpy(), *(tensor.grad.numpy() for tensor in tensors)]


@pytest.mark.parametrize("engine", FAST_ENGINES)
@pytest.mark.parametrize(
    "shape", [(6, 4), (3, 4, 7), (2, 4, 3, 5), (5, 4, 1, 2), (2, 4, 3, 2, 5), (9, 4, 40)], ids=str
)
class TestTorch:
    """In float64, whose rounding is far below the 1e-11 allowed."""

    def held_against(
        self,
        name: str,
        engine: str,
        expected: list[np.ndarray],
        arrays: Any,
        dy: np.ndarray,
        *more: Any,
        **options: Any,
    ) -> None:
        with fastdl.use(backend=engine):
            y, ctx = getattr(F, f"{name}_forward")(*arrays, *more, **options)
            came = (y, *getattr(F, f"{name}_backward")(dy, ctx))
        for one, other in zip(came, expected, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-11, atol=1e-11)

    def drawn(self, shape: tuple[int, ...], affine: tuple[int, ...]) -> tuple[list[np.ndarray], np.ndarray]:
        rng = np.random.default_rng(5)
        return [rng.normal(size=s) for s in (shape, affine, affine)], rng.normal(size=shape)

    @pytest.mark.parametrize("training", [True, False])
    def test_batch_norm(self, engine: str, shape: tuple[int, ...], training: bool) -> None:
        torch = pytest.importorskip("torch")
        arrays, dy = self.drawn(shape, (4,))
        mean, var = np.array([0.5, -1.0, 2.0, 0.0]), np.array([0.5, 1.0, 2.0, 3.0])
        expected = torch_gradients(
            lambda nn, x, gamma, beta: nn.batch_norm(
                x, torch.tensor(mean), torch.tensor(var), gamma, beta, training
            ),
            arrays,
            dy,
        )
        self.held_against("batch_norm", engine, expected, arrays, dy, mean, var, training=training)

    @pytest.mark.parametrize("training", [True, False])
    @pytest.mark.parametrize("activation", ["relu", "leaky_relu", "elu", "silu"])
    def test_activation(self, engine: str, shape: tuple[int, ...], training: bool, activation: str) -> None:
        torch = pytest.importorskip("torch")
        arrays, dy = self.drawn(shape, (4,))
        mean, var = np.array([0.5, -1.0, 2.0, 0.0]), np.array([0.5, 1.0, 2.0, 3.0])
        more = (0.2,) if activation == "leaky_relu" else ()
        expected = torch_gradients(
            lambda nn, x, gamma, beta: getattr(nn, activation)(
                nn.batch_norm(x, torch.tensor(mean), torch.tensor(var), gamma, beta, training), *more
            ),
            arrays,
            dy,
        )
        options = {"training": training, "activation": activation}
        self.held_against("batch_norm", engine, expected, arrays, dy, mean, var, **options)

    @pytest.mark.parametrize("axes", [1, 2])
    def test_layer_norm(self, engine: str, shape: tuple[int, ...], axes: int) -> None:
        last = shape[-axes:]
        arrays, dy = self.drawn(shape, last)
        expected = torch_gradients(lambda nn, x, gamma, beta: nn.layer_norm(x, last, gamma, beta), arrays, dy)
        self.held_against("layer_norm", engine, expected, arrays, dy, axis=tuple(range(-axes, 0)))

    def test_instance_norm(self, engine: str, shape: tuple[int, ...]) -> None:
        if len(shape) == 2:
            return  # PyTorch wants a position
        arrays, dy = self.drawn(shape, (4,))
        expected = torch_gradients(
            lambda nn, x, gamma, beta: nn.instance_norm(x, None, None, gamma, beta), arrays, dy
        )
        self.held_against("instance_norm", engine, expected, arrays, dy)

    @pytest.mark.parametrize("groups", [1, 2, 4])
    def test_group_norm(self, engine: str, shape: tuple[int, ...], groups: int) -> None:
        arrays, dy = self.drawn(shape, (4,))
        expected = torch_gradients(
            lambda nn, x, gamma, beta: nn.group_norm(x, groups, gamma, beta), arrays, dy
        )
        self.held_against("group_norm", engine, expected, arrays, dy, groups)
