"""Weights alone in files: one's own, and those of Keras and PyTorch."""

from __future__ import annotations

import os
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastdl
import keras_files
from fastdl import Input, Model, Sequential, layers, load_model
from fastdl.callbacks import ModelCheckpoint
from fastdl.layers import BatchNormalization, Conv2D, Conv2DTranspose, Dense
from keras_cases import wave


@pytest.fixture(params=[".npz", ".safetensors"])
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    if request.param == ".safetensors":
        pytest.importorskip("safetensors", reason="the format is the package's")
    return tmp_path / f"model{request.param}"


def network(units: int = 2, **options: Any) -> Model:
    """A model with one in it that is used twice, and with state."""
    inner = Sequential([Input((4,)), Dense(4), BatchNormalization()])
    x = Input((4,))
    return Model(x, Dense(units, **options)(inner(inner(x))))


def assert_same(model: Model, other: Model) -> None:
    for array, expected in zip(model.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(array, expected)


def assert_refused(model: Model, path: Path, message: str) -> None:
    """The file is refused with the message, and the model is as it was."""
    before = model.get_weights()
    with pytest.raises(ValueError, match=message):
        model.load_weights(path)
    for array, kept in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(array, kept)


class TestOwn:
    def test_same_architecture_with_other_names(self, path: Path) -> None:
        first, second = network(), network()
        first.set_weights([wave(w.shape) for w in first.get_weights()])
        first.save_weights(path)
        assert second.load_weights(str(path)) is None
        assert second.layers[0].name != first.layers[0].name
        assert_same(second, first)

    def test_by_name_whatever_the_order(self, path: Path) -> None:
        x = Input((4,))
        a, b = Dense(4, name="a"), Dense(4, name="b")
        first = Model(x, b(a(x)))
        first.save_weights(path)
        second = Model(x, Dense(4, name="a")(Dense(4, name="b")(x)))
        second.load_weights(path)
        for name in "ab":
            kernels = [model.get_layer(name).params["kernel"] for model in (first, second)]
            np.testing.assert_array_equal(*kernels)

    def test_out_of_a_whole_model(self, path: Path) -> None:
        first, second = network(), network()
        first.compile("adam", "mse")
        first.fit(wave((8, 4)), wave((8, 2)), verbose=0)
        first.save(path)
        second.load_weights(path)
        assert_same(second, first)

    def test_a_gradient_from_before_is_void(self, path: Path) -> None:
        model = network()
        model.save_weights(path)
        y, back = model.vjp(wave((3, 4)))
        model.load_weights(path)
        with pytest.raises(RuntimeError, match="parameters have changed"):
            back(y)

    def test_training_goes_on_with_its_optimizer(self, path: Path) -> None:
        model = network()
        model.compile("adam", "mse")
        model.fit(wave((8, 4)), wave((8, 2)), verbose=0)
        model.save_weights(path)
        iterations = model.optimizer.iterations
        model.load_weights(path)
        assert model.optimizer.iterations == iterations
        model.fit(wave((8, 4)), wave((8, 2)), verbose=0)

    @pytest.mark.parametrize(
        "make, message",
        [
            (lambda: network(3), r"dense_?\d*/kernel is float32 \(4, 2\), but its layer dense.* \(4, 3\)"),
            (lambda: network(dtype="float64"), r"is float32 \(4, 2\), but .* has float64 \(4, 2\)"),
            (lambda: network(use_bias=False), r"no layer takes dense.*/bias"),
            (lambda: Sequential([Input((4,)), Dense(4)]), "no layer takes"),
            (lambda: Sequential([Input((4,)), BatchNormalization()]), "of a Dense where the model has"),
            (
                lambda: Sequential([Input((4,)), network(), Dense(1)]),
                "nothing for dense.*/kernel .2, 1. of layer dense",
            ),
        ],
    )
    def test_another_architecture(self, path: Path, make: Any, message: str) -> None:
        network().save_weights(path)
        assert_refused(make(), path, message)

    def test_equal_shapes_of_another_layer(self, path: Path) -> None:
        Sequential([Input((8, 8, 2)), Conv2D(2, 3)]).save_weights(path)
        other = Sequential([Input((8, 8, 2)), Conv2DTranspose(2, 3)])
        assert_refused(other, path, "of a Conv2D where the model has .* of a Conv2DTranspose")

    def test_damaged(self, path: Path) -> None:
        model = network()
        model.save_weights(path)
        whole = path.read_bytes()
        for kept in (0, 10, len(whole) // 2, len(whole) - 1):
            path.write_bytes(whole[:kept])
            assert_refused(model, path, "damaged")

    def test_foreign(self, tmp_path: Path) -> None:
        model, path = network(), tmp_path / "arrays.npz"
        np.savez(path, a=np.ones(3))
        assert_refused(model, path, "damaged, or not a file that fastdl saved")
        assert_refused(model, tmp_path / "weights.pth", r"ends in \.npz, .*; got '.*weights\.pth'")
        with pytest.raises(FileNotFoundError):
            model.load_weights(tmp_path / "missing.npz")

    def test_a_failing_save_keeps_the_old_file(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        model = network()
        model.save_weights(path)
        before = path.read_bytes()

        def fail(descriptor: int) -> None:
            raise OSError("no space left")

        monkeypatch.setattr(os, "fsync", fail)
        model.set_weights([wave(w.shape) for w in model.get_weights()])
        with pytest.raises(OSError, match="no space left"):
            model.save_weights(path)
        assert path.read_bytes() == before
        assert [entry.name for entry in path.parent.iterdir()] == [path.name]

    def test_without_weights(self, path: Path) -> None:
        for act in ("save_weights", "load_weights"):
            with pytest.raises(ValueError, match=f"{act}: .* has no weights yet"):
                getattr(Sequential([Dense(3)]), act)(path)
        network().save_weights(path)
        with pytest.raises(ValueError, match="holds weights alone; make the model, then call its"):
            load_model(path)
        with pytest.raises(ValueError, match=r"ends in \.npz or \.safetensors"):
            network().save_weights("model.weights.h5")

    def test_model_checkpoint(self, tmp_path: Path) -> None:
        model = network()
        model.compile("sgd", "mse")
        path = tmp_path / "{epoch}.npz"
        saving = ModelCheckpoint(path, save_weights_only=True)
        model.fit(wave((8, 4)), wave((8, 2)), epochs=2, callbacks=[saving], verbose=0)
        other = network()
        other.load_weights(tmp_path / "2.npz")
        assert_same(other, model)
        with pytest.raises(ValueError, match="holds weights alone"):
            load_model(tmp_path / "1.npz")
        with pytest.raises(ValueError, match=r"ends in \.npz or \.safetensors"):  # before the first epoch
            ModelCheckpoint(tmp_path / "{epoch}.weights.h5", save_weights_only=True)


def weights_of(name: str, folder: Path) -> Path:
    """The file that save_weights would have written, out of one that save has written."""
    path = folder / "model.weights.h5"
    with zipfile.ZipFile(keras_files.DATA / name) as parts:
        path.write_bytes(parts.read(path.name))
    return path


def test_without_the_package_the_error_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(ImportError, match=r"pip install fastdl\[h5py\]"):
        network().load_weights(keras_files.DATA / keras_files.GRAPH)


class TestKeras:
    @pytest.fixture(autouse=True)
    def _package(self) -> None:
        pytest.importorskip("h5py", reason="it reads the files")

    @pytest.mark.parametrize(
        "name, make, shape",
        [
            (keras_files.GRAPH, keras_files.graph, keras_files.IMAGES),
            (keras_files.SERIES, keras_files.series, keras_files.SEQUENCES),
        ],
    )
    def test_predicts_what_keras_did(self, name: str, make: Any, shape: tuple[int, ...]) -> None:
        model = make(fastdl)
        model.load_weights(keras_files.DATA / name)
        outputs = model.predict(wave(shape))
        with np.load(keras_files.ANSWERS) as answers:
            for place, y in enumerate(outputs if isinstance(outputs, list) else [outputs]):
                expected = answers[f"{name}/{place}"]
                # A few hundred terms, rounded in another order in each of five layers.
                np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max())

    def test_weights_alone(self, tmp_path: Path) -> None:
        model, expected = keras_files.series(fastdl), keras_files.series(fastdl)
        expected.load_weights(keras_files.DATA / keras_files.SERIES)
        model.load_weights(weights_of(keras_files.SERIES, tmp_path))
        assert_same(model, expected)

    def test_float64_takes_float32(self) -> None:
        with fastdl.use(dtype="float64"):
            model = keras_files.series(fastdl)
        model.load_weights(keras_files.DATA / keras_files.SERIES)
        assert {w.dtype for w in model.get_weights()} == {np.dtype("float64")}

    def test_another_architecture(self) -> None:
        path = keras_files.DATA / keras_files.SERIES
        model = Sequential([Input((3, 2)), layers.SimpleRNN(2), Dense(1)])
        assert_refused(model, path, "nothing for dense.*/kernel .2, 1.* no layer takes layers/bidir")
        model = Sequential([Input(keras_files.SEQUENCES[1:]), layers.SimpleRNN(2)])
        assert_refused(model, path, r"cell/vars/0 is float32 \(2, 2\), but its layer simple_rnn.* \(3, 2\)")

    def test_name_of_early_files(self, tmp_path: Path) -> None:
        import h5py

        path = weights_of(keras_files.GRAPH, tmp_path)
        with h5py.File(path, "r+") as entries:
            entries.move("layers", "_layer_checkpoint_dependencies")
        model, expected = keras_files.graph(fastdl), keras_files.graph(fastdl)
        expected.load_weights(keras_files.DATA / keras_files.GRAPH)
        model.load_weights(path)
        assert_same(model, expected)

    def test_what_is_no_weight(self, tmp_path: Path) -> None:
        """Keras 3.0 kept the state of generators of random numbers, too."""
        import h5py

        path = weights_of(keras_files.SERIES, tmp_path)
        with h5py.File(path, "r+") as entries:
            entries["layers/dropout/seed_generator/vars/0"] = np.zeros(2, np.uint32)
        keras_files.series(fastdl).load_weights(path)

    def test_bfloat16(self, tmp_path: Path) -> None:
        import h5py

        path, exact = tmp_path / "half.weights.h5", np.array([[1.5], [-2.0]], np.float32)
        with h5py.File(path, "w") as entries:
            upper = entries.create_dataset(
                "layers/dense/vars/0", data=(exact.view(np.uint32) >> 16).astype(np.uint16).view("V2")
            )
            upper.attrs["dtype"] = "bfloat16"
        model = Sequential([Input((2,)), Dense(1, use_bias=False)])
        model.load_weights(path)
        np.testing.assert_array_equal(model.get_weights()[0], exact)

    def test_what_leads_out_of_the_file(self, tmp_path: Path) -> None:
        import h5py

        model = Sequential([Input((2,)), Dense(1, use_bias=False)])
        with h5py.File(tmp_path / "secret.h5", "w") as entries:
            entries["layers/dense/vars/0"] = np.ones((2, 1), np.float32)
        linked = tmp_path / "linked.h5"
        with h5py.File(linked, "w") as entries:
            entries["layers/dense/vars/0"] = h5py.ExternalLink("secret.h5", "layers/dense/vars/0")
        assert_refused(model, linked, "nothing for dense")
        with h5py.File(linked, "w") as entries:
            place = [("secret.h5", 0, 8)]
            entries.create_dataset("layers/dense/vars/0", (2, 1), "f4", external=place)
        assert_refused(model, linked, "lies in another file")
        with h5py.File(linked, "w") as entries:
            entries.create_dataset("layers/dense/vars/0", (2**40, 1), "f4", chunks=(2**10, 1))
        assert_refused(model, linked, "much larger than it is")

    def test_damaged_and_foreign(self, tmp_path: Path) -> None:
        model = Sequential([Input((2,)), Dense(1)])
        for source in (keras_files.DATA / keras_files.SERIES, weights_of(keras_files.SERIES, tmp_path)):
            path, whole = tmp_path / source.name, source.read_bytes()
            for kept in (0, 10, len(whole) // 2):
                path.write_bytes(whole[:kept])
                assert_refused(model, path, "damaged, or not a file of Keras 3")
        with zipfile.ZipFile(tmp_path / "empty.keras", "w") as parts:
            parts.writestr("config.json", "{}")
        assert_refused(model, tmp_path / "empty.keras", "damaged, or not a file of Keras 3")
        with pytest.raises(FileNotFoundError):
            model.load_weights(tmp_path / "missing.keras")

    def test_the_older_format(self, tmp_path: Path) -> None:
        import h5py

        with h5py.File(tmp_path / "old.h5", "w") as entries:
            entries.attrs["layer_names"] = [b"dense"]
        model = Sequential([Input((2,)), Dense(1)])
        assert_refused(model, tmp_path / "old.h5", "format of Keras 1 and 2")
