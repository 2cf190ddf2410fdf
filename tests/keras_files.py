"""Files that Keras was asked to write, with what its models return.

``python tests/keras_files.py`` asks it again (it needs keras, jax and h5py) and writes ``data/keras_*.keras``
and ``data/keras_files.npz``. Inputs and weights are waves, as in `keras_cases`. Keras's files hold little
more than the names of empty groups, so they are packed again with compression.
"""

from __future__ import annotations

import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from keras_cases import wave

DATA = Path(__file__).parent / "data"
ANSWERS = DATA / "keras_files.npz"

GRAPH = "keras_graph.keras"
SERIES = "keras_series.keras"
IMAGES = (2, 6, 6, 2)
SEQUENCES = (2, 5, 3)


def graph(of: Any) -> Any:
    """Two models in a model, one of them used twice; `of` has Input, Model, Sequential and layers."""
    layers = of.layers
    features = of.Sequential(
        [of.Input(IMAGES[1:]), layers.SeparableConv2D(3, 3), layers.BatchNormalization(), layers.Flatten()]
    )
    x = of.Input((6,))
    judge = of.Model(x, layers.Add()([layers.Dense(6)(x), x]))
    image = of.Input(IMAGES[1:])
    row = layers.Dense(6, activation="tanh", name="a_name")(features(image))
    return of.Model(image, [layers.Dense(2)(judge(row)), judge(judge(row))])


def series(of: Any) -> Any:
    """Recurrent layers and wrappers, one of them with dropout, whose generator is in the file too."""
    layers = of.layers
    return of.Sequential(
        [
            of.Input(SEQUENCES[1:]),
            layers.Bidirectional(layers.LSTM(2, return_sequences=True, dropout=0.5)),
            layers.GRU(3, return_sequences=True),
            layers.TimeDistributed(layers.Dense(2)),
            layers.SimpleRNN(2),
        ]
    )


def compress(path: Path) -> None:
    """Write a zip file again, compressed."""
    with zipfile.ZipFile(path) as parts:
        contents = {part: parts.read(part) for part in parts.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as parts:
        for part, content in contents.items():
            parts.writestr(part, content)


def record() -> None:
    """Ask Keras."""
    os.environ.setdefault("KERAS_BACKEND", "jax")
    import keras

    answers: dict[str, Any] = {"version": np.array(keras.__version__)}
    for name, make, shape in ((GRAPH, graph, IMAGES), (SERIES, series, SEQUENCES)):
        model = make(keras)
        model.set_weights([1.5 + wave(w.shape, start=i + 0.5) for i, w in enumerate(model.get_weights())])
        if name == SERIES:  # with what its optimizer keeps
            model.compile("adam", "mse")
            model.optimizer.build(model.trainable_variables)
        model.save(DATA / name)
        compress(DATA / name)
        outputs = model(wave(shape))
        for place, y in enumerate(outputs if isinstance(outputs, list) else [outputs]):
            answers[f"{name}/{place}"] = np.asarray(y)
    np.savez_compressed(ANSWERS, **answers)


if __name__ == "__main__":
    record()
