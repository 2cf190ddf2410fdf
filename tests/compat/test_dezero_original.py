"""DeZero itself, where there is a checkout: it is recognised, and trains as without fastdl."""

from __future__ import annotations

import ast
import importlib
import os
import sys
from pathlib import Path

import numpy as np
import pytest
from dezero_cases import NAMED, SHAPES, TIERS, bits, draw, same

from fastdl.compat.dezero.targets import TARGETS
from fastdl.compat.fingerprint import fingerprint
from fastdl.compat.tier import Unserved

REPOSITORIES = os.environ.get("FASTDL_TEACHING_REPOS")
CHECKOUT = Path(REPOSITORIES or ".", "dlfs3")
pytestmark = pytest.mark.skipif(REPOSITORIES is None, reason="FASTDL_TEACHING_REPOS is not set")


def test_the_published_definitions_are_recognised():
    found = set()
    for path in sorted((CHECKOUT / "dezero").glob("*.py")):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef | ast.FunctionDef):
                found.add(fingerprint(node))
    for target in TARGETS:
        assert target.fingerprints & found, target.name


@pytest.fixture
def original(monkeypatch):
    monkeypatch.syspath_prepend(str(CHECKOUT))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    for name in [name for name in sys.modules if name.split(".")[0] == "dezero"]:
        monkeypatch.delitem(sys.modules, name)
    with pytest.MonkeyPatch.context() as quiet:
        quiet.setattr(sys, "warnoptions", [])
        yield importlib.import_module("dezero")
    for name in [name for name in sys.modules if name.split(".")[0] == "dezero"]:
        del sys.modules[name]


def served(original, tier):
    """Put our methods on DeZero's own classes, the original where we raise; return how often we served."""
    counts = dict.fromkeys(NAMED, 0)

    def install(holder, attribute, name, ours):
        theirs = getattr(holder, attribute)

        def method(*args, **kwargs):
            try:
                result = ours(*args, **kwargs)
            except Unserved:
                return theirs(*args, **kwargs)
            counts[name] += 1
            return result

        setattr(holder, attribute, method)

    modules = [original.functions_conv, original.functions, original.optimizers, original.core]
    for name, target in NAMED.items():
        ours = target.replacement(tier)
        module = next(module for module in modules if getattr(module, name, None) is not None)
        if ours is None:
            continue
        if target.methods:
            install(getattr(module, name), target.methods[0], name, getattr(ours, target.methods[0]))
        else:
            install(module, name, name, ours)
    return counts


def train(original, steps=3):
    """A convnet with everything in it; returns losses, parameters, and a gradient's gradient."""
    F, L = original.functions, original.layers
    np.random.seed(0)  # noqa: NPY002 - which the layers draw from
    conv1, conv2, norm, dense = (
        L.Conv2d(4, 3, pad=1),
        L.Conv2d(8, 3, stride=2, pad=1),
        L.BatchNorm(),
        L.Linear(5),
    )
    generator = np.random.default_rng(0)
    x, t = generator.standard_normal((6, 2, 12, 12)), generator.integers(0, 5, 6)
    layers = (conv1, conv2, norm, dense)
    losses, optimizers = [], [original.optimizers.Adam(), original.optimizers.MomentumSGD(), None]
    optimizers[2] = original.optimizers.AdaDelta()
    for step in range(steps):
        h = F.pooling(F.relu(norm(conv1(x))), 2, 2)
        h = F.sigmoid(F.average_pooling(conv2(h), 2, 1))
        h = F.flatten(h)
        y = dense(h)
        loss = F.softmax_cross_entropy(y, t) + F.sum(y[:, 1] * y[0:1, 2]) * 0.01
        for layer in layers:
            layer.cleargrads()
        loss.backward()
        losses.append(float(loss.data))
        for layer in layers:
            for param in sorted(layer.params(), key=lambda p: p.name):
                if param.grad is not None:
                    optimizer = optimizers[step % 3]
                    optimizer.t = step + 1
                    optimizer.update_one(param)
    v = original.Variable(x)
    y = F.sum(F.pooling(conv1(v), 2, 2) ** 3)
    y.backward(create_graph=True)
    first = v.grad
    v.cleargrad()
    z = F.sum(first**2)
    z.backward()
    params = [p.data for layer in layers for p in sorted(layer.params(), key=lambda p: p.name)]
    return losses, params, [first.data, v.grad.data]


@pytest.mark.parametrize("tier", TIERS)
def test_a_network_trains_as_in_dezero_and_gradients_have_gradients(original, tier):
    losses, params, gradients = train(original)
    counts = served(original, tier)
    ours = train(original)
    never = {
        name for name, count in counts.items() if not count and NAMED[name].replacement(tier) is not None
    }
    assert never <= {"Softmax", "SGD", "im2col_array", "col2im_array", "Pooling2DWithIndexes"} | (
        {"Deconv2d"} if tier == "exact" else set()
    )
    for one, two in zip([losses, *params, *gradients], [ours[0], *ours[1], *ours[2]]):
        if tier == "exact":
            assert bits(np.asarray(one)) == bits(np.asarray(two))
        else:
            same(two, one, np.asarray(one).dtype.char)


@pytest.mark.parametrize("tier", TIERS)
def test_each_node_on_many_shapes(original, tier):
    conv = original.functions_conv
    calls = 0
    theirs = {
        name: vars(conv)[name].forward for name in ("Conv2d", "Conv2DGradW", "Pooling", "AveragePooling")
    }
    served(original, tier)
    for seed, (shape, out, kernel, stride, pad) in enumerate(SHAPES):
        for dtype in "fd":
            x, W, b = draw(shape, dtype, seed), draw((out, shape[1], *kernel), dtype, 1), draw(out, dtype, 2)
            node, again = conv.Conv2d(stride, pad), conv.Conv2d(stride, pad)
            want = theirs["Conv2d"](again, x, W, b)
            got = [(node.forward(x, W, b), want)]
            node.inputs = [x, W]
            gradient = conv.Conv2DGradW(node)
            gy = draw(want.shape, dtype, 3)
            got.append((gradient.forward(x, gy), theirs["Conv2DGradW"](gradient, x, gy)))
            for name in ("Pooling", "AveragePooling"):
                pools = [vars(conv)[name](kernel, stride, pad) for _ in range(2)]
                got.append((pools[0].forward(x), theirs[name](pools[1], x)))
            for one, two in got:
                calls += 1
                if tier == "exact":
                    assert bits(one) == bits(two)
                else:
                    same(one, two, dtype)
    assert calls == 40
