"""Convolutions and poolings of cs231n against the same in a textbook's way."""

from __future__ import annotations

import copy
import importlib.util
from pathlib import Path

import numpy as np
import pytest
from cs231n_cases import CONVOLUTIONS, POOLS, all_same, conv_case, draw, pool_param, same, uneven

from fastdl.compat.cs231n import exact, fast_layers, im2col, im2col_cython, layers, samples
from fastdl.compat.tier import Unserved, settings
from textbook import cs231n as book

# ---- convolution


@pytest.mark.parametrize("case", CONVOLUTIONS)
def test_naive_convolution(case):
    arguments = conv_case(*case)
    out, cache = layers.conv_forward_naive(*arguments)
    expected, other = book.conv_forward_naive(*arguments)
    same(out, expected)
    assert all(one is two for one, two in zip(cache, other, strict=True))
    dout = draw(out.shape, seed=3)
    all_same(layers.conv_backward_naive(dout, other), book.conv_backward_naive(dout, cache))


def test_naive_loops_fill_float64():
    arguments = conv_case(*CONVOLUTIONS[0], dtype="f")
    out, cache = layers.conv_forward_naive(*arguments)
    assert out.dtype == np.float64
    same(out, book.conv_forward_naive(*arguments)[0], "f")
    found = layers.conv_backward_naive(draw(out.shape), cache)
    assert [gradient.dtype for gradient in found] == [np.float32] * 3
    same(layers.max_pool_forward_naive(arguments[0], pool_param((1, 1), 1))[0], arguments[0].astype("d"))


@pytest.mark.parametrize("dtype", "fd")
@pytest.mark.parametrize("kind", ["strides", "im2col", "fast"])
@pytest.mark.parametrize("case", CONVOLUTIONS)
def test_fast_convolution(case, kind, dtype):
    arguments = conv_case(*case, dtype=dtype)
    forward = getattr(fast_layers, f"conv_forward_{kind}")
    backward = getattr(fast_layers, f"conv_backward_{kind}")
    out, cache = forward(*arguments)
    expected, other = book.conv_forward_naive(*arguments)
    same(out, expected.astype(dtype), dtype)
    dout = draw(out.shape, dtype, 3)
    all_same(backward(dout, cache), book.conv_backward_naive(dout, other), dtype)


def test_the_patches_in_a_cache_are_there_for_those_who_look():
    x, w, b, param = conv_case(*CONVOLUTIONS[1])
    for kind in ("strides", "im2col"):
        out, cache = getattr(fast_layers, f"conv_forward_{kind}")(x, w, b, param)
        product = w.reshape(len(w), -1).dot(cache[4]) + b[:, None]
        if kind == "strides":
            theirs = product.reshape(len(w), len(x), *out.shape[2:]).transpose(1, 0, 2, 3)
        else:
            theirs = product.reshape(len(w), *out.shape[2:], len(x)).transpose(3, 0, 1, 2)
        same(out, theirs)
        assert cache[4].T.shape == cache[4].shape[::-1]
        assert len(cache[4]) == len(cache[4][0:]) == w[0].size
        assert copy.deepcopy(cache)[4].shape == cache[4].shape


def test_other_layouts_in_memory_are_served():
    x = draw((7, 2, 3, 7)).transpose(1, 2, 0, 3)[:, :, ::-1]
    w, b, param = draw((4, 3, 3, 3), seed=1)[::-1], draw(8, seed=2)[::2], {"stride": 1, "pad": 1}
    out, cache = fast_layers.conv_forward_fast(x, w, b, param)
    expected, other = book.conv_forward_naive(x, w, b, param)
    same(out, expected)
    dout = draw(out.shape, seed=3).transpose(0, 1, 3, 2)
    all_same(fast_layers.conv_backward_fast(dout, cache), book.conv_backward_naive(dout, other))


def test_dtypes_are_those_of_the_product():
    x, w, b, param = conv_case(*CONVOLUTIONS[0], dtype="f")
    out, cache = fast_layers.conv_forward_fast(x, w.astype("d"), b, param)
    assert out.dtype == np.float64
    dx, dw, db = fast_layers.conv_backward_fast(draw(out.shape, "f"), cache)
    assert (dx.dtype, dw.dtype, db.dtype) == (np.float64, np.float32, np.float32)


