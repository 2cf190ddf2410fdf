"""numpy-ml: every replacement against the same definition, written out cell by cell."""

from __future__ import annotations

import copy

import numpy as np
import pytest

from fastdl import backends
from fastdl.compat.numpy_ml import layers, optimizers, pooling, utils
from fastdl.compat.numpy_ml.targets import TARGETS
from fastdl.compat.tier import Unserved, settings
from textbook import numpy_ml as book

GEOMETRIES = [
    ((3, 3), 1, 0, 0),
    ((3, 3), 1, 1, 0),
    ((2, 3), 2, (1, 2), 0),
    ((3, 2), 3, (0, 1, 2, 0), 0),
    ((2, 3), 1, "same", 0),
    ((3, 3), 2, "same", 1),
    ((2, 2), 1, 2, 2),
    ((1, 1), 2, 0, 0),
    ((5, 4), 1, 1, 0),
]


def draw(shape, seed=0, dtype=np.float64):
    return np.random.default_rng(seed).normal(size=shape).astype(dtype)


def close(ours, expected, limit=1e-12):
    if isinstance(expected, tuple):
        assert len(ours) == len(expected)
        for one, two in zip(ours, expected):
            close(one, two, limit)
        return
    assert ours.dtype == expected.dtype
    assert ours.shape == expected.shape
    np.testing.assert_allclose(ours, expected, rtol=limit, atol=limit * np.abs(expected).max(initial=1))


def bits(ours, expected):
    assert ours.dtype == expected.dtype
    assert ours.shape == expected.shape
    assert ours.tobytes() == expected.tobytes()


# ---- moves of data, in both tiers


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.int64])
@pytest.mark.parametrize("kernel, stride, pad, gap", GEOMETRIES)
def test_columns(kernel, stride, pad, gap, dtype):
    X, shape = draw((2, 7, 8, 3), dtype=np.float64), (*kernel, 3, 4)
    X = np.round(X * 9).astype(dtype)[:, ::-1]
    expected, pads = book.im2col(X, shape, pad, stride, gap)
    ours, our_pads = utils.im2col(X, shape, pad, stride, gap)
    bits(ours, expected)
    assert ours.flags.c_contiguous
    assert our_pads == pads
    columns = draw(expected.shape, 1)
    images = utils.col2im(columns, X.shape, shape, pads, stride, gap)
    bits(images, book.col2im(columns, X.shape, shape, pads, stride, gap))
    bits(utils.pad2D(X, pad, kernel, stride, gap)[0], book.padded(X, pads))


@pytest.mark.parametrize(
    "pad, expected", [(1, (1, 1)), ((0, 2), (0, 2)), ("same", (2, 2)), ("causal", (4, 0))]
)
def test_sequences_are_padded(pad, expected):
    X = draw((2, 6, 3))
    padded, pads = utils.pad1D(X, pad, 3, 1, 1)
    assert pads == expected
    bits(padded, np.pad(X, ((0, 0), expected, (0, 0))))


def test_dilation_puts_zeros_between():
    X = draw((2, 3, 4, 2))
    wide = utils.dilate(X, 2)
    assert wide.shape == (2, 7, 10, 2)
    bits(wide[:, ::3, ::3].copy(), X)
    assert np.abs(wide).sum() == np.abs(X).sum()
    assert utils.dilate(np.asfortranarray(X), 1).flags.f_contiguous


# ---- convolutions


@pytest.mark.parametrize("kernel, stride, pad, gap", GEOMETRIES)
def test_convolution(kernel, stride, pad, gap):
    X, W = draw((2, 7, 8, 3)), draw((*kernel, 3, 4), 1)
    layer = book.Conv2D(W, pad, stride, gap)
    Z = layer.product(X)
    close(utils.conv2D(X, W, stride, pad, gap), Z)
    close(utils.conv2D_naive(X, W, stride, pad, gap), Z)
    dy = draw(Z.shape, 2)
    before = copy.deepcopy(vars(layer))
    close(layers.Conv2D._bwd(layer, dy, X, Z), layer._bwd(dy, X, Z))
    assert before.keys() == vars(layer).keys()
    assert layers.Conv2D._bwd(layer, dy, X, Z)[1] is not layers.Conv2D._bwd(layer, dy, X, Z)[1]


@pytest.mark.parametrize(
    "width, stride, pad, gap", [(3, 1, "same", 0), (2, 1, "causal", 1), (3, 2, (1, 0), 0)]
)
def test_sequence_convolution(width, stride, pad, gap):
    X, W = draw((2, 9, 3)), draw((width, 3, 4), 1)
    pads = utils.pad1D(X, pad, width, stride, gap)[1]
    two = book.Conv2D(W[None], (0, 0, *pads), stride, gap)
    Z = two.product(X[:, None])
    close(utils.conv1D(X, W, stride, pad, gap), Z[:, 0])
    layer = book.Layer()
    vars(layer).update(parameters={"W": W}, kernel_width=width, pad=pad, stride=stride, dilation=gap)
    dy = draw(Z.shape, 2)
    dX, dW, dB = two._bwd(dy, X[:, None], Z)
    close(layers.Conv1D._bwd(layer, dy[:, 0], X, Z[:, 0]), (dX[:, 0], dW[0], dB[0]))


