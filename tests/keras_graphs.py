"""Merges and graphs whose results Keras was asked for.

``python tests/keras_graphs.py`` asks it again (it needs keras and jax) and writes
``tests/data/keras_graphs.npz``.
A builder is given either library: both have the same names.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from keras_cases import asked, wave, weights_like

RECORDED = Path(__file__).parent / "data" / "keras_graphs.npz"
STEPS = 3

# The layer, its arguments, and the shapes of its inputs.
MERGES: list[tuple[str, dict[str, Any], list[tuple[int, ...]]]] = [
    *((name, {}, [(2, 3, 4)] * 3) for name in ("Add", "Multiply", "Average", "Maximum", "Minimum")),
    *((name, {}, [(2, 3, 4), (2, 3, 1)]) for name in ("Add", "Multiply", "Average", "Maximum", "Minimum")),
    ("Add", {}, [(2, 4), (2, 3, 4), (2, 1, 4)]),
    ("Subtract", {}, [(2, 3, 4), (2, 3, 4)]),
    ("Subtract", {}, [(2, 1, 4), (2, 3, 1)]),
    ("Concatenate", {}, [(2, 3, 4), (2, 3, 1), (2, 3, 2)]),
    ("Concatenate", {"axis": 1}, [(2, 3, 4), (2, 1, 4)]),
    ("Dot", {"axes": 1}, [(3, 4), (3, 4)]),
    ("Dot", {"axes": -1, "normalize": True}, [(3, 4), (3, 4)]),
    ("Dot", {"axes": (2, 1)}, [(2, 3, 4), (2, 4, 5)]),
    ("Dot", {"axes": (1, 2), "normalize": True}, [(2, 3, 4), (2, 5, 3)]),
    ("Dot", {"axes": 2}, [(2, 3, 4), (2, 5, 4)]),
    ("Dot", {"axes": (1, 1)}, [(2, 3, 4), (2, 3)]),
]


def two_inputs(K: Any) -> Any:
    a, b = K.Input((4,), name="a"), K.Input((3,), name="b")
    right = K.layers.Dense(2, "tanh", name="right")(b)
    left = K.layers.Dense(5, "relu", name="left")(a)
    joined = K.layers.Concatenate(name="joined")([left, right])
    out_a = K.layers.Dense(2, "softmax", name="out_a")(joined)
    out_b = K.layers.Dense(1, name="out_b")(K.layers.Dense(3, "tanh", name="deep")(joined))
    return K.Model([a, b], [out_a, out_b], name="two_inputs")


def siamese(K: Any) -> Any:
    a, b = K.Input((4,), name="a"), K.Input((4,), name="b")
    tower = K.Sequential([K.layers.Dense(6, "tanh", name="t1"), K.layers.Dense(3, name="t2")], name="tower")
    apart = K.layers.Subtract(name="apart")([tower(a), tower(b)])
    return K.Model([a, b], K.layers.Dense(1, "sigmoid", name="same")(apart), name="siamese")


def shared_layer(K: Any) -> Any:
    x = K.Input((4,), name="x")
    shared = K.layers.Dense(4, "tanh", name="shared")
    once = shared(x)
    y = K.layers.Add(name="sum")([x, shared(K.layers.Dense(4, name="between")(once)), once])
    return K.Model(x, K.layers.Dense(2, name="end")(y), name="shared_layer")


def unet(K: Any) -> Any:
    def double(x: Any, filters: int, name: str) -> Any:
        for part in "ab":
            x = K.layers.Conv2D(filters, 3, padding="same", activation="relu", name=name + part)(x)
        return x

    x = K.Input((8, 8, 2), name="image")
    top = double(x, 3, "top")
    bottom = double(K.layers.MaxPooling2D(name="down")(top), 5, "bottom")
    up = K.layers.Conv2DTranspose(3, 2, strides=2, name="up")(bottom)
    y = double(K.layers.Concatenate(name="skip")([up, top]), 3, "end")
    return K.Model(x, K.layers.Conv2D(1, 1, activation="sigmoid", name="mask")(y), name="unet")


def by_name(K: Any) -> Any:
    a, b = K.Input((3,), name="p"), K.Input((4,), name="q")
    h = K.layers.Multiply(name="gated")(
        [K.layers.Dense(4, name="from_a")(a), K.layers.Activation("sigmoid", name="gate")(b)]
    )
    small, large = K.layers.Dense(1, name="y1")(h), K.layers.Dense(3, name="y2")(h)
    return K.Model({"p": a, "q": b}, {"small": small, "large": large}, name="by_name")


# What is compiled: loss, weights of the losses, metrics.
GRAPHS: dict[str, tuple[Callable[[Any], Any], dict[str, Any]]] = {
    "two_inputs": (
        two_inputs,
        {
            "loss": ["sparse_categorical_crossentropy", "mse"],
            "loss_weights": [0.5, 2.0],
            "metrics": [["accuracy"], ["mae", "mse"]],
        },
    ),
    "siamese": (siamese, {"loss": "binary_crossentropy"}),
    "shared_layer": (shared_layer, {"loss": "mse", "metrics": ["mae"]}),
    "unet": (unet, {"loss": "binary_crossentropy"}),
    "by_name": (
        by_name,
        {"loss": {"small": "mse", "large": "mae"}, "loss_weights": {"small": 1.0, "large": 0.25}},
    ),
}


def data(model: Any) -> tuple[Any, Any]:
    """Samples and targets for a graph, in the form of its inputs and outputs."""

    def filled(tensors: Any, start: float) -> Any:
        if isinstance(tensors, dict):
            return {key: filled(tensor, start + i) for i, (key, tensor) in enumerate(sorted(tensors.items()))}
        if isinstance(tensors, list):
            return [filled(tensor, start + i) for i, tensor in enumerate(tensors)]
        return wave((6, *tensors.shape[1:]), start)

    x, y = filled(model.input, 0.1), filled(model.output, 0.7)
    if model.name == "two_inputs":
        y[0] = np.array([0, 1, 1, 0, 1, 0])
    if model.name in ("siamese", "unet"):
        y = (y > 0).astype(np.float32)
    return x, y


def prepared(build: Callable[[Any], Any], K: Any, compiled: dict[str, Any]) -> Any:
    """A compiled graph with weights that need not be kept."""
    model = build(K)
    # Small enough that no sigmoid is near 0 or 1, where Keras's loss clips and its gradient is rough.
    model.set_weights([0.4 * weight for weight in weights_like(model.get_weights())])
    model.compile("sgd", **compiled)
    return model


def parts(y: Any) -> list[np.ndarray]:
    whole = list(y.values()) if isinstance(y, dict) else y if isinstance(y, list) else [y]
    return [np.asarray(part) for part in whole]


def record() -> None:
    """Ask Keras, and keep its answers."""
    os.environ.setdefault("KERAS_BACKEND", "jax")
    import keras

    answers: dict[str, Any] = {"version": np.array(keras.__version__)}
    for index, (name, arguments, shapes) in enumerate(MERGES):
        x = [wave(shape, start) for start, shape in enumerate(shapes)]
        layer = getattr(keras.layers, name)(**arguments)
        layer(x)  # builds it
        answers[f"merge_{index}"] = asked(layer, *x)
    for name, (build, compiled) in GRAPHS.items():
        model = prepared(build, keras, compiled)
        x, y = data(model)
        named = [layer.name for layer in model.layers if type(layer).__name__ != "InputLayer"]
        answers[f"{name}_layers"] = np.array(named)
        answers[f"{name}_shapes"] = np.array([str(weight.shape) for weight in model.get_weights()])
        answers[f"{name}_count"] = np.array(model.count_params())
        for place, part in enumerate(parts(model.predict(x, verbose=0))):
            answers[f"{name}_output_{place}"] = part
        for step in range(STEPS):
            logs = model.train_on_batch(x, y, return_dict=True)
            if step == 0:  # the later ones are means over the steps
                answers[f"{name}_logs"] = np.array(sorted(logs))
                answers[f"{name}_values"] = np.array([float(logs[key]) for key in sorted(logs)])
        answers[f"{name}_trained"] = np.concatenate([weight.ravel() for weight in model.get_weights()])
    np.savez_compressed(RECORDED, **answers)


if __name__ == "__main__":
    record()
