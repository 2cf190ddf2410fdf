"""Embeddings: the check matrix, ids that are none, torch, and steps that touch only the rows in use."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import fastdl
import fastdl.functional as F
from fastdl import Input, Sequential, backends, optimizers
from fastdl.layers import Dense, Embedding, Flatten
from fastdl.layers.rows import RowGradient
from harness import ENGINES, FAST_ENGINES, TAILS, Matrix, Operation, case
from keras_cases import wave
from keras_training import EMBEDDED, RECORDED
from keras_training import WORDS as KERAS_WORDS


class LookUp(Operation):
    """An operation whose one argument with a gradient, the table, comes second."""

    def forward(self, table: Any, **options: Any) -> tuple[Any, Any]:
        return F.embedding_forward(options["ids"], table)


def ids_of(shape: tuple[int, ...]) -> Any:
    """Draw ids: some rows many times, some not at all."""

    def given(rng: np.random.Generator, shapes: tuple[Any, ...]) -> dict[str, Any]:
        return {"ids": np.minimum(rng.geometric(0.3, size=shape) - 1, shapes[0][0] - 1)}

    return given


def row(ids_shape: tuple[int, ...], cases: list[Any], **options: Any) -> Operation:
    return LookUp(
        "embedding",
        cases,
        arguments=("table",),
        kind="choice",
        # One row may be the sum over all places.
        terms=int(np.prod(ids_shape)),
        exact=True,
        given=ids_of(ids_shape),
        batched=(),
        trusted=False,
        **options,
    )


TABLE = np.zeros((5, 2))


class TestLookUp(Matrix):
    operations = [
        row((), [case((3, 4))]),
        row((7,), [case((5, width)) for width in (*TAILS, 2, 64, 65)]),
        row((2, 3, 4), [case((6, 5)), case((1, 5))]),
        row(
            (40, 30),
            [case((40, 3))],
            large=[case((50, 300)), case((2000, 33)), case((300, 1))],
            refusals=[
                (ValueError, r"ids has 5 at \(1, 0\); the table of 5 rows has 0 to 4",
                 lambda: F.embedding(np.array([[4], [5]]), TABLE)),
                (ValueError, r"ids has -1 at \(2,\)", lambda: F.embedding(np.array([0, 1, -1, 9]), TABLE)),
                (ValueError, "ids has 18446744073709551615",
                 lambda: F.embedding(np.array([2**64 - 1], np.uint64), TABLE)),
                (ValueError, "the table has no rows", lambda: F.embedding([0], np.zeros((0, 3)))),
                (ValueError, r"table must be \(rows, width\); got shape \(5,\)",
                 lambda: F.embedding([0], TABLE[:, 0])),
                (TypeError, "ids must hold integers; got float64", lambda: F.embedding([0.0], TABLE)),
                (TypeError, "ids must hold integers; got bool", lambda: F.embedding([True], TABLE)),
                (ValueError, r"dy must have the shape of y, \(2, 2\); got \(2, 3\)",
                 lambda: F.embedding_backward(np.ones((2, 3)), F.embedding_forward([0, 1], TABLE)[1])),
            ],
        ),
    ]  # fmt: skip


# ---- by hand


@pytest.mark.parametrize("engine", ENGINES)
class TestEngines:
    @pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int32, np.int64, np.uint64, ">i4"])
    def test_any_integers(self, engine: str, dtype: Any) -> None:
        ids = np.array([[2, 0], [1, 2]], dtype)
        table = np.arange(6.0).reshape(3, 2)
        with fastdl.use(backend=engine):
            np.testing.assert_array_equal(F.embedding(ids, table), table[ids.astype(int)])

    @pytest.mark.parametrize("words", [50, 5000])  # few, and so many that the ids are sorted
    def test_sparse_is_the_dense_gradient_without_its_zeros(self, engine: str, words: int) -> None:
        rng = np.random.default_rng(3)
        ids, dy = rng.integers(0, words, (4, 6)), rng.normal(size=(4, 6, 3)).astype(np.float32)
        with fastdl.use(backend=engine):
            _, ctx = F.embedding_forward(ids, np.zeros((words, 3), np.float32))
            dense = F.embedding_backward(dy, ctx)
            rows, values = F.embedding_backward(dy, ctx, sparse=True)
        np.testing.assert_array_equal(rows, np.unique(ids))
        assert values.dtype == dense.dtype
        np.testing.assert_array_equal(values, dense[rows])
        assert not np.delete(dense, rows, axis=0).any()

    def test_nothing_is_looked_up(self, engine: str) -> None:
        with fastdl.use(backend=engine):
            y, ctx = F.embedding_forward(np.empty((0, 3), int), TABLE)
            assert y.shape == (0, 3, 2)
            assert F.embedding_backward(y, ctx).tolist() == TABLE.tolist()
            rows, values = F.embedding_backward(y, ctx, sparse=True)
            assert (rows.shape, values.shape) == ((0,), (0, 2))

    def test_ids_that_change_later_do_not_matter(self, engine: str) -> None:
        """What was checked is what backward reads, not the caller's array."""
        ids = np.array([1, 1])
        with fastdl.use(backend=engine):
            _, ctx = F.embedding_forward(ids, TABLE)
            ids[:] = 10**9
            np.testing.assert_array_equal(F.embedding_backward(np.ones((2, 2)), ctx)[1], [2, 2])


