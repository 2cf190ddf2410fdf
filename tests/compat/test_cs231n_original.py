"""Published solutions of cs231n, where there is a checkout: recognised, served, and with their numbers."""

from __future__ import annotations

import ast
import importlib
import os
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
from cs231n_cases import draw

import fastdl
from fastdl.compat import catalog, hook, recognise, tier, trial
from fastdl.compat.cs231n.targets import TARGETS
from fastdl.compat.fingerprint import fingerprint

REPOSITORIES = os.environ.get("FASTDL_TEACHING_REPOS")
CHECKOUT = Path(REPOSITORIES or ".", "cs231n", "code", "cs231n")
pytestmark = pytest.mark.skipif(REPOSITORIES is None, reason="FASTDL_TEACHING_REPOS is not set")

NEWER = {"cf0866ecb364d6ed"}  # of a later year's assignments


def forget():
    for name in [name for name in sys.modules if name.split(".")[0] == "cs231n"]:
        del sys.modules[name]


@pytest.fixture
def imported(monkeypatch):
    """Import modules of an assignment, plainly or under `accelerate`; what it needs of torch is its name."""
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.setitem(sys.modules, "torch", ModuleType("torch"))
    monkeypatch.setattr(catalog, "by_name", lambda: named)
    named: dict[str, tuple[object, ...]] = {}
    for target in TARGETS:
        named[target.name] = (*named.get(target.name, ()), target)
    recognise.clear()
    monkeypatch.setattr(hook, "report", hook.Report())
    monkeypatch.setattr(hook, "adopt_loaded", lambda: None)  # the textbook stays what it is
    monkeypatch.setattr(trial, "_sooner", lambda ours, theirs: True)  # what serves is no question of the load
    for name in ("tier", "dtype", "verify"):
        monkeypatch.setattr(tier.settings, name, getattr(tier.Settings(), name))

    def load(assignment, *modules, how="fast"):
        forget()
        with pytest.MonkeyPatch.context() as path:
            path.syspath_prepend(str(CHECKOUT / f"assignment{assignment}"))
            if how == "plain":  # fastdl supplies the extension that the checkout has not compiled
                path.setitem(sys.modules, "cs231n.im2col_cython", supplied)
            else:
                fastdl.accelerate(how)
            found = [importlib.import_module(f"cs231n.{module}") for module in modules]
        hook.uninstall()
        return found

    supplied = importlib.import_module("fastdl.compat.cs231n.im2col_cython")
    yield load
    hook.uninstall()
    recognise.clear()
    forget()


def served():
    return {name for item in hook.report.services for name, count in item.counts.items() if count.calls}


def close(ours, theirs):
    """Compare arrays wherever they stand in what two calls returned."""
    if isinstance(theirs, (tuple, list)):
        assert len(ours) == len(theirs)
        for one, two in zip(ours, theirs):
            close(one, two)
    elif isinstance(theirs, np.ndarray):
        assert ours.dtype == theirs.dtype
        atol = 1e-10 * max(np.abs(theirs).max(initial=0), 1e-3)
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=atol)


def test_the_published_definitions_are_recognised():
    found = NEWER.copy()
    for path in CHECKOUT.rglob("*.py"):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef | ast.FunctionDef):
                found.add(fingerprint(node))
    for target in TARGETS:
        assert target.by_name or target.fingerprints & found, target.name
        assert not target.fingerprints or target.fingerprints & found, target.name


CONVOLUTIONS = (
    ((3, 3, 31, 31), (5, 3, 3, 3), {"stride": 2, "pad": 1}),
    ((2, 4, 16, 16), (3, 4, 5, 5), {"stride": 1, "pad": 2}),
    ((2, 1, 12, 14), (2, 1, 2, 4), {"stride": 2, "pad": 1}),
)


def convolutions(layers, fast_layers):
    for x, w, param in CONVOLUTIONS:
        arguments = draw(x), draw(w, seed=1), draw(w[0], seed=2), param
        for kind in ("naive", "strides", "im2col"):
            module = layers if kind == "naive" else fast_layers
            out, cache = getattr(module, f"conv_forward_{kind}")(*arguments)
            yield out, getattr(module, f"conv_backward_{kind}")(draw(out.shape, seed=3), cache)


def poolings(layers, fast_layers):
    param = {"pool_height": 2, "pool_width": 2, "stride": 2}
    for x in (draw((10, 3, 32, 32)), np.maximum(0, draw((50, 16, 16, 16)))):
        yield layers.max_pool_forward_naive(x, param)[0]
        out, cache = fast_layers.max_pool_forward_fast(x, param)
        yield out, fast_layers.max_pool_backward_fast(draw(out.shape, seed=3), cache)


def test_the_second_assignment_with_fastdl(imported):
    plain = imported(2, "layers", "fast_layers", how="plain")
    expected = [*convolutions(*plain), *poolings(*plain)]
    ours = imported(2, "layers", "fast_layers")
    close([*convolutions(*ours), *poolings(*ours)], expected)
    names = {
        f"conv_{way}_{kind}" for way in ("forward", "backward") for kind in ("naive", "strides", "im2col")
    }
    assert served() >= names | {"max_pool_forward_naive"}
    assert served() >= {"max_pool_forward_reshape", "max_pool_backward_reshape"}


