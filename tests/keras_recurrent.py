"""Recurrent layers and their wrappers whose results Keras was asked for.

``python tests/keras_recurrent.py`` asks it again (it needs keras and jax) and writes
``data/keras_recurrent.npz``. The inputs and the weights are sine waves, as in `keras_cases`.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from keras_cases import flat, wave

RECORDED = Path(__file__).parent / "data" / "keras_recurrent.npz"

SHAPE = (3, 6, 4)
MASK = np.arange(6) < np.array([[6], [2], [4]])

RECURRENT: list[tuple[str, dict[str, Any]]] = [
    ("SimpleRNN", {}),
    ("SimpleRNN", {"activation": "relu", "use_bias": False}),
    ("LSTM", {}),
    ("LSTM", {"use_bias": False}),
    ("GRU", {}),
    ("GRU", {"reset_after": False}),
    ("GRU", {"use_bias": False}),
]


def _plain(name: str, arguments: dict[str, Any]) -> Callable[[Any], Any]:
    return lambda layers: getattr(layers, name)(3, **arguments)


def _both(name: str, merge_mode: str, **arguments: Any) -> Callable[[Any], Any]:
    return lambda layers: layers.Bidirectional(getattr(layers, name)(3, **arguments), merge_mode=merge_mode)


CASES: dict[str, Callable[[Any], Any]] = {
    f"{name}-{'-'.join(f'{key}={value}' for key, value in (arguments | more).items())}": _plain(
        name, arguments | more
    )
    for name, arguments in RECURRENT
    for more in (
        {},
        {"return_sequences": True},
        {"return_sequences": True, "go_backwards": True},
    )
}
CASES |= {
    "Bidirectional-concat": _both("LSTM", "concat", return_sequences=True),
    "Bidirectional-last": _both("GRU", "concat"),
    "Bidirectional-sum": _both("SimpleRNN", "sum", return_sequences=True),
    "Bidirectional-mul": _both("LSTM", "mul", return_sequences=True),
    "Bidirectional-ave": _both("GRU", "ave"),
    "TimeDistributed": lambda layers: layers.TimeDistributed(layers.Dense(2, activation="tanh")),
}


def weights_like(weights: list[np.ndarray]) -> list[np.ndarray]:
    """Weights of the same shapes, so small that the states neither vanish nor saturate."""
    return [0.6 * wave(weight.shape, start=index + 0.5) for index, weight in enumerate(weights)]


def record() -> None:
    """Ask Keras, and keep its answers: the output and the gradients of Σ y·wave, also with a mask."""
    os.environ.setdefault("KERAS_BACKEND", "jax")
    import jax
    import keras

    answers: dict[str, Any] = {"version": np.array(keras.__version__)}
    for key, make in CASES.items():
        layer = make(keras.layers)
        layer.build((None, *SHAPE[1:]))
        layer.set_weights(weights_like(layer.get_weights()))
        answers[f"{key}/shapes"] = np.array([str(weight.shape) for weight in layer.get_weights()])
        fixed = [variable.value for variable in layer.non_trainable_variables]
        trained = [variable.value for variable in layer.trainable_variables]
        for kind, mask in (("plain", {}), ("masked", {"mask": MASK})):
            if kind == "masked" and key == "TimeDistributed":
                continue

            def weighed(trained: Any, x: Any, layer: Any = layer, fixed: Any = fixed, **mask: Any) -> Any:
                y, _ = layer.stateless_call(trained, fixed, x, **mask)
                return (y * wave(y.shape)).sum(), y

            found = jax.grad(weighed, argnums=(0, 1), has_aux=True)(trained, wave(SHAPE), **mask)
            (gradients, dx), y = found
            answers[f"{key}/{kind}"] = flat([y, dx, *gradients])
    np.savez_compressed(RECORDED, **answers)


if __name__ == "__main__":
    record()
