"""Students' own bodies of the assignments' functions: served where they are equal, else left alone."""

from __future__ import annotations

import importlib
import inspect
import sys
from pathlib import Path

import numpy as np
import pytest
from cs231n_cases import conv_case, draw, same

import fastdl
from fastdl.compat import catalog, hook, recognise, serving, tier, trial
from fastdl.compat.cs231n.targets import TARGETS
from fastdl.compat.differences import coarsest, difference
from textbook import cs231n as book

ADAM = """
import numpy as np

def adam(w, dw, config=None):
    if config is None:
        config = {}
    config.setdefault("learning_rate", 1e-3)
    config.setdefault("beta1", 0.9)
    config.setdefault("beta2", 0.999)
    config.setdefault("epsilon", 1e-8)
    config.setdefault("m", np.zeros_like(w))
    config.setdefault("v", np.zeros_like(w))
    config.setdefault("t", 0)
    config["t"] += 1
    config["m"] = config["m"] * config["beta1"] + dw * (1 - config["beta1"])
    config["v"] = config["v"] * config["beta2"] + dw**2 * (1 - config["beta2"])
    right = np.sqrt(config["v"] / (1 - config["beta2"] ** config["t"])) + config["epsilon"]
    step = config["learning_rate"] * config["m"] / (1 - config["beta1"] ** config["t"]) / right
    STEP
"""
STEPS = {
    "a new array": "return w - step, config",
    "in place": "w -= step\n    return w, config",
    "upwards": "return w + step, config",
}
LSTM = """
import numpy as np

def sigmoid(x):
    return 1 / (1 + np.exp(-x))

def lstm_forward(x, h0, Wx, Wh, b):
    h, cache = np.zeros((x.shape[0], x.shape[1], h0.shape[1])), []
    prev_h, prev_c = h0, np.zeros_like(h0)
    for t in range(x.shape[1]):
        i, f, o, g = np.split(x[:, t].dot(Wx) + prev_h.dot(Wh) + b, 4, axis=1)
        i, f, o, g = sigmoid(i), sigmoid(f), sigmoid(o), np.tanh(g)
        c = f * prev_c + i * g
        cache.append((x[:, t], prev_h, prev_c, Wx, Wh, i, f, o, g, c))
        prev_h, prev_c = o * np.tanh(c), c
        h[:, t] = prev_h
    return h, cache

def lstm_backward(dh, cache):
    Wx, Wh = cache[0][3:5]
    dx = np.zeros((dh.shape[0], dh.shape[1], Wx.shape[0]))
    dWx, dWh, db = np.zeros(Wx.shape), np.zeros(Wh.shape), np.zeros(Wx.shape[1])
    dprev_h, dprev_c = np.zeros_like(dh[:, 0]), np.zeros_like(dh[:, 0])
    for t in reversed(range(len(cache))):
        x, prev_h, prev_c, _, _, i, f, o, g, c = cache[t]
        dnext = dh[:, t] + dprev_h
        dc = dprev_c + dnext * o * (1 - np.tanh(c) ** 2)
        parts = [dc * g * i * (1 - i), dc * prev_c * f * (1 - f)]
        parts += [dnext * np.tanh(c) * o * (1 - o), dc * i * (1 - g**2)]
        dz = np.concatenate(parts, axis=1)
        dx[:, t] = dz.dot(Wx.T)
        dprev_h, dprev_c = dz.dot(Wh.T), dc * f
        dWx += x.T.dot(dz)
        dWh += prev_h.T.dot(dz)
        db += dz.sum(axis=0)
    return dx, dprev_h.astype(Wx.dtype), dWx, dWh, db
"""


@pytest.fixture
def learner(tmp_path: Path, monkeypatch):
    """Make a module of a student's source, plainly and under `accelerate`."""
    named: dict[str, tuple[object, ...]] = {}
    for target in TARGETS:
        named[target.name] = (*named.get(target.name, ()), target)
    monkeypatch.setattr(catalog, "by_name", lambda: named)
    recognise.clear()
    monkeypatch.setattr(hook, "report", hook.Report())
    monkeypatch.setattr(hook, "adopt_loaded", lambda: None)  # the textbook stays what it is
    # What serves here is no question of speed: without the extension NumPy is no sooner than NumPy.
    monkeypatch.setattr(trial, "_sooner", lambda ours, theirs: True)
    monkeypatch.setattr(serving.Service, "review", lambda service: None)
    for name in ("tier", "dtype", "verify"):
        monkeypatch.setattr(tier.settings, name, getattr(tier.Settings(), name))
    monkeypatch.syspath_prepend(tmp_path)

    def make(source, name="students_layers"):
        tmp_path.joinpath(f"{name}.py").write_text(source, encoding="utf-8")
        found = []
        for how in ("plain", "fast"):
            if how == "fast":
                fastdl.accelerate()
            found.append(importlib.import_module(name))
            del sys.modules[name]
        return found

    yield make
    hook.uninstall()
    recognise.clear()


