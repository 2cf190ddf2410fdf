"""Graphs in files, and training that goes on as if it had not been interrupted."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastdl
import keras_graphs
from fastdl import Input, Model, Sequential, load_model, losses, optimizers
from fastdl.layers import Add, Concatenate, Dense, Dropout, Lambda
from keras_cases import wave


def flat(model: Any) -> np.ndarray:
    return np.concatenate([weight.ravel() for weight in model.get_weights()])


@pytest.fixture(params=[".npz", ".safetensors"])
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    if request.param == ".safetensors":
        pytest.importorskip("safetensors", reason="the format is the package's")
    return tmp_path / f"model{request.param}"


X = [wave((20, 4)), wave((20, 3), 0.4)]
Y = [np.arange(20) % 2, wave((20, 1), 0.9)]


def network(optimizer: Any = "adam") -> Model:
    a, b = Input((4,), name="a"), Input((3,), name="b")
    body = Sequential([Dense(6, "relu"), Dropout(0.4)], name="body")
    h = body(Concatenate()([a, b]))
    model = Model([a, b], [Dense(2, "softmax", name="kind")(h), Dense(1, name="size")(h)])
    model.compile(
        optimizer,
        ["sparse_categorical_crossentropy", "mse"],
        loss_weights=[1, 0.5],
        metrics=[["accuracy"], ["mae", losses.Huber(0.5)]],
    )
    return model


class TestGraphs:
    @pytest.mark.parametrize("name", keras_graphs.GRAPHS)
    def test_round_trip(self, name: str, path: Path) -> None:
        model = keras_graphs.prepared(keras_graphs.GRAPHS[name][0], fastdl, keras_graphs.GRAPHS[name][1])
        x, y = keras_graphs.data(model)
        model.train_on_batch(x, y)
        model.save(path)
        loaded = load_model(path)
        for before, after in zip(keras_graphs.parts(model(x)), keras_graphs.parts(loaded(x))):
            np.testing.assert_array_equal(after, before)
        assert (loaded.input_names, loaded.output_names) == (model.input_names, model.output_names)
        tables: tuple[list[str], list[str]] = ([], [])
        for table, one in zip(tables, (model, loaded)):
            one.summary(print_fn=table.append)
        assert tables[0] == tables[1]
        assert loaded.train_on_batch(x, y) == model.train_on_batch(x, y)
        np.testing.assert_array_equal(flat(loaded), flat(model))

    def test_what_is_shared_stays_shared(self, path: Path) -> None:
        shared = Dense(4, name="shared")
        x = Input((4,))
        inner = Sequential([Input((4,)), shared, Dense(4, "tanh")], name="inner")
        model = Model(x, Add()([inner(x), shared(inner(x))]))
        model.compile("sgd", "mse")
        model.save(path)
        loaded = load_model(path)
        assert loaded.count_params() == model.count_params() == 40
        assert loaded.get_layer("shared") is loaded.get_layer("inner").layers[0]
        for one in (model, loaded):
            one.train_on_batch(wave((3, 4)), wave((3, 4)))
        np.testing.assert_array_equal(flat(loaded), flat(model))

    def test_a_layer_twice_in_a_line(self, path: Path) -> None:
        shared = Dense(4)
        model = Sequential([Input((4,)), shared, shared])
        model.save(path)
        loaded = load_model(path)
        assert loaded.layers[0] is loaded.layers[1]
        np.testing.assert_array_equal(loaded(wave((2, 4))), model(wave((2, 4))))

    def test_functions_by_name(self, path: Path) -> None:
        def double(x: np.ndarray) -> np.ndarray:
            return 2 * x

        def absolute(y_true: np.ndarray, y_pred: np.ndarray) -> Any:
            return np.abs(y_pred - y_true).mean(), np.sign(y_pred - y_true) / y_pred.size

        model = Sequential([Input((4,)), Lambda(double), Dense(1)])
        model.compile("sgd", absolute)
        model.save(path)
        with pytest.raises(ValueError, match="unknown function 'double'; pass it as custom_objects"):
            load_model(path)
        with pytest.raises(ValueError, match="unknown function 'absolute'"):
            load_model(path, {"double": double})
        loaded = load_model(path, {"double": double}, compile=False)
        np.testing.assert_array_equal(loaded(wave((2, 4))), model(wave((2, 4))))
        with pytest.raises(RuntimeError, match="call compile"):
            loaded.fit(wave((2, 4)), np.ones(2))
        again = load_model(path, {"double": double, "absolute": absolute})
        for one in (model, again):
            one.train_on_batch(wave((2, 4)), np.ones((2, 1)))
        np.testing.assert_array_equal(flat(again), flat(model))
        with pytest.raises(ValueError, match="unknown function"):
            load_model(path, {"double": Dense, "absolute": absolute})


@pytest.mark.parametrize(
    "optimizer",
    [
        "sgd",
        "nesterov",
        "adagrad",
        "adadelta",
        optimizers.RMSprop(momentum=0.9, centered=True),
        optimizers.Adam(0.01, amsgrad=True),
        "adamw",
    ],
    ids=str,
)
def test_training_goes_on_bit_for_bit(optimizer: Any, path: Path) -> None:
    model = network(copy.deepcopy(optimizer))
    model.fit(X, Y, batch_size=8, epochs=2, verbose=0)
    assert model.optimizer is not None
    model.optimizer.learning_rate *= 0.5  # as a schedule does
    model.save(path)
    fastdl.set_random_seed(123)  # another process has another seed
    loaded = load_model(path)
    histories = [one.fit(X, Y, batch_size=8, epochs=4, initial_epoch=2, verbose=0) for one in (model, loaded)]
    assert histories[0].history == histories[1].history
    np.testing.assert_array_equal(flat(loaded), flat(model))
    assert loaded.optimizer.iterations == 12
    for key, slots in model.optimizer.state.items():
        for own, restored in zip(slots, loaded.optimizer.state[key]):
            np.testing.assert_array_equal(restored, own)


def test_adversaries_go_on_bit_for_bit(path: Path) -> None:
    generator = Sequential([Input((2,)), Dense(4, "tanh"), Dense(3)], name="generator")
    discriminator = Sequential([Input((3,)), Dense(5, "tanh"), Dropout(0.3), Dense(1)], name="discriminator")
    optimizer = optimizers.Adam(0.01)  # one for both, as it is often written
    discriminator.compile(optimizer, losses.BinaryCrossentropy(from_logits=True))
    discriminator.trainable = False
    noise = Input((2,))
    combined = Model(noise, discriminator(generator(noise)))
    combined.compile(optimizer, losses.BinaryCrossentropy(from_logits=True))

    def rounds(whole: Model) -> list[float]:
        values = []
        for _ in range(3):
            fake = whole.get_layer("generator").predict(wave((6, 2)))
            x, y = np.concatenate([wave((6, 3), 0.5), fake]), np.repeat([1, 0], 6)
            values.append(whole.get_layer("discriminator").train_on_batch(x, y))
            values.append(whole.train_on_batch(wave((6, 2), 0.7), np.ones(6)))
        return values

    rounds(combined)
    combined.save(path)
    loaded = load_model(path)
    assert loaded.optimizer is loaded.get_layer("discriminator").optimizer
    before = flat(loaded.get_layer("discriminator"))
    assert rounds(loaded) == rounds(combined)
    np.testing.assert_array_equal(flat(loaded), flat(combined))
    assert (flat(loaded.get_layer("discriminator")) != before).any()


def exchange(header: Any) -> None:
    slots = header["training"][0]["slots"]
    slots["kind/kernel"], slots["size/kernel"] = slots["size/kernel"], slots["kind/kernel"]


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda header: header["training"][0]["slots"].update({"kind/kernel": ["slot 99"]}), "slot 99"),
        (lambda header: header["training"][0].update(names=["nobody"]), "there is no layer 'nobody'"),
        (exchange, "what the optimizer remembers does not fit kind/kernel"),
        (lambda header: header["training"][0]["optimizer"].update({"class": "Evil"}), "unknown class 'Evil'"),
        (lambda header: header["training"][0]["random"].clear(), "''"),
        (lambda header: header["model"]["config"]["calls"][0].update(reads=[0, 9]), "the graph has a cycle"),
        (lambda header: header["model"]["config"]["calls"][0].update(layer="nobody"), "nobody"),
        (lambda header: header["model"]["config"]["layers"].append({"class": "same", "config": 0}), "part 0"),
        (lambda header: header["model"]["config"]["layers"].append(3), "load_model"),
    ],
)  # fmt: skip
def test_what_is_inconsistent_is_refused(change: Any, message: str, tmp_path: Path) -> None:
    path = tmp_path / "model.npz"
    model = network()
    model.train_on_batch(X, Y)
    model.save(path)
    with np.load(path) as entries:
        arrays = dict(entries)
    header = json.loads(arrays.pop("fastdl").tobytes())
    change(header)
    np.savez(path, fastdl=np.frombuffer(json.dumps(header).encode(), np.uint8), **arrays)
    with pytest.raises(ValueError, match=message):
        load_model(path)
