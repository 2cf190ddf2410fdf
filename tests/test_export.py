"""ONNX files: what onnxruntime computes from them is what the model predicts."""

from __future__ import annotations

import itertools
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastdl
import keras_cases
import keras_norm
import keras_recurrent
from fastdl import Input, Model, Sequential, layers
from fastdl.layers import (
    LSTM,
    Activation,
    Add,
    Average,
    BatchNormalization,
    Concatenate,
    Conv1D,
    Conv2D,
    Dense,
    Dot,
    Dropout,
    Embedding,
    Flatten,
    GlobalAveragePooling1D,
    InstanceNormalization,
    Lambda,
    LeakyReLU,
    Masking,
    Maximum,
    Minimum,
    Multiply,
    ReLU,
    Subtract,
    TimeDistributed,
)
from keras_cases import IMAGES, ROWS, SEQUENCES, wave

onnx = pytest.importorskip("onnx", reason="it writes the files")
FORMATS = ("channels_last", "channels_first")

Case = tuple[str, dict[str, Any], tuple[int, ...]]
CASES: list[Case] = [
    *keras_cases.LAYERS,
    *keras_norm.LAYERS,
    ("Activation", {"activation": "gelu_tanh"}, ROWS),
    ("Conv2D", {"filters": 4, "kernel_size": 1, "activation": "softmax"}, IMAGES),
    ("Conv2D", {"filters": 4, "kernel_size": 1, "activation": LeakyReLU(0.3)}, IMAGES),
    ("Conv2D", {"filters": 4, "kernel_size": (1, 3), "activation": ReLU(1.0), "use_bias": False}, IMAGES),
    ("Dense", {"units": 3}, IMAGES),
    ("Dropout", {"rate": 0.5}, ROWS),
    ("GaussianNoise", {"stddev": 1.0}, ROWS),
    ("GlobalMaxPooling2D", {"data_format": "channels_first"}, IMAGES),
    ("InstanceNormalization", {}, IMAGES),
    ("InstanceNormalization", {"axis": 1, "center": False}, SEQUENCES),
    ("MaxPooling2D", {"pool_size": 2, "strides": 1}, IMAGES),
    ("SpatialDropout2D", {"rate": 0.5}, IMAGES),
    ("UpSampling2D", {"size": 3, "interpolation": "bilinear"}, (1, 4, 5, 1)),
]

NOT_IN_DOUBLE = {
    *("AveragePool", "Conv", "ConvTranspose", "Elu", "Erf", "GRU", "InstanceNormalization", "LSTM", "RNN"),
    *("Resize", "Selu", "Softplus"),
}
"""What onnxruntime computes in float32 alone."""


def weighted(model: Model, scale: float = 1.0) -> Model:
    """The model, with waves that are positive, as a variance has to be, for weights."""
    model.set_weights(
        [scale * (0.6 + 0.5 * wave(w.shape, start=i)) for i, w in enumerate(model.get_weights())]
    )
    return model


def as_list(whole: Any) -> list[np.ndarray]:
    return whole if isinstance(whole, list) else [whole]


def assert_exported(model: Model, x: Any, path: Path) -> Any:
    """The file is right and gives what predict does; returned is what is in it."""
    model.export(path)
    exported = onnx.load(path)
    onnx.checker.check_model(exported, full_check=True)
    for value in (*exported.graph.input, *exported.graph.output):
        assert value.type.tensor_type.shape.dim[0].dim_param == "batch"
    if model.dtype == np.float64 and NOT_IN_DOUBLE & {node.op_type for node in exported.graph.node}:
        return exported
    attributes = [attribute for node in exported.graph.node for attribute in node.attribute]
    # An attribute, such as a slope, is a float32 in every model.
    precision = "float32" if any(a.type == onnx.AttributeProto.FLOAT for a in attributes) else None
    runtime = pytest.importorskip("onnxruntime", reason="it runs the files")
    session = runtime.InferenceSession(path, providers=["CPUExecutionProvider"])
    inputs = dict(zip([value.name for value in session.get_inputs()], as_list(x)))
    outputs = session.run(None, inputs)
    for y, expected in zip(outputs, as_list(model.predict(x)), strict=True):
        assert y.shape == expected.shape
        assert y.dtype == expected.dtype
        # Sums of at most a few hundred terms, and functions that are right to a few units in the last place.
        bound = 64 * np.finfo(precision or y.dtype).eps * max(1, np.abs(expected).max(initial=0))
        np.testing.assert_allclose(y, expected, rtol=0, atol=bound)
    return exported


