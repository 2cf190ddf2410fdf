"""Normalisation layers whose results Keras was asked for.

``python tests/keras_norm.py`` asks it again (it needs keras and jax) and writes ``data/keras_norm.npz``.
The inputs and the weights are sine waves, as in `keras_cases`.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from keras_cases import IMAGES, ROWS, SEQUENCES, Case, wave

RECORDED = Path(__file__).parent / "data" / "keras_norm.npz"

LAYERS: list[Case] = [
    ("BatchNormalization", {}, IMAGES),
    ("BatchNormalization", {}, ROWS),
    ("BatchNormalization", {"axis": 1, "momentum": 0.6, "epsilon": 0.1}, SEQUENCES),
    ("BatchNormalization", {"center": False}, SEQUENCES),
    ("BatchNormalization", {"scale": False}, IMAGES),
    ("BatchNormalization", {"trainable": False}, IMAGES),
    ("LayerNormalization", {}, SEQUENCES),
    ("LayerNormalization", {"axis": 1}, SEQUENCES),
    ("LayerNormalization", {"axis": [-2, -1], "epsilon": 0.1}, IMAGES),
    ("LayerNormalization", {"center": False}, ROWS),
    ("LayerNormalization", {"scale": False}, ROWS),
    ("GroupNormalization", {"groups": 2}, IMAGES),
    ("GroupNormalization", {"groups": -1}, SEQUENCES),
    ("GroupNormalization", {"groups": 3, "axis": 1}, (2, 6, 4, 5)),
    ("GroupNormalization", {"groups": 1, "center": False, "scale": False}, IMAGES),
]


def weights_like(weights: list[np.ndarray]) -> list[np.ndarray]:
    """Weights of the same shapes, positive, as a variance has to be."""
    return [1.5 + wave(weight.shape, start=index + 0.5) for index, weight in enumerate(weights)]


def record() -> None:
    """Ask Keras, and keep its answers: in inference, in training, and the gradients of Σ y·wave."""
    os.environ.setdefault("KERAS_BACKEND", "jax")
    import jax
    import keras

    answers: dict[str, Any] = {"version": np.array(keras.__version__)}
    for index, (name, arguments, shape) in enumerate(LAYERS):
        layer = getattr(keras.layers, name)(**arguments)
        layer.build((None, *shape[1:]))
        layer.set_weights(weights_like(layer.get_weights()))
        answers[f"{index}_count"] = np.array(layer.count_params())
        answers[f"{index}_inference"] = np.asarray(layer(wave(shape)))
        fixed = [variable.value for variable in layer.non_trainable_variables]

        def weighed(trained: Any, x: Any, layer: Any = layer, fixed: Any = fixed) -> Any:
            in_training = {"training": True} if fixed else {}  # the other layers know no difference
            y, after = layer.stateless_call(trained, fixed, x, **in_training)
            return (y * wave(y.shape)).sum(), (y, after)

        trained = [variable.value for variable in layer.trainable_variables]
        gradients, (y, after) = jax.grad(weighed, argnums=(0, 1), has_aux=True)(trained, wave(shape))
        answers[f"{index}_training"] = np.asarray(y)
        answers[f"{index}_dx"] = np.asarray(gradients[1])
        for kind, arrays in (("gradient", gradients[0]), ("after", after)):
            for place, array in enumerate(arrays):
                answers[f"{index}_{kind}_{place}"] = np.asarray(array)
    np.savez_compressed(RECORDED, **answers)


if __name__ == "__main__":
    record()
