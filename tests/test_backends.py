"""The engines behind `select`: equal names and signatures, and what no operation of `functional` reaches."""

from __future__ import annotations

import inspect
import math
from importlib import import_module
from typing import Any

import numpy as np
import pytest

import fastdl
from fastdl import backends, shapes, shapes_norm
from fastdl.backends import canonical
from harness import FAST_ENGINES
from layouts import DRESSES, guarded

MODULES = {"naive": "naive", "numpy": "numpy_", "native": "native"}


def primitive(engine: str, name: str) -> Any:
    return getattr(import_module(f"fastdl.backends.{MODULES[engine]}"), name)


@pytest.mark.parametrize("engine", FAST_ENGINES)
@pytest.mark.parametrize("name", backends.PRIMITIVES)
def test_signature_is_that_of_the_specification(engine: str, name: str) -> None:
    """Names, order, defaults and annotations."""
    assert inspect.signature(primitive(engine, name)) == inspect.signature(primitive("naive", name))


class TestSelect:
    def test_every_primitive_has_an_engine(self) -> None:
        ops = backends.select("auto")
        assert set(ops.engines) == set(backends.PRIMITIVES)
        expected = "numpy" if backends.native_error else "native"
        assert all(label.startswith(expected) for label in ops.engines.values())

    @pytest.mark.parametrize("engine", ["naive", *FAST_ENGINES])
    def test_one_engine_alone(self, engine: str) -> None:
        ops = backends.select(engine)
        assert ops.name == engine
        assert ops.conv_fwd is primitive(engine, "conv_fwd")

    def test_unknown_name(self) -> None:
        with pytest.raises(ValueError, match="'auto'.*'naive'.*got 'numqy'"):
            backends.select("numqy")

    @pytest.mark.skipif(backends.native_error is None, reason="the native engine is here")
    def test_missing_engine(self) -> None:
        with pytest.raises(RuntimeError, match="native backend is not available"):
            backends.select("native")

    def test_info_names_them(self) -> None:
        table = str(fastdl.info())
        assert all(name in table for name in backends.PRIMITIVES)


class TestCommonDtype:
    """What the engine takes as it is: both implementations, the compiled one and the one without it."""

    IMPLEMENTATIONS = tuple({canonical.common_dtype, backends.common_dtype})

    @pytest.mark.parametrize("common_dtype", IMPLEMENTATIONS)
    def test_what_is_ready(self, common_dtype: Any) -> None:
        for dtype in (np.dtype("float32"), np.dtype("float64")):
            x, w, b = np.ones((2, 3), dtype), np.ones((3, 0), dtype), np.array(1.0, dtype)
            assert common_dtype("x w (b)", (x, w, b)) is dtype
            assert common_dtype("x w (b)", (x, w, None)) is dtype
            assert common_dtype("x (w) b", (x, None, b)) is dtype
            x.flags.writeable = False
            assert common_dtype("x", (x,)) is dtype

    @pytest.mark.parametrize("common_dtype", IMPLEMENTATIONS)
    @pytest.mark.parametrize("dress", DRESSES)
    def test_what_is_not(self, common_dtype: Any, dress: str) -> None:
        x = np.arange(12, dtype=np.float32).reshape(3, 4)
        dressed = DRESSES[dress](x)
        ready = type(dressed) is np.ndarray and dressed.flags.c_contiguous and dressed.flags.aligned
        ready = ready and dressed.dtype == x.dtype and dressed.dtype.isnative
        assert (common_dtype("x w", (x, dressed)) is not None) == ready
        assert (common_dtype("x", (dressed,)) is not None) == ready

    @pytest.mark.parametrize("common_dtype", IMPLEMENTATIONS)
    @pytest.mark.parametrize(
        "values",
        [
            (np.ones(2, np.float32), np.ones(2)),
            (np.ones(2, np.float32), None),
            (None, np.ones(2, np.float32)),
            (np.ones(2, np.float16), np.ones(2, np.float16)),
            (np.ones(2, int), np.ones(2, int)),
            (np.ones(2, np.float32), [1.0, 1.0]),
            (np.float32(1), np.float32(1)),
        ],
        ids=str,
    )
    def test_other_things(self, common_dtype: Any, values: Any) -> None:
        assert common_dtype("x w", values) is None

    def test_new_arrays_are_as_numpy_makes_them(self) -> None:
        pytest.importorskip("fastdl.backends._native", exc_type=ImportError)
        from fastdl.backends import _native

        for shape in ((), (0,), (2, 0, 3), (4, 5), (1,) * 32):
            for dtype in ("float32", "float64"):
                for made in (
                    _native.empty(shape, np.ones(1, dtype)),
                    _native.empty_as(np.ones(shape, dtype)),
                ):
                    assert (type(made), made.shape, made.dtype) == (np.ndarray, shape, dtype)
                    assert made.flags.carray
                    assert made.flags.owndata


