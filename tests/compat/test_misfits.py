"""Arrays that do not fit together: nothing is computed of them, and the original says what is wrong."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from fastdl.compat.cs231n import layers, rnn_layers
from fastdl.compat.cs231n.classifiers import linear_svm, softmax
from fastdl.compat.dlfs1.products import product
from fastdl.compat.dlfs2 import time_layers
from fastdl.compat.products import gemm
from fastdl.compat.tier import Unserved


def ones(*shape: int, dtype: str = "f") -> Any:
    return np.ones(shape, dtype)


@pytest.mark.parametrize(
    ("a", "b", "bias", "options"),
    [
        (ones(4, 5), ones(3, 2), None, {}),
        (ones(4, 5), ones(4, 2), None, {}),
        (ones(4, 5), ones(5, 2), None, {"trans_a": True}),
        (ones(4, 5), ones(5, 2), None, {"trans_b": True}),
        (ones(4, 5), ones(5, 2), ones(3), {}),
        (ones(4, 5), ones(5, 2), ones(2, 1), {}),
        (ones(4, 5), ones(5, 2, dtype="d"), None, {}),
        (ones(4, 5), ones(5, 2), ones(2, dtype="d"), {}),
        (ones(4), ones(4, 2), None, {}),
    ],
)
def test_a_product_of_what_does_not_fit(a, b, bias, options):
    with pytest.raises(Unserved):
        gemm(a, b, bias, **options)


@pytest.mark.parametrize(("trans_a", "trans_b"), [(False, False), (True, False), (False, True), (True, True)])
def test_a_product_of_what_fits(trans_a, trans_b):
    rng = np.random.default_rng(0)
    a, b, bias = rng.normal(size=(4, 5)), rng.normal(size=(5, 3)), rng.normal(size=3)
    given = [np.ascontiguousarray(m.T) if turned else m for m, turned in ((a, trans_a), (b, trans_b))]
    np.testing.assert_allclose(gemm(*given, bias, trans_a=trans_a, trans_b=trans_b), a @ b + bias)


TIME_AFFINE = SimpleNamespace(params=[ones(5, 6), ones(6)], grads=[ones(5, 6), ones(6)], x=ones(2, 3, 5))
Y = np.zeros(4, int)


@pytest.mark.parametrize(
    "call",
    [
        lambda: layers.affine_forward(ones(4, 5), ones(6, 3), ones(3)),
        lambda: layers.affine_forward(ones(4, 5), ones(5, 3), ones(4)),
        lambda: layers.affine_backward(ones(4, 2), (ones(4, 5), ones(5, 3), ones(3))),
        lambda: layers.affine_backward(ones(9, 3), (ones(4, 5), ones(5, 3), ones(3))),
        lambda: rnn_layers.temporal_affine_forward(ones(2, 4, 5), ones(6, 3), ones(3)),
        lambda: rnn_layers.temporal_affine_backward(
            ones(3, 4, 3), (ones(2, 4, 5), ones(5, 3), ones(3), None)
        ),
        lambda: linear_svm.svm_loss_naive(ones(6, 3), ones(4, 5), Y, 0.1),
        lambda: softmax.softmax_loss_naive(ones(6, 3), ones(4, 5), Y, 0.1),
        lambda: product(ones(600, 500), ones(400, 700)),
        lambda: time_layers.TimeAffine.backward(TIME_AFFINE, ones(4, 3, 6)),
    ],
)
def test_a_layer_whose_arrays_do_not_fit(call):
    with pytest.raises((Unserved, ValueError)):  # either way the original runs, and raises its own
        call()


@pytest.mark.parametrize("shape", [(3, 4, 6), (2, 3, 6), (2, 4, 5)])
def test_gradients_of_other_sequences(shape):
    rng = np.random.default_rng(0)
    weights = [rng.normal(size=size).astype("f") for size in ((5, 24), (6, 24), (24,))]
    layer = time_layers.TimeLSTM(*weights)
    layer.forward(rng.normal(size=(2, 4, 5)).astype("f"))
    with pytest.raises(Unserved):
        layer.backward(ones(*shape))


def test_gradients_of_other_words():
    layer = time_layers.TimeEmbedding(ones(9, 5))
    layer.forward(np.zeros((2, 3), int))
    with pytest.raises(Unserved):
        layer.backward(ones(3, 3, 5))
