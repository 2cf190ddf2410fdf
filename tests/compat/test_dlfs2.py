"""The second book's family against textbook code of the same names."""

from __future__ import annotations

import copy
import importlib
from typing import Any

import numpy as np
import pytest
from dlfs2_cases import (
    BY_NAME,
    CORPUS,
    OPTIMIZERS,
    RECURRENT,
    TOLERANCE,
    Pair,
    near,
    normal,
    rng,
    textbook,
    weights,
)

import fastdl
from fastdl.compat.tier import Unserved, settings

# ---- recurrences


@pytest.mark.parametrize("dtype", ["f", "d"])
@pytest.mark.parametrize("shape", [(1, 1, 3, 4), (3, 5, 2, 7), (2, 1, 16, 32), (40, 3, 5, 33)])
@pytest.mark.parametrize("kind", RECURRENT)
def test_recurrence(kind: str, shape: tuple[int, ...], dtype: str) -> None:
    N, T, D, H = shape
    pair = Pair(kind, *weights(kind, D, H, dtype))
    for seed in (1, 2):
        pair("forward", normal(N, T, D, dtype=dtype, seed=seed))
        pair("backward", normal(N, T, H, seed=seed))
    pair("backward", normal(N, T, H, seed=5))


@pytest.mark.parametrize("steps", [1, 4])
@pytest.mark.parametrize("kind", RECURRENT)
def test_a_stateful_recurrence_goes_on(kind: str, steps: int) -> None:
    pair = Pair(kind, *weights(kind, 3, 5), True)
    for seed in range(3):
        pair("forward", normal(2, steps, 3, seed=seed))
    pair("backward", normal(2, steps, 5))
    with pytest.raises(Unserved):
        pair.ours.forward(normal(3, steps, 3))


def test_a_state_that_was_set_is_where_the_sequence_begins() -> None:
    pair = Pair("TimeLSTM", *weights("TimeLSTM", 3, 5), True)
    for layer in (pair.ours, pair.theirs):
        layer.h, layer.c = normal(4, 2, 5, seed=8)[:, -1], None
    pair("forward", normal(4, 2, 3))
    pair("backward", normal(4, 2, 5))


@pytest.mark.parametrize("kind", RECURRENT)
def test_a_gradient_may_be_wider_and_a_sequence_a_view(kind: str) -> None:
    pair = Pair(kind, *weights(kind, 3, 5))
    pair.bound = TOLERANCE["f"]  # which is how the gates were rounded
    pair("forward", normal(2, 4, 3)[:, ::-1])
    pair("backward", normal(2, 4, 5, dtype="d"))
    pair("forward", rng().integers(0, 3, (2, 4, 3)))
    pair("backward", normal(5, 4, 2).T)


@pytest.mark.parametrize("kind", RECURRENT)
def test_weights_may_change_in_place_at_any_time(kind: str) -> None:
    pair = Pair(kind, *weights(kind, 3, 5))
    pair("forward", normal(2, 4, 3))
    for layer in (pair.ours, pair.theirs):
        layer.params[1] *= np.float32(0.5)
    pair("backward", normal(2, 4, 5))


BAD = (np.zeros((2, 3), "f"), np.zeros((2, 0, 3), "f"), np.zeros((2, 3, 4), "f"), [[[1.0]]])


@pytest.mark.parametrize("bad", BAD)
def test_a_recurrence_refuses(bad: Any) -> None:
    pair = Pair("TimeLSTM", *weights("TimeLSTM", 3, 5))
    before = set(vars(pair.ours))
    with pytest.raises(Unserved):
        pair.ours.forward(bad)
    assert set(vars(pair.ours)) == before
    assert pair.ours.h is None


def test_hs_are_not_a_buffer() -> None:
    ours = Pair("TimeLSTM", *weights("TimeLSTM", 3, 5)).ours
    first = ours.forward(normal(2, 4, 3))
    kept = first.copy()
    second = ours.forward(normal(2, 4, 3, seed=1))
    assert not np.shares_memory(first, second)
    assert not np.shares_memory(second, ours.h)
    np.testing.assert_array_equal(first, kept)


# ---- tables of words, products, losses


def in_order(tier: str) -> None:
    if tier == "exact" and not fastdl.info()["engines"]["scatter_add"].startswith("native"):
        pytest.skip("the engine has an order of its own")