@pytest.mark.parametrize("kernel, stride, pad", [((3, 3), 2, 0), ((2, 3), 1, (0, 1)), ((3, 3), 3, "same")])
def test_transposed_convolution(kernel, stride, pad):
    X, W = draw((2, 3, 4, 2)), draw((*kernel, 2, 3), 1)
    layer = book.Deconv2D(W, pad, stride)
    Z = layer.product(X)
    close(utils.deconv2D_naive(X, W, stride, pad), Z)
    dy = draw(Z.shape, 2)
    close(layers.Deconv2D._bwd(layer, dy, X, Z), layer._bwd(dy, X, Z), 1e-11)


# ---- pooling


def with_ours(layer, ours):
    """A copy of a layer on whose class our methods have been set."""
    methods = {name: vars(ours)[name] for name in ("forward", "backward")}
    new = copy.deepcopy(layer)
    new.__class__ = type("Served", (type(layer),), methods)
    return new


@pytest.mark.parametrize("ours", [pooling.Pool2D, pooling.ExactPool2D])
@pytest.mark.parametrize("mode", ["max", "average"])
@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.int64])
@pytest.mark.parametrize(
    "kernel, stride, pad",
    [
        ((2, 2), 2, 0),
        ((3, 2), 1, 0),
        ((3, 3), 2, 1),
        ((2, 2), 1, "same"),
        ((7, 6), 1, 0),
        ((1, 1), 3, (1, 0)),
    ],
)
def test_pooling(ours, mode, dtype, kernel, stride, pad):
    layer = book.Pool2D(kernel, stride, pad, mode)
    served = with_ours(layer, ours)
    inputs = [np.round(draw((2, 7, 6, 3), seed) * 2).astype(dtype) for seed in (0, 1)]  # with ties
    if dtype != np.int64:
        inputs[1] = draw((2, 7, 6, 3), 1, dtype)
    np.random.seed(3)  # noqa: NPY002 - the generator that teaching code uses
    state = np.random.get_state()[1].tolist()  # noqa: NPY002
    equal = bits if ours is pooling.ExactPool2D else close
    expected = [layer.forward(X) for X in inputs]
    for X, y in zip(inputs, expected):
        equal(served.forward(X), y)
    assert state == np.random.get_state()[1].tolist()  # noqa: NPY002
    assert served.X[0] is inputs[0]
    assert served.derived_variables == layer.derived_variables
    assert type(served.derived_variables["out_rows"][0]) is np.intp
    dy = [draw(y.shape, 5) for y in expected]
    if dtype == np.int64 or (mode == "max" and pad):
        with pytest.raises(Unserved):
            served.backward(dy)
        return
    limit = 1e-12 if dtype == np.float64 else 1e-6
    for one, two in zip(served.backward(dy), layer.backward(dy)):
        bits(one, two) if equal is bits else close(one, two, limit)


def test_pooling_keeps_lists_only_where_it_is_asked_to():
    served = with_ours(book.Pool2D((2, 2), 2), pooling.Pool2D)
    served.forward(draw((1, 4, 4, 2)), retain_derived=False)
    assert served.X == []
    assert served.derived_variables == {"out_rows": [], "out_cols": []}
    assert served.in_ch == served.out_ch == 2
    served.forward(draw((1, 4, 4, 2)))
    assert served.backward(np.ones((1, 2, 2, 2))).shape == (1, 4, 4, 2)


@pytest.mark.parametrize("ours", [pooling.Pool2D, pooling.ExactPool2D])
def test_what_is_not_a_number_spreads_as_it_did(ours):
    X = draw((1, 4, 4, 1))
    layer = book.Pool2D((2, 2), 2)
    served = with_ours(layer, ours)
    layer.forward(X)
    served.forward(X)
    dy = np.array([[np.inf, 1.0], [np.nan, 2.0]]).reshape(1, 2, 2, 1)
    with np.errstate(invalid="ignore"):
        np.testing.assert_array_equal(served.backward(dy), layer.backward(dy))
    X[0, 0, 0, 0] = np.nan
    assert np.isnan(served.forward(X)[0, 0, 0, 0])
    with pytest.raises(Unserved, match="not a number"):
        served.backward([dy, dy])


# ---- softmax and embedding