def service(name):
    return next(item for item in hook.report.services if item.name == name)


@pytest.mark.parametrize("step", STEPS)
def test_adam_is_served_in_the_way_it_was_written(learner, step):
    modules = learner(ADAM.replace("STEP", STEPS[step]))
    results = []
    for module in modules:
        w, config = draw((200, 300)), {"learning_rate": 1e-2}
        for i in range(70):
            config["learning_rate"] *= 0.99
            was = w
            w, config = module.adam(w, draw(w.shape, seed=i), config)
            assert (w is was) == (step == "in place")
        results.append((w, config))
    (theirs, names), (ours, same_names) = results
    same(ours, theirs)
    assert list(same_names) == list(names)
    assert same_names["t"] == 70
    adam = service("adam")
    assert len(adam.verdicts) <= 2
    assert adam.counts["adam"].calls == (0 if step == "upwards" else 70)


@pytest.mark.parametrize("narrow", ["", ".astype(Wx.dtype)"])
@pytest.mark.parametrize("dtype", "fd")
def test_a_students_lstm_is_served_whole(learner, dtype, narrow):
    x, h0, b = draw((16, 12, 30), dtype), draw((16, 40), dtype, 1), draw(160, dtype, 4)
    weights = [draw((30, 160), dtype, 2) / 4, draw((40, 160), dtype, 3) / 4]
    weights = [w.astype(dtype) for w in weights]
    dh, found = draw((16, 12, 40), seed=5), []
    for module in learner(LSTM.replace(".astype(Wx.dtype)", narrow)):
        h, cache = module.lstm_forward(x, h0, *weights, b)
        found.append((h, *module.lstm_backward(dh, cache)))
    for theirs, ours in zip(*found, strict=True):
        same(ours, theirs, dtype)
    assert service("lstm_forward").counts["lstm_forward"].calls == 1, service("lstm_forward").reasons
    assert service("lstm_backward").counts["lstm_backward"].calls == 1


def test_a_backward_pass_is_timed_on_the_side_of_its_forward_pass(learner, monkeypatch):
    monkeypatch.setattr(trial, "_sooner", lambda ours, theirs: None)
    monkeypatch.setattr("fastdl.compat.contest._FAR", float("inf"))
    x, h0, b = draw((8, 5, 30)), draw((8, 40), seed=1), draw(160, seed=4)
    weights = draw((30, 160), seed=2) / 4, draw((40, 160), seed=3) / 4
    _, ours = learner(LSTM)
    sides = []
    for _ in range(3):
        _, cache = ours.lstm_forward(x, h0, *weights, b)
        ours.lstm_backward(draw((8, 5, 40), seed=5), cache)
        passes = [service(name).counts[name] for name in ("lstm_forward", "lstm_backward")]
        sides.append({(count.calls, count.left) for count in passes})
    assert sides[0] != sides[1]
    assert all(len(side) == 1 for side in sides)


@pytest.mark.parametrize("wrong", [False, True])
def test_naive_loops_are_served_or_left_alone(learner, wrong):
    source = ["import itertools", "import numpy as np"]
    functions = (book.places, book.framed, book.conv_forward_naive, book.conv_backward_naive)
    source += [inspect.getsource(function) for function in functions]
    text = "\n".join(source)
    plain, ours = learner(text.replace("db[f] +=", "db[f] -=") if wrong else text)
    arguments = conv_case((6, 3, 31, 31), 8, (3, 3), 2, 1)
    found = []
    for module in (plain, ours):
        out, cache = module.conv_forward_naive(*arguments)
        found.append((out, *module.conv_backward_naive(draw(out.shape, seed=3), cache)))
    for one, two in zip(*found, strict=True):
        same(two, one)
    assert service("conv_forward_naive").counts["conv_forward_naive"].calls == 1
    assert service("conv_backward_naive").counts["conv_backward_naive"].calls == (not wrong)


def test_what_came_from_float32_is_compared_as_float32():
    arguments = {"x": [np.ones(2), np.ones(2, "f")], "y": (1, np.ones(2, int))}
    assert coarsest(arguments) == np.float32
    assert coarsest([1.0, np.ones(1, int)]) is None
    one, two = np.ones(3), np.ones(3) + 1e-6
    assert difference(one, two).reason
    assert not difference(([one], 1), ([two], 1), coarse=np.dtype("f")).reason
    assert difference([one], [two + 1e-3], coarse=np.dtype("f")).reason
