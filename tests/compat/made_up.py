"""A family that exists only in tests, and learners' files that define its functions and classes."""

from __future__ import annotations

import sys
import time
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

from fastdl.compat import catalog, hook, recognise, tier, trial
from fastdl.compat.target import Target
from fastdl.compat.tier import Unserved, recall, remember

SCALE = """\
class Scale:
    def __init__(self, w):
        self.w = w
        self.dw = None

    def forward(self, x):
        self.x = x
        return np.stack([row * self.w for row in x])

    def backward(self, dout):
        total = np.zeros_like(self.w)
        for row, d in zip(self.x, dout):
            total += row * d
        self.dw = total
        return dout * self.w
"""
DOUBLE = """\
def double(x, config):
    out = []
    for row in x:
        out.append(row * 2 + config["offset"])
    return np.array(out)
"""
NOISE = """\
def noise(x):
    draws = [np.random.rand(x.shape[1]) for _ in x]
    return x + np.array(draws)
"""
STEP = """\
class Descent:
    def __init__(self, rate):
        self.rate = rate
        self.steps = 0

    def update(self, params, grads):
        self.steps += 1
        for key in params:
            for i in range(len(params[key])):
                params[key][i] -= self.rate * grads[key][i]
"""
HEAD = "import numpy as np\n\n\n"


class FastScale:
    """Serves the class of that name."""

    w: np.ndarray

    def forward(self, x):
        if len(x) == 3:
            raise Unserved("x has three rows")
        self.x = x
        remember(self, x)
        return x * self.w

    def backward(self, dout):
        x = recall(self)
        self.dw = (x * dout)[::-1].sum(axis=0)
        return dout * self.w


PAUSE = 0.0  # seconds of a processor that fast_double wastes


def fast_double(x, config):
    end = time.thread_time() + PAUSE
    while time.thread_time() < end:  # asleep it would take no time of its thread's
        pass
    return x * 2 + config["offset"]


def fast_noise(x):
    return x + np.random.rand(*x.shape)  # noqa: NPY002


class FastDescent:
    """Serves the optimizer."""

    rate: float
    steps: int

    def update(self, params, grads):
        self.steps += 1
        for key, value in params.items():
            value -= self.rate * grads[key]


TARGETS = (
    Target(
        "Scale",
        "made_up",
        fast="layers:Scale",
        exact="layers:Scale",
        methods=("forward", "backward"),
        by_name=True,
        batch=("x",),
    ),
    Target("double", "made_up", fast="layers:double", by_name=True, keys=frozenset({"offset"}), batch=("x",)),
    Target("noise", "made_up", fast="layers:noise", by_name=True),
    Target("Descent", "made_up", fast="layers:Descent", methods=("update",), by_name=True),
)


@pytest.fixture
def family(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """Make the family the only one that is known, and put everything back afterwards."""
    layers = ModuleType("fastdl.compat.made_up.layers")
    vars(layers).update(Scale=FastScale, double=fast_double, noise=fast_noise, Descent=FastDescent)
    monkeypatch.setitem(sys.modules, "fastdl.compat.made_up.layers", layers)
    monkeypatch.setattr(catalog, "by_name", lambda: {target.name: (target,) for target in TARGETS})
    recognise.clear()
    monkeypatch.setattr(hook, "report", hook.Report())
    monkeypatch.setattr(
        trial, "_sooner", lambda ours, theirs: True
    )  # what serves here is no question of the load
    for name in ("tier", "dtype", "verify"):
        monkeypatch.setattr(tier.settings, name, getattr(tier.Settings(), name))
    yield SimpleNamespace(report=hook.report)
    hook.uninstall()
    recognise.clear()
