"""Layers: noise, the contract of the three ways to run one, parameters, and what is refused."""

from __future__ import annotations

import copy
import threading
from typing import Any

import numpy as np
import pytest

import fastdl
from fastdl import Input, Sequential, config, gradcheck, layers
from fastdl.layers import Activation, Conv2D, Dense, Dropout, Layer
from fastdl.optimizers import SGD
from keras_cases import IMAGES, LAYERS, ROWS, SEQUENCES, VOLUMES, wave


class Scale(Layer):
    """The README's layer: y = scale · x."""

    def build(self, input_shape: Any) -> None:
        self.add_weight("scale", input_shape[-1:], "ones")

    def vjp(self, x: np.ndarray, training: bool = True) -> Any:
        def back(dy: np.ndarray) -> np.ndarray:
            self.grads["scale"] += (dy * x).sum(axis=0)
            return dy * self.params["scale"]

        return x * self.params["scale"], back


NOISY = [
    (Dropout(0.4, seed=1), ROWS),
    (Dropout(0.4, noise_shape=(None, 1, None), seed=1), SEQUENCES),
    (layers.SpatialDropout2D(0.4, seed=1), IMAGES),
    (layers.SpatialDropout2D(0.4, data_format="channels_first", seed=1), IMAGES),
    (layers.GaussianNoise(0.5, seed=1), VOLUMES),
]


class TestNoise:
    @pytest.mark.parametrize("layer, shape", NOISY, ids=lambda value: getattr(value, "name", ""))
    def test_only_in_training(self, layer: Layer, shape: tuple[int, ...]) -> None:
        x = wave(shape)
        np.testing.assert_array_equal(layer(x), x)
        np.testing.assert_array_equal(layer.vjp(x, training=False)[0], x)
        assert (layer(x, training=True) != x).any()
        assert gradcheck(layer, x)

    def test_dropout_keeps_the_mean_and_drops_the_rate(self) -> None:
        y = Dropout(0.3, seed=0)(np.ones((400, 500), np.float32), training=True)
        # 200 000 draws: four standard deviations of the fraction are 0.0041.
        assert abs((y == 0).mean() - 0.3) < 0.0041
        np.testing.assert_allclose(y[y != 0], 1 / 0.7, rtol=1e-6)

    def test_noise_shape_repeats_the_mask(self) -> None:
        y = Dropout(0.5, noise_shape=(None, 1, None), seed=0)(np.ones((20, 7, 5), np.float32), training=True)
        np.testing.assert_array_equal(y, y[:, :1].repeat(7, axis=1))

    def test_spatial_dropout_drops_channels(self) -> None:
        y = layers.SpatialDropout2D(0.5, seed=0)(np.ones((20, 3, 4, 5), np.float32), training=True)
        assert set(y.sum(axis=(1, 2)).ravel()) == {0.0, 24.0}

    def test_gaussian_noise_has_its_deviation(self) -> None:
        y = layers.GaussianNoise(0.25, seed=0)(np.zeros((400, 500), np.float32), training=True)
        # Four standard deviations of an estimate from 200 000 numbers: 0.25 · 4 / sqrt(400 000).
        assert abs(y.std() - 0.25) < 0.0016

    def test_seed_repeats(self) -> None:
        x = wave(ROWS)
        first, second = (Dropout(0.5, seed=3)(x, training=True) for _ in range(2))
        np.testing.assert_array_equal(first, second)


