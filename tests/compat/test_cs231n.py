"""The assignments of cs231n against the same functions, written out in a textbook's way."""

from __future__ import annotations

import numpy as np
import pytest
from cs231n_cases import TOLERANCE, all_same, conv_case, draw, pool_param, same

from fastdl import backends
from fastdl.compat.cs231n import (
    exact,
    fast_layers,
    im2col,
    layer_utils,
    layers,
    optim,
    published,
    rnn_layers,
)
from fastdl.compat.cs231n.classifiers import k_nearest_neighbor, linear_svm, softmax
from fastdl.compat.cs231n.targets import TARGETS
from fastdl.compat.tier import Unserved
from textbook import cs231n as book

# ---- what there is


def test_every_target_has_its_replacement():
    for target in TARGETS:
        assert target.family == "cs231n"
        fast = target.replacement("fast")
        assert callable(fast)
        assert target.exact is None or callable(target.replacement("exact"))
        assert target.sample is None or callable(target.sampler())
        for method in target.methods:
            assert callable(getattr(fast, method))
        if target.partner is not None:
            assert any(other.name == target.partner and other.partner == target.name for other in TARGETS)


@pytest.mark.parametrize("module", [layers, fast_layers, rnn_layers, layer_utils, optim, im2col])
def test_a_star_import_has_what_the_module_names(module):
    names: dict[str, object] = {}
    exec(f"from {module.__name__} import *", names)
    assert set(module.__all__) <= set(names)


# ---- other layers


@pytest.mark.parametrize("dtype", "fd")
def test_affine_and_relu(dtype):
    x, w, b = draw((4, 2, 3), dtype), draw((6, 5), dtype, 1), draw(5, dtype, 2)
    out, cache = layers.affine_forward(x, w, b)
    same(out, x.reshape(4, 6).dot(w) + b, dtype)
    assert cache == (x, w, b) or all(one is two for one, two in zip(cache, (x, w, b)))
    dout = draw(out.shape, dtype, 3)
    theirs = dout.dot(w.T).reshape(x.shape), x.reshape(4, 6).T.dot(dout), dout.sum(axis=0)
    all_same(layers.affine_backward(dout, cache), theirs, dtype)
    out, cache = layers.relu_forward(x)
    np.testing.assert_array_equal(out, np.maximum(0, x))
    dout = draw(x.shape, dtype, 4)
    same(layers.relu_backward(dout, cache), book.relu_backward(dout, cache).astype(dtype), dtype)
    with pytest.raises(Unserved):
        layers.relu_backward(dout[:2], cache)


@pytest.mark.parametrize("dtype", "fd")
def test_losses(dtype):
    x, y = draw((7, 5), dtype), np.array([0, 4, 2, 2, 1, 3, 0])
    for ours, theirs in (
        (layers.softmax_loss, book.softmax_loss),
        (layers.svm_loss, book.svm_loss),
    ):
        loss, dx = ours(x, y)
        expected, gradient = theirs(x, y)
        assert isinstance(loss, np.generic)
        np.testing.assert_allclose(loss, expected, rtol=TOLERANCE[dtype])
        same(dx, gradient.astype(dtype), dtype)
    mask = np.arange(7) % 3 > 0
    loss, dx = layers.softmax_loss_mask(x, y, mask)
    assert loss == pytest.approx(book.temporal_softmax_loss(x[None], y[None], mask[None])[0] / 7, rel=1e-5)
    with pytest.raises(Unserved, match="no class"):
        layers.softmax_loss(x, y - 1)
    with pytest.raises(Unserved, match="integer"):
        layers.softmax_loss(x, y[:, None])


def test_dropout_draws_what_the_course_draws():
    x, stream = draw((5, 4), "f"), np.random  # the course draws from the global stream
    for param in ({"mode": "train", "p": 0.3, "seed": 3}, {"mode": "train", "p": 0.6}):
        stream.seed(3)
        out, cache = layers.dropout_forward(x, param)
        after = stream.rand()
        stream.seed(3)
        mask = (stream.rand(5, 4) < param["p"]) / param["p"]
        assert after == stream.rand()
        same(out, (x * mask).astype("f"), "f")
        same(layers.dropout_backward(x, cache), x * mask)
    out, cache = layers.dropout_forward(x, {"mode": "test", "p": 0.3})
    assert out is x
    assert layers.dropout_backward(x, cache) is x


