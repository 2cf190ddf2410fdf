"""State dicts of PyTorch: what its modules return is what the layers predict."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fastdl import Input, Model, Sequential, layers
from fastdl.layers import (
    GRU,
    LSTM,
    BatchNormalization,
    Bidirectional,
    Concatenate,
    Conv1D,
    Conv2D,
    Conv2DTranspose,
    Dense,
    DepthwiseConv2D,
    Embedding,
    Flatten,
    GlobalAveragePooling2D,
    GroupNormalization,
    InstanceNormalization,
    LayerNormalization,
    MaxPooling2D,
    PReLU,
    ReLU,
    Reshape,
    SimpleRNN,
    TimeDistributed,
)
from keras_cases import wave

safetensors = pytest.importorskip("safetensors.numpy", reason="it is the format of the files")
BOTH = pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])


@pytest.fixture
def torch() -> Any:
    module = pytest.importorskip("torch", reason="its modules are what is compared with")
    module.manual_seed(0)
    return module


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "model.safetensors"


def assert_same(model: Model, module: Any, path: Path, x: np.ndarray, *, image: bool | None = None) -> None:
    """With the weights of the module, the model predicts what the module returns.

    Where x is an image with its channels last, the module is given them first, and so it returns them.
    """
    torch = pytest.importorskip("torch")
    for name, buffer in module.named_buffers():
        if "running" in name:  # else they are what they are in a new layer, too
            buffer.uniform_(0.5, 2)
    module.eval()
    safetensors.save_file({name: t.numpy() for name, t in module.state_dict().items()}, path)
    model.load_weights(path)
    with torch.no_grad():
        y = module(torch.tensor(np.moveaxis(x, -1, 1).copy() if image else x))
    y = (y[0] if isinstance(y, tuple) else y).numpy()
    expected = np.moveaxis(y, 1, -1) if image and y.ndim == x.ndim else y
    # Sums of a few hundred terms in another order, through up to five layers.
    np.testing.assert_allclose(model.predict(x), expected, rtol=1e-5, atol=2e-6 * max(1, np.abs(y).max()))


class TestModules:
    def test_linear(self, torch: Any, path: Path) -> None:
        nn = torch.nn
        module = nn.Sequential(
            nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4, bias=False), nn.Tanh(), nn.Linear(4, 4)
        )
        model = Sequential([Input((4,)), Dense(4, "relu"), Dense(4, "tanh", use_bias=False), Dense(4)])
        assert_same(model, module, path, wave((3, 4)))

    def test_alone(self, torch: Any, path: Path) -> None:
        assert_same(Sequential([Input((4,)), Dense(2)]), torch.nn.Linear(4, 2), path, wave((3, 4)))

    def test_more_than_ten(self, torch: Any, path: Path) -> None:
        module = torch.nn.Sequential(*(torch.nn.Linear(3, 3) for _ in range(12)))
        model = Sequential([Input((3,)), *(Dense(3) for _ in range(12))])
        assert_same(model, module, path, wave((2, 3)))

    @BOTH
    @pytest.mark.parametrize(
        "make, make_module",
        [
            (
                lambda **o: Conv2D(4, (3, 2), strides=2, groups=2, **o),
                lambda nn: nn.Conv2d(6, 4, (3, 2), 2, groups=2),
            ),
            (lambda **o: Conv2DTranspose(4, 3, strides=2, **o), lambda nn: nn.ConvTranspose2d(6, 4, 3, 2)),
            (
                lambda **o: DepthwiseConv2D(3, depth_multiplier=2, **o),
                lambda nn: nn.Conv2d(6, 12, 3, groups=6),
            ),
        ],
    )
    def test_convolution(self, torch: Any, path: Path, data_format: str, make: Any, make_module: Any) -> None:
        last = data_format == "channels_last"
        x = wave((2, 7, 7, 6) if last else (2, 6, 7, 7))
        model = Sequential([Input(x.shape[1:]), make(data_format=data_format)])
        assert_same(model, make_module(torch.nn), path, x, image=last)

    def test_other_dimensions(self, torch: Any, path: Path) -> None:
        nn = torch.nn
        for layer, module, shape in (
            (layers.Conv1D(4, 3), nn.Conv1d(2, 4, 3), (2, 7, 2)),
            (layers.Conv3D(4, 2), nn.Conv3d(2, 4, 2), (2, 4, 5, 4, 2)),
            (layers.Conv1DTranspose(4, 3), nn.ConvTranspose1d(2, 4, 3), (2, 7, 2)),
            (layers.Conv3DTranspose(4, 2), nn.ConvTranspose3d(2, 4, 2), (2, 4, 5, 4, 2)),
        ):
            assert_same(Sequential([Input(shape[1:]), layer]), module, path, wave(shape), image=True)

    def test_normalisations(self, torch: Any, path: Path) -> None:
        nn = torch.nn
        for layer, module in (
            (BatchNormalization(epsilon=1e-5), nn.BatchNorm2d(4)),
            (BatchNormalization(epsilon=1e-5, center=False, scale=False), nn.BatchNorm2d(4, affine=False)),
            (GroupNormalization(2, epsilon=1e-5), nn.GroupNorm(2, 4)),
            (InstanceNormalization(epsilon=1e-5), nn.InstanceNorm2d(4, affine=True)),
            (LayerNormalization((1, 2, 3), epsilon=1e-5), nn.LayerNorm((4, 5, 5))),
            (PReLU(shared_axes=(1, 2)), nn.PReLU(4)),
            (PReLU(shared_axes=(1, 2, 3)), nn.PReLU()),
        ):
            for parameter in module.parameters():
                torch.nn.init.uniform_(parameter, 0.2, 2)
            conv = nn.Conv2d(2, 4, 2)
            model = Sequential([Input((6, 6, 2)), Conv2D(4, 2), layer])
            assert_same(model, nn.Sequential(conv, module), path, wave((3, 6, 6, 2)), image=True)
        model = Sequential([Input((3, 4)), LayerNormalization(epsilon=1e-5)])
        assert_same(model, nn.LayerNorm(4), path, wave((2, 3, 4)))

    def test_embedding(self, torch: Any, path: Path) -> None:
        model, ids = Sequential([Input((5,)), Embedding(7, 3)]), np.arange(10).reshape(2, 5) % 7
        assert_same(model, torch.nn.Embedding(7, 3), path, ids)

    @pytest.mark.parametrize("bias", [True, False])
    @pytest.mark.parametrize("name, layer", [("RNN", SimpleRNN), ("LSTM", LSTM), ("GRU", GRU)])
    def test_recurrent(self, torch: Any, path: Path, name: str, layer: Any, bias: bool) -> None:
        x, module = wave((2, 5, 3)), getattr(torch.nn, name)
        options = {"return_sequences": True, "use_bias": bias}
        model = Sequential([Input((5, 3)), layer(4, **options)])
        assert_same(model, module(3, 4, bias=bias, batch_first=True), path, x)
        model = Sequential([Input((5, 3)), *(Bidirectional(layer(4, **options)) for _ in range(2))])
        module = module(3, 4, 2, bias=bias, batch_first=True, bidirectional=True)
        assert_same(model, module, path, x)

    def test_names_decide(self, torch: Any, path: Path) -> None:
        class Net(torch.nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.encoder = torch.nn.Sequential()
                self.encoder.add_module("first", torch.nn.Linear(4, 4))
                self.decoder = torch.nn.Linear(4, 4)

            def forward(self, x: Any) -> Any:
                return self.decoder(torch.tanh(self.encoder(x)))

        encoder = Sequential([Input((4,)), Dense(4, "tanh", name="first")], name="encoder")
        model = Sequential([Input((4,)), encoder, Dense(4, name="decoder")])
        assert_same(model, Net(), path, wave((3, 4)))
        nameless = Sequential([Input((4,)), Dense(4, "tanh"), Dense(4)])
        assert_refused(nameless, path, r"layer dense.* may be decoder or encoder\.first, whose order")


class TestFlatten:
    """A dense layer behind an image that was flattened."""

    @pytest.mark.parametrize(
        "data_format, flatten_format",
        [
            ("channels_last", "channels_last"),
            ("channels_first", "channels_last"),
            ("channels_first", "channels_first"),
        ],
    )
    def test_behind_convolutions(self, torch: Any, path: Path, data_format: str, flatten_format: str) -> None:
        nn, last = torch.nn, data_format == "channels_last"
        module = nn.Sequential(
            *(nn.Conv2d(2, 3, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten()),
            *(nn.BatchNorm1d(27), nn.PReLU(27), nn.Linear(27, 8), nn.BatchNorm1d(8), nn.Linear(8, 2)),
        )
        nn.init.uniform_(module[5].weight, 0.1, 0.9)
        x = wave((3, 8, 8, 2) if last else (3, 2, 8, 8))
        model = Sequential(
            [
                Input(x.shape[1:]),
                Conv2D(3, 3, data_format=data_format),
                ReLU(),
                MaxPooling2D(data_format=data_format),
                Flatten(data_format=flatten_format),
                BatchNormalization(epsilon=1e-5),
                PReLU(),
                Dense(8),
                BatchNormalization(epsilon=1e-5),
                Dense(2),
            ]
        )
        assert_same(model, module, path, x, image=last)

    def test_branches(self, torch: Any, path: Path) -> None:
        class Net(torch.nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.one, self.two = torch.nn.Conv2d(2, 3, 3), torch.nn.Conv2d(2, 4, 2)
                self.out = torch.nn.Linear(3 * 9 + 4 + 4 * 16, 2)

            def forward(self, x: Any) -> Any:
                one, two = self.one(x), self.two(x)
                return self.out(torch.cat([one.flatten(1), two.mean((2, 3)), two.flatten(1)], 1))

        x = Input((5, 5, 2))
        one, two = Conv2D(3, 3, name="one")(x), Conv2D(4, 2, name="two")(x)
        row = Concatenate()([Flatten()(one), GlobalAveragePooling2D()(two), Flatten()(two)])
        assert_same(Model(x, Dense(2, name="out")(row)), Net(), path, wave((3, 5, 5, 2)), image=True)

    def test_image_beside_what_was_made_of_it(self, torch: Any, path: Path) -> None:
        class Net(torch.nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.conv, self.out = torch.nn.Conv2d(2, 3, 3, padding=1), torch.nn.Linear(5 * 16, 2)

            def forward(self, x: Any) -> Any:
                return self.out(torch.cat([x, self.conv(x)], 1).flatten(1))

        x = Input((4, 4, 2))
        both = Concatenate()([x, Conv2D(3, 3, padding="same")(x)])
        assert_same(Model(x, Dense(2)(Flatten()(both))), Net(), path, wave((3, 4, 4, 2)), image=True)

    def test_sequences(self, torch: Any, path: Path) -> None:
        nn = torch.nn
        module = nn.Sequential(nn.Conv1d(2, 3, 3), nn.Flatten(), nn.Linear(18, 2))
        model = Sequential([Input((8, 2)), Conv1D(3, 3), Flatten(), Dense(2)])
        assert_same(model, module, path, wave((3, 8, 2)), image=True)

    def test_of_each_step(self, torch: Any, path: Path) -> None:
        class Net(torch.nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.conv, self.lstm = torch.nn.Conv2d(2, 3, 3), torch.nn.LSTM(27, 4, batch_first=True)

            def forward(self, x: Any) -> Any:  # (N, T, H, W, C)
                images = x.flatten(0, 1).permute(0, 3, 1, 2)
                return self.lstm(self.conv(images).flatten(1).unflatten(0, x.shape[:2]))

        model = Sequential(
            [
                Input((4, 5, 5, 2)),
                TimeDistributed(Conv2D(3, 3)),
                TimeDistributed(Flatten()),
                LSTM(4, return_sequences=True),
            ]
        )
        assert_same(model, Net(), path, wave((2, 4, 5, 5, 2)))

    def test_the_input_itself(self, torch: Any, path: Path) -> None:
        nn = torch.nn
        model = Sequential([Input((3, 4)), Flatten(), Dense(2)])
        assert_same(model, nn.Sequential(nn.Flatten(), nn.Linear(12, 2)), path, wave((2, 3, 4)))

    def test_an_image_made_of_a_row(self, torch: Any, path: Path) -> None:
        nn = torch.nn
        module = nn.Sequential(nn.Linear(4, 18), nn.Unflatten(1, (2, 3, 3)), nn.ConvTranspose2d(2, 3, 2))
        first = {"data_format": "channels_first"}
        model = Sequential([Input((4,)), Dense(18), Reshape((2, 3, 3)), Conv2DTranspose(3, 2, **first)])
        assert_same(model, module, path, wave((2, 4)))
        for layer in (Conv2DTranspose(3, 2), Sequential([layers.UpSampling2D(1), Conv2DTranspose(3, 2)])):
            model = Sequential([Input((4,)), Dense(18), Reshape((3, 3, 2)), layer])
            assert_refused(model, path, "order features reach layer conv2d_transpose.* cannot be told")
        module = nn.Sequential(nn.Linear(4, 9), nn.Unflatten(1, (1, 3, 3)), nn.Conv2d(1, 3, 2), nn.Flatten())
        model = Sequential([Input((4,)), Dense(9), Reshape((3, 3, 1)), Conv2D(3, 2), Flatten(), Dense(2)])
        assert_same(model, nn.Sequential(*module, nn.Linear(12, 2)), path, wave((2, 4)))


def assert_refused(model: Model, path: Path, message: str) -> None:
    """The file is refused with the message, and the model is as it was."""
    before = model.get_weights()
    with pytest.raises(ValueError, match=message):
        model.load_weights(path)
    for array, kept in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(array, kept)


FITTING = {"fc.weight": (3, 4), "fc.bias": (3,)}


class TestRefusals:
    """No module is needed for these."""

    @pytest.mark.parametrize(
        "arrays, message",
        [
            ({"fc.weight": (3, 4)}, r"nothing for fc/bias \(3,\) of layer fc"),
            (
                {"fc.weight": (3, 5), "fc.bias": (3,)},
                r"fc is float32 \(5, 3\), but its layer fc has .* \(4, 3\)",
            ),
            (
                {"fc.weight": (3, 4), "fc.bias": (3,), "more.weight": (2,)},
                r"no layer takes more\.weight \(2,\)",
            ),
            (
                {"fc.weight": (3, 4), "fc.bias": (3,), "fc.weight_g": (3,)},
                "no layer takes fc, whose weight_g",
            ),
            ({"fc.running_mean": (3,)}, "nothing for fc/kernel"),
            ({"lstm.weight_ih_l0": (16, 4), "lstm.weight_hh_l0": (16, 4)}, "nothing for fc/kernel"),
            ({}, "nothing for fc/kernel"),
        ],
    )
    def test_misfits(self, path: Path, arrays: dict[str, tuple[int, ...]], message: str) -> None:
        safetensors.save_file({name: np.ones(shape, np.float32) for name, shape in arrays.items()}, path)
        assert_refused(Sequential([Input((4,)), Dense(3, name="fc")]), path, message)

    def test_integers(self, path: Path) -> None:
        safetensors.save_file(
            {"fc.weight": np.ones((3, 4), np.int8), "fc.bias": np.ones(3, np.float32)}, path
        )
        model = Sequential([Input((4,)), Dense(3, name="fc")])
        assert_refused(model, path, r"fc is int8 \(4, 3\), but its layer fc has float32")

    def test_half_precision(self, path: Path) -> None:
        arrays = {"0.weight": wave((3, 4)).astype(np.float16), "0.bias": np.ones(3, np.float16)}
        safetensors.save_file(arrays, path)
        model = Sequential([Input((4,)), Dense(3)])
        model.load_weights(path)
        np.testing.assert_array_equal(model.get_weights()[0], arrays["0.weight"].T)

    def test_a_table_is_no_linear_layer(self, path: Path) -> None:
        safetensors.save_file(
            {"0.weight": np.ones((7, 3), np.float32), "0.bias": np.ones(7, np.float32)}, path
        )
        assert_refused(Sequential([Input((5,)), Embedding(7, 3)]), path, "nothing for embedding.*; no layer")

    def test_one_direction_of_two(self, path: Path) -> None:
        shapes = {"weight_ih_l0": (8, 3), "weight_hh_l0": (8, 2)}
        arrays = {
            name + end: np.ones(s, np.float32) for name, s in shapes.items() for end in ("", "_reverse")
        }
        safetensors.save_file(arrays, path)
        model = Sequential([Input((5, 3)), LSTM(2, use_bias=False)])
        assert_refused(model, path, "nothing for lstm")

    def test_the_reset_gate_of_keras_1(self, path: Path) -> None:
        shapes = {"weight_ih_l0": (6, 3), "weight_hh_l0": (6, 2), "bias_ih_l0": (6,), "bias_hh_l0": (6,)}
        arrays = {f"gru.{name}": np.ones(shape, np.float32) for name, shape in shapes.items()}
        safetensors.save_file(arrays, path)
        model = Sequential([Input((5, 3)), GRU(2, reset_after=False, name="gru")])
        assert_refused(model, path, r"gru is float32 \(2, 6\), but its layer gru has float32 \(6,\) as bias")