def operators(exported: Any) -> list[str]:
    return [node.op_type for node in exported.graph.node]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "model.onnx"


class TestLayers:
    @pytest.mark.parametrize("case", CASES, ids=lambda case: case[0])
    def test_layer(self, case: Case, path: Path) -> None:
        name, arguments, shape = case
        for data_format, dtype in itertools.product(FORMATS, ("float32", "float64")):
            with fastdl.use(data_format=data_format, dtype=dtype):
                layer = getattr(layers, name)(**arguments)
                asked = hasattr(layer, "data_format") and "data_format" not in arguments
                moved = asked and data_format == "channels_first"
                x = wave((shape[0], shape[-1], *shape[1:-1]) if moved else shape)
                model = weighted(Sequential([Input(x.shape[1:]), layer]))
            assert_exported(model, x.astype(dtype), path)

    @pytest.mark.parametrize("key", keras_recurrent.CASES)
    def test_recurrent(self, key: str, path: Path) -> None:
        layer = keras_recurrent.CASES[key](layers)
        model = Sequential([Input(keras_recurrent.SHAPE[1:]), layer])
        model.set_weights(keras_recurrent.weights_like(model.get_weights()))
        assert_exported(model, wave(keras_recurrent.SHAPE), path)

    @pytest.mark.parametrize("name", ["SimpleRNN", "LSTM", "GRU"])
    @pytest.mark.parametrize("use_bias", [True, False])
    def test_states(self, name: str, use_bias: bool, path: Path) -> None:
        x = Input(SEQUENCES[1:])
        states = [Input((3,)) for _ in range(2 if name == "LSTM" else 1)]
        layer = getattr(layers, name)(3, return_sequences=True, return_state=True, use_bias=use_bias)
        model = Model([x, *states], layer(x, initial_state=states))
        model.set_weights(keras_recurrent.weights_like(model.get_weights()))
        given = [wave((2, 3), start=place + 1) for place in range(len(states))]
        assert_exported(model, [wave(SEQUENCES), *given], path)

    @pytest.mark.parametrize(
        "layer, shapes",
        [
            (Add(), [(4, 3), (4, 3), (4, 3)]),
            (Add(), [(4, 3), (3,)]),
            (Subtract(), [(4, 3), (1, 3)]),
            (Multiply(), [(4, 3), (4, 1)]),
            (Average(), [(4, 3), (4, 3), (4, 3)]),
            (Maximum(), [(4, 3), (4, 3), (3,)]),
            (Minimum(), [(4, 3), (4, 3)]),
            (Concatenate(), [(4, 3), (4, 2)]),
            (Concatenate(axis=1), [(4, 3), (2, 3), (1, 3)]),
            (Dot(axes=1), [(4,), (4,)]),
            (Dot(axes=(2, 1)), [(5, 3), (3, 4)]),
            (Dot(axes=-1, normalize=True), [(5, 3), (4, 3)]),
        ],
        ids=lambda thing: getattr(thing, "name", None),
    )
    def test_merge(self, layer: layers.Layer, shapes: list[tuple[int, ...]], path: Path) -> None:
        inputs = [Input(shape) for shape in shapes]
        x = [wave((2, *shape), start=place) for place, shape in enumerate(shapes)]
        assert_exported(Model(inputs, layer(inputs)), x, path)
        inputs, layer = [Input(shape) for shape in shapes], layer.astype("float64")
        exported = assert_exported(Model(inputs, layer(inputs)), [a.astype(np.float64) for a in x], path)
        assert exported.graph.output[0].type.tensor_type.elem_type == onnx.TensorProto.DOUBLE

    def test_embedding(self, path: Path) -> None:
        model = Sequential([Input((5,)), Embedding(7, 3), GlobalAveragePooling1D(), Dense(2)])
        assert_exported(model, np.array([[0, 1, 2, 3, 6], [6, 6, 5, 5, 0]], np.int64), path)
        x = Input((5,), dtype="int32")
        assert_exported(Model(x, Embedding(7, 3)(x)), np.array([[0, 1, 2, 3, 6]], np.int32), path)
        x = Input((5,), dtype="float32")
        assert_exported(Model(x, Embedding(7, 3)(x)), np.array([[0, 1, 2, 3, 6]], np.float32), path)
        inner = Sequential([Embedding(7, 3), LSTM(2)])
        model = Sequential([Input((4, 5)), TimeDistributed(inner)])
        assert_exported(model, np.arange(40, dtype=np.float32).reshape(2, 4, 5) % 7, path)

    def test_every_layer_is_known_or_refused_on_purpose(self) -> None:
        from fastdl.export import model as exporting

        known = {cls for family in exporting._FAMILIES for cls in family.CONVERTERS}
        public = {cls for cls in vars(layers).values() if isinstance(cls, type)}
        assert public - known == {layers.Layer, layers.Input, Lambda, Masking, layers.SeparableConv2D}


