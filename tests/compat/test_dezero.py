"""DeZero: every replacement against the same node, written out in a textbook's way."""

from __future__ import annotations

import copy
from types import SimpleNamespace

import numpy as np
import pytest
from dezero_cases import NAMED, SHAPES, TIERS, bits, draw, replacement, same

from fastdl.compat.tier import Unserved, settings
from textbook import dezero as book


def call(name, tier, instance, *arrays):
    """Our method on an instance of the other class, which it finds as its author left it."""
    before = [copy.copy(array) for array in arrays]
    result = getattr(replacement(name, tier), NAMED[name].methods[0])(instance, *arrays)
    for array, was in zip(arrays, before):
        if array is not None:
            np.testing.assert_array_equal(array, was)
    return result


# ---- convolution


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize("dtype", "fd")
@pytest.mark.parametrize("shape, out, kernel, stride, pad", SHAPES)
def test_convolution(tier, dtype, shape, out, kernel, stride, pad):
    x, W, b = draw(shape, dtype), draw((out, shape[1], *kernel), dtype, 1), draw(out, dtype, 2)
    node = book.Conv2d(stride, pad)
    for bias in (b, None):
        expected = node.forward(x, W, bias)
        same(call("Conv2d", tier, node, x, W, bias), expected, dtype)
    gy = draw(expected.shape, dtype, 3)
    node.inputs = [x, W]
    gradient = book.Conv2DGradW(node)
    same(call("Conv2DGradW", tier, gradient, x, gy), gradient.forward(x, gy), dtype)
    if tier == "fast":
        for size in (shape[2:], None):
            back, again = book.Deconv2d(stride, pad, size), book.Deconv2d(stride, pad, size)
            bias = draw(shape[1], dtype, 4)
            same(call("Deconv2d", tier, back, gy, W, bias), again.forward(gy, W, bias), dtype)
            assert back.no_bias is True
            same(call("Deconv2d", tier, back, gy, W, None), again.forward(gy, W, None), dtype)


@pytest.mark.parametrize("tier", TIERS)
def test_dtypes_are_those_of_the_product(tier):
    x, W, b = draw((2, 3, 6, 6), "f"), draw((4, 3, 3, 3), "d", 1), draw(4, "f", 2)
    node = book.Conv2d()
    assert call("Conv2d", tier, node, x, W, b).dtype == np.float64
    assert call("Conv2d", tier, node, x, W.astype("f"), b.astype("d")).dtype == np.float32


@pytest.mark.parametrize("tier", TIERS)
def test_views_are_served(tier):
    x = draw((2, 9, 9, 3)).transpose(0, 3, 1, 2)[:, :, ::-1, 1:]
    W = draw((5, 3, 2, 2), seed=1)[::-1]
    node = book.Conv2d(1, 1)
    same(call("Conv2d", tier, node, x, W, None), node.forward(x, W, None), "d")
    pool = book.Pooling(2, 2)
    same(call("Pooling", tier, copy.copy(pool), x), pool.forward(x), "d")


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize(
    "x", [np.zeros((1, 1, 4, 4), int), np.zeros((1, 1, 4, 4), "f2"), np.ma.zeros((1, 1, 4, 4)), [[[[1.0]]]]]
)
def test_other_inputs_are_not_served(tier, x):
    W = np.ones((1, 1, 2, 2))
    calls = {
        "Conv2d": (book.Conv2d(), x, W, None),
        "Pooling": (book.Pooling(2), x),
        "AveragePooling": (book.AveragePooling(2), x),
    }
    for name, arguments in calls.items():
        with pytest.raises(Unserved):
            call(name, tier, *arguments)
    with pytest.raises(Unserved):
        replacement("im2col_array", tier)(x, 2, 1, 0)


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize("dtype", "fd")
@pytest.mark.parametrize("shape, out, kernel, stride, pad", SHAPES)
def test_windows(tier, dtype, shape, out, kernel, stride, pad):
    x = draw(shape, dtype)
    for to_matrix in (True, False):
        expected = book.im2col_array(x, kernel, stride, pad, to_matrix)
        ours = replacement("im2col_array", tier)(x, kernel, stride, pad, to_matrix)
        assert ours.dtype == expected.dtype
        np.testing.assert_array_equal(ours, expected)
    columns = draw(replacement("im2col_array", tier)(x, kernel, stride, pad).shape, dtype, 1)
    columns[::3, ::2] = -0.0
    theirs = book.col2im_array(columns, shape, kernel, stride, pad)
    assert bits(replacement("col2im_array", tier)(columns, shape, kernel, stride, pad)) == bits(theirs)