@pytest.mark.parametrize("tier", ["fast", "exact"])
@pytest.mark.parametrize("dtype", ["f", "d"])
@pytest.mark.parametrize("V", [3, 1000])
def test_time_embedding(V: int, dtype: str, tier: str) -> None:
    in_order(tier)
    pair = Pair("TimeEmbedding", normal(V, 6, dtype=dtype), tier=tier)
    for seed in range(2):
        pair("forward", rng(seed).integers(-1, V, (5, 4)))
        pair("backward", normal(5, 4, 6, seed=seed))
        pair("backward", normal(5, 4, 6, dtype="d", seed=seed))


@pytest.mark.parametrize("tier", ["fast", "exact"])
@pytest.mark.parametrize("V", [3, 1000])
def test_embedding(V: int, tier: str) -> None:
    in_order(tier)
    pair = Pair("Embedding", normal(V, 6), tier=tier)
    for seed in range(2):
        pair("forward", rng(seed).integers(-2, V, 50).astype("i"))
        pair("backward", normal(50, 6, seed=seed))
        pair("backward", normal(50, 6, dtype="d", seed=seed))
        for layer in (pair.ours, pair.theirs):
            layer.grads[0][...] += 1  # whoever else writes is written over
    for bad in (np.array([V]), np.array([True, False]), np.zeros((2, 2), "i")):
        with pytest.raises(Unserved):
            pair.ours.forward(bad)


@pytest.mark.parametrize("dtypes", ["ff", "dd", "fd"])
@pytest.mark.parametrize("turned", [False, True])
def test_time_affine(turned: bool, dtypes: str) -> None:
    pair = Pair("TimeAffine", normal(6, 9, dtype=dtypes[0]), normal(9, dtype=dtypes[0]))
    if turned:  # as when weights are tied
        W = normal(9, 6, dtype=dtypes[0]).T
        for layer in (pair.ours, pair.theirs):
            layer.params[0], layer.grads[0] = W, np.zeros_like(W)
    pair("forward", normal(3, 4, 6, dtype=dtypes[1]))
    pair("backward", normal(3, 4, 9, dtype=dtypes[1]))
    with pytest.raises(Unserved):
        pair.ours.forward(normal(3, 6))


def test_affine() -> None:
    pair = Pair("Affine", normal(6, 9), normal(9))
    pair("forward", normal(5, 6))
    pair("backward", normal(5, 9))
    with pytest.raises(Unserved):
        pair.ours.forward(normal(2, 3, 6))


@pytest.mark.parametrize("dtype", ["f", "d"])
@pytest.mark.parametrize("V", [5, 700])
@pytest.mark.parametrize("ignored", [False, True])
def test_time_softmax_with_loss(V: int, dtype: str, ignored: bool) -> None:
    pair = Pair("TimeSoftmaxWithLoss")
    pair.bound = TOLERANCE[dtype]  # the loss is of float64 whatever it was summed in
    ts = rng().integers(0, V, (3, 4))
    if ignored:
        ts[1, 2:] = -1
    for seed in range(2):
        pair("forward", normal(3, 4, V, dtype=dtype, seed=seed), ts)
        pair("backward")
        pair("backward", 0.5)  # changes what the first left, and so differs
    pair("forward", normal(3, 4, V, dtype=dtype), np.eye(V, dtype="i")[np.maximum(ts, 0)])
    pair("backward", np.float64(2))


def test_a_loss_without_a_chance_is_infinite() -> None:
    pair = Pair("TimeSoftmaxWithLoss")
    xs, ts = np.zeros((1, 2, 400), "f"), np.array([[7, 1]])
    xs[0, 0, 3] = 200
    with np.errstate(divide="ignore"):
        assert pair("forward", xs, ts) == np.inf
    xs[0, 0, 3] = 95
    assert pair("forward", xs, ts) < 100
    assert np.isnan(pair("forward", np.full((1, 2, 400), np.nan, "f"), ts))


@pytest.mark.parametrize("dtype", ["f", "d"])
def test_softmax_with_loss(dtype: str) -> None:
    pair = Pair("SoftmaxWithLoss")
    t = rng().integers(0, 9, 40)
    pair("forward", normal(40, 9, dtype=dtype), t)
    pair("backward")
    pair("forward", normal(40, 9, dtype=dtype), np.eye(9, dtype="i")[t])
    pair("backward", 3)


@pytest.mark.parametrize("dtype", ["f", "d"])
def test_sigmoid_with_loss(dtype: str) -> None:
    pair = Pair("SigmoidWithLoss")
    pair("forward", normal(40, dtype=dtype), rng().integers(0, 2, 40))
    pair("backward")
    pair("forward", normal(1, dtype=dtype), np.ones(1, "i"))
    pair("backward", 0.5)
    with pytest.raises(Unserved):
        pair.ours.forward(normal(2), np.array([0, -1]))


