"""The first book's layers, functions and optimizers, against a textbook's and, if there, the original."""

from __future__ import annotations

import ast
import copy
import importlib
import json
import os
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from fastdl.compat.differences import difference
from fastdl.compat.dlfs1.targets import TARGETS
from fastdl.compat.fingerprint import fingerprint
from fastdl.compat.tier import Unserved, settings
from fastdl.compat.trial import state_difference
from textbook import dlfs1 as textbook

REPOSITORIES = os.environ.get("FASTDL_TEACHING_REPOS")
NEEDS_CHECKOUTS = pytest.mark.skipif(REPOSITORIES is None, reason="FASTDL_TEACHING_REPOS is not set")
NAMED = {target.name: target for target in TARGETS if (target.fast or "").split(":")[0] != "course"}
MODES = ("fast", "float32", "exact")


@pytest.fixture(params=MODES)
def mode(request, monkeypatch):
    monkeypatch.setattr(settings, "tier", "exact" if request.param == "exact" else "fast")
    monkeypatch.setattr(settings, "dtype", np.dtype(np.float32) if request.param == "float32" else None)
    return request.param


@pytest.fixture(params=["textbook", pytest.param("original", marks=NEEDS_CHECKOUTS)])
def book(request):
    return textbook if request.param == "textbook" else original()


def original():
    """The names of the checkout's ``common``, which leaves no trace."""
    where, before = str(Path(REPOSITORIES or ".", "dlfs1")), dict(sys.modules)
    sys.path.insert(0, where)
    dont_write, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    try:
        modules = [
            importlib.import_module(f"common.{name}") for name in ("functions", "util", "layers", "optimizer")
        ]
        return SimpleNamespace(**{name: value for module in modules for name, value in vars(module).items()})
    finally:
        sys.dont_write_bytecode = dont_write
        sys.path.remove(where)
        for name in set(sys.modules) - set(before):
            if name.split(".")[0] == "common":
                del sys.modules[name]