@pytest.mark.parametrize("spatial", [False, True])
def test_batchnorm(spatial):
    x = draw((6, 3, 4, 5) if spatial else (6, 3)) * 2 + 1
    gamma, beta = draw(3, seed=1), draw(3, seed=2)
    axes, shape = ((0, 2, 3), (1, 3, 1, 1)) if spatial else (0, (1, 3))
    forward = layers.spatial_batchnorm_forward if spatial else layers.batchnorm_forward
    param = {"mode": "train", "momentum": 0.8}
    out, cache = forward(x, gamma, beta, param)
    expected, mean, var = book.batchnorm(x, gamma.reshape(shape), beta.reshape(shape), 1e-5, axes)
    same(out, expected)
    same(param["running_mean"], 0.2 * mean.reshape(3))
    same(param["running_var"], 0.2 * var.reshape(3))
    dout = draw(x.shape, seed=3)
    dx, dgamma, dbeta = layers.batchnorm_backward(dout, cache)

    def again():
        return forward(x, gamma, beta, {"mode": "train"})[0]

    for found, array in ((dx, x), (dgamma, gamma), (dbeta, beta)):
        np.testing.assert_allclose(found, book.numerical(again, array, dout), atol=1e-6)
    test = forward(x, gamma, beta, {**param, "mode": "test"})[0]
    means, variances = (param[key].reshape(shape) for key in ("running_mean", "running_var"))
    same(test, (x - means) / np.sqrt(variances + 1e-5) * gamma.reshape(shape) + beta.reshape(shape))
    with pytest.raises(ValueError, match="mode"):
        forward(x, gamma, beta, {"mode": "other"})


def test_layernorm_and_groupnorm():
    x, gamma, beta = draw((4, 6)), draw(6, seed=1), draw(6, seed=2)
    out, cache = layers.layernorm_forward(x, gamma, beta, {})
    same(out, book.batchnorm(x, gamma, beta, 1e-5, 1)[0])
    dout = draw(x.shape, seed=3)
    found = book.numerical(lambda: layers.layernorm_forward(x, gamma, beta, {})[0], x, dout)
    np.testing.assert_allclose(layers.layernorm_backward(dout, cache)[0], found, atol=1e-6)
    x, gamma, beta = draw((2, 6, 3, 4)), draw((1, 6, 1, 1), seed=1), draw((1, 6, 1, 1), seed=2)
    out, cache = layers.spatial_groupnorm_forward(x, gamma, beta, 2, {"eps": 1e-3})
    groups = book.batchnorm(x.reshape(2, 2, 3, 3, 4), 1.0, 0.0, 1e-3, (2, 3, 4))[0].reshape(x.shape)
    same(out, groups * gamma + beta)
    dout = draw(x.shape, seed=3)
    dx, dgamma, dbeta = layers.spatial_groupnorm_backward(dout, cache)
    same(dgamma, (dout * groups).sum(axis=(0, 2, 3), keepdims=True))
    same(dbeta, dout.sum(axis=(0, 2, 3), keepdims=True))
    assert dx.shape == x.shape


def test_sandwiches_are_their_layers():
    x, w, b, param = conv_case((2, 3, 8, 8), 4, (3, 3), 1, 1)
    gamma, beta, pool = draw(4, seed=5), draw(4, seed=6), pool_param((2, 2), 2)
    cases = (
        ("conv_relu", (x, w, b, param)),
        ("conv_bn_relu", (x, w, b, gamma, beta, param, {"mode": "train"})),
        ("conv_relu_pool", (x, w, b, param, pool)),
        ("affine_relu", (x, w.reshape(4, 27)[:, :4].T[[0] * 192], b)),
        ("affine_norm_relu", (x, draw((192, 4), seed=7), b, gamma, beta, {"mode": "train"}, "batch_norm")),
        ("affine_norm_relu", (x, draw((192, 4), seed=7), b, gamma, beta, {}, "layer_norm")),
    )
    for name, arguments in cases:
        forward = getattr(layer_utils, f"{name}_forward")
        backward = getattr(layer_utils, f"{name}_backward")
        out, cache = forward(*arguments)
        assert out.min() >= 0
        dout = draw(out.shape, seed=8)
        kind = arguments[-1:] if isinstance(arguments[-1], str) else ()
        db = backward(dout, cache, *kind)[2]
        found = book.numerical(lambda f=forward, a=arguments: f(*a)[0], arguments[2], dout)
        np.testing.assert_allclose(db, found, atol=1e-5)


