"""The second book's family against the book's own definitions, where a checkout is at hand."""

from __future__ import annotations

import ast
import importlib
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dlfs2_cases import (
    BY_NAME,
    CORPUS,
    OPTIMIZERS,
    RECURRENT,
    REPOSITORIES,
    Pair,
    near,
    normal,
    rng,
    textbook,
    weights,
)

import fastdl
from fastdl.compat.dlfs2.targets import TARGETS
from fastdl.compat.fingerprint import fingerprint

needs_book = pytest.mark.skipif(REPOSITORIES is None, reason="FASTDL_TEACHING_REPOS is not set")


@needs_book
def test_the_book_has_every_target() -> None:
    found: dict[str, set[str]] = {}
    assert REPOSITORIES is not None
    for folder in ("dlfs2", "tibamedl/word2vec"):
        for path in (Path(REPOSITORIES) / folder).rglob("*.py"):
            try:
                tree = ast.parse(path.read_bytes())
            except SyntaxError:  # one file of the copy is broken
                continue
            for node in tree.body:
                if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
                    found.setdefault(node.name, set()).add(fingerprint(node))
    for target in TARGETS:
        assert target.fingerprints & found[target.name], target.name


@pytest.fixture(scope="module")
def book() -> Any:
    if REPOSITORIES is None:
        pytest.skip("FASTDL_TEACHING_REPOS is not set")
    pytest.importorskip("matplotlib").use("Agg")
    before, path = set(sys.modules), list(sys.path)
    sys.path.insert(0, str(Path(REPOSITORIES) / "dlfs2"))
    names = [
        f"common.{name}" for name in ("layers", "time_layers", "functions", "optimizer", "trainer", "util")
    ]
    names += [
        "ch04.negative_sampling_layer",
        "ch04.cbow",
        "ch06.rnnlm",
        "ch06.better_rnnlm",
        "ch08.attention_layer",
    ]
    modules = [importlib.import_module(name) for name in names]
    yield {
        target.name: next(vars(m)[target.name] for m in modules if target.name in vars(m))
        for target in TARGETS
    }
    sys.path[:] = path
    for name in set(sys.modules) - before:
        if name.split(".")[0] in {"common", "ch04", "ch06", "ch08"}:
            del sys.modules[name]


@pytest.mark.parametrize("kind", RECURRENT)
def test_the_books_recurrences(book: Any, kind: str) -> None:
    pair = Pair(kind, *weights(kind, 6, 10), True, original=book[kind])
    for seed in range(2):
        pair("forward", normal(4, 5, 6, seed=seed))
        pair("backward", normal(4, 5, 10, seed=seed))
    pair = Pair(kind, *weights(kind, 6, 10, "d"), original=book[kind])
    pair("forward", normal(4, 5, 6, dtype="d")[:, ::-1])
    pair("backward", normal(4, 5, 10))


def test_the_books_layers(book: Any) -> None:
    words = rng().integers(0, 100, (4, 5))
    cases: tuple[tuple[str, tuple[Any, ...], tuple[Any, ...], Any], ...] = (
        ("TimeEmbedding", (normal(100, 6),), (words,), normal(4, 5, 6)),
        ("TimeAffine", (normal(6, 50), normal(50)), (normal(4, 5, 6),), normal(4, 5, 50)),
        ("TimeSoftmaxWithLoss", (), (normal(4, 5, 1500), words - 1), 1),
        ("TimeAttention", (), (normal(4, 7, 6), normal(4, 5, 6, seed=1)), normal(4, 5, 6, seed=2)),
        ("SigmoidWithLoss", (), (normal(40), rng().integers(0, 2, 40)), 1),
        ("SoftmaxWithLoss", (), (normal(40, 9), rng().integers(0, 9, 40)), 1),
        ("Affine", (normal(6, 50), normal(50)), (normal(4, 6),), normal(4, 50)),
        ("Embedding", (normal(100, 6),), (words[0],), normal(5, 6)),
    )
    for name, made_of, inputs, gradient in cases:
        for tier in ("fast", "exact"):
            exact = "Embedding" not in name or fastdl.info()["engines"]["scatter_add"].startswith("native")
            if BY_NAME[name].replacement(tier) is not None and (tier == "fast" or exact):
                pair = Pair(name, *made_of, original=book[name], tier=tier)
                for _ in range(2):
                    pair("forward", *inputs)
                    pair("backward", gradient)


def test_the_books_sampler(book: Any) -> None:
    np.random.seed(1)  # noqa: NPY002
    corpus = np.arange(3000) % 700
    pair = Pair("UnigramSampler", corpus, 0.75, 5, tier="exact", original=book["UnigramSampler"])
    pair("get_negative_sample", rng().integers(0, 700, 100))


@pytest.mark.parametrize("tier", ["fast", "exact"])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_the_books_optimizers(book: Any, name: str, tier: str) -> None:
    pair = Pair(name, tier=tier, original=book[name])
    for seed in range(3):
        pair("update", [normal(120, 80), normal(9)], [normal(120, 80, seed=seed), normal(9, seed=seed)])


def test_the_books_helpers(book: Any) -> None:
    cases: tuple[tuple[str, tuple[Any, ...]], ...] = (
        ("create_co_matrix", (CORPUS, 13, 2)),
        ("create_contexts_target", (CORPUS, 3)),
        ("convert_one_hot", (CORPUS, 12)),
        ("ppmi", (textbook.create_co_matrix(CORPUS, 13),)),
    )
    with np.errstate(all="ignore"):
        for name, args in cases:
            near(BY_NAME[name].replacement("fast")(*args), book[name](*args), name != "ppmi")


TRAINING = """
import sys
repository, tier, file = sys.argv[1:]
sys.path[:0] = [repository, repository + "/ch04"]
import matplotlib
matplotlib.use("Agg")
import fastdl
if tier != "none":
    report = fastdl.accelerate(tier)
import numpy as np
from ch04.cbow import CBOW
from common.optimizer import Adam
from common.trainer import Trainer
from common.util import create_contexts_target
np.random.seed(0)
corpus = np.concatenate((np.arange(300), np.random.randint(0, 300, 900)))
contexts, target = create_contexts_target(corpus, 2)
model = CBOW(300, 8, 2, corpus)
trainer = Trainer(model, Adam())
trainer.fit(contexts, target, 2, 50, 0.01, 9)
model.grads[3][...] += 1
trainer.fit(contexts, target, 1, 100)
if tier == "fast":
    assert "Trainer.fit" in str(report)
state = np.random.get_state()[1]
indices = [layer.idx for layer in model.in_layers]
np.savez(file, state, trainer.loss_list, *model.params, *model.grads, *indices)
"""


@needs_book
@pytest.mark.parametrize("tier", ["fast", "exact"])
def test_training_leaves_what_the_books_leaves(tier: str, tmp_path: Path) -> None:
    script, files = tmp_path / "training.py", (tmp_path / "theirs.npz", tmp_path / "ours.npz")
    script.write_text(TRAINING, encoding="utf-8")
    said = []
    for which, file in zip(("none", tier), files):
        command = [sys.executable, str(script), f"{REPOSITORIES}/dlfs2", which, str(file)]
        environment = dict(os.environ, PYTHONPATH=str(Path(__file__).parents[2]))
        done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
        said.append([line.split("loss") for line in done.stdout.splitlines()])
    assert [line[0] for line in said[0]] == [line[0] for line in said[1]]
    with np.load(files[0]) as theirs, np.load(files[1]) as ours:
        assert theirs.files == ours.files
        for name in theirs.files:
            near(ours[name], theirs[name], exact=tier == "exact", bound=1e-4)
