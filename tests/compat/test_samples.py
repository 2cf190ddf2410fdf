"""The small inputs of trials: what they keep, and that they leave the person's arrays and layers alone."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest

from fastdl.compat import samples
from fastdl.compat.dlfs2 import samples as words
from fastdl.compat.numpy_ml import samples as windows
from textbook import dlfs1, dlfs2, ml_from_scratch, numpy_ml

rng = np.random.default_rng(0)


class Optimizer:
    def __init__(self, m):
        self.m = m
        self.rate = 0.5


def test_corners_keep_what_is_the_same_and_what_is_transposed():
    table, vector = rng.standard_normal((400, 300)), rng.standard_normal(1 << 15)
    arguments = {"params": [table, vector, table, table.T], "grads": [np.ones((2, 2)), 1.5]}
    optimizer = Optimizer({"a": table})
    before = copy.copy(optimizer)
    assert math.isnan(samples.parameters(arguments, optimizer))
    one, long, two, turned = arguments["params"]
    assert one is two is optimizer.m["a"]
    assert one.shape == (128, 128)
    assert long.shape == (1 << 14,)
    np.testing.assert_array_equal(one.T, turned)
    assert arguments["grads"][1] == 1.5
    assert before.m["a"] is table
    assert optimizer.rate == 0.5


def test_a_lower_norm_for_fewer_gradients():
    arguments = {"grads": [np.ones((256, 256))], "max_norm": 8.0}
    samples.gradients(arguments)
    assert arguments["max_norm"] == 4.0


def test_first_steps_of_sequences_with_their_state():
    layer = dlfs2.TimeLSTM(
        *(rng.standard_normal(shape) for shape in ((3, 16), (4, 16), (16,))), stateful=True
    )
    layer.h = np.ones((40, 4))
    arguments = {"xs": rng.standard_normal((40, 9, 3))}
    part = copy.copy(layer)
    samples.steps(arguments, part)
    assert arguments["xs"].shape == (32, 4, 3)
    assert part.h.shape == (32, 4)
    assert layer.h.shape == (40, 4)
    assert part.forward(**arguments).shape == (32, 4, 4)


@pytest.mark.parametrize("ids", [rng.integers(0, 5000, (6, 9)), rng.integers(0, 5000, 30)])
def test_few_words_of_a_large_table(ids):
    kind = dlfs2.TimeEmbedding if ids.ndim == 2 else dlfs2.Embedding
    layer = kind(rng.standard_normal((5000, 3)))
    whole = layer.params[0]
    part, arguments = copy.copy(layer), {"xs": ids}
    words.few_words(arguments, part)
    out = part.forward(arguments["xs"])
    part.backward(np.ones_like(out))
    assert part.params[0].shape == part.grads[0].shape == (2048, 3)
    assert layer.params[0] is whole
    assert not layer.grads[0][2048:].any()


def test_a_layer_with_more_attributes_keeps_its_table():
    layer = dlfs2.TimeEmbedding(rng.standard_normal((5000, 3)))
    layer.vocabulary = 5000
    words.few_words({"xs": np.array([[4999]])}, layer)
    assert len(layer.params[0]) == 5000


def test_few_scores_of_a_wide_layer():
    layer = dlfs2.TimeAffine(rng.standard_normal((3, 5000)), np.ones(5000))
    part, arguments = copy.copy(layer), {"x": rng.standard_normal((6, 20, 3))}
    words.few_scores(arguments, part)
    assert part.forward(**arguments).shape == (4, 16, 2048)
    assert layer.params[1].shape == (5000,)


@pytest.mark.parametrize("one_hot", [False, True])
def test_few_labels_are_labels(one_hot):
    ts = rng.integers(0, 5000, (6, 9))
    ts[0, 1] = -1
    arguments = {"xs": rng.standard_normal((6, 9, 5000)), "ts": np.eye(5000)[ts] if one_hot else ts}
    words.few_labels(arguments, None)
    assert arguments["xs"].shape == (4, 9, 2048)
    assert np.isfinite(dlfs2.TimeSoftmaxWithLoss().forward(**arguments))
    if not one_hot:
        assert arguments["ts"][0, 1] == -1


def test_patches_of_a_few_images():
    shape = (6, 2, 5, 5)
    col = dlfs1.im2col(rng.standard_normal(shape), 3, 3, 2, 1)
    arguments = {"col": col, "input_shape": shape}
    assert samples.rows(arguments) == 4 / 6
    np.testing.assert_array_equal(
        dlfs1.col2im(**arguments, filter_h=3, filter_w=3, stride=2, pad=1),
        dlfs1.col2im(col, shape, 3, 3, 2, 1)[:4],
    )
    assert samples.rows({"col": col, "input_shape": np.array(shape)}) == 1.0


def test_columns_of_a_few_images():
    shape = (6, 2, 5, 5)
    cols = ml_from_scratch.image_to_column(rng.standard_normal(shape), (3, 3), 1)
    arguments = {"cols": cols, "images_shape": shape}
    assert samples.columns(arguments) == 4 / 6
    np.testing.assert_array_equal(
        ml_from_scratch.column_to_image(**arguments, filter_shape=(3, 3), stride=1),
        ml_from_scratch.column_to_image(cols, shape, (3, 3), 1)[:4],
    )


@pytest.mark.parametrize(
    "size, kernel, stride, pad, kept, share",
    [
        ((28, 28), (2, 2), 2, 0, (8, 8), (4 / 14) ** 2),
        ((29, 30), (2, 3), 2, 1, (9, 10), 16 / (14 * 14)),
        ((28, 28), (2, 2), 2, "same", (28, 28), 1.0),
        ((5, 28), (3, 3), 1, (1, 2), (5, 6), 4 / 26),
    ],
)
def test_a_few_windows_and_what_none_of_them_covers(size, kernel, stride, pad, kept, share):
    X = np.zeros((8, *size, 3))
    arguments = {"X": X}
    layer = numpy_ml.Pool2D(kernel, stride, pad)
    assert windows.few_windows(arguments, layer) == pytest.approx(share / 4)
    assert arguments["X"].shape == (2, *kept, 3)
    arguments = {"X": X, "W": np.zeros((*kernel, 3, 5)), "stride": stride, "pad": pad}
    assert windows.few_windows_of_kernels(arguments) == pytest.approx(share / 4)
    assert arguments["X"].shape == (2, *kept, 3)


def test_windows_whose_taps_lie_apart():
    arguments = {
        "X": np.zeros((1, 20, 20, 1)),
        "W": np.zeros((3, 1, 1, 1)),
        "stride": 1,
        "pad": 0,
        "dilation": 2,
    }
    assert windows.few_windows_of_kernels(arguments) == pytest.approx(4 / 14 * 4 / 20)
    assert arguments["X"].shape == (1, 10, 4, 1)


def test_what_are_no_images_is_taken_whole():
    arguments = {"X": np.zeros((9, 9))}
    assert windows.few_windows(arguments, numpy_ml.Pool2D((2, 2))) == 1.0
    assert arguments["X"].shape == (9, 9)