# ---- update rules


def settings_of(w, **other):
    names = {"learning_rate": 1e-2, "beta1": 0.9, "beta2": 0.999, "epsilon": 1e-8}
    return {**names, "m": np.zeros_like(w), "v": np.zeros_like(w), "t": 0, **other}


@pytest.mark.parametrize("dtype", "fd")
@pytest.mark.parametrize("name", ["adam", "adam_in_place", "adam_unfilled", "adam_hat_in_place"])
def test_adam(name, dtype):
    w = draw((3, 4), dtype)
    first, config, theirs = w, {"learning_rate": 1e-2}, settings_of(w)
    expected = w.copy()
    for step in range(4):
        dw = draw((4, 3), dtype, step).T
        was = w.copy()
        expected = (book.adam_hat if "hat" in name else book.adam)(expected, dw, theirs).astype(dtype)
        next_w, same_config = getattr(optim, name)(w, dw, config)
        assert same_config is config
        assert (next_w is w) == ("in_place" in name)
        if next_w is not w:
            np.testing.assert_array_equal(w, was)
        same(next_w, expected, dtype)
        w = next_w
    names = ["learning_rate", "m", "v", "t"] if "unfilled" in name else list(theirs)
    assert list(config) == names
    assert config["t"] == 4
    same(config["m"], theirs["m"].astype(dtype), dtype)
    same(config["v"], theirs["v"].astype(dtype), dtype)
    assert "in_place" in name or first is not w


@pytest.mark.parametrize("name", ["rmsprop", "rmsprop_in_place", "rmsprop_unfilled"])
def test_rmsprop(name):
    w, dw = draw((3, 4)), draw((3, 4), seed=1)
    theirs = {"learning_rate": 1e-2, "decay_rate": 0.99, "epsilon": 1e-8, "cache": np.zeros_like(w)}
    expected = book.rmsprop(w, dw, theirs)
    next_w, config = getattr(optim, name)(w, dw)
    same(next_w, expected)
    same(config["cache"], theirs["cache"])
    assert list(config) == (["cache"] if "unfilled" in name else list(theirs))
    assert (next_w is w) == ("in_place" in name)


def test_other_rules():
    w, dw = draw((3, 4)), draw((3, 4), seed=1)
    next_w, config = optim.sgd_momentum(w, dw, {"velocity": w.copy()})
    same(config["velocity"], 0.9 * w - 0.01 * dw)
    same(next_w, w + config["velocity"])
    was = w.copy()
    next_w, config = optim.sgd(w, dw)
    assert next_w is w
    same(w, was - 0.01 * dw)
    expected = book.adam(w, dw, settings_of(w, t=1, learning_rate=1e-3))
    next_w, config = published.adam(w, dw)
    same(next_w, expected)
    assert list(config) == ["v", "m", "t"]
    assert config["t"] == 2
    assert isinstance(config["t"], np.uint32)
    config = {"cache": np.abs(w)}
    theirs = {"learning_rate": 1e-3, "decay_rate": 0.99, "epsilon": 1e-8, "cache": np.abs(w)}
    same(published.rmsprop(w, dw, config)[0], book.rmsprop(w, dw, theirs))
    assert list(config) == ["cache"]
    assert published.adam_hat(w, dw)[0] is w


@pytest.mark.parametrize(
    "w, dw",
    [
        (1.0, 2.0),
        (np.ones(3, int), np.ones(3)),
        (np.ones(3), np.ones(3, "f")),
        (np.ones(3), np.ones(2)),
        (np.ones(0), np.ones(0)),
    ],
)
def test_rules_leave_config_alone_where_they_do_not_serve(w, dw):
    for rule in (optim.adam, optim.rmsprop, optim.sgd_momentum, optim.adam_in_place, published.adam):
        config = {"learning_rate": 0.1}
        with pytest.raises(Unserved):
            rule(w, dw, config)
        assert config == {"learning_rate": 0.1}
    config = {"m": np.zeros(4), "v": np.zeros(4), "cache": 0.0}
    for rule in (optim.adam, optim.rmsprop):
        with pytest.raises(Unserved):
            rule(np.ones(3), np.ones(3), config)
    with pytest.raises(Unserved):
        optim.adam_in_place(np.ones(6)[::2], np.ones(3))


