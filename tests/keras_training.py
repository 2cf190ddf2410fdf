"""What else Keras was asked about: schedules, clipping, regularizers, constraints, metrics, callbacks.

``python tests/keras_training.py`` asks it again (it needs keras and jax) and writes
``tests/data/keras_training.npz``.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from keras_cases import loss_arrays, wave

RECORDED = Path(__file__).parent / "data" / "keras_training.npz"

SCHEDULES: list[tuple[str, dict[str, Any]]] = [
    ("ExponentialDecay", {"initial_learning_rate": 0.1, "decay_steps": 7, "decay_rate": 0.9}),
    (
        "ExponentialDecay",
        {"initial_learning_rate": 0.1, "decay_steps": 7, "decay_rate": 0.9, "staircase": True},
    ),
    ("InverseTimeDecay", {"initial_learning_rate": 0.1, "decay_steps": 5, "decay_rate": 0.5}),
    (
        "InverseTimeDecay",
        {"initial_learning_rate": 0.1, "decay_steps": 5, "decay_rate": 0.5, "staircase": True},
    ),
    ("PiecewiseConstantDecay", {"boundaries": [3, 9], "values": [1.0, 0.5, 0.1]}),
    ("PolynomialDecay", {"initial_learning_rate": 0.1, "decay_steps": 10}),
    ("PolynomialDecay", {"initial_learning_rate": 0.1, "decay_steps": 10, "power": 2.0, "cycle": True}),
    ("CosineDecay", {"initial_learning_rate": 0.1, "decay_steps": 12}),
    (
        "CosineDecay",
        {
            "initial_learning_rate": 0.01,
            "decay_steps": 12,
            "alpha": 0.1,
            "warmup_target": 0.2,
            "warmup_steps": 6,
        },
    ),
]
STEPS = range(25)

CLIPPING: list[dict[str, float]] = [{"clipnorm": 1.0}, {"clipvalue": 0.3}, {"global_clipnorm": 1.0}]

REGULARIZERS: list[tuple[str, dict[str, Any]]] = [
    ("L1", {}),
    ("L2", {"l2": 0.3}),
    ("L1L2", {"l1": 0.1, "l2": 0.2}),
]

CONSTRAINTS: list[tuple[str, dict[str, Any]]] = [
    ("MaxNorm", {"max_value": 1.0}),
    ("MaxNorm", {"max_value": 1.0, "axis": 1}),
    ("NonNeg", {}),
    ("UnitNorm", {}),
    ("MinMaxNorm", {"min_value": 0.9, "max_value": 1.2, "rate": 0.5, "axis": [0, 1]}),
]

LOSSES: list[tuple[str, dict[str, Any], str, str]] = [
    ("LogCosh", {}, "one_hot", "logits"),
    ("SquaredHinge", {}, "one_hot", "logits"),
    ("SquaredHinge", {}, "signs", "logits"),
    ("Poisson", {}, "one_hot", "probabilities"),
    ("CosineSimilarity", {}, "one_hot", "logits"),
    ("CosineSimilarity", {"axis": 0}, "one_hot", "logits"),
    ("SparseCategoricalCrossentropy", {"ignore_class": 3}, "classes", "probabilities"),
    ("SparseCategoricalCrossentropy", {"ignore_class": 0, "from_logits": True}, "classes", "logits"),
    ("CategoricalCrossentropy", {"label_smoothing": 0.2}, "one_hot", "probabilities"),
]

METRICS: list[tuple[str, dict[str, Any], str, str]] = [
    *(
        (name, arguments, "one_hot", "probabilities")
        for name, arguments in (
            ("BinaryAccuracy", {}),
            ("BinaryAccuracy", {"threshold": 0.1}),
            ("CategoricalAccuracy", {}),
            ("TopKCategoricalAccuracy", {"k": 2}),
            ("Precision", {}),
            ("Precision", {"thresholds": 0.1}),
            ("Recall", {}),
            ("Recall", {"thresholds": 0.1}),
        )
    ),
    ("SparseCategoricalAccuracy", {}, "classes", "logits"),
    ("SparseTopKCategoricalAccuracy", {"k": 3}, "classes", "logits"),
    *(
        (f"{name}Error", {}, "probabilities", "logits")
        for name in ("MeanSquared", "RootMeanSquared", "MeanAbsolute")
    ),
]
BATCHES = (slice(0, 4), slice(4, 6))

# With these a row whose gradient is zero stays as it is, in Keras as well.
EMBEDDED = ("SGD", "Adagrad")
WORDS = np.array([[1, 4, 4], [9, 1, 0], [4, 7, 0]])

# What a watched number is, epoch by epoch.
COURSE = [1.0, 0.8, 0.8005, 0.79, 0.85, 0.7, 0.72, 0.71, 0.705, 0.704, 0.703, 0.9, 0.9, 0.9, 0.9]
PLATEAUS: list[dict[str, Any]] = [
    {"patience": 2},
    {"patience": 1, "factor": 0.5, "cooldown": 2, "min_lr": 0.02},
    {"patience": 1, "factor": 0.5, "cooldown": 4},
    {"patience": 2, "min_delta": 0.0, "mode": "max"},
]
STOPS: list[dict[str, Any]] = [
    {},
    {"patience": 2},
    {"patience": 3, "min_delta": 0.005, "start_from_epoch": 2},
    {"patience": 4, "mode": "max"},
    {"patience": 2, "baseline": 0.75},
]


def parameters() -> list[np.ndarray]:
    return [wave((3, 5), start=9), wave((4,), start=2)]


def gradients() -> list[list[np.ndarray]]:
    """The gradients of the two parameters, a pair a step."""
    return [[wave((3, 5), start=step), 3 * wave((4,), start=step)] for step in range(4)]


def record() -> None:
    """Ask Keras, and keep its answers."""
    os.environ.setdefault("KERAS_BACKEND", "jax")
    import keras
    from keras import ops

    answers: dict[str, Any] = {"version": np.array(keras.__version__)}
    for index, (name, arguments) in enumerate(SCHEDULES):
        schedule = getattr(keras.optimizers.schedules, name)(**arguments)
        answers[f"schedule_{index}"] = np.array([float(schedule(step)) for step in STEPS])
    schedule = keras.optimizers.schedules.ExponentialDecay(0.1, 2, 0.5)
    for index, arguments in enumerate([*CLIPPING, {"learning_rate": schedule}]):
        optimizer = keras.optimizers.SGD(**{"learning_rate": 0.1, **arguments})
        variables = [keras.Variable(p) for p in parameters()]
        for pair in gradients():
            optimizer.apply_gradients(zip(pair, variables))
        for which, variable in enumerate(variables):
            answers[f"clipped_{index}_{which}"] = np.asarray(variable)
    weights = 2 * wave((4, 3))
    for index, (name, arguments) in enumerate(REGULARIZERS):
        answers[f"regularizer_{index}"] = np.array(
            float(getattr(keras.regularizers, name)(**arguments)(weights))
        )
    for index, (name, arguments) in enumerate(CONSTRAINTS):
        constraint = getattr(keras.constraints, name)(**arguments)
        answers[f"constraint_{index}"] = np.asarray(constraint(ops.convert_to_tensor(weights)))
    for index, arguments in enumerate(PLATEAUS):
        answers[f"plateau_{index}"] = np.array(_rates(keras, arguments))
    for index, arguments in enumerate(STOPS):
        answers[f"stop_{index}"] = np.array(_last_epoch(keras, arguments))
    arrays = loss_arrays()
    for index, (name, arguments, target, prediction) in enumerate(LOSSES):
        loss = getattr(keras.losses, name)(**arguments)
        weights_of = arrays["weights"][: 4 if arguments.get("axis") == 0 else 6]
        plain, weighted = (loss(arrays[target], arrays[prediction], w) for w in (None, weights_of))
        answers[f"loss_{index}"] = np.array([float(plain), float(weighted)])
    for index, (name, arguments, target, prediction) in enumerate(METRICS):
        metric = getattr(keras.metrics, name)(**arguments)
        for batch in BATCHES:
            metric.update_state(arrays[target][batch], arrays[prediction][batch])
        answers[f"metric_{index}"] = np.array(float(metric.result()))
    answers["penalized"] = _penalized(keras)
    for name in EMBEDDED:
        answers[f"embedded_{name}"] = _embedded(keras, name)
    np.savez_compressed(RECORDED, **answers)


def _model(keras: Any) -> Any:
    model = keras.Sequential([keras.layers.Input((2,)), keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(0.1), "mse")
    return model


def _rates(keras: Any, arguments: dict[str, Any]) -> list[float]:
    model = _model(keras)
    callback = keras.callbacks.ReduceLROnPlateau(monitor="loss", **arguments)
    callback.set_model(model)
    callback.on_train_begin()
    rates = []
    for epoch, loss in enumerate(COURSE):
        callback.on_epoch_end(epoch, {"loss": loss})
        rates.append(float(model.optimizer.learning_rate))
    return rates


def _last_epoch(keras: Any, arguments: dict[str, Any]) -> int:
    model = _model(keras)
    callback = keras.callbacks.EarlyStopping(monitor="loss", **arguments)
    callback.set_model(model)
    model.stop_training = False
    callback.on_train_begin()
    for epoch, loss in enumerate(COURSE):
        callback.on_epoch_end(epoch, {"loss": loss})
        if model.stop_training:
            return epoch
    return len(COURSE)


def _penalized(keras: Any) -> np.ndarray:
    """The loss of each epoch, and of the end, with everything that a layer can be asked for."""
    layer = keras.layers.Dense(
        3,
        kernel_regularizer=keras.regularizers.L1L2(0.01, 0.02),
        bias_regularizer="l2",
        kernel_constraint=keras.constraints.MaxNorm(0.9),
        bias_constraint="non_neg",
    )
    model = keras.Sequential([keras.layers.Input((4,)), layer])
    layer.set_weights([wave((4, 3)), wave((3,))])
    model.compile(keras.optimizers.SGD(0.1, global_clipnorm=0.5), "mse")
    x, y = wave((6, 4), start=3), wave((6, 3), start=4)
    losses = model.fit(x, y, batch_size=6, epochs=5, verbose=0, shuffle=False).history["loss"]
    end = model.evaluate(x, y, verbose=0)
    return np.concatenate([losses, [end], *(w.ravel() for w in layer.get_weights())])


def _embedded(keras: Any, optimizer: str) -> np.ndarray:
    """The table after some training."""
    table, dense = keras.layers.Embedding(10, 4), keras.layers.Dense(2)
    model = keras.Sequential([keras.layers.Input((3,)), table, keras.layers.Flatten(), dense])
    table.set_weights([wave((10, 4))])
    dense.set_weights([wave((12, 2), start=3), wave((2,), start=4)])
    model.compile(getattr(keras.optimizers, optimizer)(0.1), "mse")
    model.fit(WORDS, wave((3, 2), start=5), batch_size=2, epochs=4, verbose=0, shuffle=False)
    return np.asarray(table.embeddings)


if __name__ == "__main__":
    record()
