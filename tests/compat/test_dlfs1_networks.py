"""The first book's convnets in blocks, against the same layers one by one, and the original's where it is."""

from __future__ import annotations

import copy
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from originals import checkout, needs_checkouts

from fastdl.compat.dlfs1 import exact, exact_networks, networks
from fastdl.compat.dlfs1 import layers as ours
from fastdl.compat.tier import STATE, remember, settings
from fastdl.compat.trial import state_difference
from textbook import dlfs1 as textbook


class Deep:
    """The layers of chapter 8, with few channels; `book` has their classes."""

    predict = networks.DeepConvNet.predict
    gradient = networks.DeepConvNet.gradient

    def __init__(self, book, images, seed=0):
        rng = np.random.default_rng(seed)
        self.layers, channels, side = [], images.shape[1], images.shape[2]
        for outputs, pooled in ((3, False), (4, True), (2, False), (3, True), (2, False), (3, True)):
            w = rng.standard_normal((outputs, channels, 3, 3))
            self.layers += [book.Convolution(w, rng.standard_normal(outputs), 1, 1), book.Relu()]
            if pooled:
                self.layers.append(book.Pooling(2, 2, 2))
                side //= 2
            channels = outputs
        self.layers += [self.affine(book, rng, channels * side * side, 6), book.Relu(), book.Dropout(0.5)]
        self.layers += [self.affine(book, rng, 6, 4), book.Dropout(0.5)]
        self.last_layer = book.SoftmaxWithLoss()

    @staticmethod
    def affine(book, rng, inputs, outputs):
        return book.Affine(rng.standard_normal((inputs, outputs)), rng.standard_normal(outputs))

    def loss(self, x, t):
        return self.last_layer.forward(self.predict(x, True), t)


class Simple(Deep):
    """Chapter 7's: one convolution, and layers by name."""

    predict = networks.SimpleConvNet.predict
    gradient = networks.SimpleConvNet.gradient

    def __init__(self, book, images, seed=0):
        rng = np.random.default_rng(seed)
        w = rng.standard_normal((4, images.shape[1], 5, 5))
        side = (images.shape[2] - 4) // 2
        self.layers = {
            "Conv1": book.Convolution(w, rng.standard_normal(4), 1, 0),
            "Relu1": book.Relu(),
            "Pool1": book.Pooling(2, 2, 2),
            "Affine1": self.affine(book, rng, 4 * side * side, 6),
            "Relu2": book.Relu(),
            "Affine2": self.affine(book, rng, 6, 4),
        }
        self.last_layer = book.SoftmaxWithLoss()

    def loss(self, x, t):
        return self.last_layer.forward(self.predict(x), t)


def one_by_one(model, x, t, flag):
    """The scores, the loss and the layers of a textbook's passes."""
    layers = in_order(model)
    for layer in layers:
        x = layer.forward(x, flag) if isinstance(layer, textbook.Dropout) else layer.forward(x)
    loss = model.last_layer.forward(x, t)
    dout = model.last_layer.backward(1)
    for layer in reversed(layers):
        dout = layer.backward(dout)
    return x, loss


def in_order(model):
    return list(model.layers.values()) if isinstance(model.layers, dict) else model.layers


def as_if_served(model):
    """What the wrappers of layers that fastdl serves would have left."""
    for layer in in_order(model):
        if STATE not in vars(layer):
            remember(layer, None)


class ExactDeep(Deep):
    predict = exact_networks.DeepConvNet.predict
    gradient = exact_networks.DeepConvNet.gradient


class ExactSimple(Simple):
    predict = exact_networks.SimpleConvNet.predict
    gradient = exact_networks.SimpleConvNet.gradient


EXACT = SimpleNamespace(
    **{**vars(textbook), "Convolution": exact.Convolution, "Pooling": exact.Pooling, "Relu": ours.Relu}
)


@pytest.fixture(params=["fast", "float32"])
def tolerance(request, monkeypatch):
    monkeypatch.setattr(settings, "tier", "fast")
    monkeypatch.setattr(settings, "dtype", np.dtype(np.float32) if request.param == "float32" else None)
    return 1e-10 if request.param == "fast" else 1e-3


def close(one, two, tolerance):
    np.testing.assert_allclose(one, two, rtol=tolerance, atol=tolerance * np.abs(two).max(initial=1e-30))