def test_float32_may_be_allowed(monkeypatch):
    monkeypatch.setattr(settings, "dtype", np.dtype(np.float32))
    out, cache = layers.conv_forward_naive(*conv_case(*CONVOLUTIONS[0]))
    assert out.dtype == np.float32
    assert {gradient.dtype for gradient in layers.conv_backward_naive(out, cache)} == {np.dtype("f")}


@pytest.mark.parametrize(
    "change",
    [
        lambda x, w, b, param: (x, w, b, {**param, "stride": 4}),
        lambda x, w, b, param: (x.astype(object), w, b, param),
        lambda x, w, b, param: (x.astype(int), w, b, param),
        lambda x, w, b, param: (np.ma.array(x), w, b, param),
        lambda x, w, b, param: (x.tolist(), w, b, param),
        lambda x, w, b, param: (x, w, b[:2], param),
    ],
    ids=["not tiling", "objects", "integers", "masked", "a list", "a short bias"],
)
def test_an_odd_convolution_is_not_served(change):
    arguments = change(*conv_case(*CONVOLUTIONS[0]))
    for forward in (layers.conv_forward_naive, fast_layers.conv_forward_fast):
        with pytest.raises(Unserved):
            forward(*arguments)


def test_gradients_of_another_shape_are_not_served():
    x, w, b, param = conv_case(*CONVOLUTIONS[0])
    with pytest.raises(Unserved):
        layers.conv_backward_naive(draw((2, 4, 6, 7)), (x, w, b, param))
    with pytest.raises(Unserved, match="not fastdl's"):
        fast_layers.conv_backward_fast(draw((2, 4, 7, 7)), (x, w, b, param, np.zeros((27, 98))))
    with pytest.raises(Unserved, match="count"):
        layers.conv_forward_naive(draw((1, 1, 256, 1)), draw((1, 1, 1, 1)), draw(1), {"stride": 1, "pad": 0})


# ---- pooling


@pytest.mark.parametrize("case", POOLS)
def test_naive_pooling(case):
    shape, window, stride = case
    x, param = uneven(shape), pool_param(window, stride)
    expected, other = book.max_pool_forward_naive(x, param)
    for forward in (layers.max_pool_forward_naive, exact.max_pool_forward_naive):
        out, cache = forward(x, param)
        assert out.tobytes() == expected.tobytes()
        assert cache[0] is x
        assert cache[1] is param
    dout = draw(out.shape, seed=3)
    same(layers.max_pool_backward_naive(dout, other), book.max_pool_backward_naive(dout, cache))


def test_a_naive_gradient_with_ties_is_left_to_its_author():
    x, param = np.zeros((1, 1, 4, 4)), pool_param((2, 2), 2)
    with pytest.raises(Unserved, match="two largest"):
        layers.max_pool_backward_naive(np.ones((1, 1, 2, 2)), (x, param))
    x = uneven((1, 1, 4, 4))
    x[0, 0, 0, 0] = np.nan
    with pytest.raises(Unserved, match="NaN"):
        layers.max_pool_backward_naive(np.ones((1, 1, 2, 2)), (x, param))


@pytest.mark.parametrize("dtype", "fd")
@pytest.mark.parametrize("module", [fast_layers, exact])
def test_pooling_by_reshape_shares_among_equals(module, dtype):
    x = np.maximum(draw((3, 2, 8, 6), dtype), 0.0).round(1).astype(dtype)
    param = pool_param((2, 2), 2)
    out, cache = module.max_pool_forward_reshape(x, param)
    assert out.tobytes() == book.max_pool_forward_naive(x, param)[0].astype(dtype).tobytes()
    assert cache[0] is x
    np.testing.assert_array_equal(cache[1].max(axis=(3, 5)), cache[2])
    dout = draw(out.shape, dtype, 3)
    dx = module.max_pool_backward_reshape(dout, cache)
    expected = book.pool_backward_shared(dout, x, 2)
    assert dx.dtype == x.dtype
    np.testing.assert_allclose(dx, expected, rtol=1e-6 if dtype == "f" else 1e-15)
    same(fast_layers.max_pool_backward_fast(dout, ("reshape", cache)), dx, dtype)