# ---- pooling


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize("dtype", "fd")
@pytest.mark.parametrize("size, stride, pad", [(2, 2, 0), (3, 2, 1), ((2, 3), (2, 1), (1, 0)), (3, 3, 1)])
def test_pooling(tier, dtype, size, stride, pad):
    x = np.round(draw((2, 3, 7, 8), dtype), 1) - np.array(
        1.5, dtype
    )  # ties, and maxima that the padding wins
    x[0, 0, 0, 0] = np.nan
    theirs, ours = book.Pooling(size, stride, pad), book.Pooling(size, stride, pad)
    expected = theirs.forward(x)
    result = call("Pooling", tier, ours, x)
    assert bits(result) == bits(expected)
    np.testing.assert_array_equal(ours.indexes, theirs.indexes)
    theirs.inputs = ours.inputs = [x]
    gy = draw(expected.shape, dtype, 1)
    for gradient in (gy, gy.astype("d")):
        back = book.Pooling2DGrad(ours)
        want = book.Pooling2DGrad(theirs).forward(gradient)
        overlap = any(k > s for k, s in zip(book.two(size), book.two(stride)))
        if tier == "exact" and overlap:
            with pytest.raises(Unserved):
                call("Pooling2DGrad", tier, back, gradient)
        elif tier == "exact":
            assert bits(call("Pooling2DGrad", tier, back, gradient)) == bits(want)
        else:
            same(call("Pooling2DGrad", tier, back, gradient), want, dtype)
    twice = book.Pooling2DWithIndexes(ours)
    assert bits(call("Pooling2DWithIndexes", tier, twice, x)) == bits(twice.forward(x))


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize("size, stride, pad", [(2, 2, 0), (3, 2, 1)])
def test_average_pooling(tier, size, stride, pad):
    x = draw((2, 3, 7, 8))
    node = book.AveragePooling(size, stride, pad)
    ours = call("AveragePooling", tier, node, x)
    assert node.input_shape == x.shape
    same(ours, node.forward(x), "d")


def test_zeros_keep_the_sign_that_numpy_gives_them():
    x = np.zeros((2, 2, 6, 6))
    x[:, :, ::2, ::3] = -0.0
    theirs, ours = book.Pooling(2, 2), book.Pooling(2, 2)
    flat = book.im2col_array(x, 2, 2, 0, to_matrix=False)
    flat = flat.reshape(2, 2, 4, 3, 3)
    assert bits(call("Pooling", "exact", ours, x)) == bits(flat.max(axis=2))
    assert bits(call("AveragePooling", "exact", book.AveragePooling(2, 2), x)) == bits(
        book.AveragePooling(2, 2).forward(x)
    )
    np.testing.assert_array_equal(ours.indexes, (theirs.forward(x), theirs.indexes)[1])


# ---- the rest


@pytest.mark.parametrize("dtype", "fd")
def test_activations_and_loss(dtype):
    x = 30 * draw((40, 300), dtype)
    same(call("Sigmoid", "fast", book.Sigmoid(), x), book.Sigmoid().forward(x), dtype)
    for axis in (0, 1):
        node = book.Softmax(axis)
        same(call("Softmax", "fast", node, x), node.forward(x), dtype)
    t = np.random.default_rng(0).integers(0, 300, 40)
    same(call("SoftmaxCrossEntropy", "fast", book.SoftmaxCrossEntropy(), x, t),
         book.SoftmaxCrossEntropy().forward(x, t), dtype)  # fmt: skip
    for wrong in (t[:3], t.tolist()):
        with pytest.raises(Unserved):
            call("SoftmaxCrossEntropy", "fast", book.SoftmaxCrossEntropy(), x, wrong)