def drawn(*shape, dtype=np.float64, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def served(name, instance, method, *args):
    """Our method on an instance of the other class; skip what the tier does not serve."""
    ours = NAMED[name].replacement(settings.tier)
    if ours is None:
        pytest.skip("not in this tier")
    return (getattr(ours, method) if method else ours)(*([] if instance is None else [instance]), *args)


def equal(theirs, ours):
    found = difference(theirs, ours)
    assert not found.reason, found.reason


def both_passes(name, layer, *inputs, gradient=True, twice=True):
    """Forward and backward on copies of one layer: results, arguments and attributes must be equal."""
    mine = copy.deepcopy(layer)
    for _ in range(1 + twice):
        theirs_in, ours_in = copy.deepcopy((inputs, inputs))
        y = layer.forward(*theirs_in)
        ours = served(name, mine, "forward", *ours_in)
        equal(y, ours)
        equal(theirs_in, ours_in)
        dout = drawn(*np.shape(y), seed=7).astype(getattr(y, "dtype", float))
        arguments = [(dout.copy(),), (dout.copy(),)] if gradient else [(), ()]
        equal(layer.backward(*arguments[0]), served(name, mine, "backward", *arguments[1]))
        equal(arguments[0], arguments[1])
        found = state_difference(NAMED[name], vars(layer), vars(mine))
        assert not found.reason, found.reason


# ---- layers


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("shape", [(3,), (4, 5), (2, 3, 4, 5), (3, 70, 400)])
def test_relu(book, mode, shape, dtype):
    x = drawn(*shape, dtype=dtype)
    x.flat[:3] = [0.0, -0.0, np.nan]
    both_passes("Relu", book.Relu(), x)
    if x.ndim == 4:
        both_passes("Relu", book.Relu(), x.transpose(0, 2, 3, 1))
    layer = book.Relu()
    y = served("Relu", layer, "forward", x)
    assert not np.signbit(y[~np.isnan(y)]).any()
    assert np.isnan(y.flat[2])
    dout = np.full(shape, np.inf, dtype)
    assert served("Relu", layer, "backward", dout) is dout
    assert dout.flat[:3].tolist() == [0, 0, np.inf]


def test_relu_writes_into_a_view(book, mode):
    x, memory = drawn(2, 3, 4, 4), drawn(2, 3, 6, 6, seed=1)
    mine, theirs = memory.copy(), memory.copy()
    layer = book.Relu()
    served("Relu", layer, "forward", x)
    served("Relu", layer, "backward", mine[:, :, 1:5, 1:5])
    layer.forward(x)
    layer.backward(theirs[:, :, 1:5, 1:5])
    equal(theirs, mine)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_sigmoid_layer(book, mode, dtype):
    both_passes("Sigmoid", book.Sigmoid(), drawn(5, 40, dtype=dtype))


@pytest.mark.parametrize("x_dtype", [np.float64, np.float32])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("shape, outputs", [((3, 4), 5), ((2, 3, 4, 5), 7), ((64, 90), 130), ((1, 6), 1)])
def test_affine(book, mode, shape, outputs, dtype, x_dtype):
    w, b = drawn(int(np.prod(shape[1:])), outputs, dtype=dtype, seed=1), drawn(outputs, dtype=dtype, seed=2)
    both_passes("Affine", book.Affine(w, b), drawn(*shape, dtype=x_dtype))


def test_affine_reads_its_weights_anew(book, mode):
    layer = book.Affine(drawn(4, 5), drawn(5))
    served("Affine", layer, "forward", drawn(3, 4))
    layer.W[...] = drawn(4, 5, seed=1)
    layer.b = drawn(5, seed=2)
    both_passes("Affine", layer, drawn(3, 4))
    kept = layer.dW
    before = kept.copy()
    both_passes("Affine", layer, drawn(3, 4, seed=4))
    assert (kept == before).all()


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("kind", ["labels", "one-hot", "float one-hot", "bytes"])
def test_softmax_with_loss(book, mode, kind, dtype):
    t = np.array([2, 0, 1, 2, 3])
    if "hot" in kind:
        t = np.eye(4, dtype=dtype if "float" in kind or dtype == np.float32 else int)[t]
    t = t.astype(np.uint8) if kind == "bytes" else t
    both_passes("SoftmaxWithLoss", book.SoftmaxWithLoss(), drawn(5, 4, dtype=dtype), t, gradient=False)


def test_a_single_label_in_a_column(mode):
    both_passes("SoftmaxWithLoss", original().SoftmaxWithLoss(), drawn(1, 4), np.array([[2]]), gradient=False)


test_a_single_label_in_a_column = NEEDS_CHECKOUTS(test_a_single_label_in_a_column)


@pytest.mark.parametrize("shape", [(6, 5), (4, 2, 3, 3), (50, 100)])
def test_batch_normalization(book, mode, shape):
    size = int(np.prod(shape[1:]))
    layer = book.BatchNormalization(drawn(size, seed=1), drawn(size, seed=2))
    both_passes("BatchNormalization", layer, 3 + 2 * drawn(*shape))
    mine = copy.deepcopy(layer)
    x, old = drawn(*shape, seed=5), mine.running_mean
    before = old.copy()
    equal(layer.forward(x, False), served("BatchNormalization", mine, "forward", x, False))
    served("BatchNormalization", mine, "forward", x, True)
    assert (old == before).all()
    assert mine.running_mean is not old


IMAGES = [
    ((2, 3, 7, 6), (4, 3, 3, 3), 1, 1),
    ((1, 2, 6, 6), (3, 2, 3, 3), 1, 0),
    ((1, 3, 7, 7), (2, 3, 3, 3), 2, 1),
    ((3, 1, 8, 9), (5, 1, 5, 5), 1, 0),
    ((2, 2, 8, 7), (3, 2, 3, 2), 2, 2),
    ((2, 4, 5, 5), (1, 4, 1, 1), 3, 0),
    ((4, 16, 14, 14), (32, 16, 3, 3), 1, 2),
]


@pytest.mark.parametrize("x_dtype", [np.float64, np.float32, np.uint8])
@pytest.mark.parametrize("shape, kernels, stride, pad", IMAGES)
def test_convolution(book, mode, shape, kernels, stride, pad, x_dtype):
    layer = book.Convolution(drawn(*kernels, seed=1), drawn(kernels[0], seed=2), stride, pad)
    both_passes("Convolution", layer, (10 * drawn(*shape)).astype(x_dtype))


@pytest.mark.parametrize("b", [0, 0.0])
def test_convolution_without_a_bias(book, mode, b):
    layer = book.Convolution(drawn(2, 1, 3, 3, seed=1), b, 1, 1)
    both_passes("Convolution", layer, drawn(2, 1, 5, 5)[:, :, ::-1])


@pytest.mark.parametrize("x_dtype", [np.float64, np.float32, np.uint8])
@pytest.mark.parametrize(
    "shape, size, stride",
    [
        ((2, 3, 6, 8), (2, 2), 2),
        ((1, 2, 7, 7), (2, 2), 2),
        ((2, 2, 7, 9), (3, 3), 2),
        ((2, 1, 6, 5), (3, 2), 1),
    ],
)
def test_pooling(book, mode, shape, size, stride, x_dtype):
    x = np.round(drawn(*shape)) + 0.0  # many are equal
    both_passes("Pooling", book.Pooling(*size, stride), x.astype(x_dtype))


def test_pooling_passes_nan_on(book, mode):
    x = drawn(2, 2, 4, 4)
    x[0, 0, 1, 1] = x[1, 1, 0, 0] = np.nan
    both_passes("Pooling", book.Pooling(2, 2), x)


@pytest.mark.parametrize("shape", [(1, 2, 6, 6), (1, 3, 8, 8), (4, 2, 7, 7), (2, 1, 6, 6)])
@pytest.mark.parametrize("step", [1, 2])
def test_exact_layers_in_a_row_have_the_same_bits(book, monkeypatch, shape, step):
    """Where the order in memory reaches a product: what one layer returns is the next one's input."""
    monkeypatch.setattr(settings, "tier", "exact")
    kernels = drawn(3, shape[1], 3, 3, seed=1), drawn(4, 3, 3, 3, seed=3)
    chain = {
        "Convolution": book.Convolution(kernels[0], drawn(3, seed=2), 1, 1),
        "Relu": book.Relu(),
        "Pooling": book.Pooling(2, 2, step),
        "Second": book.Convolution(kernels[1], drawn(4, seed=4), 1, 1),
    }
    results = []
    for run in (
        lambda name, layer, method, x: getattr(layer, method)(x),
        lambda name, layer, method, x: served(name.replace("Second", "Convolution"), layer, method, x),
    ):
        layers, x = copy.deepcopy(chain), drawn(*shape)
        for name, layer in layers.items():
            x = run(name, layer, "forward", x)
        x = drawn(*x.shape, seed=9)
        for name, layer in reversed(layers.items()):
            x = run(name, layer, "backward", x)
        results.append(
            [x, *(getattr(layers[name], part) for name in ("Convolution", "Second") for part in ("dW", "db"))]
        )
    equal(*results)


# ---- functions


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("name", ["sigmoid", "sigmoid_grad", "relu_grad", "softmax"])
@pytest.mark.parametrize("shape", [(5,), (6, 7), (2, 3, 4)])
def test_function(book, mode, name, shape, dtype):
    if name == "softmax" and len(shape) == 3 and book is not textbook:
        shape = (2, 3, 4)
    x = drawn(*shape, dtype=dtype)
    equal(getattr(book, name)(x), served(name, None, None, x))
    equal(getattr(book, name)(x[..., ::-1]), served(name, None, None, x[..., ::-1]))


@pytest.mark.parametrize("one_hot", [False, True])
def test_losses(book, mode, one_hot):
    x, t = drawn(6, 4), np.array([0, 3, 1, 1, 2, 0])
    t = np.eye(4, dtype=int)[t] if one_hot else t
    equal(book.softmax_loss(x, t), served("softmax_loss", None, None, x, t))
    y = book.softmax(x)
    equal(book.cross_entropy_error(y, t), served("cross_entropy_error", None, None, y, t))
    equal(
        book.cross_entropy_error(y[0], t[0]), served("cross_entropy_error", None, None, y[0], t[0])
    ) if one_hot else None


@pytest.mark.parametrize("shape, kernels, stride, pad", IMAGES)
def test_patches(book, mode, shape, kernels, stride, pad):
    x, size = drawn(*shape), kernels[2:]
    rows = book.im2col(x, *size, stride, pad)
    ours = served("im2col", None, None, x, *size, stride, pad)
    assert rows.tobytes() == ours.tobytes()
    assert rows.flags.c_contiguous == ours.flags.c_contiguous
    equal(book.im2col(x.astype(np.float32), *size), served("im2col", None, None, x.astype(np.float32), *size))
    image = book.col2im(drawn(*rows.shape), shape, *size, stride, pad)
    ours = served("col2im", None, None, drawn(*rows.shape), shape, *size, stride, pad)
    assert image.tobytes() == ours.tobytes()
    assert image.strides == ours.strides


# ---- optimizers

OPTIMIZERS = ["SGD", "Momentum", "Nesterov", "AdaGrad", "RMSprop", "Adam"]


def parameters(dtype=np.float64):
    return {"W": drawn(130, 70, dtype=dtype), "b": drawn(3, dtype=dtype), "K": drawn(2, 1, 3, 3, dtype=dtype)}


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_optimizer(book, mode, name, dtype):
    theirs, mine = getattr(book, name)(lr=0.01), getattr(book, name)(lr=0.01)
    params, ours = parameters(dtype), parameters(dtype)
    arrays = dict(ours)
    for step in range(3):
        grads = {key: drawn(*p.shape, dtype=dtype, seed=step + 1) for key, p in params.items()}
        grads["W"] = grads["W"].T.copy().T  # in the other order
        theirs.update(params, copy.deepcopy(grads))
        kept = dict(getattr(mine, "v", None) or {})
        before = copy.deepcopy(kept)
        served(name, mine, "update", ours, grads)
        equal(params, ours)
        assert not state_difference(NAMED[name], vars(theirs), vars(mine)).reason
        if name == "Momentum":  # it makes new arrays
            equal(before, kept)
    assert all(ours[key] is arrays[key] for key in ours)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimizer_in_the_exact_tier_has_the_bits(monkeypatch, name):
    monkeypatch.setattr(settings, "tier", "exact")
    theirs, mine, w = getattr(textbook, name)(0.1), getattr(textbook, name)(0.1), drawn(20_003)
    w[:6] = 0.0, -0.0, np.inf, -np.inf, np.nan, 5e-324
    params, ours, grads = {"W": w.copy()}, {"W": w.copy()}, {"W": drawn(20_003, seed=1)}
    grads["W"][::7] = 0
    for _ in range(3):
        theirs.update(params, grads)
        served(name, mine, "update", ours, grads)
        kept = [(vars(theirs)[key], vars(mine)[key]) for key in "mvh" if key in vars(mine)]
        assert all(one["W"].tobytes() == two["W"].tobytes() for one, two in [(params, ours), *kept])


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimizer_refuses_before_it_changes_anything(mode, name):
    mine = getattr(textbook, name)()
    params = {**parameters(), "b": np.arange(6)}
    before = copy.deepcopy(params)
    grads = {key: np.ones(np.shape(p)) for key, p in params.items()}
    with pytest.raises(Unserved):
        served(name, mine, "update", params, grads)
    equal(before, params)
    assert all(value is None for key, value in vars(mine).items() if key in "hmv")
    assert not vars(mine).get("iter")


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("made", [lambda p: 2.0, lambda p: p[::2], lambda p: p.T, lambda p: p[:, 0]])
def test_optimizer_takes_numbers_and_views(mode, name, made):
    theirs, mine = getattr(textbook, name)(), getattr(textbook, name)()
    params, ours = ({**parameters(), "b": made(drawn(600, 40))} for _ in range(2))
    for _ in range(2):
        grads = {key: np.ones(np.shape(p)) for key, p in params.items()}
        theirs.update(params, copy.deepcopy(grads))
        served(name, mine, "update", ours, grads)
        equal(params, ours)
    assert not state_difference(NAMED[name], vars(theirs), vars(mine)).reason


# ---- what is not served


@pytest.mark.parametrize(
    "name, arguments, inputs",
    [
        ("Relu", (), (np.arange(3),)),
        ("Relu", (), (np.ma.array([1.0]),)),
        ("Relu", (), (np.array([1.0], dtype=object),)),
        ("Relu", (), (np.ones(3, np.float16),)),
        ("Sigmoid", (), (np.array([-800.0]),)),
        ("Affine", (np.ones((3, 2)), 0), (np.ones((2, 3)),)),
        ("Affine", (np.ones((3, 2)), np.ones((1, 2))), (np.ones((2, 3)),)),
        ("SoftmaxWithLoss", (), (np.ones((3, 4)), np.ones((3, 1), int))),
        ("SoftmaxWithLoss", (), (np.ones((3, 4)), np.ones(3))),
        ("Convolution", (np.ones((2, 3, 3, 3)), np.ones(2), 1.5), (np.ones((1, 3, 5, 5)),)),
        ("Convolution", (np.ones((2, 3, 3, 3)), np.ones((2, 1))), (np.ones((1, 3, 5, 5)),)),
        ("Convolution", (np.ones((2, 3, 3, 3)), 1), (np.ones((1, 3, 5, 5)),)),
        ("Convolution", (np.ones((2, 3, 3, 3)), 0), (np.ones((1, 3, 5, 5), complex),)),
        ("Pooling", (2, 2, 2, 1), (np.ones((1, 3, 4, 4)),)),
        ("BatchNormalization", (np.ones(3), np.zeros(3)), (np.ones((1, 3)),)),
    ],
)
def test_refused(mode, name, arguments, inputs):
    layer = getattr(textbook, name)(*arguments)
    before = dict(vars(layer))
    with pytest.raises((Unserved, ValueError)):
        served(name, layer, "forward", *inputs)
    assert vars(layer) == before


@pytest.mark.parametrize("name", ["Convolution", "Pooling", "BatchNormalization"])
def test_no_backward_of_what_the_original_did(mode, name):
    arguments = (drawn(1, 1, 2, 2), 0) if name == "Convolution" else (2, 2)
    with pytest.raises(Unserved):
        served(name, getattr(textbook, name)(*arguments), "backward", drawn(1, 1, 2, 2))


# ---- the published code


@NEEDS_CHECKOUTS
def test_published_definitions_are_known():
    found = set()
    for path in sorted(Path(REPOSITORIES or ".", "dlfs1").rglob("*")):
        if path.suffix == ".py":
            found |= definitions(path.read_text(encoding="utf-8"))
        elif path.suffix == ".ipynb":
            for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
                found |= definitions("".join(cell["source"]))
    for target in NAMED.values():
        assert target.fingerprints & found, target.name


def definitions(source):
    try:
        body = ast.parse(source).body
    except SyntaxError:  # a cell with a command of the notebook's own
        return set()
    return {fingerprint(node) for node in body if isinstance(node, ast.ClassDef | ast.FunctionDef)}


def test_star_imports():
    for name, more in (
        ("functions", {"np", "relu", "softmax"}),
        ("layers", {"np", "sigmoid", "im2col", "Dropout"}),
        ("optimizer", {"np", "Adam"}),
    ):
        names = {}
        exec(f"from fastdl.compat.dlfs1.{name} import *", names)
        assert more <= set(names)


def test_dropout_draws_from_the_global_stream():
    from fastdl.compat.dlfs1.layers import Dropout

    stream = np.random.RandomState(3)
    np.random.set_state(stream.get_state())  # noqa: NPY002 - the original's
    layer = Dropout(0.4)
    y = layer.forward(np.ones((4, 5)))
    mask = stream.rand(4, 5) > 0.4
    assert (y == mask).all()
    assert (layer.mask == mask).all()
    assert np.random.random_sample() == stream.rand()  # noqa: NPY002
    assert (layer.backward(np.ones((4, 5))) == mask).all()
    assert layer.forward(np.ones(2), False).tolist() == [0.6, 0.6]
