"""The models of `models.py` in PyTorch, as someone who uses PyTorch writes them: NCHW, logits at the end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn import functional as TF

EPSILON = 1e-3  # of a normalisation, as Keras has it


class AfterFlatten(nn.Linear):
    """A dense layer whose inputs are an image's, (C, H, W) in memory; `image` is that shape."""

    def __init__(self, image: tuple[int, int, int], outputs: int) -> None:
        super().__init__(image[0] * image[1] * image[2], outputs)
        self.image = image


class BeforeImage(nn.Linear):
    """A dense layer, to be normalised, whose outputs become an image (C, H, W)."""

    def __init__(self, inputs: int, image: tuple[int, int, int]) -> None:
        super().__init__(inputs, image[0] * image[1] * image[2], bias=False)
        self.image = image


def perceptron(*sizes: int) -> nn.Module:
    layers: list[nn.Module] = []
    for inputs, outputs in zip(sizes, sizes[1:]):
        layers += [nn.Linear(inputs, outputs), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def lenet() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 6, 5, padding=2),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(6, 16, 5),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        AfterFlatten((16, 5, 5), 120),
        nn.ReLU(),
        nn.Linear(120, 84),
        nn.ReLU(),
        nn.Linear(84, 10),
    )


def book_convnet() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 30, 5),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        AfterFlatten((30, 12, 12), 100),
        nn.ReLU(),
        nn.Linear(100, 10),
    )


