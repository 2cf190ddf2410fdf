"""numpy-ml itself, where there is a checkout: it is recognised, and ours compute what it computes."""

from __future__ import annotations

import collections
import importlib
import itertools
import sys
from types import ModuleType

import numpy as np
import pytest
from originals import agree, checkout, fingerprints, needs_checkouts, outcome, same, with_ours

from fastdl.compat import shims
from fastdl.compat.numpy_ml import layers, optimizers, pooling, utils
from fastdl.compat.numpy_ml.targets import TARGETS

pytestmark = [needs_checkouts, pytest.mark.filterwarnings("ignore::DeprecationWarning")]

PADS = (0, 1, 2, (1, 2), (0, 1, 2, 0), "same", "unknown", -1, 1.0)
KERNELS = ((1, 1), (3, 3), (2, 3), (5, 4))


@pytest.fixture(scope="module")
def original():
    """`neural_nets` without the other chapters, which import much."""
    shims.install(["collections"])
    package = ModuleType("numpy_ml")
    package.__path__ = [str(checkout("numpy-ml") / "numpy_ml")]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "dont_write_bytecode", True)
        patch.setitem(sys.modules, "numpy_ml", package)
        yield importlib.import_module("numpy_ml.neural_nets")
    shims.uninstall()
    for name in [name for name in sys.modules if name.split(".")[0] == "numpy_ml"]:
        del sys.modules[name]
    vars(collections).pop("Hashable")


def draw(shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def test_the_published_definitions_are_recognised():
    found = fingerprints(checkout("numpy-ml") / "numpy_ml" / "neural_nets")
    for target in TARGETS:
        assert target.fingerprints & found[target.name], target.name


@pytest.mark.parametrize("kernel", KERNELS)
def test_images(original, kernel):
    theirs, served = original.utils, 0
    X, W = draw((2, 9, 7, 3)), draw((*kernel, 3, 4), 1)
    for pad, stride, gap in itertools.product(PADS, (1, 2, 3), (0, 1)):
        served += agree(theirs.pad2D, utils.pad2D, X, pad, kernel, stride, gap, exact=True)
        served += agree(theirs.im2col, utils.im2col, X, W.shape, pad, stride, gap, exact=True)
        served += agree(theirs.conv2D, utils.conv2D, X, W, stride, pad, gap)
        served += agree(theirs.deconv2D_naive, utils.deconv2D_naive, X, W, stride, pad, 0)
        columns = outcome(theirs.im2col, X, W.shape, pad, stride, gap)
        if not isinstance(columns, Exception):
            shape, pads = columns[0].shape, columns[1]
            arguments = (draw(shape, 2), X.shape, W.shape, pads, stride, gap)
            served += agree(theirs.col2im, utils.col2im, *arguments, exact=True)
    assert agree(theirs.conv2D_naive, utils.conv2D_naive, X, W, 2, 1)
    assert served > 100


@pytest.mark.parametrize("kernel", KERNELS)
def test_image_layers(original, kernel):
    served, X = 0, draw((2, 9, 7, 3))
    for pad, stride, gap in itertools.product(PADS[:6], (1, 2), (0, 1)):
        for activation in (None, "ReLU", "Tanh"):
            for ours, layer in (
                (layers.Conv2D, original.layers.Conv2D(4, kernel, pad, stride, gap, activation)),
                (layers.Deconv2D, original.layers.Deconv2D(4, kernel, pad, stride, activation)),
            ):
                if isinstance(outcome(layer.forward, X), Exception):
                    continue
                y = layer.forward(X)
                Z = layer.derived_variables["Z"][-1]
                served += agree(layer._bwd, with_ours(layer, ours, "_bwd")._bwd, draw(y.shape, 1), X, Z)
    assert served > 20


@pytest.mark.parametrize("width", [1, 2, 3, 5])
def test_sequences(original, width):
    served, X, W = 0, draw((2, 11, 3)), draw((width, 3, 4), 1)
    for pad, stride, gap in itertools.product((0, 2, (1, 2), "same", "causal", "unknown"), (1, 2), (0, 2)):
        served += agree(original.utils.pad1D, utils.pad1D, X, pad, width, stride, gap, exact=True)
        served += agree(original.utils.conv1D, utils.conv1D, X, W, stride, pad, gap)
        layer = original.layers.Conv1D(4, width, pad, stride, gap, "Sigmoid")
        if isinstance(outcome(layer.forward, X), Exception):
            continue
        y = layer.forward(X)
        Z = layer.derived_variables["Z"][-1]
        served += agree(layer._bwd, with_ours(layer, layers.Conv1D, "_bwd")._bwd, draw(y.shape, 1), X, Z)
    assert served > 20


@pytest.mark.parametrize("ours", [pooling.Pool2D, pooling.ExactPool2D])
@pytest.mark.parametrize("mode", ["max", "average"])
def test_pooling(original, ours, mode):
    served = 0
    for kernel, stride, pad in itertools.product(
        ((2, 2), (3, 3), (1, 2)), (1, 2, 3), (0, 1, (1, 0, 0, 1), "same")
    ):
        for dtype in (np.float64, np.float32):
            X = np.round(draw((2, 7, 6, 3)) * 2).astype(dtype)
            layer = original.layers.Pool2D(kernel, stride, pad, mode)
            other = with_ours(layer, ours, "forward", "backward")
            exact = ours is pooling.ExactPool2D
            y = layer.forward(X)
            same(other.forward(X), y, exact)
            assert other.derived_variables == layer.derived_variables
            dy = draw(y.shape, 1)
            expected, found = outcome(layer.backward, dy), outcome(other.backward, dy)
            if isinstance(found, Exception):
                assert isinstance(expected, Exception) or pad
                continue
            same(found, expected, exact, 1e-10 if dtype == np.float64 else 1e-5)
            served += 1
    assert served > 15


def test_softmax_embedding_and_optimizers(original):
    for shape in ((4, 5), (3, 4, 5)):
        layer, X = original.layers.Softmax(), draw(shape) * 4
        assert agree(layer._bwd, with_ours(layer, layers.Softmax, "_bwd")._bwd, draw(shape, 1), X)
    numbers = np.random.default_rng(0).integers(-9, 9, size=(4, 6))
    for pool in (None, "sum", "mean"):
        layer = original.layers.Embedding(5, 9, pool=pool)
        dy = draw((4, 6, 5) if pool is None else (4, 1, 5))
        ours = with_ours(layer, layers.Embedding, "_bwd")
        assert agree(layer._bwd, ours._bwd, dy, numbers, exact=True)
    for name in optimizers.__all__:
        theirs = getattr(original.optimizers, name)()
        ours = with_ours(theirs, getattr(optimizers, name), "update")
        one = two = draw((5, 7))
        for seed in range(1, 6):
            one, two = ours.update(one, draw((5, 7), seed), "W"), theirs.update(two, draw((5, 7), seed), "W")
            same(one, two)
        assert ours.cache["W"].keys() == theirs.cache["W"].keys() if name == "Adam" else True
    X = draw((2, 3, 4, 2))
    assert agree(original.utils.dilate, utils.dilate, X, 2, exact=True)
    assert agree(original.utils.dilate, utils.dilate, np.asfortranarray(X), 1, exact=True)