class TestThreeWays:
    def test_they_agree(self) -> None:
        layer, x = Dense(3, "tanh"), wave(ROWS)
        y, back = layer.vjp(x)
        np.testing.assert_array_equal(layer(x), y)
        np.testing.assert_array_equal(layer.forward(x), y)
        dy = wave(y.shape)
        dx = layer.backward(dy)
        once = layer.grads["kernel"].copy()
        np.testing.assert_array_equal(back(dy), dx)
        np.testing.assert_array_equal(layer.grads["kernel"], 2 * once)

    def test_gradients_add_up_until_cleared(self) -> None:
        layer, x = Dense(3), wave(ROWS)
        _, back = layer.vjp(x)
        buffer = layer.grads["kernel"]
        back(np.ones((3, 3), np.float32))
        assert layer.grads["kernel"] is buffer
        assert buffer.any()
        layer.zero_grads()
        assert not buffer.any()

    @pytest.mark.parametrize(
        "layer, x",
        [(Dense(3), ROWS), (Conv2D(3, 2), IMAGES), (Conv2D(3, 2, data_format="channels_first"), IMAGES)],
    )
    def test_first_gradient_of_a_step_takes_the_place_of_the_last(self, layer: Layer, x: Any) -> None:
        y, back = layer.vjp(wave(x))
        buffers = dict(layer.grads)
        back(y)
        once = {name: array.copy() for name, array in buffers.items()}
        layer.await_grads()
        back(y)
        for name, array in layer.grads.items():
            assert array is buffers[name]
            np.testing.assert_array_equal(array, once[name])
        back(2 * y)
        for name, array in layer.grads.items():
            np.testing.assert_allclose(array, 3 * once[name], rtol=1e-6)

    def test_used_twice_in_one_step(self) -> None:
        assert gradcheck(Twice(Dense(4, "tanh")), wave(ROWS))

    def test_backward_needs_its_own_forward(self) -> None:
        layer = Dense(3)
        with pytest.raises(RuntimeError, match="backward needs a forward"):
            layer.backward(np.ones((3, 3), np.float32))
        y = layer.forward(wave(ROWS))
        layer.backward(y)
        with pytest.raises(RuntimeError, match="backward needs a forward"):
            layer.backward(y)

    @pytest.mark.parametrize("change", ["step", "update", "by_hand", "set_weights"])
    def test_gradient_of_changed_parameters_is_refused(self, change: str) -> None:
        layer = Dense(3)
        y, back = layer.vjp(wave(ROWS))
        if change == "step":
            SGD().step(layer)
        elif change == "update":
            SGD().update(layer.params, layer.grads)
        elif change == "by_hand":
            layer.params["kernel"] -= 0.1 * layer.grads["kernel"]
        else:
            layer.set_weights(layer.get_weights())
        with pytest.raises(RuntimeError, match="parameters have changed since the forward"):
            back(y)

    def test_update_of_a_model_refuses_its_layers_gradients(self) -> None:
        model = Sequential([Input((4,)), Dense(3)])
        y, back = model.vjp(wave(ROWS))
        SGD().update(model.params, model.grads)
        with pytest.raises(RuntimeError, match="parameters have changed"):
            back(y)

    def test_inference_writes_nothing(self) -> None:
        model = Sequential(
            [Conv2D(3, 3, activation="relu"), layers.Flatten(), Dropout(0.5), Dense(2, "softmax")]
        )
        x = wave(IMAGES)
        expected = model(x)
        before = {id(layer): dict(vars(layer)) for layer in (model, *model.layers)}
        results: list[Any] = []
        threads = [threading.Thread(target=lambda: results.append(model(x))) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(results) == 8
        for result in results:
            np.testing.assert_array_equal(result, expected)
        assert {id(layer): dict(vars(layer)) for layer in (model, *model.layers)} == before

    def test_built_once_by_many_threads(self) -> None:
        for _ in range(20):
            layer, gate, outputs = Dense(8, seed=0), threading.Barrier(4), []

            def run(layer: Layer = layer, gate: Any = gate, outputs: list[Any] = outputs) -> None:
                gate.wait()
                outputs.append(layer(wave(ROWS)))

            threads = [threading.Thread(target=run) for _ in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert all((output == outputs[0]).all() for output in outputs)

    def test_partial_vjp_gives_the_same_parameter_gradients(self) -> None:
        x = wave(IMAGES)
        whole = Sequential([layers.ZeroPadding2D(), Conv2D(3, 3), layers.Flatten(), Dense(2, "softmax")])
        whole.build((None, *IMAGES[1:]))
        part = copy.deepcopy(whole)
        y, back = whole.vjp(x)
        back(wave(y.shape))
        _, partial_back = part.partial_vjp(x, wants_dx=False)
        partial_back(wave(y.shape))
        _, back_of_one = Dense(2).partial_vjp(wave(ROWS), wants_dx=False)
        assert back_of_one(wave((3, 2))) is None  # the work is not done
        for name, gradient in whole.grads.items():
            np.testing.assert_array_equal(part.grads[name], gradient)

    def test_logits_come_before_the_activation(self) -> None:
        layer, x = Dense(3, "softmax"), wave(ROWS)
        assert layer.final_activation == "softmax"
        y = layer(x)
        logits, _ = layer.partial_vjp(x, logits=True)
        np.testing.assert_allclose(fastdl.functional.softmax(logits), y, rtol=1e-6)


class Twice(Layer):
    """y = inner(inner(x))."""

    def __init__(self, inner: Layer) -> None:
        super().__init__()
        self.inner = inner

    @property
    def params(self) -> Any:
        return self.inner.params

    @property
    def grads(self) -> Any:
        return self.inner.grads

    def zero_grads(self) -> None:
        self.inner.zero_grads()

    def astype(self, dtype: Any) -> Layer:
        self.inner.astype(dtype)
        return super().astype(dtype)

    def vjp(self, x: np.ndarray, training: bool = True) -> Any:
        y, back = self.inner.vjp(x, training)
        z, back_again = self.inner.vjp(y, training)
        return z, lambda dz: back(back_again(dz))


class TestOwnLayer:
    def test_ten_lines_are_enough(self) -> None:
        model = Sequential([Input((4,)), Scale(), Dense(2), Scale()])
        assert gradcheck(model, wave(ROWS))
        model.compile("sgd", "mse")
        before = model.get_weights()
        model.train_on_batch(wave(ROWS), wave((3, 2)))
        assert all((old != new).any() for old, new in zip(before, model.get_weights()))

    def test_without_vjp_it_cannot_be_made(self) -> None:
        class Empty(Layer):
            pass

        with pytest.raises(TypeError, match="vjp"):
            Empty()  # type: ignore[abstract]

    def test_inherited_build_runs_once(self) -> None:
        class Child(Scale):
            pass

        layer = Child()
        layer.build((None, 4))
        layer.params["scale"][:] = 3
        layer.build((None, 4))
        np.testing.assert_array_equal(layer(wave(ROWS)), 3 * wave(ROWS))

    def test_a_failed_build_leaves_nothing(self) -> None:
        class Careful(Scale):
            def build(self, input_shape: Any) -> None:
                super().build(input_shape)
                if input_shape[-1] != 4:
                    raise ValueError("four features, please")

        layer = Careful()
        with pytest.raises(ValueError, match="four features"):
            layer(wave((2, 3)))
        assert not layer.built
        np.testing.assert_array_equal(layer(wave(ROWS)), wave(ROWS))


@pytest.mark.parametrize("name, approximate", [("gelu", False), ("gelu_tanh", True)])
def test_both_gelus_alone_and_fused(name: str, approximate: bool) -> None:
    x = 3 * wave(ROWS)
    expected, ctx = fastdl.functional.gelu_forward(x, approximate=approximate)
    y, back = Activation(name).vjp(x)
    np.testing.assert_array_equal(y, expected)
    np.testing.assert_array_equal(back(x), fastdl.functional.gelu_backward(x, ctx))
    fused = Dense(4, name, kernel_initializer="identity")(x)
    np.testing.assert_allclose(fused, expected, rtol=1e-6, atol=1e-7)
    assert (abs(fused - fastdl.functional.gelu(x, approximate=not approximate)) > 1e-5).any()


def test_leaky_relu_knows_the_older_name() -> None:
    assert layers.LeakyReLU(alpha=0.1).negative_slope == 0.1


class TestParameters:
    def test_names_are_numbered(self) -> None:
        first, second = Scale(), Scale()
        stem, _, number = second.name.partition("_")
        assert stem == "scale"
        assert int(number) == int(first.name.partition("_")[2] or 0) + 1

    def test_get_and_set(self) -> None:
        layer = Dense(3)
        layer.build((None, 4))
        weights = layer.get_weights()
        weights[0][:] = 7
        assert not (layer.params["kernel"] == 7).any()
        kernel = layer.params["kernel"]
        layer.set_weights(weights)
        assert (kernel == 7).all()
        assert layer.params["kernel"] is kernel

    def test_set_checks_first(self) -> None:
        layer = Dense(3)
        layer.build((None, 4))
        before = layer.get_weights()
        with pytest.raises(ValueError, match="expects 2 arrays; got 1"):
            layer.set_weights(before[:1])
        with pytest.raises(ValueError, match=r"bias must have the shape of the layer's, \(3,\); got \(4,\)"):
            layer.set_weights([np.ones((4, 3)), np.ones(4)])
        for now, then in zip(layer.get_weights(), before):
            np.testing.assert_array_equal(now, then)

    def test_frozen(self) -> None:
        layer, x = Dense(3, trainable=False), wave(ROWS)
        y, back = layer.vjp(x)
        assert back(y).shape == x.shape
        assert not layer.grads["kernel"].any()
        before = layer.get_weights()
        SGD(1.0).step(layer)
        for now, then in zip(layer.get_weights(), before):
            np.testing.assert_array_equal(now, then)
        assert layer.trainable_weights == []
        assert len(layer.non_trainable_weights) == 2

    def test_count(self) -> None:
        layer = Conv2D(8, 3)
        with pytest.raises(ValueError, match="needs a built layer"):
            layer.count_params()
        layer.build((None, 9, 9, 4))
        assert layer.count_params() == 3 * 3 * 4 * 8 + 8

    def test_dtype(self) -> None:
        x = wave(ROWS)
        assert Dense(3)(x.astype(np.float64)).dtype == np.float32
        assert Dense(3, "softmax", dtype="float64")(x).dtype == np.float64
        with fastdl.use(dtype="float64"):
            assert Dense(3).dtype == np.float64

    def test_data_format_of_the_settings(self) -> None:
        with fastdl.use(data_format="channels_first"):
            layer = Conv2D(2, 3)
        assert layer.data_format == "channels_first"
        assert config.current().data_format == "channels_last"
        assert layer(wave((1, 3, 8, 8))).shape == (1, 2, 6, 6)

    def test_deepcopy_is_another_layer(self) -> None:
        layer = Dense(3)
        layer(wave(ROWS))
        other = copy.deepcopy(layer)
        other.params["kernel"][:] = 0
        assert layer.params["kernel"].any()

    def test_empty_batch(self) -> None:
        for name, arguments, shape in LAYERS:
            layer = getattr(layers, name)(**arguments)
            y, back = layer.vjp(np.empty((0, *shape[1:]), np.float32))
            assert len(y) == 0
            assert back(np.empty_like(y)).shape == (0, *shape[1:])

    def test_open_sizes(self) -> None:
        model = Sequential([Input((None, None, 3)), Conv2D(4, 3, strides=2), layers.GlobalAveragePooling2D()])
        assert Conv2D(4, 3, strides=2).compute_output_shape((None, None, 9, 3)) == (None, None, 4, 4)
        assert model.output_shape == (None, 4)
        for size in (7, 12):
            assert model(wave((1, size, size, 3))).shape == (1, 4)


X = wave(ROWS)


@pytest.mark.parametrize(
    "error, message, call",
    [
        (ValueError, "units must be at least 1; got 0", lambda: Dense(0)),
        (TypeError, "units must be an integer; got 2.5", lambda: Dense(2.5)),  # type: ignore[arg-type]
        (ValueError, "activation must be one of 'linear', .*got 'rellu'", lambda: Dense(3, "rellu")),
        (TypeError, "without parameters; got <PReLU", lambda: Dense(3, layers.PReLU())),
        (
            ValueError,
            "unknown initializer 'hee'; there are constant",
            lambda: Dense(3, kernel_initializer="hee"),
        ),
        (ValueError, "dtype must be one of 'float32', 'float64'", lambda: Dense(3, dtype="int32")),
        (TypeError, "unexpected keyword argument 'unit'", lambda: Dense(3, unit=3)),
        (ValueError, r"x must be \(..., features\)", lambda: Dense(3)(np.ones(3, np.float32))),
        (
            TypeError,
            "x must hold floating-point numbers; got int64",
            lambda: Dense(3)(np.ones((2, 3), np.int64)),
        ),
        (TypeError, "x must hold floating-point numbers; got object", lambda: Dense(3)([[None]])),
        (ValueError, "x must have a first axis", lambda: Activation("relu")(np.float32(3))),
        (ValueError, "kernel of shape .* needs an axis", lambda: Dense(3).build((None, None))),
        (ValueError, "kernel would be too large", lambda: Dense(2**31 - 1).build((None, 2**31 - 1))),
        (
            ValueError,
            "padding must be one of 'valid', 'same'; got 'causal'",
            lambda: Conv2D(3, 3, padding="causal"),
        ),
        (ValueError, "strides must be at least 1; got 0", lambda: Conv2D(3, 3, strides=0)),
        (ValueError, "x must have 4 axes", lambda: Conv2D(3, 3)(X)),
        (
            ValueError,
            "channels, 4, must be divisible by groups, 3",
            lambda: Conv2D(3, 3, groups=3)(wave(IMAGES)),
        ),
        (ValueError, "kernel", lambda: Conv2D(3, 9)(wave(IMAGES))),
        (TypeError, "'kernel_initializer'", lambda: layers.DepthwiseConv2D(3, kernel_initializer="ones")),
        (ValueError, "data_format must be one of", lambda: Conv2D(3, 3, data_format="NCHW")),
        (
            ValueError,
            "output_padding must be smaller",
            lambda: layers.Conv2DTranspose(3, 3, 2, output_padding=2)(wave(IMAGES)),
        ),
        (ValueError, "rate must be at least 0 and below 1; got 1", lambda: Dropout(1)),
        (ValueError, "has not the axes of x", lambda: Dropout(0.5, (1, 2, 3))(X, training=True)),
        (ValueError, "must be images", lambda: layers.SpatialDropout2D(0.5)(X, training=True)),
        (ValueError, "negative_slope must be at least 0", lambda: layers.LeakyReLU(-1.0)),
        (ValueError, "shared_axes has 3", lambda: layers.PReLU(shared_axes=(3,))(X)),
        (ValueError, r"samples of shape \(4,\) do not fit", lambda: layers.Reshape((3, -1))(X)),
        (ValueError, "at most one of them -1", lambda: layers.Reshape((-1, -1))),
        (ValueError, "each of 1..2 once", lambda: layers.Permute((1, 3))),
        (ValueError, "expects 3 axes", lambda: layers.Permute((2, 1))(X)),
        (ValueError, r"x must be \(N, features\)", lambda: layers.RepeatVector(2)(wave(IMAGES))),
        (ValueError, "leaves nothing", lambda: layers.Cropping2D(4)(wave(IMAGES))),
        (ValueError, "must be an int, two, or two pairs", lambda: layers.ZeroPadding2D((1, 2, 3))),
        (ValueError, "must be images", lambda: layers.ZeroPadding2D()(X)),
        (ValueError, "interpolation must be one of", lambda: layers.UpSampling2D(interpolation="cubic")),
    ],
)
def test_mistakes_are_named(error: type[Exception], message: str, call: Any) -> None:
    with pytest.raises(error, match=message):
        call()