# ---- recurrent layers


def recurrent_case(name, dtype="d"):
    n, t, d, h = 3, 5, 4, 6
    gates = {"rnn": [1], "lstm": [4], "gru": [2, 1]}[name]
    weights = []
    for i, k in enumerate(gates):
        sizes = ((d, k * h), (h, k * h), (k * h,))
        weights += [draw(size, dtype, 10 * i + j) / 2 for j, size in enumerate(sizes)]
    return [draw((n, t, d), dtype, 7), draw((n, h), dtype, 8), *weights]


@pytest.mark.parametrize("name", ["rnn", "lstm", "gru"])
def test_sequences(name):
    arguments = recurrent_case(name)
    forward, backward = (getattr(rnn_layers, f"{name}_{way}") for way in ("forward", "backward"))
    theirs = getattr(book, f"{name}_forward")
    hs, cache = forward(*arguments)
    same(hs, theirs(*arguments))
    dhs = draw(hs.shape, seed=9)
    for found, array in zip(backward(dhs, cache), arguments, strict=True):
        np.testing.assert_allclose(found, book.numerical(lambda: theirs(*arguments), array, dhs), atol=1e-6)
    if name != "gru":
        renamed = dict(zip(("x", "h0", "Wx", "Wh", "bh"), arguments))
        same(getattr(published, f"{name}_forward")(**renamed)[0], hs)
    with pytest.raises(Unserved, match="not fastdl's"):
        backward(dhs, {"T": 5})


@pytest.mark.parametrize("name", ["rnn", "lstm", "gru"])
def test_sequences_of_float32_fill_float64(name):
    arguments = recurrent_case(name, "f")
    forward, backward = (getattr(rnn_layers, f"{name}_{way}") for way in ("forward", "backward"))
    hs, cache = forward(*arguments)
    same(hs, getattr(book, f"{name}_forward")(*arguments), "f")
    found = backward(draw(hs.shape), cache)
    assert found[0].dtype == np.float64
    assert found[2].dtype == (np.float32 if name == "rnn" else np.float64)


@pytest.mark.parametrize("name", ["rnn", "lstm", "gru"])
def test_steps(name):
    x, h, *weights = recurrent_case(name)
    states = [h, draw(h.shape, seed=3)] if name == "lstm" else [h]
    forward, backward = (getattr(rnn_layers, f"{name}_step_{way}") for way in ("forward", "backward"))
    theirs = getattr(book, f"{name}_step_forward")
    arguments = [x[:, 0], *states, *weights]
    *ours, cache = forward(*arguments)
    all_same(ours, theirs(*arguments)[: len(states)])
    douts = [draw(h.shape, seed=4 + i) for i in range(len(states))]
    found = backward(*douts, cache)

    def loss():
        return np.stack(theirs(*arguments)[: len(states)])

    for gradient, array in zip(found, arguments, strict=True):
        np.testing.assert_allclose(gradient, book.numerical(loss, array, np.stack(douts)), atol=1e-6)
    if name != "rnn":
        with pytest.raises(Unserved, match="not fastdl's"):
            backward(*douts, (1, 2))


def test_odd_sequences_are_not_served():
    arguments = recurrent_case("lstm")
    _, cache = rnn_layers.lstm_forward(*arguments)
    for dh in (draw((3, 5, 5)), [1.0]):
        with pytest.raises(Unserved):
            rnn_layers.lstm_backward(dh, cache)
    with pytest.raises(Unserved):
        rnn_layers.rnn_backward(draw((3, 5, 6)), cache)
    with pytest.raises(Unserved):
        rnn_layers.lstm_forward(arguments[0], arguments[1][:2], *arguments[2:])


