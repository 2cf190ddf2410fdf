"""Whole models as someone who uses fastdl's layers writes them.

`peers/torch_models.py` has the same ones in PyTorch. Dropout is left out of all: two generators draw
different masks, and results could not be compared.
"""

from __future__ import annotations

from typing import Any

import numpy as np

import fastdl.functional as F
from fastdl import Input, Model, Sequential
from fastdl.layers import (
    LSTM,
    Add,
    BatchNormalization,
    Concatenate,
    Conv2D,
    Conv2DTranspose,
    Dense,
    Embedding,
    Flatten,
    GlobalAveragePooling2D,
    LeakyReLU,
    MaxPooling2D,
    ReLU,
    Reshape,
    ZeroPadding2D,
)
from fastdl.optimizers import Adam

LATENT = 100  # numbers that a generator makes an image of


def perceptron(inputs: int, *hidden: int) -> Sequential:
    """Dense layers, and ten classes."""
    layers = [Dense(units, activation="relu") for units in hidden]
    model = Sequential([Input((inputs,)), *layers, Dense(10, activation="softmax")])
    model.compile("adam", "sparse_categorical_crossentropy")
    return model


def digits_mlp() -> Sequential:
    return perceptron(64, 64, 32)


def mlp() -> Sequential:
    return perceptron(784, 256, 256)


def lenet() -> Sequential:
    """LeNet-5 (LeCun et al., 1998) as it is taught today: ReLU and the largest of each window."""
    model = Sequential(
        [
            Input((28, 28, 1)),
            Conv2D(6, 5, padding="same", activation="relu"),
            MaxPooling2D(),
            Conv2D(16, 5, activation="relu"),
            MaxPooling2D(),
            Flatten(),
            Dense(120, activation="relu"),
            Dense(84, activation="relu"),
            Dense(10, activation="softmax"),
        ]
    )
    model.compile("sgd", "sparse_categorical_crossentropy")
    return model


def book_convnet() -> Sequential:
    """The first convolutional network of a book: thirty filters."""
    model = Sequential(
        [
            Input((28, 28, 1)),
            Conv2D(30, 5, activation="relu"),
            MaxPooling2D(),
            Flatten(),
            Dense(100, activation="relu"),
            Dense(10, activation="softmax"),
        ]
    )
    model.compile("adam", "sparse_categorical_crossentropy")
    return model


def deep_book_convnet() -> Sequential:
    """The last one: six convolutions."""
    layers: list[Any] = [Input((28, 28, 1))]
    for filters in (16, 32, 64):
        layers += [
            Conv2D(filters, 3, padding="same", activation="relu"),
            Conv2D(filters, 3, padding="same", activation="relu"),
            MaxPooling2D(),
        ]
    layers += [Flatten(), Dense(50, activation="relu"), Dense(10, activation="softmax")]
    model = Sequential(layers)
    model.compile("adam", "sparse_categorical_crossentropy")
    return model


def word_classifier() -> Sequential:
    """An LSTM reads a review of words out of 20 000."""
    layers = [Input((80,)), Embedding(20_000, 128), LSTM(128), Dense(1, activation="sigmoid")]
    model = Sequential(layers)
    model.compile("adam", "binary_crossentropy")
    return model


def stacked_lstms() -> Sequential:
    """Four LSTMs on top of each other guess the next value of a series."""
    lstms = [LSTM(50, return_sequences=True) for _ in range(3)]
    model = Sequential([Input((60, 1)), *lstms, LSTM(50), Dense(1)])
    model.compile("adam", "mse")
    return model


def autoencoder() -> Sequential:
    hidden = [Dense(units, activation="relu") for units in (128, 64, 32, 64, 128)]
    model = Sequential([Input((784,)), *hidden, Dense(784, activation="sigmoid")])
    model.compile("adam", "mse")
    return model


def unet() -> Model:
    """U-Net (Ronneberger et al., 2015) for images of 128 pixels: which of them belong to the object."""

    def convolutions(x: Any, filters: int, place: str) -> Any:
        for i in (1, 2):
            x = Conv2D(filters, 3, padding="same", activation="relu", name=f"{place}_{i}")(x)
        return x

    image = x = Input((128, 128, 1))
    skipped = []
    for filters in (16, 32, 64):
        x = convolutions(x, filters, f"down_{filters}")
        skipped.append(x)
        x = MaxPooling2D()(x)
    x = convolutions(x, 128, "bottom")
    for filters in (64, 32, 16):
        x = Conv2DTranspose(filters, 2, strides=2, name=f"up_{filters}")(x)
        x = convolutions(Concatenate()([skipped.pop(), x]), filters, f"join_{filters}")
    model = Model(image, Conv2D(1, 1, activation="sigmoid", name="mask")(x))
    model.compile("adam", "binary_crossentropy")
    return model