def test_nan_goes_through_pooling_as_in_the_course():
    x, param = uneven((1, 1, 4, 4)), pool_param((2, 2), 2)
    x[0, 0, 1, 1] = np.nan
    out, cache = fast_layers.max_pool_forward_fast(x, param)
    assert np.isnan(out[0, 0]).tolist() == [[True, False], [False, False]]
    with pytest.warns(RuntimeWarning, match="invalid"):
        dx = fast_layers.max_pool_backward_fast(np.ones_like(out), cache)
    np.testing.assert_array_equal(dx, book.pool_backward_shared(np.ones_like(out), x, 2))
    with pytest.raises(Unserved):
        exact.max_pool_forward_reshape(x, param)


@pytest.mark.parametrize("name", ["max_pool_forward_naive", "max_pool_forward_reshape"])
def test_the_exact_tier_does_not_choose_between_zeros(name):
    x = np.zeros((1, 1, 2, 2))
    x[0, 0, 0, 1] = -0.0
    with pytest.raises(Unserved):
        getattr(exact, name)(x, pool_param((2, 2), 2))
    with pytest.raises(Unserved):
        getattr(exact, name)(uneven((1, 1, 4, 8))[..., ::2], pool_param((2, 2), 2))


@pytest.mark.parametrize("case", POOLS[1:3])
def test_pooling_by_patches(case):
    shape, window, stride = case
    x, param = uneven(shape), pool_param(window, stride)
    out, cache = fast_layers.max_pool_forward_fast(x, param)
    expected, other = book.max_pool_forward_naive(x, param)
    same(out, expected)
    assert cache[0] == "im2col"
    _, columns, place, _ = cache[1]
    largest = columns[place, np.arange(columns.shape[1])]
    np.testing.assert_array_equal(largest.reshape(*out.shape[2:], *shape[:2]).transpose(2, 3, 0, 1), out)
    dout = draw(out.shape, seed=3)
    same(fast_layers.max_pool_backward_fast(dout, cache), book.max_pool_backward_naive(dout, other))


def test_odd_poolings_are_not_served():
    for forward in (layers.max_pool_forward_naive, fast_layers.max_pool_forward_im2col):
        with pytest.raises(Unserved):
            forward(draw((1, 1, 5, 5)), pool_param((2, 2), 2))
    with pytest.raises(Unserved):
        fast_layers.max_pool_forward_reshape(draw((1, 1, 4, 4)), pool_param((2, 2), 1))
    with pytest.raises(ValueError, match="method"):
        fast_layers.max_pool_backward_fast(None, ("other", None))
    cache = fast_layers.max_pool_forward_reshape(draw((1, 1, 4, 4)), pool_param((2, 2), 2))[1]
    with pytest.raises(Unserved):
        fast_layers.max_pool_backward_reshape(draw((1, 1, 2, 1)), cache)
    with pytest.raises(Unserved, match="not fastdl's"):
        fast_layers.max_pool_backward_im2col(draw((1, 1, 2, 2)), (cache[0], cache[1], None, {}))


# ---- patches


