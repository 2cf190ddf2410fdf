"""ML-From-Scratch itself, where there is a checkout: it is recognised, and ours compute what it computes."""

from __future__ import annotations

import importlib
import itertools
import sys

import numpy as np
import pytest
from originals import agree, checkout, fingerprints, needs_checkouts, outcome, same, with_ours

from fastdl.compat import shims
from fastdl.compat.ml_from_scratch import activation_functions, columns, layers, optimizers
from fastdl.compat.ml_from_scratch.targets import TARGETS

pytestmark = [needs_checkouts, pytest.mark.filterwarnings("ignore::DeprecationWarning")]
PASSES = ("forward_pass", "backward_pass")


@pytest.fixture(scope="module")
def original():
    """`deep_learning`, which asks for tables, progress bars and matplotlib."""
    pytest.importorskip("matplotlib").use("Agg")
    shims.install(["terminaltables", "progressbar"])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "dont_write_bytecode", True)
        patch.syspath_prepend(str(checkout("ML-From-Scratch")))
        yield lambda name: importlib.import_module(f"mlfromscratch.deep_learning.{name}")
    shims.uninstall()
    for name in [name for name in sys.modules if name.split(".")[0] in ("mlfromscratch", "progressbar")]:
        del sys.modules[name]


def draw(shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def states(*instances):
    """The arrays that the attributes of two instances hold, in pairs."""
    one, two = (vars(instance) for instance in instances)
    return [(one[name], two[name]) for name in two if isinstance(two[name], np.ndarray) and name in one]


def test_the_published_definitions_are_recognised():
    found = fingerprints(checkout("ML-From-Scratch") / "mlfromscratch" / "deep_learning")
    for target in TARGETS:
        assert target.fingerprints & found[target.name], target.name


@pytest.mark.parametrize("shape", [(3, 3), (2, 3), (1, 1), (4, 5)])
@pytest.mark.parametrize("batch", [1, 3])
def test_convolution(original, shape, batch):
    theirs, X = original("layers"), draw((batch, 3, 9, 8))
    for padding, stride in itertools.product(("same", "valid", 0), (1, 2, 3)):
        agree(theirs.image_to_column, columns.image_to_column, X, shape, stride, padding, exact=True)
        cols = outcome(theirs.image_to_column, X, shape, stride, padding)
        if isinstance(cols, Exception):
            continue
        arguments = (draw(cols.shape, 1), X.shape, shape, stride, padding)
        assert agree(theirs.column_to_image, columns.column_to_image, *arguments, exact=True)
        layer = theirs.Conv2D(4, shape, (3, 9, 8), padding, stride)
        layer.initialize(original("optimizers").Adam())
        ours = with_ours(layer, layers.Conv2D, *PASSES)
        for seed in (1, 2):
            same(ours.forward_pass(X), y := layer.forward_pass(X))
            same(ours.backward_pass(draw(y.shape, seed)), layer.backward_pass(draw(y.shape, seed)))
            for pair in states(ours, layer):
                same(*pair)


@pytest.mark.parametrize("shape", [(7, 5), (6, 3, 4, 4)])
def test_batch_normalisation(original, shape):
    layer = original("layers").BatchNormalization()
    layer.set_input_shape(shape[1:])
    layer.initialize(original("optimizers").Adam())
    ours = with_ours(layer, layers.BatchNormalization, *PASSES)
    for seed, training in enumerate((True, True, False, True)):
        X, dy = draw(shape, seed), draw(shape, seed + 9)
        same(ours.forward_pass(X, training), layer.forward_pass(X, training))
        back = ours.backward_pass if training else super(type(ours), ours).backward_pass
        same(back(dy), layer.backward_pass(dy))
        for pair in states(ours, layer):
            same(*pair)


@pytest.mark.parametrize("steps", [1, 2, 5, 10])
@pytest.mark.parametrize("activation", ["tanh", "relu", "sigmoid"])
def test_recurrent_layer(original, steps, activation):
    for truncated in (0, 1, 5, 20):
        layer = original("layers").RNN(6, activation, truncated, (steps, 4))
        layer.initialize(original("optimizers").Adam())
        ours = with_ours(layer, layers.RNN, *PASSES)
        for seed in (1, 2):
            X, dy = draw((3, steps, 4), seed), draw((3, steps, 4), seed + 9)
            same(ours.forward_pass(X), layer.forward_pass(X))
            same(ours.backward_pass(dy), layer.backward_pass(dy))
            for pair in states(ours, layer):
                same(*pair)


def test_activations_and_optimizers(original):
    for name in activation_functions.__all__:
        theirs, x = getattr(original("activation_functions"), name)(), draw((9, 11)) * 5
        x[0, :2] = 0.0, -0.0
        ours = with_ours(theirs, getattr(activation_functions, name), "__call__", "gradient")
        assert agree(theirs, ours, x)
        assert agree(theirs.gradient, ours.gradient, x)
    for name in optimizers.__all__:
        theirs = getattr(original("optimizers"), name)()
        ours = with_ours(theirs, getattr(optimizers, name), "update")
        one = two = draw((5, 7))
        for seed in range(1, 6):
            one, two = ours.update(one, draw((5, 7), seed)), theirs.update(two, draw((5, 7), seed))
            same(one, two)
            for pair in states(ours, theirs):
                same(*pair)