def resnet18() -> Model:
    """ResNet-18 (He et al., 2015) for images of 64 pixels."""

    def convolution(x: Any, filters: int, size: int, strides: int, name: str) -> Any:
        if strides == 2 and size > 1:
            x = ZeroPadding2D(size // 2)(x)
        padding = "same" if strides == 1 else "valid"
        x = Conv2D(filters, size, strides=strides, padding=padding, use_bias=False, name=name)(x)
        return BatchNormalization(name=f"{name}_norm")(x)

    image = Input((64, 64, 3))
    x = ReLU()(convolution(image, 64, 7, 2, "stem"))
    x = MaxPooling2D(3, strides=2)(ZeroPadding2D(1)(x))
    for filters in (64, 128, 256, 512):
        for block in (1, 2):
            name, strides = f"block_{filters}_{block}", 2 if block == 1 and filters > 64 else 1
            h = ReLU()(convolution(x, filters, 3, strides, f"{name}_1"))
            h = convolution(h, filters, 3, 1, f"{name}_2")
            shortcut = x if strides == 1 else convolution(x, filters, 1, 2, f"{name}_0")
            x = ReLU()(Add()([h, shortcut]))
    model = Model(image, Dense(10, activation="softmax", name="classes")(GlobalAveragePooling2D()(x)))
    model.compile("sgd", "sparse_categorical_crossentropy")
    return model


class DCGAN:
    """A generator and a discriminator (Radford et al., 2015), which learn in turn from the same fakes."""

    def __init__(self, generator: Sequential, discriminator: Sequential) -> None:
        self.generator, self.discriminator = generator, discriminator
        self.generator_optimizer = Adam(2e-4, beta_1=0.5)
        self.discriminator_optimizer = Adam(2e-4, beta_1=0.5)

    def predict_on_batch(self, noise: np.ndarray) -> np.ndarray:
        return self.generator(noise)

    def train_on_batch(self, noise: np.ndarray, real: np.ndarray) -> float:
        fake, to_noise = self.generator.partial_vjp(noise, wants_dx=False)

        self.discriminator.await_grads()
        loss = 0.0
        for images, target in ((real, 1), (fake, 0)):
            loss_of_these, learn = self._judged(images, target, wants_dx=False)
            learn()
            loss += loss_of_these
        self.discriminator_optimizer.step(self.discriminator)

        loss_of_generator, to_fake = self._judged(fake, 1)
        self.generator.await_grads()
        to_noise(to_fake())
        self.generator_optimizer.step(self.generator)
        return loss + loss_of_generator

    def _judged(self, images: np.ndarray, target: int, wants_dx: bool = True) -> tuple[float, Any]:
        """How wrong the discriminator is about images that are all real (1) or all fake (0)."""
        logits, back = self.discriminator.partial_vjp(images, wants_dx=wants_dx)
        targets = np.full_like(logits, target)
        loss, ctx = F.binary_cross_entropy_forward(logits, targets, from_logits=True)
        return float(loss), lambda: back(F.binary_cross_entropy_backward(1.0, ctx))


def enlarge(filters: int) -> list[Any]:
    """Twice as wide and high, normalised."""
    convolution = Conv2DTranspose(filters, 4, strides=2, padding="same", use_bias=False)
    return [convolution, BatchNormalization(), ReLU()]


def reduce(filters: int, normalised: bool = True) -> list[Any]:
    """Half as wide and high."""
    norm = [BatchNormalization()] if normalised else []
    convolution = Conv2D(filters, 4, strides=2, padding="same", use_bias=not normalised)
    return [convolution, *norm, LeakyReLU(0.2)]


def from_noise(size: int, filters: int) -> list[Any]:
    """The first image, small and with many channels."""
    dense = Dense(size * size * filters, use_bias=False)
    return [Input((LATENT,)), dense, Reshape((size, size, filters)), BatchNormalization(), ReLU()]


def to_image(channels: int) -> Conv2DTranspose:
    return Conv2DTranspose(channels, 4, strides=2, padding="same", activation="tanh")


def dcgan28() -> DCGAN:
    generator = [*from_noise(7, 128), *enlarge(64), to_image(1)]
    discriminator = [Input((28, 28, 1)), *reduce(64, normalised=False), *reduce(128), Flatten(), Dense(1)]
    return DCGAN(Sequential(generator), Sequential(discriminator))


def dcgan64() -> DCGAN:
    generator = [*from_noise(4, 256), *enlarge(128), *enlarge(64), *enlarge(32), to_image(3)]
    steps = [*reduce(32, normalised=False), *reduce(64), *reduce(128), *reduce(256)]
    discriminator = [Input((64, 64, 3)), *steps, Flatten(), Dense(1)]
    return DCGAN(Sequential(generator), Sequential(discriminator))