@pytest.mark.parametrize("train", [True, False])
@pytest.mark.parametrize("dtype", "fd")
@pytest.mark.parametrize("shape", [(8, 5), (4, 5, 3, 3)])
def test_batch_normalisation(monkeypatch, train, dtype, shape):
    monkeypatch.setattr(book.Config, "train", train)
    x, gamma, beta = draw(shape, dtype), draw(5, dtype, 1), draw(5, dtype, 2)
    nodes = [book.BatchNorm(draw(5, dtype, 3), np.ones(5, dtype), 0.9, 2e-5) for _ in range(2)]
    kept = nodes[0].avg_mean, nodes[0].avg_var
    same(call("BatchNorm", "fast", nodes[0], x, gamma, beta), nodes[1].forward(x, gamma, beta), dtype)
    assert nodes[0].avg_mean is kept[0]
    assert nodes[0].avg_var is kept[1]
    for name in ("avg_mean", "avg_var", "inv_std") if train else ("avg_mean", "avg_var"):
        same(getattr(nodes[0], name), getattr(nodes[1], name), dtype)
    with pytest.raises(Unserved):
        call("BatchNorm", "fast", nodes[0], x, gamma.astype("d" if dtype == "f" else "f"), beta)


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize(
    "slices", [2, slice(1, 5, 2), (slice(None), -1), (..., 0), (1, None, slice(2, None))]
)
def test_gradient_of_a_view(tier, slices):
    node = book.GetItemGrad(slices, (6, 4))
    gy = draw(np.zeros((6, 4))[slices].shape)
    assert bits(call("GetItemGrad", tier, node, gy)) == bits(node.forward(gy))
    for many in (np.array([0, 0]), [1, 1], (np.array([True] * 6),)):
        with pytest.raises(Unserved):
            call("GetItemGrad", tier, book.GetItemGrad(many, (6, 4)), gy)


@pytest.mark.parametrize("name", ["SGD", "MomentumSGD", "AdaDelta", "Adam"])
@pytest.mark.parametrize("dtype, of_gradient", ["ff", "dd", "fd", "df"])
@pytest.mark.parametrize("size", [7, 5000])
def test_optimizers(name, dtype, of_gradient, size):
    start = draw(size, dtype)
    params = [SimpleNamespace(data=start.copy(), grad=None) for _ in range(2)]
    optimizers = [getattr(book, name)() for _ in range(2)]
    where = params[0].data
    for step in range(1, 4):
        gradient = draw(size, of_gradient, step)[::-1]
        for optimizer, param, update in zip(
            optimizers, params, (NAMED[name].replacement("fast").update_one, type(optimizers[1]).update_one)
        ):
            optimizer.t = step
            param.grad = SimpleNamespace(data=gradient)
            update(optimizer, param)
    assert params[0].data is where
    same(params[0].data, params[1].data, "f" if "f" in (dtype, of_gradient) else "d")
    for state in ("vs", "ms", "msg", "msdx"):
        if hasattr(optimizers[0], state):
            kept = [getattr(optimizer, state)[id(p)] for optimizer, p in zip(optimizers, params)]
            same(*kept, "f" if "f" in (dtype, of_gradient) else "d")


def test_optimizers_leave_what_they_cannot_change_in_place():
    param = SimpleNamespace(data=draw((80, 80)).T, grad=SimpleNamespace(data=draw((80, 80))))
    for name in ("SGD", "Adam"):
        with pytest.raises(Unserved):
            NAMED[name].replacement("fast").update_one(getattr(book, name)(), param)


def graph(x):
    """A graph in which a node is used twice and generations are equal."""
    a = x * x
    b, c = a * x, a + x
    return (b * c) + (c * a)


@pytest.mark.parametrize("retain", [False, True])
def test_the_walk_visits_the_same_nodes_in_the_same_order(retain):
    walks = []
    for walk in (NAMED["Variable"].replacement("fast").backward, book.Variable.backward):
        x = book.Variable(np.array(2.0))
        y = graph(x)
        numbers, line = {}, [y]
        while line:
            creator = line.pop().creator
            if creator is not None and id(creator) not in numbers:
                numbers[id(creator)] = len(numbers)
                line.extend(creator.inputs)
        book.Node.visits.clear()
        walk(y, retain_grad=retain, create_graph=True)
        order = [numbers[id(node)] for node in book.Node.visits]
        first = x.grad
        x.grad = None
        walk(first)
        walks.append(
            (order, float(first.data), float(x.grad.data), y.grad is None, book.Config.enable_backprop)
        )
    assert walks[0] == walks[1]
    assert walks[0][1:3] == (156.0, 520.0 if retain else 268.0)  # of x⁵ + 2x⁴ + x³ at 2
    assert len(walks[0][0]) == len(set(walks[0][0]))


def test_narrow(monkeypatch):
    monkeypatch.setattr(settings, "dtype", np.dtype(np.float32))
    x, W = draw((2, 3, 6, 6)), draw((4, 3, 3, 3))
    node = book.Conv2d()
    assert call("Conv2d", "fast", node, x, W, draw(4)).dtype == np.float32
    param = SimpleNamespace(data=draw(5000), grad=SimpleNamespace(data=draw(5000, "f")))
    NAMED["Adam"].replacement("fast").update_one(SimpleNamespace(**vars(book.Adam()), lr=0.1), param)
    assert param.data.dtype == np.float64