def deep_book_convnet() -> nn.Module:
    layers: list[nn.Module] = []
    channels = 1
    for filters in (16, 32, 64):
        layers += [nn.Conv2d(channels, filters, 3, padding=1), nn.ReLU()]
        layers += [nn.Conv2d(filters, filters, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
        channels = filters
    return nn.Sequential(*layers, nn.Flatten(), AfterFlatten((64, 3, 3), 50), nn.ReLU(), nn.Linear(50, 10))


class WordClassifier(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(20_000, 128)
        self.lstm = nn.LSTM(128, 128, batch_first=True)
        self.dense = nn.Linear(128, 1)

    def forward(self, x: Any) -> Any:
        return self.dense(self.lstm(self.embedding(x))[0][:, -1])


class StackedLSTMs(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(1, 50, num_layers=4, batch_first=True)
        self.dense = nn.Linear(50, 1)

    def forward(self, x: Any) -> Any:
        return self.dense(self.lstm(x)[0][:, -1])


class UNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        at = nn.ModuleDict()
        channels = 1
        for place, filters in (("down_16", 16), ("down_32", 32), ("down_64", 64), ("bottom", 128)):
            at[f"{place}_1"] = nn.Conv2d(channels, filters, 3, padding=1)
            at[f"{place}_2"] = nn.Conv2d(filters, filters, 3, padding=1)
            channels = filters
        for filters in (64, 32, 16):
            at[f"up_{filters}"] = nn.ConvTranspose2d(2 * filters, filters, 2, stride=2)
            at[f"join_{filters}_1"] = nn.Conv2d(2 * filters, filters, 3, padding=1)
            at[f"join_{filters}_2"] = nn.Conv2d(filters, filters, 3, padding=1)
        at["mask"] = nn.Conv2d(16, 1, 1)
        self.at = at

    def convolutions(self, x: Any, place: str) -> Any:
        return TF.relu(self.at[f"{place}_2"](TF.relu(self.at[f"{place}_1"](x))))

    def forward(self, x: Any) -> Any:
        skipped = []
        for place in ("down_16", "down_32", "down_64"):
            x = self.convolutions(x, place)
            skipped.append(x)
            x = TF.max_pool2d(x, 2)
        x = self.convolutions(x, "bottom")
        for filters in (64, 32, 16):
            x = torch.cat([skipped.pop(), self.at[f"up_{filters}"](x)], dim=1)
            x = self.convolutions(x, f"join_{filters}")
        return self.at["mask"](x)


class ResNet18(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.at = nn.ModuleDict()
        self.convolution("stem", 3, 64, 7, 2)
        channels = 64
        for filters in (64, 128, 256, 512):
            for block in (1, 2):
                name, stride = f"block_{filters}_{block}", 2 if block == 1 and filters > 64 else 1
                self.convolution(f"{name}_1", channels, filters, 3, stride)
                self.convolution(f"{name}_2", filters, filters, 3, 1)
                if stride == 2:
                    self.convolution(f"{name}_0", channels, filters, 1, 2)
                channels = filters
        self.at["classes"] = nn.Linear(512, 10)

    def convolution(self, name: str, channels: int, filters: int, size: int, stride: int) -> None:
        self.at[name] = nn.Conv2d(channels, filters, size, stride, padding=size // 2, bias=False)
        self.at[f"{name}_norm"] = nn.BatchNorm2d(filters, eps=EPSILON)

    def run(self, name: str, x: Any) -> Any:
        return self.at[f"{name}_norm"](self.at[name](x))

    def forward(self, x: Any) -> Any:
        x = TF.max_pool2d(TF.relu(self.run("stem", x)), 3, stride=2, padding=1)
        for filters in (64, 128, 256, 512):
            for block in (1, 2):
                name = f"block_{filters}_{block}"
                h = self.run(f"{name}_2", TF.relu(self.run(f"{name}_1", x)))
                x = TF.relu(h + (self.run(f"{name}_0", x) if f"{name}_0" in self.at else x))
        return self.at["classes"](x.mean((2, 3)))


def enlarge(channels: int, filters: int) -> list[nn.Module]:
    convolution = nn.ConvTranspose2d(channels, filters, 4, stride=2, padding=1, bias=False)
    return [convolution, nn.BatchNorm2d(filters, eps=EPSILON), nn.ReLU()]


def reduce(channels: int, filters: int, normalised: bool = True) -> list[nn.Module]:
    norm = [nn.BatchNorm2d(filters, eps=EPSILON)] if normalised else []
    return [
        nn.Conv2d(channels, filters, 4, stride=2, padding=1, bias=not normalised),
        *norm,
        nn.LeakyReLU(0.2),
    ]


def generator(latent: int, image: tuple[int, int, int], filters: tuple[int, ...], colours: int) -> nn.Module:
    layers = [
        BeforeImage(latent, image),
        nn.Unflatten(1, image),
        nn.BatchNorm2d(image[0], eps=EPSILON),
        nn.ReLU(),
    ]
    channels = image[0]
    for n in filters:
        layers += enlarge(channels, n)
        channels = n
    return nn.Sequential(*layers, nn.ConvTranspose2d(channels, colours, 4, stride=2, padding=1), nn.Tanh())


def discriminator(colours: int, filters: tuple[int, ...], size: int) -> nn.Module:
    layers = reduce(colours, filters[0], normalised=False)
    for channels, n in zip(filters, filters[1:]):
        layers += reduce(channels, n)
    return nn.Sequential(*layers, nn.Flatten(), AfterFlatten((filters[-1], size, size), 1))


BUILDERS: dict[str, Callable[[], list[nn.Module]]] = {
    "digits MLP": lambda: [perceptron(64, 64, 32, 10)],
    "MLP 784-256-256-10": lambda: [perceptron(784, 256, 256, 10)],
    "LeNet-5": lambda: [lenet()],
    "book convnet": lambda: [book_convnet()],
    "six-convolution book convnet": lambda: [deep_book_convnet()],
    "DCGAN 28": lambda: [generator(100, (128, 7, 7), (64,), 1), discriminator(1, (64, 128), 7)],
    "DCGAN 64": lambda: [
        generator(100, (256, 4, 4), (128, 64, 32), 3),
        discriminator(3, (32, 64, 128, 256), 4),
    ],
    "LSTM classifier": lambda: [WordClassifier()],
    "four stacked LSTMs": lambda: [StackedLSTMs()],
    "autoencoder": lambda: [perceptron(784, 128, 64, 32, 64, 128, 784)],
    "U-Net 128": lambda: [UNet()],
    "ResNet-18 at 64 px": lambda: [ResNet18()],
}
"""The networks of each model; what squashes the last outputs belongs to the loss and to the answer."""