def test_any_number_of_threads_gives_the_same_bits() -> None:
    """More threads than there are cache lines in a row, too."""
    rng = np.random.default_rng(0)
    dy = rng.normal(size=(20000, 50)).astype(np.float32)
    ids = rng.integers(0, 7, 20000)
    sums = []
    for threads in (1, 2, 3, 8):
        with fastdl.use(threads=threads):
            sums.append(backends.select().scatter_add(dy, ids, 7).tobytes())
    assert len(set(sums)) == 1


@pytest.mark.parametrize("engine", FAST_ENGINES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_torch(engine: str, dtype: str) -> None:
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(1)
    table = rng.normal(size=(30, 17)).astype(dtype)
    ids, dy = rng.integers(0, 30, (8, 9)), rng.normal(size=(8, 9, 17)).astype(dtype)
    theirs = torch.tensor(table, requires_grad=True)
    expected = torch.nn.functional.embedding(torch.tensor(ids), theirs)
    expected.backward(torch.tensor(dy))
    with fastdl.use(backend=engine):
        y, ctx = F.embedding_forward(ids, table)
        dtable = F.embedding_backward(dy, ctx)
    np.testing.assert_array_equal(y, expected.detach().numpy())
    # Both add a row's terms one after another, at most nine or so of them.
    np.testing.assert_allclose(dtable, theirs.grad.numpy(), rtol=0, atol=40 * np.finfo(dtype).eps)


# ---- the layer

WORDS = np.array([[1, 4, 4], [9, 1, 0]])


def classifier(optimizer: Any, vocabulary: int = 10, **options: Any) -> Sequential:
    model = Sequential(
        [
            Embedding(vocabulary, 4, seed=1, name="words", input_length=3, **options),
            Flatten(),
            Dense(2, "softmax", seed=2, name="classes"),
        ]
    )
    model.compile(optimizer, "sparse_categorical_crossentropy")
    return model


class TestLayer:
    def test_is_the_table(self) -> None:
        layer = Embedding(10, 4)
        y = layer(WORDS)
        np.testing.assert_array_equal(y, layer.params["embeddings"][WORDS])
        assert abs(layer.params["embeddings"]).max() <= 0.05  # Keras's "uniform"
        np.testing.assert_array_equal(layer(WORDS.astype(np.float32)), y)
        assert layer.compute_output_shape((None, 3)) == (None, 3, 4)
        assert layer.compute_output_shape((None, None)) == (None, None, 4)

    def test_begins_with_given_weights(self) -> None:
        table = np.random.default_rng(0).normal(size=(10, 4)).astype(np.float32)
        np.testing.assert_array_equal(Embedding(10, 4, weights=[table])(WORDS), table[WORDS])
        np.testing.assert_array_equal(Embedding(10, 4, weights=table)(WORDS), table[WORDS])
        with pytest.raises(ValueError, match="embeddings"):
            Embedding(10, 5, weights=table)

    def test_used_twice_in_one_step(self) -> None:
        layer = Embedding(10, 4)
        (first, back_first), (second, back_second) = layer.vjp(WORDS), layer.vjp(WORDS[:1])
        back_first(np.ones_like(first))
        back_second(np.ones_like(second))
        kept = layer.gradients()["embeddings"]
        assert isinstance(kept, RowGradient)
        np.testing.assert_array_equal(kept.rows, [0, 1, 4, 9])
        np.testing.assert_array_equal(kept.values[:, 0], [1, 3, 4, 1])
        np.testing.assert_array_equal(layer.grads["embeddings"][:, 0], [1, 3, 0, 0, 4, 0, 0, 0, 0, 1])
        back_second(np.ones_like(second))
        np.testing.assert_array_equal(layer.grads["embeddings"][4, 0], 6)
        layer.zero_grads()
        assert not layer.grads["embeddings"].any()

    def test_frozen(self) -> None:
        layer = Embedding(10, 4, trainable=False)
        y, back = layer.vjp(WORDS)
        back(np.ones_like(y))
        assert not layer.grads["embeddings"].any()

    def test_ids_have_no_slope(self) -> None:
        y, back = Embedding(10, 4).vjp(WORDS)
        dx = back(np.ones_like(y))
        assert dx.shape == WORDS.shape
        assert not dx.any()

    @pytest.mark.parametrize(
        "error, message, call",
        [
            (
                TypeError,
                "x must hold integers; got float64 that are not whole",
                lambda: Embedding(4, 2)([0.5]),
            ),
            (TypeError, "x must hold integers; got bool", lambda: Embedding(4, 2)([True])),
            (ValueError, "ids has 4 at", lambda: Embedding(4, 2)(np.array([[4]]))),
            (ValueError, "input_dim must be at least 1", lambda: Embedding(0, 2)),
        ],
    )
    def test_mistakes(self, error: type[Exception], message: str, call: Any) -> None:
        with pytest.raises(error, match=message):
            call()

    def test_description_makes_it_again(self) -> None:
        layer = Embedding(10, 4, "normal", input_length=3, embeddings_regularizer="l2")
        again = Embedding.from_config(layer.get_config())
        assert again.get_config() == layer.get_config()
        assert again.input_shape == (3,)


ALL = {
    **{name: optimizers.get(name) for name in optimizers.NAMES},
    "amsgrad": optimizers.Adam(amsgrad=True),
    "centered": optimizers.RMSprop(momentum=0.9, centered=True),
}
# Those for which a gradient of zero leaves a parameter, and what is remembered of it, as they are.
FORGETFUL = ("sgd", "adagrad")


def trained(optimizer: optimizers.Optimizer, *, read: bool = False, dense: bool = False) -> np.ndarray:
    """The table after some steps with few rows each."""
    optimizer = type(optimizer).from_config(optimizer.get_config())
    rng = np.random.default_rng(0)
    layer = Embedding(30, 3, seed=1)
    layer.build((None, 4))
    for _ in range(5):
        layer.zero_grads()
        if read:
            layer.grads  # noqa: B018
        y, back = layer.vjp(rng.integers(0, 30, (2, 4)))
        back(rng.normal(size=y.shape).astype(np.float32))
        if dense:
            optimizer.update(layer.params, layer.grads)
        else:
            optimizer.step(layer)
    return layer.params["embeddings"].copy()


class TestSteps:
    @pytest.mark.parametrize("engine", ENGINES)
    @pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
    @pytest.mark.parametrize("rows, shape", [([1, 4, 8], (9, 3)), ([0, *range(3, 33)], (33, 70))])
    @pytest.mark.parametrize("name", ALL)
    def test_steps_are_those_of_the_dense_gradient_in_the_rows(
        self, name: str, rows: list[int], shape: tuple[int, int], dtype: str, engine: str
    ) -> None:
        rng = np.random.default_rng(0)
        table = rng.normal(size=shape).astype(dtype)
        sparse, dense = {"t": table.copy()}, {"t": table.copy()}
        one, other = (type(ALL[name]).from_config(ALL[name].get_config()) for _ in range(2))
        with fastdl.use(backend=engine):
            for _ in range(2):
                values = rng.normal(size=(len(rows), shape[1])).astype(dtype)
                gradient = np.zeros_like(table)
                gradient[rows] = values
                one.update(sparse, {"t": RowGradient(np.array(rows), values, shape)})
                other.update(dense, {"t": gradient})
        np.testing.assert_array_equal(sparse["t"][rows], dense["t"][rows])
        others = np.delete(np.arange(len(table)), rows)
        np.testing.assert_array_equal(sparse["t"][others], table[others])

    @pytest.mark.skipif("native" not in ENGINES, reason="the compiled engine is not there")
    def test_same_bits_for_any_number_of_threads(self) -> None:
        rng = np.random.default_rng(0)
        rows, values = np.arange(0, 4000, 2), rng.normal(size=(2000, 65)).astype(np.float32)
        tables = []
        for threads in (1, 2, 3, 8):
            params = {"t": np.ones((4000, 65), np.float32)}
            with fastdl.use(backend="native", threads=threads):
                optimizers.Adam().update(params, {"t": RowGradient(rows, values, (4000, 65))})
            tables.append(params["t"].tobytes())
        assert set(tables) == {tables[0]}

    @pytest.mark.parametrize("name", FORGETFUL)
    def test_as_keras_where_zero_means_nothing(self, name: str) -> None:
        np.testing.assert_array_equal(trained(ALL[name]), trained(ALL[name], dense=True))

    @pytest.mark.parametrize("name", ALL)
    def test_reading_the_gradient_changes_nothing(self, name: str) -> None:
        np.testing.assert_array_equal(trained(ALL[name]), trained(ALL[name], read=True))

    @pytest.mark.parametrize("name", EMBEDDED)
    def test_fit_as_keras(self, name: str) -> None:
        table, dense = Embedding(10, 4), Dense(2)
        model = Sequential([Input((3,)), table, Flatten(), dense])
        table.set_weights([wave((10, 4))])
        dense.set_weights([wave((12, 2), start=3), wave((2,), start=4)])
        model.compile(getattr(optimizers, name)(0.1), "mse")
        model.fit(KERAS_WORDS, wave((3, 2), start=5), batch_size=2, epochs=4, verbose=0, shuffle=False)
        with np.load(RECORDED) as answers:
            expected = answers[f"embedded_{name}"]
        np.testing.assert_allclose(table.params["embeddings"], expected, rtol=0, atol=1e-6)  # eight steps

    def test_as_sparse_adam_of_torch(self) -> None:
        torch = pytest.importorskip("torch")
        rng = np.random.default_rng(4)
        table = rng.normal(size=(20, 3))
        theirs = torch.nn.Embedding(20, 3, sparse=True, dtype=torch.float64)
        theirs.weight.data = torch.tensor(table)
        adam = torch.optim.SparseAdam(theirs.parameters(), lr=0.01, eps=1e-8)
        # Keras's epsilon comes before the correction of bias, torch's after it: without it they are equal.
        adam.defaults["eps"] = adam.param_groups[0]["eps"] = 0.0
        ours = {"t": table.copy()}
        optimizer = optimizers.Adam(0.01, epsilon=0.0)
        for _ in range(6):
            ids, dy = rng.integers(0, 20, 5), rng.normal(size=(5, 3))
            adam.zero_grad()
            theirs(torch.tensor(ids)).backward(torch.tensor(dy))
            adam.step()
            _, ctx = F.embedding_forward(ids, ours["t"])
            gradient = RowGradient(*F.embedding_backward(dy, ctx, sparse=True), table.shape)
            optimizer.update(ours, {"t": gradient})
        np.testing.assert_allclose(ours["t"], theirs.weight.detach().numpy(), rtol=1e-12, atol=1e-12)

    @pytest.mark.parametrize("read", [False, True])
    def test_a_row_in_use_without_a_gradient_is_left_alone(self, read: bool) -> None:
        """Adam would move it on by what it remembers; see the notes of the layer. One zero is no such row."""
        layer, adam = Embedding(4, 2, seed=1), optimizers.Adam(0.1)
        for slope in (1.0, 0.0):
            layer.zero_grads()
            y, back = layer.vjp(np.array([1, 2]))
            dy = np.ones_like(y)
            dy[0], dy[1, 0] = slope, 0.0
            back(dy)
            before = layer.params["embeddings"].copy()
            if read:
                layer.grads  # noqa: B018
            adam.step(layer)
        changed = (layer.params["embeddings"] != before).any(axis=1)
        np.testing.assert_array_equal(changed, [False, False, True, False])

    def test_fit_touches_the_rows_of_the_batches(self) -> None:
        model = classifier("adam", vocabulary=1000)
        before = model.params["words/embeddings"].copy()
        model.fit(WORDS, np.array([0, 1]), epochs=3, verbose=0)
        changed = np.flatnonzero((model.params["words/embeddings"] != before).any(axis=1))
        np.testing.assert_array_equal(changed, [0, 1, 4, 9])

    def test_gradient_changed_by_hand_counts(self) -> None:
        model = classifier(optimizers.SGD(1.0))
        before = model.params["words/embeddings"].copy()
        model.grads["words/embeddings"][7] = 0.5
        model.optimizer.step(model)
        np.testing.assert_array_equal(model.params["words/embeddings"][7], before[7] - np.float32(0.5))

    def test_a_regularizer_reaches_every_row(self) -> None:
        model = classifier(optimizers.SGD(0.1), embeddings_regularizer="l2")
        before = model.params["words/embeddings"].copy()
        model.fit(WORDS, np.array([0, 1]), verbose=0)
        unused = [2, 3, 5, 6, 7, 8]
        np.testing.assert_allclose(
            model.params["words/embeddings"][unused], before[unused] * (1 - 2 * 0.1 * 0.01), rtol=1e-6
        )

    def test_learns_which_words_are_good(self) -> None:
        rng = np.random.default_rng(0)
        x = rng.integers(0, 50, (200, 3))
        y = ((x < 25).sum(axis=1) > 1).astype(int)
        model = classifier(optimizers.Adam(0.05), vocabulary=50)
        model.fit(x, y, epochs=15, verbose=0)
        assert model.evaluate(x, y, verbose=0) < 0.1

    @pytest.mark.parametrize(
        "error, message, rows, values",
        [
            (ValueError, "ascend", [2, 1], (2, 3)),
            (ValueError, "ascend", [1, 1], (2, 3)),
            (ValueError, "below 5", [1, 5], (2, 3)),
            (ValueError, r"values must have the shape of the rows, \(1, 3\)", [1], (2, 3)),
            (TypeError, "integers", [1.0], (1, 3)),
        ],
    )
    def test_rows_that_are_none(self, error: type[Exception], message: str, rows: Any, values: Any) -> None:
        with pytest.raises(error, match=message):
            RowGradient(np.array(rows), np.ones(values), (5, 3))
