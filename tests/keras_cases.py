"""Layers, losses and optimizers whose results Keras was asked for.

``python tests/keras_cases.py`` asks it again (it needs keras and jax) and writes ``tests/data/keras.npz``.
The inputs and the weights are sine waves, so that nothing but the results has to be kept.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

RECORDED = Path(__file__).parent / "data" / "keras.npz"

IMAGES, SEQUENCES, VOLUMES, ROWS = (2, 7, 6, 4), (2, 7, 4), (2, 4, 5, 4, 2), (3, 4)
SMALL_IMAGES, SMALL_VOLUMES = (2, 5, 6, 3), (2, 3, 4, 3, 2)
FIRST = {"data_format": "channels_first"}

Case = tuple[str, dict[str, Any], tuple[int, ...]]

LAYERS: list[Case] = [
    *(
        ("Dense", {"units": 3, "activation": activation}, ROWS)
        for activation in (
            *("relu", "leaky_relu", "elu", "selu", "sigmoid", "tanh", "softplus", "gelu", "silu", "swish"),
            *("softmax", "log_softmax", "linear", None),
        )
    ),
    ("Dense", {"units": 3, "use_bias": False}, SEQUENCES),
    ("Dense", {"units": 3}, IMAGES),
    *(
        (name, {"filters": 2, "kernel_size": kernel, "strides": strides, "padding": padding}, IMAGES)
        for name in ("Conv2D", "Conv2DTranspose")
        for padding in ("valid", "same")
        for kernel, strides in ((1, 2), (2, 1), (3, 2), (4, 2), ((2, 3), (3, 1)))
    ),
    *(
        (
            "Conv2DTranspose",
            {"filters": 2, "kernel_size": k, "strides": s, "padding": p, "output_padding": o},
            IMAGES,
        )
        for k, s, p, o in ((3, 2, "valid", 1), (3, 2, "same", 1), (4, 3, "same", 2), (2, 3, "same", 0))
    ),
    ("Conv2DTranspose", {"filters": 2, "kernel_size": 3, "dilation_rate": 2, "padding": "same"}, IMAGES),
    ("Conv2D", {"filters": 4, "kernel_size": 3, "dilation_rate": 2, "groups": 2, "padding": "same"}, IMAGES),
    ("Conv2D", {"filters": 2, "kernel_size": 3, "activation": "relu"}, IMAGES),
    ("Conv2D", {"filters": 3, "kernel_size": 2, "activation": "softmax", "use_bias": False}, SMALL_IMAGES),
    ("Conv2D", {"filters": 2, "kernel_size": 3, "strides": 2, "padding": "same"} | FIRST, SMALL_IMAGES),
    ("Conv2DTranspose", {"filters": 2, "kernel_size": 3, "strides": 2} | FIRST, SMALL_IMAGES),
    (
        "Conv2DTranspose",
        {"filters": 2, "kernel_size": 2, "use_bias": False, "activation": "elu"},
        SMALL_IMAGES,
    ),
    ("Conv1D", {"filters": 3, "kernel_size": 3, "dilation_rate": 2, "padding": "causal"}, SEQUENCES),
    ("Conv1D", {"filters": 3, "kernel_size": 3, "strides": 2, "padding": "causal"}, SEQUENCES),
    ("Conv1D", {"filters": 3, "kernel_size": 2, "strides": 2, "padding": "same"}, SEQUENCES),
    ("Conv1D", {"filters": 4, "kernel_size": 3, "groups": 2, "use_bias": False}, SEQUENCES),
    ("Conv1D", {"filters": 3, "kernel_size": 3, "dilation_rate": 2, "padding": "same"} | FIRST, SEQUENCES),
    ("Conv3D", {"filters": 2, "kernel_size": 2, "strides": (1, 2, 1)}, VOLUMES),
    ("Conv3D", {"filters": 2, "kernel_size": (1, 3, 2), "strides": 2, "padding": "same"}, VOLUMES),
    ("Conv3D", {"filters": 2, "kernel_size": 2, "dilation_rate": 2, "groups": 2, "use_bias": False}, VOLUMES),
    ("Conv1DTranspose", {"filters": 3, "kernel_size": 2, "strides": 3}, SEQUENCES),
    ("Conv1DTranspose", {"filters": 2, "kernel_size": 3, "strides": 2, "padding": "same"}, SEQUENCES),
    ("Conv1DTranspose", {"filters": 2, "kernel_size": 3, "strides": 2, "output_padding": 1}, SEQUENCES),
    ("Conv1DTranspose", {"filters": 2, "kernel_size": 3, "dilation_rate": 2, "use_bias": False}, SEQUENCES),
    ("Conv3DTranspose", {"filters": 2, "kernel_size": 2, "strides": 2, "padding": "same"}, SMALL_VOLUMES),
    ("Conv3DTranspose", {"filters": 1, "kernel_size": (2, 1, 3), "strides": (1, 2, 2)}, SMALL_VOLUMES),
    ("DepthwiseConv2D", {"kernel_size": 3, "strides": 2, "padding": "same", "depth_multiplier": 2}, IMAGES),
    ("DepthwiseConv2D", {"kernel_size": (2, 3), "activation": "tanh", "use_bias": False}, SMALL_IMAGES),
    ("DepthwiseConv2D", {"kernel_size": 2, "dilation_rate": 2}, SMALL_IMAGES),
    ("DepthwiseConv2D", {"kernel_size": 3, "padding": "same", "depth_multiplier": 2} | FIRST, SMALL_IMAGES),
    (
        "SeparableConv2D",
        {"filters": 3, "kernel_size": 3, "depth_multiplier": 2, "activation": "tanh"},
        IMAGES,
    ),
    ("SeparableConv2D", {"filters": 2, "kernel_size": 3, "strides": 2, "padding": "same"}, SMALL_IMAGES),
    ("SeparableConv2D", {"filters": 2, "kernel_size": 2, "dilation_rate": 2}, SMALL_IMAGES),
    ("SeparableConv2D", {"filters": 2, "kernel_size": 2, "use_bias": False} | FIRST, SMALL_IMAGES),
    ("MaxPooling1D", {}, SEQUENCES),
    ("MaxPooling1D", {"pool_size": 3, "strides": 1, "padding": "same"}, SEQUENCES),
    ("MaxPooling1D", {"pool_size": 2} | FIRST, SEQUENCES),
    ("MaxPooling2D", {"pool_size": 3, "strides": 2, "padding": "same"}, IMAGES),
    ("MaxPooling2D", {"pool_size": (1, 2), "strides": (3, 1)}, SMALL_IMAGES),
    ("MaxPooling2D", {"pool_size": (1, 2)} | FIRST, SMALL_IMAGES),
    ("MaxPooling3D", {}, VOLUMES),
    ("MaxPooling3D", {"pool_size": (1, 3, 2), "strides": 1, "padding": "same"}, SMALL_VOLUMES),
    ("MaxPooling3D", {} | FIRST, SMALL_VOLUMES),
    ("AveragePooling1D", {"pool_size": 3, "strides": 1, "padding": "same"}, SEQUENCES),
    ("AveragePooling1D", {"pool_size": 2} | FIRST, SEQUENCES),
    ("AveragePooling2D", {"pool_size": 2}, IMAGES),
    ("AveragePooling2D", {"pool_size": 3, "padding": "same"} | FIRST, IMAGES),
    ("AveragePooling2D", {"pool_size": (2, 1), "strides": (1, 3)}, SMALL_IMAGES),
    ("AveragePooling3D", {"pool_size": 2}, VOLUMES),
    ("AveragePooling3D", {"pool_size": 2, "strides": 1, "padding": "same"}, SMALL_VOLUMES),
    ("AveragePooling3D", {"pool_size": (1, 3, 2)} | FIRST, SMALL_VOLUMES),
    *(
        (f"Global{kind}Pooling{len(shape) - 2}D", arguments, shape)
        for kind in ("Max", "Average")
        for shape in (SEQUENCES, SMALL_IMAGES, SMALL_VOLUMES)
        for arguments in ({}, {"keepdims": True}, FIRST)
    ),
    ("UpSampling2D", {"size": (2, 3)}, SMALL_IMAGES),
    ("UpSampling2D", {"interpolation": "bilinear"}, SMALL_IMAGES),
    ("UpSampling2D", {"size": (3, 1), "interpolation": "bilinear"} | FIRST, SMALL_IMAGES),
    ("Flatten", {}, IMAGES),
    ("Flatten", FIRST, IMAGES),
    ("Reshape", {"target_shape": (-1, 3)}, SMALL_IMAGES),
    ("Reshape", {"target_shape": (2, 14)}, SEQUENCES),
    ("Permute", {"dims": (3, 1, 2)}, SMALL_IMAGES),
    ("Permute", {"dims": (2, 1)}, SEQUENCES),
    ("RepeatVector", {"n": 3}, ROWS),
    ("ZeroPadding2D", {"padding": ((1, 2), (0, 3))}, SMALL_IMAGES),
    ("ZeroPadding2D", {}, SMALL_IMAGES),
    ("ZeroPadding2D", {"padding": (2, 1)} | FIRST, SMALL_IMAGES),
    ("Cropping2D", {"cropping": ((1, 2), (0, 3))}, SMALL_IMAGES),
    ("Cropping2D", {}, SMALL_IMAGES),
    ("Cropping2D", {"cropping": (1, 0)} | FIRST, SMALL_IMAGES),
    *(("Activation", {"activation": activation}, ROWS) for activation in ("tanh", "softmax", "gelu")),
    ("ReLU", {"max_value": 0.5, "negative_slope": 0.1}, ROWS),
    ("ReLU", {}, ROWS),
    ("LeakyReLU", {}, ROWS),
    ("LeakyReLU", {"negative_slope": 0.1}, ROWS),
    ("ELU", {}, ROWS),
    ("ELU", {"alpha": 0.5}, ROWS),
    ("PReLU", {}, SMALL_IMAGES),
    ("PReLU", {"shared_axes": [1, 2]}, SMALL_IMAGES),
    ("Softmax", {}, ROWS),
    ("Softmax", {"axis": 1}, SEQUENCES),
    # These are the identity but in training, where two libraries draw other numbers.
    ("Dropout", {"rate": 0.5}, ROWS),
    ("Dropout", {"rate": 0.5, "noise_shape": (None, 1, 4)}, SEQUENCES),
    ("SpatialDropout2D", {"rate": 0.5}, SMALL_IMAGES),
    ("SpatialDropout2D", {"rate": 0.5} | FIRST, SMALL_IMAGES),
    ("GaussianNoise", {"stddev": 0.5}, ROWS),
]

# The loss, its arguments, what the targets are, and what the predictions are.
LOSSES: list[tuple[str, dict[str, Any], str, str]] = [
    ("MeanSquaredError", {}, "one_hot", "probabilities"),
    ("MeanAbsoluteError", {}, "one_hot", "probabilities"),
    ("Huber", {"delta": 0.3}, "one_hot", "probabilities"),
    ("Hinge", {}, "one_hot", "logits"),
    ("Hinge", {}, "signs", "logits"),
    ("BinaryCrossentropy", {}, "one_hot", "probabilities"),
    ("BinaryCrossentropy", {"from_logits": True, "label_smoothing": 0.2}, "one_hot", "logits"),
    ("CategoricalCrossentropy", {}, "one_hot", "probabilities"),
    ("CategoricalCrossentropy", {}, "one_hot", "unscaled"),
    ("CategoricalCrossentropy", {"from_logits": True, "label_smoothing": 0.1}, "one_hot", "logits"),
    ("SparseCategoricalCrossentropy", {}, "classes", "probabilities"),
    ("SparseCategoricalCrossentropy", {"from_logits": True}, "classes", "logits"),
    ("KLDivergence", {}, "probabilities", "other_probabilities"),
]

OPTIMIZERS: list[tuple[str, dict[str, Any]]] = [
    ("SGD", {}),
    ("SGD", {"momentum": 0.9}),
    ("SGD", {"momentum": 0.9, "nesterov": True}),
    ("Adagrad", {}),
    ("Adadelta", {"learning_rate": 1.0}),
    ("RMSprop", {}),
    ("RMSprop", {"momentum": 0.9, "centered": True}),
    ("Adam", {}),
    ("Adam", {"amsgrad": True, "beta_1": 0.5}),
    ("AdamW", {"learning_rate": 0.01}),
    ("SGD", {"weight_decay": 0.5}),
    ("RMSprop", {"learning_rate": 0.1, "rho": 0.5, "epsilon": 0.01, "weight_decay": 0.5}),
    ("Adagrad", {"initial_accumulator_value": 0.5, "epsilon": 0.01}),
    ("Adadelta", {"learning_rate": 1.0, "rho": 0.5, "epsilon": 0.01}),
    ("Adam", {"learning_rate": 0.1, "beta_2": 0.9, "epsilon": 0.01, "weight_decay": 0.5}),
    ("AdamW", {"learning_rate": 0.1, "weight_decay": 0.5, "amsgrad": True}),
]
STEPS = 6


def wave(shape: tuple[int, ...], start: float = 0.1) -> np.ndarray:
    """Numbers in (-1, 1) without a pattern that a layer could respect by chance."""
    return np.sin(1.7 * np.arange(math.prod(shape)) + start).reshape(shape).astype(np.float32)


# Layers that no finite difference can be held against, and their input: Embedding takes whole numbers, and
# Masking jumps where all features of a step have the mask's value.
JUMPING: list[tuple[str, dict[str, Any], np.ndarray]] = [
    ("Embedding", {"input_dim": 6, "output_dim": 3}, np.array([[1, 5, 5], [2, 1, 0]])),
    ("Masking", {"mask_value": -1.0}, np.where(np.eye(2, 3)[..., None], np.float32(-1), wave((2, 3, 4)))),
]


def weights_like(weights: list[np.ndarray]) -> list[np.ndarray]:
    """Weights of the same shapes."""
    return [wave(weight.shape, start=index + 0.5) for index, weight in enumerate(weights)]


def loss_arrays() -> dict[str, np.ndarray]:
    """The targets and predictions that `LOSSES` names."""
    classes = np.array([0, 2, 1, 3, 3, 0])
    one_hot = np.eye(4, dtype=np.float32)[classes]
    logits = 3 * wave((6, 4))

    def softmax(z: np.ndarray) -> np.ndarray:
        return np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)

    return {
        "classes": classes,
        "one_hot": one_hot,
        "signs": 2 * one_hot - 1,
        "logits": logits,
        "probabilities": softmax(logits),
        "other_probabilities": softmax(logits[::-1]),
        "unscaled": 2 * softmax(logits),
        "weights": abs(wave((6,), start=0.3)),
    }


def gradients() -> list[np.ndarray]:
    """The gradients of the steps."""
    return [wave((3, 5), start=step) * (1 + step) for step in range(STEPS)]


def flat(arrays: Iterable[Any]) -> np.ndarray:
    """All numbers in one array: a file of many small ones is mostly their names."""
    return np.concatenate([np.ravel(array) for array in arrays])


def described(layer: Any) -> np.ndarray:
    """The shapes of a layer's weights, and how many numbers these are; of either library's layer."""
    return np.array([*(str(weight.shape) for weight in layer.get_weights()), str(layer.count_params())])


def asked(layer: Any, *x: np.ndarray) -> np.ndarray:
    """What a layer of Keras says: y, and the gradients of Σ y·wave, those of x before those of weights."""
    import jax

    trained, fixed = (
        [variable.value for variable in variables]
        for variables in (layer.trainable_variables, layer.non_trainable_variables)
    )
    sloping = [array for array in x if array.dtype.kind == "f"]

    def weighed(trained: Any, sloping: Any) -> Any:
        given = sloping or x
        y, _ = layer.stateless_call(trained, fixed, given if len(given) > 1 else given[0])
        return (y * wave(y.shape)).sum(), y

    (dweights, dx), y = jax.grad(weighed, argnums=(0, 1), has_aux=True)(trained, sloping)
    return flat([y, *dx, *dweights])


def record() -> None:
    """Ask Keras, and keep its answers."""
    os.environ.setdefault("KERAS_BACKEND", "jax")
    import keras

    answers: dict[str, Any] = {"version": np.array(keras.__version__)}
    waves = [(name, arguments, wave(shape)) for name, arguments, shape in LAYERS]
    for index, (name, arguments, x) in enumerate([*waves, *JUMPING]):
        layer = getattr(keras.layers, name)(**arguments)
        layer.build((None, *x.shape[1:]))
        layer.set_weights(weights_like(layer.get_weights()))
        answers[f"layer_{index}"] = asked(layer, x)
        answers[f"layer_{index}_weights"] = described(layer)
    arrays = loss_arrays()
    for index, (name, arguments, target, prediction) in enumerate(LOSSES):
        loss = getattr(keras.losses, name)(**arguments)
        plain, weighted = (loss(arrays[target], arrays[prediction], w) for w in (None, arrays["weights"]))
        answers[f"loss_{index}"] = np.array([float(plain), float(weighted)])
    for index, (name, arguments) in enumerate(OPTIMIZERS):
        optimizer = getattr(keras.optimizers, name)(**arguments)
        parameter = keras.Variable(wave((3, 5), start=9))
        for gradient in gradients():
            optimizer.apply_gradients([(gradient, parameter)])
        answers[f"optimizer_{index}"] = np.asarray(parameter)
    np.savez_compressed(RECORDED, **answers)


if __name__ == "__main__":
    record()