class TestModels:
    def test_network_of_images(self, path: Path) -> None:
        for data_format in FORMATS:
            last = data_format == "channels_last"
            with fastdl.use(data_format=data_format):
                model = Sequential(
                    [
                        Input((8, 8, 2) if last else (2, 8, 8)),
                        Conv2D(4, 3, padding="same"),
                        BatchNormalization(-1 if last else 1),
                        Activation("relu"),
                        layers.MaxPooling2D(),
                        Conv2D(3, 3, activation="relu"),
                        Dropout(0.5),
                        Flatten(),
                        Dense(5, activation="softmax"),
                    ]
                )
            weighted(model, 0.1)  # so that what reaches the softmax is not large, and so has no large errors
            exported = assert_exported(model, wave((3, *model.input_shape[1:])), path)
            # Channels are moved when they come in and when they leave, and not between two layers.
            assert operators(exported).count("Transpose") == (2 if last else 1)

    def test_several_inputs_and_outputs_and_shared_parts(self, path: Path) -> None:
        left, right = Input((4,), name="left"), Input((4,), name="right")
        part = Sequential([Input((4,)), Dense(4, "tanh", name="dense"), Dense(3, name="other")], name="part")
        one, two = part(left), part(right)
        both = Concatenate(name="both")([one, two])
        nested = Model(both_in := Input((6,)), [Dense(2)(both_in), both_in])
        out, same = nested(both)
        model = Model({"left": left, "right": right}, {"sum": Add()([one, two]), "out": out, "same": same})
        exported = onnx_of(model, path)
        assert [value.name for value in exported.graph.input] == ["left", "right"]
        assert [value.name for value in exported.graph.output] == ["out", "same", "sum"]
        assert sum(array.name.endswith("dense/kernel") for array in exported.graph.initializer) == 1
        model = Model([left, right], [Add()([one, two]), out, same])
        assert_exported(model, [wave((3, 4)), wave((3, 4), start=1.0)], path)

    def test_an_input_that_is_an_output(self, path: Path) -> None:
        x = Input((4,))
        assert_exported(Model(x, [x, Dense(2)(x), Dropout(0.1)(x)]), wave((2, 4)), path)

    def test_any_batch_and_any_length(self, path: Path) -> None:
        x = Input((None, 3))
        h = Conv1D(4, 3, padding="same")(x)
        h = layers.Bidirectional(LSTM(4, return_sequences=True))(h)
        model = Model(x, [TimeDistributed(Dense(2, "relu"))(h), GlobalAveragePooling1D()(h)])
        for shape in ((1, 5, 3), (4, 9, 3)):
            exported = assert_exported(model, wave(shape), path)
        assert exported.graph.input[0].type.tensor_type.shape.dim[1].dim_param
        images = Sequential(
            [Input((None, None, 2)), Conv2D(3, 3, strides=2, padding="same"), layers.UpSampling2D()]
        )
        for shape in ((1, 5, 6, 2), (2, 9, 9, 2)):
            assert_exported(images, wave(shape), path)
        flat = Sequential([Input((None, 3)), InstanceNormalization(), Dense(2), Flatten()])
        assert_exported(flat, wave((2, 7, 3)), path)

    @pytest.mark.parametrize("mode", ["sum", None])
    def test_both_directions_with_their_states(self, mode: Any, path: Path) -> None:
        x, starts = Input((4, 3)), [Input((2,)) for _ in range(4)]
        layer = layers.Bidirectional(LSTM(2, return_sequences=True, return_state=True), merge_mode=mode)
        model = Model([x, *starts], layer(x, initial_state=starts))
        assert_exported(model, [wave((3, 4, 3)), *(wave((3, 2), start=i) for i in range(4))], path)

    def test_layers_of_different_dtypes(self, path: Path) -> None:
        x = Input((4,))
        model = Model(x, Dense(2)(Dense(3, dtype="float64")(x)))
        exported = assert_exported(model, wave((2, 4)).astype(np.float64), path)
        assert operators(exported).count("Cast") == 1

    def test_a_batch_of_none(self, path: Path) -> None:
        model = Sequential([Input((6, 6, 1)), Conv2D(2, 3), Flatten(), Dense(3)])
        assert_exported(model, np.empty((0, 6, 6, 1), np.float32), path)

    def test_what_is_not_needed_is_left_out(self, path: Path) -> None:
        x = Input((4,))
        y, _ = Model(x, [Dense(2, name="used")(x), Dense(3, name="unused")(x)])(x)
        names = [array.name for array in onnx_of(Model(x, y), path).graph.initializer]
        assert any("/used/" in name for name in names)
        assert not any("/unused/" in name for name in names)


