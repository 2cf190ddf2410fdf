"""Files: what is saved comes back, what is damaged or foreign does not, and nothing in a file is executed."""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastdl
from fastdl import Input, Sequential, checkpoint, initializers, layers, load_model
from fastdl.layers import Conv2D, Dense, Dropout, Flatten, Layer
from keras_cases import LAYERS, wave

ENDINGS = [".npz", ".safetensors"]


@pytest.fixture(params=ENDINGS)
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    if request.param == ".safetensors":
        pytest.importorskip("safetensors", reason="the format is the package's")
    return tmp_path / f"model{request.param}"


def network() -> Sequential:
    return Sequential(
        [
            Input((6, 6, 2)),
            Conv2D(3, 3, activation=layers.LeakyReLU(0.1), kernel_initializer=initializers.HeNormal(seed=1)),
            Dropout(0.2),
            Sequential([Flatten(), Dense(4, "tanh", trainable=False)]),
            Dense(2, "softmax"),
        ]
    )


class TestRoundTrip:
    def test_predictions_and_description(self, path: Path) -> None:
        model, x = network(), wave((3, 6, 6, 2))
        model.save(path)
        loaded = load_model(path)
        np.testing.assert_array_equal(loaded.predict(x), model.predict(x))
        assert [layer.name for layer in loaded.layers] == [layer.name for layer in model.layers]
        assert loaded.input_shape == model.input_shape
        before, after = [], []
        model.summary(print_fn=before.append)
        loaded.summary(print_fn=after.append)
        assert before == after

    def test_training_goes_on(self, path: Path) -> None:
        model = network()
        model.save(str(path))
        loaded = load_model(str(path))
        loaded.compile("adam", "sparse_categorical_crossentropy")
        assert loaded.fit(wave((8, 6, 6, 2)), np.arange(8) % 2, verbose=0).history["loss"]

    def test_every_layer(self, path: Path) -> None:
        for name, arguments, shape in LAYERS:
            model = Sequential([Input(shape[1:]), getattr(layers, name)(**arguments)])
            model.save(path)
            np.testing.assert_array_equal(load_model(path)(wave(shape)), model(wave(shape)))

    def test_float64(self, path: Path) -> None:
        model = Sequential([Input((3,)), Dense(2, dtype="float64")])
        model.save(path)
        assert load_model(path)(np.ones((1, 3))).dtype == np.float64

    def test_own_layer(self, path: Path) -> None:
        Sequential([Input((4,)), Power(3)]).save(path)
        with pytest.raises(ValueError, match="unknown class 'Power'; pass it as custom_objects"):
            load_model(path)
        loaded = load_model(path, custom_objects={"Power": Power})
        np.testing.assert_array_equal(loaded(wave((2, 4))), wave((2, 4)) ** 3)

    def test_built_with_data(self, path: Path) -> None:
        model = Sequential([Dense(3)])
        with pytest.raises(ValueError, match="has no weights yet"):
            model.save(path)
        model(wave((2, 4)))
        model.save(path)
        np.testing.assert_array_equal(load_model(path)(wave((2, 4))), model(wave((2, 4))))


class Power(Layer):
    def __init__(self, exponent: int, **options: Any) -> None:
        super().__init__(**options)
        self.exponent = exponent

    def vjp(self, x: np.ndarray, training: bool = True) -> Any:
        return x**self.exponent, lambda dy: dy * self.exponent * x ** (self.exponent - 1)