@pytest.mark.skipif(backends.native_error is not None, reason="rows are added in another order")
@pytest.mark.parametrize("words", [4, 700])
@pytest.mark.parametrize("dtype", "fd")
def test_words(dtype, words):
    x, W = np.random.default_rng(0).integers(0, 50, (words, 3)), draw((50, 8), dtype)
    out, cache = rnn_layers.word_embedding_forward(x, W)
    np.testing.assert_array_equal(out, W[x])
    dout = draw(out.shape, dtype, 3)
    expected = book.word_embedding_backward(dout, cache)
    assert rnn_layers.word_embedding_backward(dout, cache).tobytes() == expected.tobytes()
    assert exact.word_embedding_backward(dout, cache).tobytes() == expected.tobytes()
    if dtype == "f":
        dout = dout.astype("d")
        expected = book.word_embedding_backward(dout, cache)
        same(rnn_layers.word_embedding_backward(dout, cache), expected, "f")
        with pytest.raises(Unserved):
            exact.word_embedding_backward(dout, cache)


@pytest.mark.parametrize("dtype", "fd")
def test_temporal_layers(dtype, capsys):
    x, w, b = draw((3, 4, 5), dtype), draw((5, 6), dtype, 1), draw(6, dtype, 2)
    out, cache = rnn_layers.temporal_affine_forward(x, w, b)
    same(out, x.dot(w) + b, dtype)
    assert cache[3] is out
    dout = draw(out.shape, dtype, 3)
    flat = x.reshape(12, 5), dout.reshape(12, 6)
    theirs = dout.dot(w.T), flat[0].T.dot(flat[1]), flat[1].sum(axis=0)
    all_same(rnn_layers.temporal_affine_backward(dout, cache), theirs, dtype)
    y = np.random.default_rng(0).integers(0, 6, (3, 4))
    for mask in (y > 1, (y > 1).astype(dtype)):
        loss, dx = rnn_layers.temporal_softmax_loss(out, y, mask)
        expected, gradient = book.temporal_softmax_loss(out, y, mask)
        assert loss == pytest.approx(expected, rel=TOLERANCE[dtype])
        same(dx, gradient.astype(dtype), dtype)
    assert not capsys.readouterr().out
    rnn_layers.temporal_softmax_loss(out, y, mask, verbose=True)
    assert "(12, 6)" in capsys.readouterr().out
    out[0, 0, y[0, 0]] -= 5000
    with np.errstate(divide="ignore"):
        assert rnn_layers.temporal_softmax_loss(out, y, np.ones_like(mask))[0] == np.inf


# ---- the first assignment


@pytest.mark.parametrize(
    "ours, theirs",
    [
        (linear_svm.svm_loss_naive, book.svm_loss_naive),
        (linear_svm.svm_loss_vectorized, book.svm_loss_naive),
        (softmax.softmax_loss_naive, book.softmax_loss_naive),
        (softmax.softmax_loss_vectorized, book.softmax_loss_naive),
    ],
)
def test_linear_classifiers(ours, theirs):
    W, X, y = draw((6, 4)), draw((9, 6), seed=1), np.arange(9) % 4
    before = W.copy(), X.copy()
    for reg in (0.0, 0.3):
        loss, dW = ours(W, X, y, reg)
        expected, gradient = theirs(W, X, y, reg)
        assert loss == pytest.approx(expected, rel=1e-12)
        same(dW, gradient)
    np.testing.assert_array_equal(W, before[0])
    np.testing.assert_array_equal(X, before[1])


def test_nearest_neighbours():
    known = draw((30, 20), seed=1) + 100
    X = np.concatenate([draw((6, 20)) + 100, known[[3, 7]], known[[5]] + 1e-9])
    classifier = k_nearest_neighbor.KNearestNeighbor()
    classifier.train(known, np.arange(30) % 3)
    expected = book.distances(known, X)
    for name in ("two_loops", "one_loop", "no_loops"):
        found = getattr(classifier, f"compute_distances_{name}")(X)
        same(found, expected)
        assert found[6, 3] == found[7, 7] == 0
    np.testing.assert_allclose(found[8, 5], expected[8, 5], rtol=1e-6)
    nearest = np.arange(30)[expected.argmin(axis=1)] % 3
    np.testing.assert_array_equal(classifier.predict(X), nearest)
    assert classifier.predict(X, k=5, num_loops=2).shape == (9,)
    with pytest.raises(ValueError, match="num_loops"):
        classifier.predict(X, num_loops=3)
    with pytest.raises(Unserved):
        classifier.compute_distances_two_loops(X[:, 1:])