@pytest.mark.parametrize("shape", [(300, 5), (4,), (2, 3, 4), (80, 9), (1, 700)])
@pytest.mark.parametrize("dtype", ["f", "d", "i"])
def test_softmax(shape: tuple[int, ...], dtype: str) -> None:
    x = (normal(*shape) * 4).astype(dtype)
    for view in (x, x.T):
        near(BY_NAME["softmax"].replacement("fast")(view), textbook.softmax(view))


@pytest.mark.parametrize("dtype", ["f", "d"])
@pytest.mark.parametrize("shape", [(1, 1, 1, 2), (3, 7, 5, 4)])
def test_time_attention(shape: tuple[int, ...], dtype: str) -> None:
    N, S, T, H = shape
    pair = Pair("TimeAttention")
    pair.bound = TOLERANCE[dtype]
    pair("forward", normal(N, S, H, dtype=dtype), normal(N, T, H, dtype=dtype, seed=1))
    pair("backward", normal(N, T, H, dtype=dtype, seed=2))
    pair("backward", normal(N, T, H, dtype="d", seed=2))
    dhs_enc, _ = pair.ours.backward(normal(N, T, H, dtype=dtype))
    dhs_enc[:, -1] += 1  # as the decoder does
    pair("backward", normal(N, T, H, dtype=dtype, seed=3))


# ---- negative sampling


@pytest.mark.parametrize("words", [7, 40, 3000])
def test_the_words_drawn_and_the_random_stream_are_those_of_choice(words: int) -> None:
    corpus = np.concatenate((np.arange(words), rng().zipf(1.5, 4 * words) % words))
    np.random.seed(words)  # noqa: NPY002
    pair = Pair("UnigramSampler", corpus, 0.75, 5, tier="exact")
    for seed in range(3):
        pair("get_negative_sample", rng(seed).integers(0, words, 150))
    pair("get_negative_sample", np.arange(0))


def test_a_sampler_refuses_before_it_draws() -> None:
    ours = Pair("UnigramSampler", np.arange(10), 0.75, 5).ours
    state = np.random.get_state()[1].copy()  # noqa: NPY002
    for target in (np.array([10]), np.array([[1]]), np.array([1.0])):
        with pytest.raises(Unserved):
            ours.get_negative_sample(target)
    ours.word_p[3] = 0
    with pytest.raises(Unserved):
        ours.get_negative_sample(np.array([1]))
    np.testing.assert_array_equal(np.random.get_state()[1], state)  # noqa: NPY002


# ---- optimizers


@pytest.mark.parametrize("tier", ["fast", "exact"])
@pytest.mark.parametrize("dtype", ["f", "d"])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimizer(name: str, dtype: str, tier: str) -> None:
    pair = Pair(name, tier=tier)
    shapes = ((300, 70), (7,), (300, 40))
    mine = [normal(*shape, dtype=dtype) for shape in shapes]
    mine = [*mine[:2], mine[2].T, 1.5]
    other = [*(param.copy(order="K") for param in mine[:3]), 1.5]
    identities = [id(param) for param in mine[:3]]
    for seed in range(3):
        grads = [normal(*shape, dtype=dtype, seed=seed) for shape in shapes]
        grads = [*grads[:2], grads[2].T, 0.25]
        pair.theirs.update(other, grads)
        pair.ours.update(mine, grads)
        near(mine, other, pair.exact)
        for key in vars(pair.theirs):
            near(getattr(pair.ours, key), getattr(pair.theirs, key), pair.exact)
    assert [id(param) for param in mine[:3]] == identities


def test_each_v_of_momentum_is_a_new_array() -> None:
    ours = BY_NAME["Momentum"].replacement("fast")()
    params, grads = [normal(50, 50)], [normal(50, 50)]
    ours.update(params, grads)
    first = ours.v[0]
    kept = first.copy()
    ours.update(params, grads)
    np.testing.assert_array_equal(first, kept)


# ---- between two steps


def test_remove_duplicate() -> None:
    ours = BY_NAME["remove_duplicate"].replacement("exact")
    W, U = normal(30, 7), normal(7, 7)
    params = [W, U, W, W.T, normal(7, 30, seed=3), W, np.zeros(3, "f")]
    grads = [normal(*param.shape, seed=i) for i, param in enumerate(params)]
    expected = textbook.remove_duplicate(params, copy.deepcopy(grads))
    before = list(grads)
    left, sums = ours(params, grads)
    assert [id(param) for param in left] == [id(param) for param in expected[0]]
    near(sums, expected[1], exact=True)
    assert sums[0] is before[0]
    assert len(params) == 7
    many = [normal(900, 40, seed=i) for i in range(4)]
    total = many[0] + many[1] + many[2] + many[3]
    ours([W] * 4, many)
    np.testing.assert_array_equal(many[0], total)


