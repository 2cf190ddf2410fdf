"""Normalisation layers: Keras's results and gradients, and the state that no optimizer changes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import fastdl
from fastdl import Input, Sequential, gradcheck, layers
from fastdl.layers import Dense, Layer
from fastdl.optimizers import SGD
from keras_cases import IMAGES, ROWS, wave
from keras_norm import LAYERS, RECORDED, weights_like


@pytest.mark.parametrize("index", range(len(LAYERS)), ids=[f"{name}-{more}" for name, more, _ in LAYERS])
class TestAsKeras:
    """Sums of at most 84 numbers near 1, and a division: each engine errs by less than 1e-5."""

    def made(self, index: int) -> tuple[Layer, np.ndarray, dict[str, np.ndarray]]:
        name, arguments, shape = LAYERS[index]
        layer = getattr(layers, name)(**arguments)
        layer.build((None, *shape[1:]))
        layer.set_weights(weights_like(layer.get_weights()))
        prefix = f"{index}_"
        with np.load(RECORDED) as answers:
            mine = {key.removeprefix(prefix): answers[key] for key in answers if key.startswith(prefix)}
        return layer, wave(shape), mine

    def test_inference(self, index: int) -> None:
        layer, x, expected = self.made(index)
        before = layer.get_weights()
        np.testing.assert_allclose(layer(x), expected["inference"], rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(layer.vjp(x, training=False)[0], layer(x))
        assert layer.count_params() == expected["count"]
        assert_equal(layer.get_weights(), before)

    def test_training(self, index: int) -> None:
        layer, x, expected = self.made(index)
        y, back = layer.vjp(x)
        dx = back(wave(y.shape))
        np.testing.assert_allclose(y, expected["training"], rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(dx, expected["dx"], rtol=1e-5, atol=1e-5)
        learnt = layer.grads if layer.trainable else {}
        assert len(learnt) == len(layer.trainable_weights)
        for kind, arrays in (("gradient", learnt.values()), ("after", layer.non_trainable_weights)):
            recorded = [array for key, array in expected.items() if key.startswith(kind)]
            for came, one in zip(arrays, recorded, strict=True):
                np.testing.assert_allclose(came, one, rtol=1e-5, atol=1e-5, err_msg=kind)

    def test_gradients(self, index: int) -> None:
        layer, x, _ = self.made(index)
        layer.trainable = True
        assert gradcheck(layer, x, samples=40)

    def test_description_makes_it_again(self, index: int) -> None:
        layer, x, _ = self.made(index)
        again = type(layer).from_config(layer.get_config())
        assert again.get_config().keys() == layer.get_config().keys()
        again.build((None, *x.shape[1:]))
        again.set_weights(layer.get_weights())
        np.testing.assert_array_equal(again(x), layer(x))

    def test_empty_batch(self, index: int) -> None:
        layer, x, _ = self.made(index)
        before = layer.get_weights()
        y, back = layer.vjp(x[:0])
        assert back(y).shape == x[:0].shape
        assert_equal(layer.get_weights(), before)


def assert_equal(arrays: list[np.ndarray], others: list[np.ndarray]) -> None:
    for one, other in zip(arrays, others, strict=True):
        np.testing.assert_array_equal(one, other)


def test_instance_is_a_group_a_channel() -> None:
    x = wave(IMAGES)
    group, instance = layers.GroupNormalization(groups=-1), layers.InstanceNormalization()
    np.testing.assert_array_equal(instance(x), group(x))
    first = layers.InstanceNormalization(axis=1)(np.ascontiguousarray(np.moveaxis(x, -1, 1)))
    np.testing.assert_allclose(np.moveaxis(first, 1, -1), instance(x), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "pattern, make",
    [
        ("axis 4 is out of range", lambda: layers.BatchNormalization(axis=4)),
        ("momentum must be at most 1", lambda: layers.BatchNormalization(momentum=1.5)),
        ("epsilon must be at least 0", lambda: layers.LayerNormalization(epsilon=-1)),
        ("axis must be 1 or the last", lambda: layers.GroupNormalization(1, axis=2)),
        ("groups must be at least 1", lambda: layers.GroupNormalization(0)),
        ("groups must divide the channels", lambda: layers.GroupNormalization(3)),
    ],
)
def test_layer_refuses(pattern: str, make: Any) -> None:
    with pytest.raises(ValueError, match=pattern):
        make()(wave(IMAGES))


class TestState:
    def model(self) -> Sequential:
        return Sequential(
            [Input((4,)), Dense(5, seed=0), layers.BatchNormalization(momentum=0.5), Dense(2, seed=1)]
        )

    def test_order_of_weights(self) -> None:
        names = [name.partition("/")[2] for name in self.model().named_weights()]
        assert names == [
            "kernel",
            "bias",
            "gamma",
            "beta",
            "moving_mean",
            "moving_variance",
            "kernel",
            "bias",
        ]

    def test_counted_apart(self) -> None:
        model, lines = self.model(), []
        model.summary(print_fn=lines.append)
        assert lines[-3:] == ["Total params: 57", "Trainable params: 47", "Non-trainable params: 10"]
        assert len(model.non_trainable_weights) == 2
        model.trainable = False
        assert len(model.non_trainable_weights) == 8

    def test_frozen_is_inference(self) -> None:
        model, x = self.model(), wave(ROWS)
        model.trainable = False
        before = model.get_weights()
        # Numbers of order one; inference rounds elsewhere, see test_fusion.py.
        np.testing.assert_allclose(model.vjp(x)[0], model(x), rtol=1e-5, atol=1e-6)
        assert_equal(model.get_weights(), before)

    def test_no_optimizer_touches_it(self) -> None:
        model = self.model()
        state = {name: array.copy() for name, array in model.state.items()}
        for array in model.grads.values():
            array[...] = 1
        SGD(1.0).step(model)
        SGD(1.0).update(model.params, model.grads)
        assert_equal(list(model.state.values()), list(state.values()))
        assert len(state) == 2

    def test_follows_the_batches(self) -> None:
        layer, x = layers.BatchNormalization(momentum=0.5), wave(ROWS)
        layer(x, training=True)
        layer(x, training=True)
        np.testing.assert_allclose(layer.state["moving_mean"], 0.75 * x.mean(0), rtol=1e-5)
        np.testing.assert_allclose(layer.state["moving_variance"], 0.25 + 0.75 * x.var(0), rtol=1e-5)

    def test_gradient_of_inference_is_that_of_its_statistics(self) -> None:
        layer, x = layers.BatchNormalization(momentum=0.5), wave(ROWS)
        y, back = layer.vjp(x, training=False)
        expected = back(y)
        layer(x, training=True)
        np.testing.assert_array_equal(back(y), expected)

    @pytest.mark.parametrize("suffix", ["npz", "safetensors"])
    def test_saved(self, tmp_path: Any, suffix: str) -> None:
        if suffix == "safetensors":
            pytest.importorskip("safetensors")
        model, x = self.model(), wave(ROWS)
        model(x, training=True)
        model.save(tmp_path / f"model.{suffix}")
        again = fastdl.load_model(tmp_path / f"model.{suffix}")
        np.testing.assert_array_equal(again(x), model(x))
        assert_equal(again.get_weights(), model.get_weights())

    def test_a_batch_that_fails_leaves_it(self) -> None:
        model, x = self.model(), wave(ROWS)
        model.compile("sgd", "mse")
        before = model.get_weights()
        for wrong in (np.full((3, 2), np.nan), np.ones((3, 3))):
            with pytest.raises(ValueError):
                model.train_on_batch(x, wrong)
            assert_equal(model.get_weights(), before)

    def test_another_dtype(self) -> None:
        layer = layers.BatchNormalization()
        layer(wave(ROWS))
        layer.astype("float64")
        assert all(array.dtype == np.float64 for array in layer.named_weights().values())

    def test_learns(self) -> None:
        """Far from zero, where it could not without."""
        x = 100 + wave((64, 4))
        model = self.model()
        model.compile(SGD(0.1), "mse")
        losses = model.fit(x, x[:, :2] - 100, epochs=20, verbose=0).history["loss"]
        assert losses[-1] < losses[0] / 3
