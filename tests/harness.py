"""The check matrix: one row an operation, one test a promise of docs/numerics.md, for every engine.

A family's test file lists its operations and inherits the tests::

    class TestDense(Matrix):
        operations = [Operation("linear", [case((2, 3), (3, 4), (4,))], arguments=("x", "w", "b"))]

# Design:
# (a) The reference is the naive engine in float64, run once a case. Arguments have few enough bits to be the
#     same numbers in float16, float32 and float64; one reference serves all.
# (b) The tolerance is nobody's choice: any order of adding K products errs by at most γ_K·Σ|product|, with
#     γ_K = K·u/(1 − K·u) (Higham, Accuracy and Stability of Numerical Algorithms, 3.1). K is what the
#     operation gives for arguments of ones, Σ|product| what it gives for their absolute values.
# (c) An engine that is missing is left out. The instruction set is the one FASTDL_CPU asks for, so the suite
#     runs once a level.
"""

from __future__ import annotations

import sys
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import product
from typing import Any, ClassVar

import numpy as np
import pytest

import fastdl
import fastdl.functional as F
from fastdl import backends
from layouts import DRESSES, Subclass, guarded

FAST_ENGINES = ["numpy"] if backends.native_error else ["numpy", "native"]
ENGINES = ["naive", *FAST_ENGINES]
DTYPES = ("float32", "float64")
TAILS = (1, 3, 7, 8, 9, 15, 16, 17, 31, 33, 49)
"""Sizes around the widths of vectors and register tiles: 4, 8, 16, 48."""
MOST_POISONED = 96
"""Places of one array that take a NaN, one at a time."""

Arrays = dict[str, np.ndarray]


# ---- rows