@pytest.mark.parametrize("kind, side", [(Simple, 12), (Deep, 16), (Deep, 18)])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_steps(kind, side, dtype, tolerance):
    """Scores, losses, gradients, masks, inputs and the stream of random numbers, with and without blocks."""
    rng = np.random.default_rng(1)
    x = rng.standard_normal((5, 1, side, side)).astype(dtype)
    t = rng.integers(0, 4, 5)
    theirs, mine = kind(textbook, x), kind(ours, x)
    target = SimpleNamespace(private={"arg_max", "col"})
    for _ in range(3):
        expected_before = copy.deepcopy(x)
        np.random.seed(3)  # noqa: NPY002
        scores, loss = one_by_one(theirs, x, t, True)
        drawn = np.random.random_sample()  # noqa: NPY002
        if STATE not in vars(mine):
            mine.predict(x)  # they meet their first images one by one
        as_if_served(mine)
        np.random.seed(3)  # noqa: NPY002
        gradients = mine.gradient(x, t)
        assert np.random.random_sample() == drawn  # noqa: NPY002
        np.testing.assert_array_equal(x, expected_before)
        close(mine.last_layer.loss, loss, tolerance)
        affine = [layer for layer in in_order(theirs) if hasattr(layer, "dW")]
        assert list(gradients) == [f"{name}{i}" for i in range(1, len(affine) + 1) for name in "Wb"]
        for i, layer in enumerate(affine, 1):
            close(gradients[f"W{i}"], layer.dW, tolerance)
            close(gradients[f"b{i}"], layer.db, tolerance)
        for one, two in zip(in_order(theirs), in_order(mine), strict=True):
            assert not state_difference(target, vars(one), vars(two)).reason
        np.random.seed(3)  # noqa: NPY002
        close(mine.predict(x), one_by_one(theirs, x, t, False)[0], tolerance)
        assert vars(mine)[STATE].value.blocks