def test_batches_of_a_language_model() -> None:
    pair = Pair("RnnlmTrainer", None, None, tier="exact")
    for _ in range(6):
        pair("get_batch", np.arange(101), np.arange(101) + 1, 4, 9)


@pytest.mark.parametrize("max_norm", [0.25, 1e6])
def test_clip_grads(max_norm: float) -> None:
    grads = [normal(300, 90), normal(40, 60).T, normal(5)]
    other = copy.deepcopy(grads)
    BY_NAME["clip_grads"].replacement("fast")(grads, max_norm)
    textbook.clip_grads(other, max_norm)
    near(grads, other)


@pytest.mark.parametrize(
    "name, args",
    [
        ("convert_one_hot", (CORPUS, 12)),
        ("convert_one_hot", (CORPUS.reshape(50, 4), 12)),
        ("create_co_matrix", (CORPUS, 13)),
        ("create_co_matrix", (CORPUS.tolist(), 12, 3)),
        ("create_co_matrix", (CORPUS[:3], 12, 5)),
        ("create_contexts_target", (CORPUS,)),
        ("create_contexts_target", (CORPUS.astype("i"), 4)),
        ("create_contexts_target", (CORPUS.tolist(), 2)),
        ("ppmi", (textbook.create_co_matrix(CORPUS, 13),)),
    ],
)
def test_corpus(name: str, args: Any) -> None:
    target = BY_NAME[name]
    with np.errstate(all="ignore"):
        ours, theirs = target.replacement("fast")(*args), getattr(textbook, name)(*args)
    near(ours, theirs, target.exact is not None)


@pytest.mark.parametrize(
    "name, args",
    [
        ("convert_one_hot", (CORPUS.reshape(2, 5, 20), 12)),
        ("create_co_matrix", (CORPUS, 5)),
        ("create_contexts_target", (CORPUS[:4], 2)),
        ("create_contexts_target", (CORPUS, 0)),
        ("ppmi", (CORPUS,)),
    ],
)
def test_a_corpus_is_refused(name: str, args: Any) -> None:
    with pytest.raises(Unserved):
        BY_NAME[name].replacement("fast")(*args)


def test_ppmi_says_how_far_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    BY_NAME["ppmi"].replacement("fast")(np.ones((15, 15), "i"), verbose=True)
    lines = capsys.readouterr().out.splitlines()
    assert lines == [f"{100 * count / 225:.1f}% done" for count in range(3, 226, 3)]


@pytest.mark.parametrize("dtype", ["f", "d", "i", "e"])
def test_the_words_that_are_most_similar(dtype: str, capsys: pytest.CaptureFixture[str]) -> None:
    names = {i: f"word{i}" for i in range(400)}
    numbers = {name: i for i, name in names.items()}
    matrix = (normal(400, 30) * 9).astype(dtype)
    said = []
    for most_similar in (textbook.most_similar, BY_NAME["most_similar"].replacement("exact")):
        most_similar("word7", numbers, names, matrix)
        most_similar("word0", numbers, names, matrix, top=3)
        said.append(capsys.readouterr().out)
    assert said[0] == said[1]
    matrix[1] = matrix[2] = matrix[7] + 1
    for query, bad in (
        ("word9999", matrix),
        ("word7", matrix),
        ("word7", matrix[:9]),
        ("word7", matrix.tolist()),
    ):
        with pytest.raises(Unserved):
            most_similar(query, numbers, names, bad)
    assert not capsys.readouterr().out


@pytest.mark.parametrize("name", ["layers", "time_layers", "functions", "optimizer", "trainer", "util"])
def test_modules_offer_what_the_books_do(name: str) -> None:
    module = importlib.import_module(f"fastdl.compat.dlfs2.{name}")
    assert all(hasattr(module, word) for word in module.__all__)
    if name == "time_layers":
        assert {"np", "GPU", "softmax", "sigmoid", "Embedding", "TimeLSTM"} <= set(module.__all__)


def test_narrower_where_it_is_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    layer = BY_NAME["TimeAffine"].replacement("fast")(normal(6, 9, dtype="d"), normal(9, dtype="d"))
    monkeypatch.setattr(settings, "dtype", np.dtype("f"))
    assert layer.forward(normal(2, 3, 6, dtype="d")).dtype == np.float32
    assert layer.backward(normal(2, 3, 9, dtype="d")).dtype == np.float32