def test_the_exact_tier_gives_the_bits(imported):
    expected = list(poolings(*imported(2, "layers", "fast_layers", how="plain")))
    for one, two in zip(poolings(*imported(2, "layers", "fast_layers", how="exact")), expected, strict=True):
        for ours, theirs in zip(one, two, strict=True):
            assert ours.tobytes() == theirs.tobytes()
    assert served() == {
        "max_pool_forward_naive",
        "max_pool_forward_reshape",
        "max_pool_backward_reshape",
    }


def captioning(module, cell, dtype=np.float64):
    """The model of the assignment's notebook, with its fixed parameters; return its loss and gradients."""
    n, d, words = 10, 20, {"<NULL>": 0, "cat": 2, "dog": 3}
    sizes = {"input_dim": d, "wordvec_dim": 30, "hidden_dim": 40}
    model = module.CaptioningRNN(words, cell_type=cell, dtype=dtype, **sizes)
    for key, value in model.params.items():
        model.params[key] = np.linspace(-1.4, 1.3, num=value.size).reshape(value.shape).astype(dtype)
    first, last = (-1.5, 0.3) if cell == "rnn" else (-0.5, 1.7)
    features = np.linspace(first, last, num=n * d).reshape(n, d).astype(dtype)
    return model.loss(features, (np.arange(n * 13) % 3).reshape(n, 13))


@pytest.mark.parametrize("cell, loss", [("rnn", 9.83235591003), ("lstm", 9.82445935443)])
def test_the_losses_of_the_third_assignment(imported, cell, loss):
    (module,) = imported(3, "classifiers.rnn")
    ours = captioning(module, cell)
    assert {f"{cell}_forward", f"{cell}_backward"} <= served()
    assert ours[0] == pytest.approx(loss, abs=5e-12)
    theirs = captioning(imported(3, "classifiers.rnn", how="plain")[0], cell)
    assert ours[0] == pytest.approx(theirs[0], rel=1e-12)
    close([ours[1][key] for key in sorted(ours[1])], [theirs[1][key] for key in sorted(theirs[1])])


@pytest.mark.parametrize("cell", ["rnn", "lstm"])
def test_float32_has_the_same_types(imported, cell):
    ours, theirs = (
        captioning(imported(3, "classifiers.rnn", how=how)[0], cell, np.float32) for how in ("fast", "plain")
    )
    assert ours[0] == pytest.approx(theirs[0], rel=1e-5)
    for key, gradient in theirs[1].items():
        assert ours[1][key].dtype == gradient.dtype, key
        np.testing.assert_allclose(ours[1][key], gradient, rtol=0, atol=1e-4 * np.abs(gradient).max())


def gru(module):
    x, h0 = draw((8, 6, 5)), draw((8, 7), seed=1)
    shapes = ((5, 14), (7, 14), (14,), (5, 7), (7, 7), (7,))
    h, cache = module.gru_forward(x, h0, *(draw(shape, seed=i) for i, shape in enumerate(shapes)))
    return h, module.gru_backward(draw(h.shape, seed=9), cache)


def test_the_gru(imported):
    expected = gru(imported(3, "rnn_layers", how="plain")[0])
    close(gru(imported(3, "rnn_layers")[0]), expected)
    assert served() == {"gru_forward", "gru_backward"}


def rules(second, third):
    for module in (second, third):
        for name in ("adam", "rmsprop"):
            rule = getattr(module, name, None)
            if rule is not None:
                w, config = draw((300, 200)), {"learning_rate": 1e-2}
                for step in range(3):
                    w, config = rule(w, draw(w.shape, seed=step), config)
                yield w.copy(), [config[key] for key in config if isinstance(config[key], np.ndarray)]


def test_update_rules(imported):
    (second,), (third,) = imported(2, "optim", how="plain"), imported(3, "optim", how="plain")
    expected = list(rules(second, third))
    (second,), (third,) = imported(2, "optim"), imported(3, "optim")
    close(list(rules(second, third)), expected)
    assert served() >= {"adam", "rmsprop"}


def first_assignment(svm, softmax, neighbours):
    W, X, y = draw((300, 10)) / 100, draw((200, 300), seed=1), np.arange(200) % 10
    classifier = neighbours.KNearestNeighbor()
    classifier.train(X, y)
    return (
        svm.svm_loss_naive(W, X, y, 0.1),
        softmax.softmax_loss_naive(W, X, y, 0.1),
        classifier.compute_distances_two_loops(X[:5] + 1),
    )


def test_the_first_assignment(imported, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", SimpleNamespace(pyplot=None))
    modules = ("classifiers.linear_svm", "classifiers.softmax", "classifiers.k_nearest_neighbor")
    expected = first_assignment(*imported(1, *modules, how="plain"))
    close(first_assignment(*imported(1, *modules)), expected)
    names = {"svm_loss_naive", "softmax_loss_naive", "KNearestNeighbor.compute_distances_two_loops"}
    assert served() == names