@pytest.mark.parametrize("shape", [(5, 7), (3, 4, 6)])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_softmax_gradient(shape, dtype):
    X, dy, layer = draw(shape, 0, dtype), draw(shape, 1, dtype), book.Softmax()
    close(layers.Softmax._bwd(layer, dy, X), layer._bwd(dy, X), 1e-12 if dtype == np.float64 else 1e-5)


@pytest.mark.skipif(backends.native_error is not None, reason="rows are added in another order")
@pytest.mark.parametrize("pool", [None, "sum", "mean"])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_embedding_gradient_has_the_same_bits(pool, dtype):
    layer = book.Embedding(draw((9, 5), 0, dtype), pool)
    X = np.random.default_rng(1).integers(-9, 9, size=(6, 7))
    dy = draw((6, 7, 5) if pool is None else (6, 1, 5), 2, dtype)
    bits(layers.Embedding._bwd(layer, dy, X), layer._bwd(dy, X))


# ---- optimizers


@pytest.mark.parametrize("name", ["Adam", "RMSProp"])
def test_optimizers(name):
    theirs = getattr(book, name)()
    ours = copy.deepcopy(theirs)
    update = getattr(optimizers, name).update
    w = expected = draw((5, 7))
    for seed in range(1, 6):
        for parameter in "Wb":
            g, kept = draw((5, 7), seed), copy.deepcopy(ours.cache)
            before = ours.cache.get(parameter)
            w, expected = update(ours, w, g, parameter), theirs.update(expected, g, parameter)
            close(w, expected, 1e-11)
            if name == "RMSProp":
                assert ours.cache[parameter] is not before
                close(ours.cache[parameter], theirs.cache[parameter])
                continue
            assert before is None or ours.cache[parameter] is before
            assert ours.cache[parameter]["t"] == kept.get(parameter, {"t": 0})["t"] + 1
            for key in ("mean", "var"):
                close(ours.cache[parameter][key], theirs.cache[parameter][key])
    ours.hyperparameters["clip_norm"] = 1.0
    with pytest.raises(Unserved):
        update(ours, w, w, "W")


# ---- what is not served, and float32


X, W = draw((2, 6, 6, 3)), draw((3, 3, 3, 4), 1)
REFUSED = {
    "objects": lambda: utils.conv2D(X.astype(object), W, 1, 0),
    "half floats": lambda: utils.conv2D(X.astype(np.float16), W.astype(np.float16), 1, 0),
    "integers alone": lambda: utils.conv2D(X.astype(int), W.astype(int), 1, 0),
    "a masked array": lambda: utils.pad2D(np.ma.masked_array(X), 1),
    "a list": lambda: utils.im2col(X.tolist(), W.shape, 0, 1),
    "pads below zero": lambda: utils.im2col(X, W.shape, -1, 1),
    "pads of another name": lambda: utils.conv2D(X, W, 1, "valid"),
    "a pad that is no int": lambda: utils.pad2D(X, 1.0),
    "a kernel that does not fit": lambda: utils.conv2D(X[:, :2], W, 1, 0),
    "columns of another size": lambda: utils.col2im(draw((9, 4)), X.shape, W.shape, (0, 0, 0, 0), 1),
    "an odd transposed padding": lambda: utils.deconv2D_naive(X, W, 1, (0, 1, 0, 0)),
    "a softmax over rows": lambda: layers.Softmax._bwd(other(dim=0), X[0, 0], X[0, 0]),
    "numbers outside the table": lambda: layers.Embedding._bwd(
        book.Embedding(np.zeros((2, 3)), "sum"), np.ones((1, 3)), np.array([[5]])
    ),
    "a frozen layer": lambda: pooling.Pool2D.backward(other(trainable=False), X),
    "another kind of pooling": lambda: pooling.Pool2D.forward(book.Pool2D((2, 2), mode="min"), X),
    "an empty batch": lambda: pooling.Pool2D.forward(book.Pool2D((2, 2)), X[:0]),
}


def other(**attributes):
    layer = book.Layer()
    vars(layer).update(attributes)
    return layer


@pytest.mark.parametrize("what", REFUSED)
def test_refused(what):
    with pytest.raises(Unserved):
        REFUSED[what]()


def test_float32_where_it_was_allowed(monkeypatch):
    monkeypatch.setattr(settings, "dtype", np.dtype(np.float32))
    ours = utils.conv2D(X, W, 1, 1)
    assert ours.dtype == np.float32
    np.testing.assert_allclose(ours, book.conv2D(X, W, 1, 1), rtol=1e-4, atol=1e-4)


def test_targets_name_what_there_is():
    for target in TARGETS:
        for tier in ("fast", "exact"):
            found = target.replacement(tier)
            assert found is None or all(hasattr(found, method) for method in target.methods)
        assert target.replacement("fast") is not None
