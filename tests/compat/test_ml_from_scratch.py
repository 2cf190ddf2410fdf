"""ML-From-Scratch: every replacement against the same definition, written out place by place."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest

from fastdl.compat.ml_from_scratch import activation_functions, columns, layers, optimizers
from fastdl.compat.ml_from_scratch.targets import TARGETS
from fastdl.compat.tier import Unserved, settings
from textbook import ml_from_scratch as book

GEOMETRIES = [
    ((3, 3), 1, "same"),
    ((2, 3), 1, "same"),
    ((4, 5), 2, "same"),
    ((3, 2), 2, "valid"),
    ((1, 1), 3, "valid"),
]


def draw(shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def close(ours, expected, limit=1e-12):
    assert ours.dtype == expected.dtype
    assert ours.shape == expected.shape
    np.testing.assert_allclose(ours, expected, rtol=limit, atol=limit * np.abs(expected).max(initial=1))


def bits(ours, expected):
    assert ours.dtype == expected.dtype
    assert ours.shape == expected.shape
    assert ours.tobytes() == expected.tobytes()


def with_ours(layer, ours, names=("forward_pass", "backward_pass")):
    """A copy of a layer on whose class our methods have been set."""
    new = copy.deepcopy(layer)
    new.__class__ = type("Served", (type(layer),), {name: vars(ours)[name] for name in names})
    return new


def same_state(ours, expected, *private):
    for name, value in vars(expected).items():
        if name not in private and isinstance(value, np.ndarray):
            close(getattr(ours, name), value)
        elif isinstance(value, book.PlainSteps):
            assert getattr(ours, name).steps == value.steps


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.int64])
@pytest.mark.parametrize("shape, stride, padding", GEOMETRIES)
def test_columns(shape, stride, padding, dtype):
    images = np.round(draw((2, 3, 7, 8)) * 9).astype(dtype).transpose(0, 1, 3, 2)
    expected = book.image_to_column(images, shape, stride, padding)
    ours = columns.image_to_column(images, shape, stride, padding)
    bits(ours, expected)
    assert ours.flags.c_contiguous
    cols = draw(expected.shape, 1)
    found = columns.column_to_image(cols, images.shape, shape, stride, padding)
    bits(found, book.column_to_image(cols, images.shape, shape, stride, padding))


# ---- convolution


@pytest.mark.parametrize("shape, stride, padding", GEOMETRIES)
@pytest.mark.parametrize("trainable", [True, False])
def test_convolution(shape, stride, padding, trainable):
    layer = book.Conv2D(draw((4, 3, *shape)), draw((4, 1), 1), (3, 7, 8), padding, stride)
    layer.trainable = trainable
    served = with_ours(layer, layers.Conv2D)
    for seed in (2, 3):
        X = draw((2, 3, 7, 8), seed)
        y = layer.forward_pass(X)
        close(served.forward_pass(X), y)
        assert served.layer_input is X
        dy = draw(y.shape, 4)
        close(served.backward_pass(dy), layer.backward_pass(dy))
        same_state(served, layer, "X_col")


def test_the_gradient_is_that_of_the_filters_before_the_step():
    layer = book.Conv2D(draw((4, 3, 3, 3)), draw((4, 1), 1), (3, 6, 6))
    served = with_ours(layer, layers.Conv2D)
    X, other = draw((2, 3, 6, 6), 2), draw((4, 3, 3, 3), 5)
    for one in (layer, served):
        one.forward_pass(X)
        one.W = other  # as `load_weights` would between the passes
    dy = draw((2, 4, 6, 6), 3)
    close(served.backward_pass(dy), layer.backward_pass(dy))
    close(served.W, layer.W)


def test_the_original_can_take_over_after_our_forward_pass():
    layer = book.Conv2D(draw((4, 3, 3, 3)), draw((4, 1), 1), (3, 6, 6))
    served = with_ours(layer, layers.Conv2D)
    X = draw((2, 3, 6, 6), 2)
    layer.forward_pass(X)
    served.forward_pass(X)
    with pytest.raises(Unserved):
        served.backward_pass(np.ones((2, 4, 6, 6), object))
    bits(served.X_col, layer.X_col)
    with pytest.raises(Unserved):
        layers.Conv2D.backward_pass(layer, np.ones((2, 4, 6, 6)))
    assert layer.W_opt.steps == served.W_opt.steps == 0
    again = pickle.loads(pickle.dumps(layer))
    with pytest.raises(Unserved):
        layers.Conv2D.backward_pass(again, np.ones((2, 4, 6, 6)))


# ---- batch normalisation


@pytest.mark.parametrize("shape", [(5,), (3, 4, 2)])
def test_batch_normalisation(shape):
    layer = book.BatchNormalization(shape, 0.8)
    served = with_ours(layer, layers.BatchNormalization)
    for seed, (training, trainable) in enumerate([(1, 1), (1, 1), (0, 1), (1, 0), (1, 1)]):
        layer.trainable = served.trainable = bool(trainable)
        X, dy = draw((6, *shape), seed) + 3, draw((6, *shape), seed + 50)
        close(served.forward_pass(X, bool(training)), layer.forward_pass(X, bool(training)), 1e-11)
        expected = layer.backward_pass(dy)
        if training and trainable:
            close(served.backward_pass(dy), expected, 1e-11)
        else:  # the original goes on, with what it needs
            with pytest.raises(Unserved):
                served.backward_pass(dy)
            close(book.BatchNormalization.backward_pass(served, dy), expected, 1e-11)
        same_state(served, layer, *(("X_centered",) if training and trainable else ()))
    assert served.gamma_opt.steps == 4


def test_batch_normalisation_takes_the_gamma_of_the_moment():
    layer = book.BatchNormalization((5,))
    served = with_ours(layer, layers.BatchNormalization)
    X, dy = draw((6, 5)), draw((6, 5), 1)
    for one in (layer, served):
        one.forward_pass(X)
        one.gamma = np.arange(5.0)
        one.trainable = False
    close(served.backward_pass(dy), layer.backward_pass(dy))


# ---- recurrent layer


@pytest.mark.parametrize("steps", [1, 2, 7])
@pytest.mark.parametrize("truncated", [0, 1, 3, 20])
def test_recurrent_layer(steps, truncated):
    weights = draw((6, 4)), draw((4, 6), 1), draw((6, 6), 2) / 3
    layer = book.RNN(*weights, book.TanH(), truncated)
    served = with_ours(layer, layers.RNN)
    for seed in (3, 4):
        X, dy = draw((3, steps, 4), seed), draw((3, steps, 4), seed + 9)
        close(served.forward_pass(X), layer.forward_pass(X))
        close(served.backward_pass(dy), layer.backward_pass(dy))
        same_state(served, layer)


# ---- activations and optimizers


@pytest.mark.parametrize("dtype, limit", [(np.float64, 1e-13), (np.float32, 1e-5)])
def test_activations(dtype, limit):
    x = (draw((6, 7)) * 4).astype(dtype)
    x[0, :3] = 0.0, -0.0, 30.0
    s, e = 1 / (1 + np.exp(-x)), np.exp(x - x.max(axis=-1, keepdims=True))
    p = e / e.sum(axis=-1, keepdims=True)
    expected = {
        "Sigmoid": (s, s * (1 - s)),
        "TanH": (np.tanh(x), 1 - np.tanh(x) ** 2),
        "Softmax": (p, p * (1 - p)),
        "ReLU": (x * (x >= 0), np.array(x >= 0, np.int_)),
    }
    assert set(expected) == set(activation_functions.__all__)
    for name, (value, slope) in expected.items():
        ours = getattr(activation_functions, name)()
        close(ours(x), value, limit)
        close(ours.gradient(x), slope, limit)


@pytest.mark.parametrize(
    "name, odd", [("ReLU", np.nan), ("Sigmoid", -1e3), ("TanH", -1e3), ("Softmax", np.nan)]
)
def test_activations_leave_warnings_and_odd_rules_to_the_original(name, odd):
    with pytest.raises(Unserved):
        getattr(activation_functions, name)()(np.array([[1.0, odd]]))


@pytest.mark.parametrize("name", optimizers.__all__)
def test_optimizers(name):
    theirs = getattr(book, name)()
    ours = with_ours(theirs, getattr(optimizers, name), ("update",))
    w = draw((5, 7))
    expected = w
    for seed in range(1, 6):
        g = draw((5, 7), seed)
        before, kept, sums = w, w.copy(), getattr(ours, "G", None)
        w, expected = ours.update(w, g), theirs.update(expected, g)
        np.testing.assert_array_equal(before, kept)
        assert sums is None or ours.G is sums
        close(w, expected)
        same_state(ours, theirs)
    shared = copy.copy(ours)
    states = {key: value.copy() for key, value in vars(ours).items() if isinstance(value, np.ndarray)}
    if name != "Adagrad":  # whose sum is kept in place, as the original does
        shared.update(w, g)
        for key, value in states.items():
            np.testing.assert_array_equal(getattr(ours, key), value)
    with pytest.raises(Unserved):
        ours.update(w.astype(np.float32), g)
    with pytest.raises(Unserved):
        ours.update(1.0, 2.0)


# ---- what is not served, and float32


IMAGES = draw((2, 3, 6, 6))
CONVOLUTION = book.Conv2D(draw((4, 3, 3, 3)), draw((4, 1), 1), (3, 6, 6))
REFUSED = {
    "objects": lambda: layers.Conv2D.forward_pass(CONVOLUTION, IMAGES.astype(object)),
    "other channels": lambda: layers.Conv2D.forward_pass(CONVOLUTION, IMAGES[:, :2]),
    "another size": lambda: layers.Conv2D.forward_pass(CONVOLUTION, IMAGES[:, :, :5]),
    "an unknown padding": lambda: columns.image_to_column(IMAGES, (3, 3), 1, 0),
    "a large filter": lambda: columns.image_to_column(IMAGES, (7, 7), 1, "valid"),
    "columns of another size": lambda: columns.column_to_image(draw((9, 4)), (1, 1, 4, 4), (3, 3), 1),
    "one sample": lambda: layers.BatchNormalization.forward_pass(book.BatchNormalization((5,)), draw((1, 5))),
    "float32 statistics": lambda: layers.BatchNormalization.forward_pass(
        book.BatchNormalization((5,)), draw((3, 5)).astype(np.float32)
    ),
}


@pytest.mark.parametrize("what", REFUSED)
def test_refused(what):
    with pytest.raises(Unserved):
        REFUSED[what]()


def test_float32_where_it_was_allowed(monkeypatch):
    monkeypatch.setattr(settings, "dtype", np.dtype(np.float32))
    layer = copy.deepcopy(CONVOLUTION)
    served = with_ours(layer, layers.Conv2D)
    y, expected = served.forward_pass(IMAGES), layer.forward_pass(IMAGES)
    assert y.dtype == np.float32
    np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(
        served.backward_pass(expected), layer.backward_pass(expected), rtol=1e-3, atol=1e-3
    )
    np.testing.assert_allclose(served.W, layer.W, rtol=1e-3, atol=1e-3)


def test_targets_name_what_there_is():
    for target in TARGETS:
        for tier in ("fast", "exact"):
            found = target.replacement(tier)
            assert found is None or all(hasattr(found, method) for method in target.methods)
        assert target.replacement("fast") is not None