def onnx_of(model: Model, path: Path) -> Any:
    model.export(path)
    return onnx.load(path)


class TestRefusals:
    @pytest.mark.parametrize(
        "make, message",
        [
            (lambda x: Lambda(np.sin, name="sine")(x), "layer 'sine' is a Lambda, which has no form"),
            (lambda x: Twice(3, name="twice")(x), "layer 'twice' is a Twice, which has no form"),
            (
                lambda x: Sequential([Input((4, 3)), Twice(3, name="twice")])(x),
                "layer 'twice' is a Twice, which has no form",
            ),
            (lambda x: LSTM(2, stateful=True, name="keeps")(x), "layer 'keeps' is stateful"),
            (lambda x: LSTM(2)(Masking(name="hides")(x)), "layer 'hides' makes a mask, which has no form"),
            (
                lambda x: Dropout(0.5, name="drop")(x, training=True),
                "layer 'drop' is called with training=True",
            ),
        ],
    )
    def test_what_has_no_form(self, make: Callable[[Any], Any], message: str, path: Path) -> None:
        x = Input((4, 3))
        with pytest.raises(ValueError, match=message):
            Model(x, make(x)).export(path)
        assert not path.exists()

    def test_a_mask_from_outside(self, path: Path) -> None:
        x, kept = Input((4, 3)), Input((4,), dtype="bool")
        model = Model([x, kept], LSTM(2, name="reads")(x, mask=kept))
        with pytest.raises(ValueError, match="layer 'reads' is called with a mask, which has no form"):
            model.export(path)
        assert not path.exists()

    def test_arguments(self, path: Path) -> None:
        model = Sequential([Input((4,)), Dense(2)])
        with pytest.raises(ValueError, match="format must be one of 'onnx'; got 'tf_saved_model'"):
            model.export(path, format="tf_saved_model")
        with pytest.raises(ValueError, match="has no weights yet"):
            Sequential([Dense(2)]).export(path)
        with pytest.raises(FileNotFoundError):
            model.export(path.parent / "missing" / "model.onnx")
        assert not path.exists()

    def test_a_failing_export_keeps_the_old_file(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        model = Sequential([Input((4,)), Dense(2)])
        model.export(str(path))
        before = path.read_bytes()

        def fail(descriptor: int) -> None:
            raise OSError("no space left")

        monkeypatch.setattr(os, "fsync", fail)
        with pytest.raises(OSError, match="no space left"):
            weighted(model).export(path)
        assert path.read_bytes() == before
        assert [entry.name for entry in path.parent.iterdir()] == [path.name]

    def test_without_the_package(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "onnx", None)
        with pytest.raises(ImportError, match=r"pip install fastdl\[onnx\]"):
            Sequential([Input((4,)), Dense(2)]).export(path)


class Twice(Dense):
    def call(self, x: np.ndarray) -> np.ndarray:
        return 2 * super().call(x)