@pytest.mark.parametrize("dtype", "fd")
@pytest.mark.parametrize("case", CONVOLUTIONS)
def test_patches_and_their_sums_bit_for_bit(case, dtype):
    shape, _, (high, wide), stride, pad = case
    x = draw(shape, dtype)
    cols = im2col_cython.im2col_cython(x, high, wide, pad, stride)
    assert cols.tobytes() == book.im2col(x, high, wide, pad, stride).tobytes()
    cols = draw(cols.shape, dtype, 4)
    expected = book.col2im(cols, shape, high, wide, pad, stride)
    image = im2col_cython.col2im_cython(cols, *shape, high, wide, pad, stride)
    assert image.tobytes() == expected.tobytes()
    down, right = ((n + 2 * pad - k) // stride + 1 for n, k in zip(shape[2:], (high, wide)))
    six = cols.reshape(shape[1], high, wide, down, right, shape[0]).transpose(0, 1, 2, 5, 3, 4)
    image = im2col_cython.col2im_6d_cython(np.ascontiguousarray(six), *shape, high, wide, pad, stride)
    assert image.tobytes() == expected.tobytes()
    for module in (im2col, exact):
        assert (
            module.im2col_indices(x, high, wide, pad, stride).tobytes()
            == book.im2col(x, high, wide, pad, stride).tobytes()
        )
        assert module.col2im_indices(cols, shape, high, wide, pad, stride).tobytes() == expected.tobytes()


def test_the_indices_of_patches():
    x = draw((2, 3, 5, 6))
    k, i, j = im2col.get_im2col_indices(x.shape, 3, 2, padding=1, stride=2)
    found = book.framed(x, 1)[:, k, i, j].transpose(1, 2, 0).reshape(18, -1)
    np.testing.assert_array_equal(found, im2col_cython.im2col_cython(x, 3, 2, 1, 2))
    with pytest.raises(Unserved):
        im2col.im2col_indices(x, 3, 3, padding=0, stride=2)


def test_the_supplied_module_can_lie_in_a_students_package():
    path = Path(im2col_cython.__file__)
    spec = importlib.util.spec_from_file_location("assignment2.cs231n.im2col_cython", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert set(module.__all__) == {"col2im_6d_cython", "col2im_cython", "im2col_cython"}


@pytest.mark.parametrize("bad", [np.zeros((1, 1, 4, 4), int), np.zeros((4, 4))])
def test_the_supplied_module_refuses_what_the_extension_refuses(bad):
    with pytest.raises(ValueError):
        im2col_cython.im2col_cython(bad, 2, 2, 0, 1)
    with pytest.raises(TypeError):
        im2col_cython.col2im_cython([1.0], 1, 1, 2, 2, 2, 2, 0, 1)
    with pytest.raises(ValueError):
        im2col_cython.col2im_6d_cython(np.zeros((1, 2, 2, 1, 1, 1)), 1, 1, 4, 4, 2, 2, 0, 1)


# ---- samples


def test_a_sample_of_a_convolution_is_one():
    for case in [*CONVOLUTIONS, ((5, 2, 31, 31), 9, (3, 3), 2, 1), ((4, 1, 9, 9), 2, (1, 1), 1, 3)]:
        x, w, b, param = conv_case(*case)
        arguments = {"x": x, "w": w, "b": b, "conv_param": param}
        whole = layers.conv_forward_naive(x, w, b, param)[0]
        share = samples.conv_forward(arguments)
        out, cache = layers.conv_forward_naive(**arguments)
        assert out.size == pytest.approx(share * whole.size)
        backward = {"dout": draw(whole.shape), "cache": (x, w, b, param)}
        assert samples.conv_backward(backward) == share
        all_same(layers.conv_backward_naive(**backward), book.conv_backward_naive(**backward))
    assert samples.conv_backward({"dout": whole, "cache": (x, w, b, param, None)}) == 1.0


def test_a_sample_of_a_pooling_is_one():
    x, param = uneven((2, 3, 16, 18)), pool_param((2, 2), 2)
    arguments = {"x": x, "pool_param": param}
    share = samples.pool_forward(arguments)
    out, cache = layers.max_pool_forward_naive(**arguments)
    assert out.size == pytest.approx(share * x.size / 4)
    backward = {"dout": draw((2, 3, 8, 9)), "cache": (x, param)}
    assert samples.pool_backward(backward) == share
    same(layers.max_pool_backward_naive(**backward), book.max_pool_backward_naive(**backward))
    assert samples.pool_backward({"dout": out, "cache": (x, param, None)}) == 1.0


def test_samples_show_what_the_first_input_may_not():
    x, param = uneven((3, 2, 8, 6)), pool_param((2, 2), 2)
    out, cache = fast_layers.max_pool_forward_reshape(x, param)
    backward = {"dout": draw(out.shape), "cache": cache}
    assert samples.tied_backward(backward) == 1.0
    with pytest.raises(Unserved, match="two largest"):
        layers.max_pool_backward_naive(backward["dout"], (backward["cache"][0], param))
    found = fast_layers.max_pool_backward_reshape(**backward)
    same(found, book.pool_backward_shared(backward["dout"], backward["cache"][0], 2))
    scores = {"x": draw((100, 5)), "y": np.arange(100) % 5}
    assert samples.scores(scores) == 0.64
    assert layers.softmax_loss(**scores)[0] > 10
    linear = {"W": draw((3, 2)), "X": draw((16, 3)), "y": np.arange(16) % 2, "reg": 0.0}
    assert samples.linear_loss(linear) == 0.5
    assert linear["reg"] > 0
    rule = {"w": draw((4, 50_000)), "dw": draw((4, 50_000)), "config": {"t": 1, "m": draw((4, 50_000))}}
    assert samples.rule(rule) == 0.25
    assert rule["config"]["m"].shape == rule["dw"].shape == (1, 50_000)
    assert samples.queries({"X": draw((5, 3))}) == 0.2