def normal(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Normal numbers, none of them near zero, where many an activation has its corner."""
    x = rng.normal(size=shape)
    return x + np.copysign(0.125, x)


def drawn(seed: int, *shapes: tuple[int, ...], dtype: str = "float64") -> list[np.ndarray]:
    """Normal numbers of so many shapes, the same in every dtype."""
    rng = np.random.default_rng(seed)
    return [rng.normal(size=shape).astype(np.float32).astype(dtype) for shape in shapes]


def distinct(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Numbers at least 1/32 apart: no ties, and none within reach of a finite difference."""
    size = int(np.prod(shape))
    return (rng.permutation(size).reshape(shape) - size // 2) / 32


def positive(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Numbers in [1/16, 15/16], as probabilities."""
    return rng.uniform(1 / 16, 15 / 16, size=shape)


@dataclass(frozen=True, eq=False)
class Operation:
    """One operation of `fastdl.functional` and what there is to know about it.

    Attributes
    ----------
    name : str
        Of the function; its forward and backward are `name`_forward and `name`_backward.
    cases : list
        From `case`: the shapes of the arguments, and the options.
    arguments : tuple of str
        The arguments that have a gradient, in order.
    kind : "sum", "choice" or "curve"
        A sum of products of its arguments; a selection among them, exact but for the sums of its gradient;
        or a function whose roundings are of numbers of order one.
    terms : int or None
        For a sum whose weights are not arguments, how many terms the longest has; for a curve, how many
        roundings.
    exact : bool
        Whether small integers must give the same bits on every engine.
    draw : callable
        Draws an argument: (rng, shape) -> array.
    given : callable or None
        Draws further options of a case, such as labels: (rng, shapes) -> dict.
    batched : tuple of str
        The arguments whose first axis may have size zero.
    trusted : bool
        False where many outputs are zero or equal by nature, which leaves out the check for vacuous cases.
    large : list of cases
        Large enough for several threads and blocks and for Winograd; the naive engine skips them.
    tiled : bool
        Whether Winograd's algorithm may run at precision "default": the sixteen outputs of a tile share their
        roundings, so the bound of one is the largest of all.
    refusals : list of (exception, pattern, call)
        Calls that must be refused, and words that the message must have.
    """

    name: str
    cases: list[tuple[tuple[Any, ...], dict[str, Any]]]
    arguments: tuple[str, ...] = ("x",)
    kind: str = "sum"
    terms: int | None = None
    exact: bool = False
    draw: Callable[[np.random.Generator, tuple[int, ...]], np.ndarray] = normal
    given: Callable[[np.random.Generator, tuple[Any, ...]], dict[str, Any]] | None = None
    batched: tuple[str, ...] = ("x",)
    trusted: bool = True
    large: list[tuple[tuple[Any, ...], dict[str, Any]]] = field(default_factory=list)
    tiled: bool = False
    refusals: list[tuple[type[Exception], str, Callable[[], object]]] = field(default_factory=list)

    def forward(self, *arguments: Any, **options: Any) -> tuple[Any, Any]:
        return getattr(F, f"{self.name}_forward")(*arguments, **options)

    def backward(self, dy: Any, ctx: Any) -> tuple[Any, ...]:
        gradients = getattr(F, f"{self.name}_backward")(dy, ctx)
        return gradients if isinstance(gradients, tuple) else (gradients,)


def case(*shapes: tuple[int, ...] | None, **options: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """One case of an operation: a shape an argument (None leaves it out), and the options of the call."""
    return shapes, options


class Case:
    """A case with its numbers, its reference and its bound, each computed once."""

    def __init__(
        self, operation: Operation, shapes: tuple[Any, ...], options: dict[str, Any], judge: str = "naive"
    ):
        self.operation, self.shapes, self.judge = operation, shapes, judge
        sizes = "_".join("x".join(map(str, shape)) for shape in shapes if shape is not None)
        self.id = "-".join([operation.name, sizes, *(f"{key}={value}" for key, value in options.items())])
        rng = self.rng()
        self.arguments = self._arguments(lambda shape: _short(operation.draw(rng, shape)))
        given = operation.given(rng, shapes) if operation.given else {}
        self.options = {**options, **given}

    def __str__(self) -> str:
        return self.id.replace(" ", "")

    def rng(self) -> np.random.Generator:
        return np.random.default_rng(zlib.crc32(self.id.encode()))

    def _arguments(self, draw: Callable[[tuple[int, ...]], np.ndarray]) -> Arrays:
        pairs = zip(self.operation.arguments, self.shapes)
        return {name: draw(shape) for name, shape in pairs if shape is not None}

    def run(
        self,
        engine: str,
        dtype: str = "float64",
        arguments: Arrays | None = None,
        dy: np.ndarray | None = None,
        dress: Callable[[np.ndarray], np.ndarray] = np.asarray,
        **settings: Any,
    ) -> Arrays:
        """Forward and backward: y, dx, dw ..., for arguments and a dy cast to `dtype` and dressed."""
        arguments = self.arguments if arguments is None else arguments
        cast = {name: dress(array.astype(dtype)) for name, array in arguments.items()}
        with fastdl.use(backend=engine, **settings):
            y, ctx = self.forward(cast, dtype)
            dy = self.dy(np.shape(y)) if dy is None else dy
            gradients = self.operation.backward(dress(dy.astype(dtype)), ctx)
        named = zip(self.operation.arguments, gradients)
        return {"y": y, **{f"d{name}": gradient for name, gradient in named if gradient is not None}}

    def forward(self, arguments: Arrays, dtype: str = "float64") -> tuple[Any, Any]:
        options = {key: _option(value, dtype) for key, value in self.options.items()}
        return self.operation.forward(*(arguments.get(name) for name in self._passed()), **options)

    def _passed(self) -> tuple[str, ...]:
        return self.operation.arguments[: len(self.shapes)]

    def dy(self, shape: tuple[int, ...]) -> np.ndarray:
        return _short(normal(self.rng(), shape))

    @cached_property
    def reference(self) -> Arrays:
        return self.run(self.judge)

    @cached_property
    def integers(self) -> Arrays:
        """Arguments of small whole numbers: every product and every sum of them is exact."""
        rng = self.rng()
        return self._arguments(lambda shape: rng.integers(-3, 4, size=shape).astype(np.float64))

    @cached_property
    def integer_reference(self) -> Arrays:
        return self.run("naive", arguments=self.integers, dy=self.integer_dy)

    @cached_property
    def integer_dy(self) -> np.ndarray:
        return self.rng().integers(-3, 4, size=self.reference["y"].shape).astype(np.float64)

    @cached_property
    def poisoned(self) -> list[tuple[Arrays, np.ndarray, Arrays]]:
        """Arguments and dy with one NaN, in each of their places, and what the naive engine makes of them.

        Of a larger array, some places are drawn: the naive engine needs its time for each.
        """
        everything = {**self.arguments, "dy": self.dy(np.shape(self.reference["y"]))}
        made = []
        for name, array in everything.items():
            places = np.arange(array.size)
            if places.size > MOST_POISONED:
                places = np.random.default_rng(places.size).choice(places, MOST_POISONED, replace=False)
            for place in zip(*np.unravel_index(places, array.shape)):
                changed = {**everything, name: array.copy()}
                changed[name][place] = np.nan
                dy = changed.pop("dy")
                made.append((changed, dy, self.run("naive", arguments=changed, dy=dy)))
        return made

    @cached_property
    def magnitude(self) -> Arrays:
        """Σ|product| of each output: the operation on absolute values; a choice must stay the one it was."""
        sizes = {name: np.abs(array) for name, array in self.arguments.items()}
        if self.operation.kind == "choice":
            sizes = self.arguments
        return self.run("numpy", arguments=sizes, dy=np.abs(self.dy(np.shape(self.reference["y"]))))

    @cached_property
    def count(self) -> Arrays:
        """K of each output: the operation on ones."""
        ones = {name: np.ones_like(array) for name, array in self.arguments.items()}
        if self.operation.kind == "choice":
            ones = self.arguments
        return self.run("numpy", arguments=ones, dy=np.ones(np.shape(self.reference["y"])))

    def bound(self, name: str, dtype: str, reference: np.ndarray) -> np.ndarray:
        """How far output `name` may be from the reference."""
        operation = self.operation
        if operation.kind == "choice" and name == "y":
            error = np.zeros_like(reference)
        elif operation.kind == "curve":
            error = gamma(operation.terms or 1, dtype) * (np.abs(reference) + 1)
        else:
            error = gamma(operation.terms or self.count[name], dtype) * self.magnitude[name]
        # A float16 result is a float32 one, rounded once more.
        return error + np.finfo(np.float16).eps * (np.abs(reference) + 1) / 2 if dtype == "float16" else error


def gamma(terms: int | np.ndarray, dtype: str) -> Any:
    """γ_K of the dtype that the sum is made in, and that of the reference, which is float64."""
    total = 0.0
    for summed in ("float64", "float64" if dtype == "float64" else "float32"):
        ku = terms * np.finfo(summed).eps / 2
        total = total + ku / (1 - ku)
    return total


def _short(x: np.ndarray) -> np.ndarray:
    """Numbers of eleven bits: equal in every dtype."""
    return x.astype(np.float16).astype(np.float64)


def _option(value: Any, dtype: str) -> Any:
    """An option for a call in `dtype`: arrays of floats are cast, what is callable makes one afresh."""
    if callable(value):
        return value()
    return value.astype(dtype) if isinstance(value, np.ndarray) and value.dtype.kind == "f" else value


# ---- the matrix


def parametrize(metafunc: pytest.Metafunc) -> None:
    """Give the tests of a `Matrix` their cases and engines; conftest.py calls this."""
    operations: Sequence[Operation] | None = getattr(metafunc.cls, "operations", None)
    if operations is None:
        return
    if not hasattr(metafunc.cls, "made"):
        metafunc.cls.made = [[Case(op, *case) for case in op.cases] for op in operations]
    cases = [case for made in metafunc.cls.made for case in made]
    smallest = [min(made, key=_size) for made in metafunc.cls.made]
    large = [Case(op, *case, judge="numpy") for op in operations for case in op.large]
    values: dict[str, Sequence[Any]] = {
        "case": cases,
        "any_case": [*cases, *large],
        "small": smallest,
        "batch": [case for case in smallest if case.operation.batched],
        "trusted": [case for case in cases if case.operation.trusted],
        "large": large,
        "exact": [case for case in cases if case.operation.exact],
        "engine": FAST_ENGINES,
        "any_engine": ENGINES,
        "dtype": DTYPES,
        "refusal": [(op.name, *refusal) for op in operations for refusal in op.refusals],
    }
    for name in metafunc.fixturenames:
        if name in values:
            ids = [str(value[:3]) for value in values[name]] if name == "refusal" else str
            metafunc.parametrize(name, values[name], ids=ids)


def _size(case: Case) -> int:
    return sum(array.size for array in case.arguments.values())


def assert_same_bits(came: Arrays, expected: Arrays) -> None:
    assert came.keys() == expected.keys()
    for name in expected:
        assert came[name].dtype == expected[name].dtype, name
        np.testing.assert_array_equal(came[name], expected[name], err_msg=name)
        assert np.asarray(came[name]).tobytes() == np.asarray(expected[name]).tobytes(), (
            f"{name}: a sign of zero"
        )


class Matrix:
    """The tests. `case` runs over all cases, `small` over the smallest one of each operation."""

    operations: ClassVar[list[Operation]]

    def test_reference_within_the_bound(self, case: Case, any_engine: str, dtype: str) -> None:
        came = case.run(any_engine, dtype)
        assert came.keys() == case.reference.keys()
        for name, reference in case.reference.items():
            assert came[name].dtype == dtype, name
            assert np.shape(came[name]) == np.shape(reference), name
            error, bound = np.abs(came[name] - reference), case.bound(name, dtype, reference)
            worst = np.argmax(error - bound)
            assert (error <= bound).all(), f"{name}: {error.flat[worst]} at {worst}"

    def test_half_precision(self, small: Case, any_engine: str) -> None:
        self.test_reference_within_the_bound(small, any_engine, "float16")

    def test_case_is_not_vacuous(self, trusted: Case) -> None:
        """Most outputs are neither zero nor equal: else a wrong kernel could pass."""
        y = trusted.reference["y"]
        assert np.count_nonzero(y) >= 0.7 * y.size
        assert len(np.unique(y)) >= 0.5 * y.size

    def test_small_integers_are_exact(self, exact: Case, any_engine: str, dtype: str) -> None:
        came = exact.run(any_engine, dtype, exact.integers, exact.integer_dy)
        for name, reference in exact.integer_reference.items():
            np.testing.assert_array_equal(came[name], reference.astype(dtype), err_msg=name)

    def test_gradient_is_the_slope(self, case: Case, engine: str) -> None:
        """Along three random directions an argument, by a difference of fourth order, good to 1e-11."""
        dy = case.dy(np.shape(case.reference["y"]))
        gradients = case.run(engine)
        rng, step = case.rng(), 1e-3
        tolerance = 1e-6 if case.operation.kind == "choice" else 1e-7
        for name, _ in product(case.arguments, range(3)):
            direction = rng.choice([-1.0, 1.0], size=case.arguments[name].shape)

            def along(t: float, name: str = name, direction: np.ndarray = direction) -> float:
                moved = {**case.arguments, name: case.arguments[name] + t * direction}
                return float(np.sum(dy * case.run(engine, arguments=moved)["y"]))

            slope = (8 * (along(step) - along(-step)) - (along(2 * step) - along(-2 * step))) / (12 * step)
            parts = gradients[f"d{name}"] * direction
            assert abs(slope - parts.sum()) <= tolerance * max(np.abs(parts).sum(), 1), name

    @pytest.mark.parametrize("dress", DRESSES)
    def test_layout_in_memory(self, small: Case, engine: str, dress: str) -> None:
        def dressed(x: np.ndarray) -> np.ndarray:
            return DRESSES[dress](x) if x.ndim else x

        def plain(x: np.ndarray) -> np.ndarray:
            return np.array(dressed(x), x.dtype, order="C")

        came = small.run(engine, "float32", dress=dressed)
        assert_same_bits(came, small.run(engine, "float32", dress=plain))
        assert all(type(array) is not Subclass for array in came.values())

    def test_empty_batch(self, batch: Case, engine: str) -> None:
        batched = batch.operation.batched
        empty = {name: x[:0] if name in batched else x for name, x in batch.arguments.items()}
        came = batch.run(engine, "float32", empty)
        assert came["y"].shape == (0, *batch.reference["y"].shape[1:])
        for name, argument in empty.items():
            assert came[f"d{name}"].shape == argument.shape
            assert not came[f"d{name}"].any()

    def test_nan_reaches_what_depends_on_it(self, small: Case, engine: str, dtype: str) -> None:
        """One NaN, in each place of each argument and of dy: as in the naive engine, no more and no less."""
        for arguments, dy, expected in small.poisoned:
            for name, came in small.run(engine, dtype, arguments, dy).items():
                np.testing.assert_array_equal(np.isnan(came), np.isnan(expected[name]), err_msg=name)

    def test_arguments_are_left_alone(self, case: Case, engine: str) -> None:
        seen: list[np.ndarray] = []

        def dress(x: np.ndarray) -> np.ndarray:
            seen.extend((x, x.copy()))
            return x

        came = case.run(engine, "float32", dress=dress)
        for used, before in zip(seen[::2], seen[1::2]):
            assert used.tobytes() == before.tobytes()
            assert not any(np.shares_memory(array, used) for array in came.values())

    def test_same_bits_again(self, case: Case, engine: str) -> None:
        assert_same_bits(case.run(engine, "float32"), case.run(engine, "float32"))

    @pytest.mark.parametrize("precision", ["default", "strict"])
    def test_large_case(self, large: Case, engine: str, dtype: str, precision: str) -> None:
        """As the NumPy engine in float64, and the same bits for any number of threads."""
        one = large.run(engine, dtype, threads=1, precision=precision)
        for name, reference in large.reference.items():
            bound = large.bound(name, dtype, reference)
            if large.operation.tiled and precision == "default":
                bound = bound.max()
            worst = np.max(np.abs(one[name] - reference) - bound)
            assert worst <= 0, f"{name}: {worst} past the bound"
        for threads in (2, 3, 8) if engine == "native" else ():
            assert_same_bits(large.run(engine, dtype, threads=threads, precision=precision), one)

    @pytest.mark.skipif(sys.platform != "linux", reason="mprotect is called as Linux has it")
    @pytest.mark.parametrize("at_end", [False, True], ids=["starts-at-guard", "ends-at-guard"])
    def test_stays_inside_its_arguments(self, any_case: Case, engine: str, at_end: bool) -> None:
        for dtype in ("float32", "float64"):
            any_case.run(engine, dtype, dress=lambda x: guarded(x, at_end))

    def test_integers_are_refused(self, small: Case) -> None:
        for name in small.arguments:
            whole = {**small.arguments, name: np.ones(small.arguments[name].shape, np.int64)}
            with pytest.raises(TypeError, match=rf"^{small.operation.name}: {name}\b.*int64"):
                small.forward(whole)

    def test_refusal(self, refusal: tuple[str, type[Exception], str, Callable[[], object]]) -> None:
        name, exception, pattern, call = refusal
        with pytest.raises(exception, match=pattern) as caught:
            call()
        assert str(caught.value).startswith(name)
