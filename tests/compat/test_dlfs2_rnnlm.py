"""The forward pass of the second book's language models, against their layers one by one."""

from __future__ import annotations

import copy
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dlfs2_cases import BY_NAME, REPOSITORIES, TOLERANCE, near, normal, rng, textbook

from fastdl.compat.tier import STATE, State, Unserved, settings

WORDS = 70


class Model:
    """What both models of the book have; the better one's layers end with a dropout before the scores."""

    def __init__(self, better: bool) -> None:
        self.drop_layers = [Dropout()] if better else []
        self.layers = [
            textbook.TimeEmbedding(normal(WORDS, 5)),
            textbook.TimeLSTM(normal(5, 24), normal(6, 24), normal(24), True),
            *self.drop_layers,
            textbook.TimeAffine(normal(WORDS, 6, seed=3).T if better else normal(6, WORDS), normal(WORDS)),
        ]
        self.loss_layer = textbook.TimeSoftmaxWithLoss()

    def predict(self, xs: Any, train_flg: bool = False) -> Any:
        for layer in self.drop_layers:
            layer.train_flg = train_flg
        for layer in self.layers:
            xs = layer.forward(xs)
        return xs

    def backward(self) -> None:
        dout = self.loss_layer.backward(1)
        for layer in reversed(self.layers):
            dout = layer.backward(dout)


class Dropout:
    train_flg = True
    grads: tuple[Any, ...] = ()

    def forward(self, xs: Any) -> Any:
        self.mask = (np.random.rand(*xs.shape) > 0.5).astype("f") * 2  # noqa: NPY002
        return xs * self.mask if self.train_flg else xs

    def backward(self, dout: Any) -> Any:
        return dout * self.mask


def left(model: Any) -> list[Any]:
    """What a pass leaves in the layers that it brings together."""
    ts, ys, mask, shape = model.loss_layer.cache
    return [model.layers[-1].x, ts, ys, mask, list(shape), model.layers[1].h]


def met(model: Any) -> None:
    """Say of the last two layers that fastdl has done their last forward passes."""
    for layer in (model.layers[-1], model.loss_layer):
        vars(layer)[STATE] = State()


@pytest.fixture
def trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Believe of any class that it is the book's."""
    monkeypatch.setattr("fastdl.compat.dlfs2.rnnlm.published", lambda *_: True)


def forward(model: Any, better: bool, *arguments: Any) -> Any:
    name = "BetterRnnlm" if better else "Rnnlm"
    return BY_NAME[name].replacement("fast").forward(model, *arguments)


@pytest.mark.usefixtures("trusted")
@pytest.mark.parametrize("better", [False, True])
def test_forward(better: bool) -> None:
    ours = Model(better)
    theirs = copy.deepcopy(ours)
    for seed in range(4):
        xs, ts = rng(seed).integers(0, WORDS, (3, 4)), rng(seed + 9).integers(-1, WORDS, (3, 4))
        flags = (seed % 2 == 0,) if better else ()
        np.random.seed(seed)  # noqa: NPY002
        expected = theirs.loss_layer.forward(theirs.predict(xs, *flags), ts)
        np.random.seed(seed)  # noqa: NPY002
        if seed == 1:
            met(ours)
        # A float64, of the logarithms of float32.
        near(forward(ours, better, xs, ts, *flags), expected, bound=TOLERANCE["f"])
        near(left(ours), left(theirs))
        for model in (ours, theirs):
            model.backward()
        for one, two in zip(ours.layers, theirs.layers):
            near(list(one.grads), list(two.grads))


@pytest.mark.usefixtures("trusted")
def test_input_that_is_new_goes_through_the_layers_one_by_one() -> None:
    ours = Model(False)
    affine, calls = ours.layers[-1], []

    class TimeAffine(textbook.TimeAffine):
        def forward(self, x: Any) -> Any:
            calls.append(x.shape)
            return super().forward(x)

    affine.__class__ = TimeAffine
    for rows, how_often in ((3, 1), (3, 1), (2, 2), (2, 2)):
        words = np.ones((rows, 4), int)
        ours.layers[1].h = ours.layers[1].c = None
        forward(ours, False, words, words)
        met(ours)
        assert len(calls) == how_often


@pytest.mark.usefixtures("trusted")
@pytest.mark.parametrize("bad", ["label", "below", "shape", "one-hot", "floats", "list", "predict", "verify"])
def test_it_refuses_before_anything_has_changed(bad: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = Model(False)
    words = np.ones((3, 4), int)
    labels: dict[str, Any] = {
        "label": words * WORDS,
        "below": words * -WORDS - 1,
        "shape": words[:2],
        "one-hot": np.zeros((3, 4, WORDS), int),
        "floats": words * 1.0,
        "list": words.tolist(),
    }
    if bad == "predict":
        model.predict = lambda xs: xs  # type: ignore[method-assign]
    monkeypatch.setattr(settings, "verify", bad == "verify")
    with pytest.raises(Unserved):
        forward(model, False, words, labels.get(bad, words))
    assert model.layers[1].h is None
    assert model.loss_layer.cache is None


def test_only_the_books_own_model_is_trusted() -> None:
    with pytest.raises(Unserved):
        forward(Model(False), False, *[np.zeros((3, 4), int)] * 2)


TRAINING = """
import sys
repository, how, name, file = sys.argv[1:]
sys.path[:0] = [repository, repository + "/ch06"]
import matplotlib
matplotlib.use("Agg")
import fastdl
if how != "none":
    report = fastdl.accelerate()
import numpy as np
from ch06.rnnlm import Rnnlm
from ch06.better_rnnlm import BetterRnnlm
from common.optimizer import SGD
from common.trainer import RnnlmTrainer
from common.util import eval_perplexity
np.random.seed(0)
corpus = np.random.randint(0, 300, 2001)
model = {"Rnnlm": Rnnlm, "BetterRnnlm": BetterRnnlm}[name](300, 8, 8)
trainer = RnnlmTrainer(model, SGD(1.0))
trainer.fit(corpus[:-1], corpus[1:], 2, 10, 10, 0.25, 9)
perplexity = eval_perplexity(model, corpus[:401], 10, 10)
cache = [np.asarray(part) for part in model.loss_layer.cache]
if how != "none":
    assert f"{name}.forward" in str(report)
    assert report.as_dict()["largest_difference"] < 1e-4
np.savez(file, perplexity, trainer.ppl_list, *model.params, *model.grads, *cache, np.random.get_state()[1])
"""


@pytest.mark.skipif(REPOSITORIES is None, reason="FASTDL_TEACHING_REPOS is not set")
@pytest.mark.parametrize("name", ["Rnnlm", "BetterRnnlm"])
def test_training_leaves_what_the_books_leaves(name: str, tmp_path: Path) -> None:
    script = tmp_path / "training.py"
    script.write_text(TRAINING, encoding="utf-8")
    for how in ("none", "fast"):
        command = [sys.executable, str(script), f"{REPOSITORIES}/dlfs2", how, name, str(tmp_path / how)]
        environment = dict(os.environ, PYTHONPATH=str(Path(__file__).parents[2]))
        subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    with np.load(tmp_path / "none.npz") as theirs, np.load(tmp_path / "fast.npz") as ours:
        for key in theirs.files:
            near(ours[key], theirs[key], bound=1e-3)