class TestDamage:
    def test_cut_short(self, path: Path) -> None:
        network().save(path)
        whole = path.read_bytes()
        for kept in (0, 1, 10, len(whole) // 2, len(whole) - 1):
            path.write_bytes(whole[:kept])
            with pytest.raises(ValueError, match="damaged, or not a file"):
                load_model(path)

    def test_any_byte_turned(self, path: Path) -> None:
        model = Sequential([Input((1,)), Dense(1, name="only", seed=0)], name="small")
        model.save(path)
        whole = path.read_bytes()
        for position in range(0, len(whole), 3):
            damaged = bytearray(whole)
            damaged[position] ^= 0xFF
            path.write_bytes(damaged)
            # Without a checksum, as in safetensors, a changed weight is a weight; nothing else may come out.
            with contextlib.suppress(ValueError):
                assert load_model(path).count_params() == 2

    def test_foreign(self, path: Path) -> None:
        path.write_bytes(b"GIF89a" + bytes(100))
        with pytest.raises(ValueError, match="damaged, or not a file"):
            load_model(path)
        with pytest.raises(FileNotFoundError):
            load_model(path.with_name(f"missing{path.suffix}"))
        with pytest.raises(ValueError, match=r"ends in \.npz or \.safetensors; got 'model\.h5'"):
            load_model("model.h5")

    def test_foreign_arrays(self, tmp_path: Path) -> None:
        path = tmp_path / "arrays.npz"
        np.savez(path, a=np.ones(3))
        with pytest.raises(ValueError, match="damaged, or not a file"):
            load_model(path)

    @pytest.mark.parametrize(
        "change, message",
        [
            (lambda header, weights: header.update(version=99), "has format 99; this fastdl reads 1"),
            (lambda header, weights: header.pop("version"), "damaged, or not a file"),
            (lambda header, weights: header.update(model=3), "holds no model"),
            (
                lambda header, weights: header["model"].update({"class": "os.system"}),
                "unknown class 'os.system'",
            ),
            (lambda header, weights: header["model"]["config"].update(evil=1), "evil"),
            (lambda header, weights: weights.popitem(), "nothing for dense.*/bias .2,. of layer dense"),
            (lambda header, weights: weights.update(more=np.ones(3)), "no layer takes more"),
            (
                lambda header, weights: weights.update({next(iter(weights)): np.ones(3)}),
                r"is float64 \(3,\), but its layer conv2d.* has float32 \(3, 3, 2, 3\) as kernel",
            ),
        ],
    )
    def test_inconsistent(self, tmp_path: Path, change: Any, message: str) -> None:
        path = tmp_path / "model.npz"
        network().save(path)
        with np.load(path) as entries:
            weights = dict(entries)
        header = json.loads(weights.pop("fastdl").tobytes())
        change(header, weights)
        np.savez(path, fastdl=np.frombuffer(json.dumps(header).encode(), np.uint8), **weights)
        with pytest.raises(ValueError, match=message):
            load_model(path)


class TestSafety:
    def test_a_pickle_is_not_opened(self, tmp_path: Path) -> None:
        marker = tmp_path / "executed"
        path = tmp_path / "model.npz"
        network().save(path)
        with np.load(path) as entries:
            weights: dict[str, Any] = dict(entries)
        weights[next(name for name in weights if name != "fastdl")] = np.array([Touch(marker)], object)
        np.savez(path, **weights)
        with pytest.raises(ValueError, match="damaged, or not a file"):
            load_model(path)
        path.write_bytes(pickle.dumps(Touch(marker)))
        with pytest.raises(ValueError, match="damaged, or not a file"):
            load_model(path)
        assert not marker.exists()

    def test_a_failing_save_keeps_the_old_file(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        model = network()
        model.save(path)
        before = path.read_bytes()

        def fail(descriptor: int) -> None:
            raise OSError("no space left")

        monkeypatch.setattr(os, "fsync", fail)
        model.layers[-1].params["bias"] += 1
        with pytest.raises(OSError, match="no space left"):
            model.save(path)
        assert path.read_bytes() == before
        assert [entry.name for entry in path.parent.iterdir()] == [path.name]

    def test_what_json_cannot_hold(self, path: Path) -> None:
        model = Sequential([Input((4,)), Power(3)])
        model.layers[0].exponent = object()  # type: ignore[attr-defined]
        with pytest.raises(TypeError, match="a file cannot hold"):
            model.save(path)
        assert not path.exists()

    def test_a_lambda_without_a_name(self, path: Path) -> None:
        with pytest.raises(TypeError, match="a file cannot hold <function"):
            Sequential([Input((4,)), layers.Lambda(lambda x: x)]).save(path)
        assert not path.exists()


class Touch:
    """When unpickled, makes a file."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> Any:
        return (open, (str(self.marker), "w"))


def test_without_the_package_the_error_says_what_to_do(tmp_path: Path) -> None:
    program = f"""
import sys
sys.modules["safetensors"] = None
from fastdl import Input, Sequential
from fastdl.layers import Dense
model = Sequential([Input((2,)), Dense(1)])
model.save({str(tmp_path / "m.npz")!r})
try:
    model.save({str(tmp_path / "m.safetensors")!r})
except ImportError as error:
    print(error)
"""
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert "pip install fastdl[safetensors]" in result.stdout, result.stderr
    assert not (tmp_path / "m.safetensors").exists()


def test_the_package_is_not_loaded_with_fastdl() -> None:
    program = (
        "import sys, fastdl.checkpoint; assert 'safetensors' not in sys.modules and 'tqdm' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_names() -> None:
    assert fastdl.load_model is checkpoint.load_model
