"""Every public layer as Keras has it: results, gradients, weight shapes, counts; and right gradients."""

from __future__ import annotations

import inspect
import math
from typing import Any

import numpy as np
import pytest

import keras_graphs
import keras_norm
import keras_recurrent
from fastdl import gradcheck, layers
from fastdl.layers import Layer
from keras_cases import JUMPING, LAYERS, RECORDED, described, flat, wave, weights_like

# Layers without an answer of Keras's of their own, and why.
OTHERWISE = {
    "Input": "no layer, but what a graph begins with",
    "InstanceNormalization": "Keras's GroupNormalization(groups=-1) to the bit, in test_norm_layers.py",
    "Lambda": "computes what a person's function does; test_merge.py holds its gradient against differences",
    "Layer": "the base",
}
# Both engines add up to n = 84 numbers below 1. A partial sum is below 84 and rounded by half a unit of it,
# and such errors go either way: sqrt(84) · 84 · 2^-24 / 2.
ROUNDING = 2.3e-5


def test_keras_was_asked_about_every_layer() -> None:
    public = {getattr(layers, name) for name in layers.__all__}
    names = {layer.__name__ for layer in public if inspect.isclass(layer)}
    asked = {
        *(name for name, *_ in (*LAYERS, *JUMPING, *keras_norm.LAYERS, *keras_graphs.MERGES)),
        *(key.partition("-")[0] for key in keras_recurrent.CASES),
    }
    assert asked | set(OTHERWISE) == names
    assert not asked & set(OTHERWISE)


def case_id(case: Any) -> str:
    return f"{case[0]}-{'-'.join(map(str, case[1].values()))}"


def made(name: str, arguments: dict[str, Any], shape: tuple[int, ...]) -> Layer:
    """The layer of a case, with the weights that Keras's had."""
    layer = getattr(layers, name)(**arguments)
    layer.build((None, *shape[1:]))
    layer.set_weights(weights_like(layer.get_weights()))
    return layer


def assert_answers(layer: Layer, x: np.ndarray, number: int) -> None:
    """Hold a layer against answer `number`: the weights, y, and the gradients of Σ y·wave."""
    with np.load(RECORDED) as answers:
        expected, weights = answers[f"layer_{number}"], answers[f"layer_{number}_weights"]
    assert described(layer).tolist() == weights.tolist()
    y, back = layer.vjp(x, training=False)
    gradients = [back(wave(y.shape)), *layer.grads.values()]
    came = flat([y, *gradients[x.dtype.kind != "f" :]])
    np.testing.assert_allclose(came, expected, rtol=1e-5, atol=ROUNDING)
    np.testing.assert_allclose(layer(x), y, rtol=1e-5, atol=ROUNDING)
    assert layer.compute_output_shape((None, *x.shape[1:])) == (None, *y.shape[1:])


@pytest.mark.parametrize("index", range(len(LAYERS)), ids=map(case_id, LAYERS))
class TestAsKeras:
    def test_results_and_gradients(self, index: int) -> None:
        assert_answers(made(*LAYERS[index]), wave(LAYERS[index][2]), index)

    def test_channels_first_is_the_same_layer(self, index: int) -> None:
        name, arguments, shape = LAYERS[index]
        last = getattr(layers, name)(**arguments)
        if not hasattr(last, "data_format") or "data_format" in arguments or name == "Flatten":
            return
        if arguments.get("activation") == "softmax":
            return  # it goes along the last axis, whichever that is
        first = getattr(layers, name)(**arguments, data_format="channels_first")
        x = wave(shape)
        expected = last(x)
        first.build((None, shape[-1], *shape[1:-1]))
        first.set_weights(last.get_weights())
        y = first(np.ascontiguousarray(np.moveaxis(x, -1, 1)))
        y = np.moveaxis(y, 1, -1) if y.ndim > 2 else y
        np.testing.assert_allclose(y, expected, rtol=1e-5, atol=5e-6)

    def test_gradients(self, index: int) -> None:
        assert gradcheck(made(*LAYERS[index]), wave(LAYERS[index][2]), samples=40)

    def test_description_makes_it_again(self, index: int) -> None:
        name, arguments, shape = LAYERS[index]
        layer = getattr(layers, name)(**arguments)
        again = type(layer).from_config(layer.get_config())
        assert again.get_config().keys() == layer.get_config().keys()
        assert again(wave(shape)).shape == layer(wave(shape)).shape


@pytest.mark.parametrize("index", range(len(JUMPING)), ids=[name for name, *_ in JUMPING])
def test_layers_that_jump(index: int) -> None:
    name, arguments, x = JUMPING[index]
    assert_answers(made(name, arguments, x.shape), x, len(LAYERS) + index)


@pytest.mark.parametrize("key", keras_recurrent.CASES)
def test_recurrent_layers_count_their_weights(key: str) -> None:
    layer = keras_recurrent.CASES[key](layers)
    layer.build((None, *keras_recurrent.SHAPE[1:]))
    with np.load(keras_recurrent.RECORDED) as answers:
        shapes = [[int(size) for size in text.strip("(),").split(",")] for text in answers[f"{key}/shapes"]]
    assert layer.count_params() == sum(math.prod(shape) for shape in shapes)