@pytest.mark.parametrize("kind, side", [(ExactSimple, 12), (ExactDeep, 16), (ExactDeep, 18)])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("images", [1, 2, 5])
def test_exact_steps(kind, side, dtype, images, monkeypatch):
    """The bits of the layers one by one. One image, whose rows lie otherwise in memory, makes no block."""
    monkeypatch.setattr(settings, "tier", "exact")
    rng = np.random.default_rng(1)
    x = rng.standard_normal((images, 1, side, side)).astype(dtype)
    if images == 2:  # everything becomes NaN by and by
        x[0, 0, :3, :3] = np.nan
    x[-1, 0, 5:, 5:] = -0.0
    t = rng.integers(0, 4, images)
    theirs, mine = kind(EXACT, x), kind(EXACT, x)
    target = SimpleNamespace(private={"arg_max", "col", "col_W"})
    for _ in range(3):
        np.random.seed(3)  # noqa: NPY002
        scores, loss = one_by_one(theirs, x, t, True)
        mine.predict(x)
        as_if_served(mine)
        np.random.seed(3)  # noqa: NPY002
        gradients = mine.gradient(x, t)
        np.testing.assert_array_equal(mine.last_layer.loss, loss)
        parameters = [layer for layer in in_order(theirs) if hasattr(layer, "dW")]
        for i, layer in enumerate(parameters, 1):
            assert gradients[f"W{i}"].tobytes() == layer.dW.tobytes()
            assert gradients[f"b{i}"].tobytes() == layer.db.tobytes()
        for one, two in zip(in_order(theirs), in_order(mine), strict=True):
            found = state_difference(target, vars(one), vars(two))
            assert not found.reason
            assert not found.largest
        np.random.seed(3)  # noqa: NPY002
        assert mine.predict(x).tobytes() == one_by_one(theirs, x, t, False)[0].tobytes()
        assert bool(vars(mine)[STATE].value.blocks) == (images > 1)
    d = rng.standard_normal(np.shape(in_order(mine)[1].mask))
    if kind is ExactSimple:  # its layers alone go on from the block
        d = rng.standard_normal((images, 4, side // 2 - 2, side // 2 - 2))
    names = (2, 1, 0) if kind is ExactSimple else (1, 0)
    one, two = d.copy(), d.copy()
    for place in names:
        one, two = in_order(theirs)[place].backward(one), in_order(mine)[place].backward(two)
    assert one.tobytes() == two.tobytes()
    assert in_order(mine)[0].dW.tobytes() == in_order(theirs)[0].dW.tobytes()


def test_layers_alone_go_on_from_a_block(tolerance):
    """A block leaves in each layer what its own backward pass needs."""
    x = np.random.default_rng(1).standard_normal((3, 1, 12, 12))
    theirs, mine = Simple(textbook, x), Simple(ours, x)
    mine.predict(x)
    as_if_served(mine)
    mine.predict(x)
    assert vars(mine)[STATE].value.blocks
    one_by_one(theirs, x, np.zeros(3, int), False)
    dout = np.random.default_rng(2).standard_normal((3, 4, 4, 4))
    dins = []
    for model in (theirs, mine):
        d = dout.astype(model.layers["Pool1"].x.dtype)
        for name in ("Pool1", "Relu1", "Conv1"):
            d = model.layers[name].backward(d)
        dins.append(d)
    close(dins[1], dins[0], tolerance)
    close(mine.layers["Conv1"].dW, theirs.layers["Conv1"].dW, tolerance)


def test_layers_that_fastdl_does_not_serve_make_no_block(tolerance):
    x = np.random.default_rng(1).standard_normal((3, 1, 12, 12))
    model = Simple(ours, x)
    for _ in range(2):
        scores = model.predict(x)  # no wrapper has said that it served the ReLU
        assert not vars(model)[STATE].value.blocks
    as_if_served(model)
    other = x[:2]
    model.predict(other)  # of another shape: the layers meet it first
    assert not vars(model)[STATE].value.blocks
    close(model.predict(x), scores, tolerance)
    assert vars(model)[STATE].value.blocks


SCRIPT = """
import sys; sys.path[:0] = ["{root}", "{root}/ch07", "{root}/ch08"]
import numpy as np
from {module} import {name}
np.random.seed(0)
net = {name}()
x, t = np.random.standard_normal((6, 1, 28, 28)).astype("f"), np.random.randint(0, 10, 6)
for _ in range(3):
    gradients = net.gradient(x, t)
    print(repr(float(net.loss(x, t))))
    for name, gradient in gradients.items():
        print(name, gradient.shape, gradient.dtype, repr(float(np.abs(gradient).sum())))
        net.params[name] -= 0.01 * gradient
print(np.random.random_sample())
"""


@needs_checkouts
@pytest.mark.parametrize("tier", ["--fast", "--exact"])
@pytest.mark.parametrize(
    "module, name", [("simple_convnet", "SimpleConvNet"), ("deep_convnet", "DeepConvNet")]
)
def test_the_originals(module, name, tier, tmp_path):
    """In a program of its own: the same lines, but for the last digits of the fast tier."""
    script = tmp_path / "steps.py"
    script.write_text(SCRIPT.format(root=checkout("dlfs1"), module=module, name=name))
    said = []
    for command in ([], ["-m", "fastdl", "run", tier]):
        done = subprocess.run([sys.executable, *command, script], capture_output=True, text=True, check=True)
        said.append(done.stdout.split())
        if command:
            assert f"{name}.predict" in done.stderr
            assert f"{name}.gradient" in done.stderr
    plain, fast = said
    assert len(plain) == len(fast) > 20
    if tier == "--exact":
        assert plain == fast
    for one, two in zip(plain, fast):
        try:
            assert float(two) == pytest.approx(float(one), rel=1e-8)
        except ValueError:
            assert one == two


@pytest.mark.parametrize("change", ["mask", "layers"])
def test_a_block_that_is_changed_between_its_passes_goes_layer_by_layer(change, tolerance):
    """Nothing is read past the end of a mask, and a layer that is replaced gives its own gradient."""

    class Changed(Deep):
        def loss(self, x, t):
            loss = super().loss(x, t)
            if change == "mask":
                self.layers[1].mask = self.layers[1].mask[:1]
            else:
                self.layers[1] = copy.copy(self.layers[1])
            return loss

    x, t = np.random.default_rng(0).standard_normal((4, 1, 16, 16)), np.array([0, 1, 2, 3])
    changed, plain = Changed(ours, x), Deep(ours, x)
    for model in (changed, plain):
        model.predict(x)
        as_if_served(model)
        model.predict(x)
    if change == "mask":
        with pytest.raises(TypeError, match="no mask for this array"):
            changed.gradient(x, t)
        return
    gradients = []
    for model in (changed, plain):
        np.random.seed(3)  # noqa: NPY002
        gradients.append(model.gradient(x, t))
    for name, gradient in gradients[1].items():
        close(gradients[0][name], gradient, tolerance)
