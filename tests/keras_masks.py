"""Models with masks in them whose results Keras was asked for.

``python tests/keras_masks.py`` asks it again (it needs keras and jax) and writes ``data/keras_masks.npz``.
A builder is given either library: both have the same names.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from keras_cases import wave
from keras_recurrent import flat, weights_like

RECORDED = Path(__file__).parent / "data" / "keras_masks.npz"

# Padded on the right, on the left, with holes, whole, and empty.
IDS = np.array([[3, 1, 4, 0, 0], [0, 0, 2, 6, 5], [5, 0, 3, 0, 1], [1, 2, 3, 4, 5], [0, 0, 0, 0, 0]])
MASK = IDS != 0
SEQUENCES = np.where(MASK[:, :, None], wave((5, 5, 4), start=0.3), -1).astype(np.float32)
STATES = [wave((5, 3), start=index + 0.7) for index in range(4)]


def _line(make: Callable[[Any], list[Any]], source: str = "ids") -> Callable[[Any], Any]:
    """A builder of what follows an embedding or a Masking layer, one layer after another."""

    def build(K: Any) -> Any:
        if source == "ids":
            x = K.Input((5,), dtype="int32")
            y = K.layers.Embedding(7, 4, mask_zero=True)(x)
        else:
            x = K.Input((5, 4))
            y = K.layers.Masking(mask_value=-1.0)(x)
        for layer in make(K.layers):
            y = layer(y)
        return K.Model(x, y)

    return build


def _both(
    name: str, merge_mode: str | None = "concat", starts: bool = False, **arguments: Any
) -> Callable[[Any], Any]:
    """A builder of a recurrent layer in both directions, behind a Masking layer.

    Keras loses the mask of x where initial states are given, but takes one.
    """

    def build(K: Any) -> Any:
        x = K.Input((5, 4))
        layer = K.layers.Bidirectional(getattr(K.layers, name)(3, **arguments), merge_mode=merge_mode)
        states = [K.Input((3,)) for _ in range(4 if name == "LSTM" else 2)] if starts else []
        h = K.layers.Masking(mask_value=-1.0)(x)
        mask = K.Input((5,), dtype="bool")
        y = layer(h, initial_state=states, mask=mask) if starts else layer(h)
        outputs = list(y) if isinstance(y, (list, tuple)) else y
        return K.Model([x, *states, mask] if starts else x, outputs)

    return build


def _other_backward(K: Any) -> Any:
    x = K.Input((5, 4))
    layer = K.layers.Bidirectional(
        K.layers.LSTM(3, return_sequences=True),
        backward_layer=K.layers.GRU(2, return_sequences=True, go_backwards=True),
    )
    return K.Model(x, layer(K.layers.Masking(mask_value=-1.0)(x)))


def _merged(name: str, one_sided: bool = False, **arguments: Any) -> Callable[[Any], Any]:
    """A builder of a merge of two sequences with different masks, or of one with and one without."""

    def build(K: Any) -> Any:
        ids, x = K.Input((5,), dtype="int32"), K.Input((5, 4))
        first = K.layers.Embedding(7, 4, mask_zero=True)(ids)
        second = x if one_sided else K.layers.Masking(mask_value=-1.0)(x)
        y = getattr(K.layers, name)(**arguments)([first, second])
        return K.Model([ids, x], K.layers.SimpleRNN(3)(y))

    return build


def _nested(K: Any) -> Any:
    """A mask goes into a model in a model, and another comes out of one."""
    ids = K.Input((5,), dtype="int32")
    embed = K.Sequential([K.Input((5,), dtype="int32"), K.layers.Embedding(7, 4, mask_zero=True)])
    inner = K.Input((5, 4))
    rnn = K.Model(inner, K.layers.GRU(3, return_sequences=True)(K.layers.Dense(4, "tanh")(inner)))
    return K.Model(ids, K.layers.LSTM(2)(rnn(embed(ids))))


def _explicit(K: Any) -> Any:
    x, mask = K.Input((5, 4)), K.Input((5,), dtype="bool")
    return K.Model([x, mask], K.layers.LSTM(3, return_sequences=True)(x, mask=mask))


MODELS: dict[str, Callable[[Any], Any]] = {
    "SimpleRNN": _line(lambda L: [L.SimpleRNN(3)]),
    "LSTM": _line(lambda L: [L.LSTM(3, return_sequences=True), L.GRU(2)], "sequences"),
    "GRU": _line(lambda L: [L.GRU(3, return_sequences=True)]),
    "go_backwards": _line(lambda L: [L.LSTM(3, return_sequences=True, go_backwards=True)]),
    "passed on": _line(
        lambda L: [
            L.Dense(4, "relu"),
            L.Dropout(0.5),
            L.Activation("tanh"),
            L.LayerNormalization(),
            L.PReLU(),
            L.TimeDistributed(L.Dense(3)),
            L.GaussianNoise(0.1),
            L.LSTM(3),
        ]
    ),
    "both": _both("LSTM", return_sequences=True),
    "both ends": _both("GRU", "sum"),
    "both apart": _both("GRU", None, return_sequences=True),
    "both states": _both("LSTM", return_sequences=True, return_state=True),
    "both starts": _both("LSTM", "mul", starts=True, return_sequences=True, return_state=True),
    "both starts apart": _both("GRU", None, starts=True, return_state=True),
    "other backward": _other_backward,
    "Add": _merged("Add"),
    "Multiply": _merged("Multiply"),
    "Concatenate": _merged("Concatenate"),
    "Concatenate steps": _merged("Concatenate", axis=1),
    "Concatenate one": _merged("Concatenate", one_sided=True),
    "Add one": _merged("Add", one_sided=True),
    "nested": _nested,
    "explicit": _explicit,
}

# What follows a Masking layer, the loss, the targets, and whether samples have weights.
TRAINED: dict[str, tuple[Callable[[Any], Any], Any, Any, Any]] = {
    "mse": (
        _line(lambda L: [L.LSTM(3, return_sequences=True), L.Dense(2)], "sequences"),
        "mse", wave((5, 5, 2)), None,
    ),
    "weighted": (
        _line(lambda L: [L.Dense(2, "tanh")], "sequences"), "mae", wave((5, 5, 2)), wave((5,)) + 1,
    ),
    "steps weighted": (
        _line(lambda L: [L.Dense(2, "tanh")], "sequences"), "mse", wave((5, 5, 2)), wave((5, 5)) + 1,
    ),
    "labels": (
        _line(lambda L: [L.GRU(4, return_sequences=True), L.Dense(3, "softmax")], "sequences"),
        "sparse_categorical_crossentropy", np.arange(25).reshape(5, 5) % 3, None,
    ),
    "statistics": (
        _line(
            lambda L: [L.BatchNormalization(momentum=0.5), L.SimpleRNN(3, return_sequences=True)], "sequences"
        ),
        "mse", wave((5, 5, 3)), None,
    ),
}  # fmt: skip


def inputs(model: Any) -> Any:
    """Samples for a model, by the shapes of its inputs."""
    tensors = model.input if isinstance(model.input, list) else [model.input]
    states = iter(STATES)
    found = []
    for tensor in tensors:
        if len(tensor.shape) == 3:
            found.append(SEQUENCES)
        elif tensor.shape[1] == 3:
            found.append(next(states))
        else:
            found.append(MASK if "bool" in str(tensor.dtype) else IDS)
    return found if isinstance(model.input, list) else found[0]


def sums(outputs: Any) -> list[np.ndarray]:
    """What each output is multiplied with, and the products added, for a gradient."""
    return [wave(tuple(y.shape), start=0.2 + index) for index, y in enumerate(outputs)]


def record() -> None:
    """Ask Keras, and keep its answers: outputs and gradients, and what three steps of SGD lead to."""
    os.environ.setdefault("KERAS_BACKEND", "jax")
    import jax
    import keras

    answers: dict[str, Any] = {"version": np.array(keras.__version__)}
    for key, build in MODELS.items():
        model = build(keras)
        model.set_weights(weights_like(model.get_weights()))
        fixed = [variable.value for variable in model.non_trainable_variables]
        trained = [variable.value for variable in model.trainable_variables]

        def weighed(trained: Any, model: Any = model, fixed: Any = fixed) -> Any:
            y, _ = model.stateless_call(trained, fixed, inputs(model))
            y = list(y) if isinstance(y, (list, tuple)) else [y]
            return sum((one * factor).sum() for one, factor in zip(y, sums(y))), y

        gradients, y = jax.grad(weighed, has_aux=True)(trained)
        answers[key] = flat([*y, *gradients])
    for key, (build, loss, target, weights) in TRAINED.items():
        model = build(keras)
        model.set_weights(weights_like(model.get_weights()))
        metrics = ["accuracy"] if key == "labels" else ["mae"]
        model.compile(keras.optimizers.SGD(0.1), loss, metrics=metrics)
        if weights is not None and weights.ndim == 1:
            weights = weights[:, None]  # or else Keras takes them for weights of the steps
        x = inputs(model)
        losses = [model.train_on_batch(x, target, sample_weight=weights)[0] for _ in range(3)]
        tested = model.evaluate(x, target, sample_weight=weights, batch_size=5, verbose=0)
        answers[f"{key}/steps"] = np.array([*losses, *tested])  # metrics know masks only here
        answers[f"{key}/weights"] = flat(model.get_weights())
    np.savez_compressed(RECORDED, **answers)


if __name__ == "__main__":
    record()