@pytest.mark.parametrize("engine", FAST_ENGINES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
class TestGemm:
    @pytest.mark.parametrize("trans_a", [False, True])
    @pytest.mark.parametrize("trans_b", [False, True])
    @pytest.mark.parametrize(
        "m, n, k", [(1, 1, 1), (9, 17, 3), (15, 49, 33), (7, 3, 0), (0, 3, 2), (3, 0, 2)]
    )
    def test_integers(
        self, engine: str, dtype: str, m: int, n: int, k: int, trans_a: bool, trans_b: bool
    ) -> None:
        rng = np.random.default_rng(m + n + k)
        a, b, bias = (rng.integers(-4, 5, size=shape).astype(dtype) for shape in ((m, k), (k, n), (n,)))
        expected = a @ b + bias
        passed = [
            np.ascontiguousarray(a.T if trans_a else a),
            np.ascontiguousarray(b.T if trans_b else b),
            bias,
        ]
        gemm = primitive(engine, "gemm")
        c = gemm(*(guarded(x, at_end=True) for x in passed), trans_a=trans_a, trans_b=trans_b)
        assert c.dtype == dtype
        np.testing.assert_array_equal(c, expected)
        out = guarded(np.full((m, n), np.nan, dtype), at_end=True)
        c = gemm(*passed, activation="relu", trans_a=trans_a, trans_b=trans_b, out=out)
        assert c is out
        np.testing.assert_array_equal(c, np.maximum(expected, 0))


@pytest.mark.parametrize("engine", ["naive", *FAST_ENGINES])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("log", [False, True])
@pytest.mark.parametrize("n", [0, 1, 7, 16, 63, 64, 65, 130, 1024, 1031])
def test_softmax_may_be_written_over_its_scores(engine: str, dtype: str, log: bool, n: int) -> None:
    softmax = primitive(engine, "softmax_fwd")
    for outer, inner in ((3, 1), (2, 5)):
        x = np.random.default_rng(n).normal(size=(outer, n, inner)).astype(dtype) * 9
        expected = softmax(x, outer, n, inner, log)
        z = x.astype("float64")
        z -= z.max(axis=1, keepdims=True, initial=-np.inf)
        z -= np.log(np.exp(z).sum(axis=1, keepdims=True))
        np.testing.assert_allclose(expected, z if log else np.exp(z), rtol=0, atol=np.finfo(dtype).eps * 64)
        scores = guarded(x, at_end=True)
        assert softmax(scores, outer, n, inner, log, out=scores) is scores
        np.testing.assert_array_equal(scores, expected)


@pytest.mark.skipif("native" not in FAST_ENGINES, reason="about the compiled engine")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("n, k", [(1, 5), (10, 64), (16, 16), (17, 1), (24, 33), (47, 100), (48, 0)])
def test_small_products_have_the_bits_of_large_ones(dtype: str, n: int, k: int) -> None:
    """A row's sum is the same among few rows, which are not packed, and among many."""
    rng = np.random.default_rng(n)
    a, b = rng.normal(size=(3001, k)).astype(dtype), rng.normal(size=(k, n)).astype(dtype)
    scale, bias = rng.normal(size=(2, n)).astype(dtype)
    gemm = primitive("native", "gemm")
    for options in ({}, {"bias": bias}, {"bias": bias, "activation": "relu"}, {"bias": bias, "scale": scale}):
        whole = gemm(a, b, **options)
        for rows in (1, 2, 3, 5, 8, 15):
            few = gemm(guarded(a[:rows], at_end=True), guarded(b, at_end=True), **options)
            np.testing.assert_array_equal(few, whole[:rows])


@pytest.mark.parametrize("engine", FAST_ENGINES)
class TestMaxPool:
    @pytest.mark.parametrize("size, dtype", [((2, 3), np.uint8), ((16, 16), np.uint8), ((1, 257), np.int32)])
    def test_index(self, engine: str, size: tuple[int, int], dtype: Any) -> None:
        """As narrow as the window allows, always inside it, and left out when not wanted."""
        x = np.random.default_rng(0).normal(size=(2, 3, 20, 300)).astype(np.float32)
        plan = shapes.pool_plan("max_pool2d", x.shape, size, ndim=2)
        y, index = primitive(engine, "maxpool_fwd")(x, plan)
        assert index.dtype == dtype
        assert index.shape == y.shape
        assert index.max() < size[0] * size[1]
        alone, nothing = primitive(engine, "maxpool_fwd")(x, plan, want_index=False)
        assert nothing is None
        np.testing.assert_array_equal(alone, y)

    @pytest.mark.parametrize("dtype", ["float32", "float64"])
    @pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
    @pytest.mark.parametrize("size", [(2, 2), (3, 2), (1, 2), (3, 3), (2, 17), (6, 36)])
    def test_windows_that_tile(self, engine: str, dtype: str, layout: str, size: tuple[int, int]) -> None:
        """Forward, backward and shared alike: equals, NaN and -0.0 among them, to the bit."""
        rng = np.random.default_rng(size[1])
        shape = (2, 3, 6, 36 if 36 % size[1] == 0 else 34)
        x = np.round(2 * rng.normal(size=shape)).astype(dtype)
        x.reshape(-1)[::13], x.reshape(-1)[1::11] = np.nan, -0.0
        x = np.ascontiguousarray(x if layout == "NCHW" else x.transpose(0, 2, 3, 1))
        x = guarded(x, at_end=True)
        plan = shapes.pool_plan("max_pool2d", x.shape, size, ndim=2, layout=layout)
        y, index = primitive("naive", "maxpool_fwd")(x, plan)
        dy = guarded(np.round(rng.normal(size=y.shape)).astype(dtype), at_end=True)
        here = primitive(engine, "maxpool_fwd")(x, plan)
        np.testing.assert_array_equal(here[0], y)
        np.testing.assert_array_equal(here[1], index)
        for came, expected in zip(primitive(engine, "maxpool_gated")(x, plan), (y, index, x <= 0)):
            np.testing.assert_array_equal(came, expected)
            assert came.dtype == expected.dtype
        with np.errstate(all="ignore"):
            for name, args in (("maxpool_bwd", (dy, index)), ("maxpool_share", (dy, x, y))):
                came, expected = (primitive(who, name)(*args, plan) for who in (engine, "naive"))
                np.testing.assert_array_equal(came, expected)
                for array in (came, expected):
                    array[np.isnan(array)] = 0
                np.testing.assert_array_equal(np.signbit(came), np.signbit(expected))


@pytest.mark.parametrize("engine", FAST_ENGINES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("size", [0, 1, 7, 8, 33, 5000])
def test_gate(engine: str, dtype: str, size: int) -> None:
    """Zeros are +0.0, NaN passes, and what is not finite does not leak through where it is closed."""
    rng = np.random.default_rng(size)
    x = guarded(np.round(rng.normal(size=size)).astype(dtype), at_end=True)
    x[::5], x[1::7] = np.nan, -0.0
    y, closed = primitive(engine, "gate_fwd")(x)
    nothing, alone = primitive(engine, "gate_fwd")(x, False)
    assert nothing is None
    assert closed.dtype == alone.dtype == np.bool_
    np.testing.assert_array_equal(closed, x <= 0)
    np.testing.assert_array_equal(alone, x <= 0)
    np.testing.assert_array_equal(y, np.where(x <= 0, 0, x))
    assert not np.signbit(y[closed]).any()
    dy = guarded(rng.normal(size=size).astype(dtype), at_end=True)
    dy[::3] = np.inf
    expected = np.where(closed, 0, dy)
    assert primitive(engine, "gate_bwd")(dy, closed) is None
    np.testing.assert_array_equal(dy, expected)


class TestWholeLosses:
    """Sums without the array of what is summed, and losses without the probabilities."""

    @pytest.mark.parametrize("engine", FAST_ENGINES)
    @pytest.mark.parametrize("dtype", ["float32", "float64"])
    @pytest.mark.parametrize("kind", shapes.LOSSES)
    @pytest.mark.parametrize("size", [0, 1, 17, 4097, 20_011])
    def test_sum(self, engine: str, dtype: str, kind: str, size: int) -> None:
        """To the rounding of double precision, and no more of it than that: losses are what loss_fwd says."""
        rng = np.random.default_rng(size)
        pred, target = (guarded(rng.uniform(0.1, 0.9, size).astype(dtype), at_end=True) for _ in range(2))
        losses = primitive(engine, "loss_fwd")(pred, target, kind, 0.5)
        expected = math.fsum(losses)
        for came in (
            primitive(engine, "loss_sum")(pred, target, kind, 0.5),
            primitive(engine, "loss_sum")(losses, None, kind),
        ):
            assert type(came) is float
            assert came == pytest.approx(expected, rel=1e-13, abs=1e-13)

    @pytest.mark.parametrize("engine", FAST_ENGINES)
    @pytest.mark.parametrize("rows, classes", [(1, 1), (3, 10), (16, 33), (40, 7)])
    @pytest.mark.parametrize("smoothing", [0.0, 0.25])
    def test_probabilities_are_left_out(self, engine: str, rows: int, classes: int, smoothing: float) -> None:
        rng = np.random.default_rng(rows)
        logits = guarded(rng.normal(size=(rows, classes)).astype(np.float32), at_end=True)
        labels = rng.integers(-1, classes, rows)
        for target in (labels, np.ascontiguousarray(logits[::-1])):
            fwd = primitive(engine, "softmax_xent_fwd")
            losses, probs = fwd(logits, target, smoothing)
            alone, nothing = fwd(logits, target, smoothing, want_probs=False)
            assert nothing is None
            assert probs.shape == logits.shape
            np.testing.assert_array_equal(alone, losses)


@pytest.mark.parametrize("engine", ["naive", *FAST_ENGINES])
def test_the_first_id_outside(engine: str) -> None:
    outside = primitive(engine, "outside")
    for count in (0, 1, 5, 256, 700):
        ids = np.arange(count, dtype=np.int64) % 9
        assert outside(ids, 9) == -1
        for place in range(0, count, 37):
            for wrong in (-1, 9, np.iinfo(np.int64).min, np.iinfo(np.int64).max):
                bad = ids.copy()
                bad[place:] = wrong
                assert outside(guarded(bad, at_end=True), 9) == place
    assert outside(np.zeros(1, np.int64), 0) == 0


@pytest.mark.parametrize("engine", FAST_ENGINES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize(
    "shape, groups", [((2, 6, 3, 5), 2), ((3, 4, 17), 4), ((1, 4, 50, 50), 1), ((5, 1, 1), 1)]
)
def test_norm_fwd_is_both_passes(engine: str, dtype: str, layout: str, shape: Any, groups: int) -> None:
    """The same bits, where sets fit in a cache and where they do not."""
    rng = np.random.default_rng(1)
    x, gamma = rng.normal(size=shape).astype(dtype), rng.normal(size=(2, 8)).astype(dtype)
    channels = shape[1] if layout == "NCHW" else shape[-1]
    groups = groups if channels % groups == 0 else 1
    gamma, beta = (np.resize(row, channels) for row in gamma)
    plan = shapes_norm.group_norm_plan("group_norm", shape, (channels,), (channels,), groups, 1e-5, layout)
    arrays = [guarded(a, at_end=True) for a in (x, gamma, beta)]
    y, mean, var = primitive(engine, "norm_fwd")(*arrays, plan, "relu")
    np.testing.assert_array_equal((mean, var), primitive(engine, "norm_stats")(x, plan))
    np.testing.assert_array_equal(y, primitive(engine, "norm_apply")(x, mean, var, gamma, beta, plan, "relu"))


def empty_like(x: np.ndarray, wanted: bool) -> np.ndarray:
    return np.zeros_like(x) if wanted else np.zeros(0, x.dtype)


UPDATES = [
    ("sgd", (0.1,), ()),
    ("momentum", (0.1, 0.9), (True,)),
    ("nesterov", (0.1, 0.9), (True,)),
    ("adagrad", (0.1, 1e-7), (True,)),
    ("adadelta", (1.0, 0.95, 1e-7), (True, True)),
    ("rmsprop", (0.01, 0.9, 1e-7, 0.0, 0.0), (True, False, False)),
    ("rmsprop", (0.01, 0.9, 1e-7, 0.9, 1.0), (True, True, True)),
    ("adam", (0.01, 0.9, 0.999, 1e-7, 0.0, 0.0), (True, True, False)),
    ("adam", (0.01, 0.9, 0.999, 1e-7, 1.0, 0.004), (True, True, True)),
]


class TestUpdate:
    def test_every_kind_has_a_row(self) -> None:
        assert {kind for kind, _, _ in UPDATES} == set(shapes.UPDATES)

    @pytest.mark.parametrize("engine", FAST_ENGINES)
    @pytest.mark.parametrize("dtype, tolerance", [("float32", 3e-6), ("float64", 1e-14)])
    @pytest.mark.parametrize("kind, hyper, slots", UPDATES, ids=str)
    @pytest.mark.parametrize("size", [0, 1, 17, 49])
    def test_steps(
        self, engine: str, kind: str, hyper: Any, slots: Any, size: int, dtype: str, tolerance: float
    ) -> None:
        """Five steps as the specification takes them in float64, to a few roundings a step."""
        rng = np.random.default_rng(size)
        p = rng.normal(size=size).astype(dtype)
        q = p.astype(np.float64)
        state = [guarded(empty_like(p, wanted), at_end=True) for wanted in slots]
        reference = [empty_like(q, wanted) for wanted in slots]
        for _ in range(5):
            g = rng.normal(size=size).astype(dtype)
            before = g.copy()
            primitive(engine, "update")(kind, [(p, g, state, None)], hyper)
            primitive("naive", "update")(kind, [(q, g.astype(np.float64), reference, None)], hyper)
            np.testing.assert_array_equal(g, before)
        for came, expected in zip([p, *state], [q, *reference]):
            np.testing.assert_allclose(came, expected, rtol=tolerance, atol=tolerance)

    @pytest.mark.parametrize("engine", FAST_ENGINES)
    @pytest.mark.parametrize("kind, hyper, slots", UPDATES, ids=str)
    def test_several_in_one_call(self, engine: str, kind: str, hyper: Any, slots: Any) -> None:
        """Parameters of several sizes and dtypes, one of them by rows, each as in a call of its own."""
        rng = np.random.default_rng(0)
        work = []
        for shape, dtype, rows in (
            ((33,), "float32", None),
            ((4, 5), "float64", [2, 0]),
            ((1,), "float32", None),
        ):
            p = rng.normal(size=shape).astype(dtype)
            g = rng.normal(size=p[rows].shape if rows else shape).astype(dtype)
            state = [empty_like(p, wanted) for wanted in slots]
            work.append((p, g, state, np.array(rows) if rows else None))
        alone = [(p.copy(), g, [slot.copy() for slot in state], rows) for p, g, state, rows in work]
        primitive(engine, "update")(kind, work, hyper)
        for one, (p, _, state, _) in zip(alone, work):
            primitive(engine, "update")(kind, [one], hyper)
            for came, expected in zip([p, *state], [one[0], *one[2]]):
                np.testing.assert_array_equal(came, expected)

    @pytest.mark.parametrize("kind, hyper, slots", UPDATES, ids=str)
    def test_goes_downhill(self, kind: str, hyper: Any, slots: Any) -> None:
        """x² from x = 1: each kind comes nearer to 0."""
        p = np.ones(1)
        state = [empty_like(p, wanted) for wanted in slots]
        for _ in range(30):
            primitive("naive", "update")(kind, [(p, 2 * p, state, None)], hyper)
        assert abs(p[0]) < 1
