"""The models that are measured: a training step, and the answer for a batch."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

import fastdl
import models
from case import FORWARD, TRAINING, Shape, Work
from fastdl.layers import Layer


@dataclass(frozen=True, eq=False)
class ModelCase:
    """A model and a batch for it, with what `case.Case` has of an operation.

    Targets are labels of `classes`, or else numbers in [0, 1] of shape `target`.
    """

    op: str
    batch: int
    inputs: Shape
    build: Callable[[], Any]
    target: Shape = ()
    classes: int = 0
    words: int = 0  # the inputs are words, by their numbers below this one
    passes: tuple[int, ...] = (3,)  # through each network in a step: forward is one, backward two

    family = group = "model"
    dtype, layout = "float32", "NHWC"
    kinked = True
    directions = (FORWARD, TRAINING)

    @property
    def name(self) -> str:
        return f"{self.op}, batch {self.batch}"

    def arrays(self) -> tuple[np.ndarray, np.ndarray]:
        """The inputs and the targets, the same in every process."""
        rng = np.random.default_rng(0)
        if self.words:
            x = rng.integers(0, self.words, (self.batch, *self.inputs))
        else:
            x = rng.standard_normal((self.batch, *self.inputs)).astype(self.dtype)
        if self.classes:
            return x, rng.integers(0, self.classes, self.batch)
        return x, rng.random((self.batch, *self.target)).astype(self.dtype)

    @cached_property
    def smallest(self) -> ModelCase:
        """The same for two samples, to try whether it runs."""
        return replace(self, batch=2)

    def network(self, dtype: str = "float32") -> Any:
        """Build the model anew, with the same weights each time."""
        with fastdl.use(dtype=dtype):
            model = self.build()
        for network, weights in zip(networks(model), self._weights):
            network.set_weights(weights)
        return model

    @cached_property
    def _weights(self) -> list[list[np.ndarray]]:
        fastdl.set_random_seed(0)
        return [network.get_weights() for network in networks(self.build())]

    def work(self, direction: str) -> Work:
        """Multiplications and additions, and the traffic of the weights: Adam's is seven times theirs."""
        flops, weights = self._costs
        if direction == TRAINING:
            passed = sum(count * passes for count, passes in zip(flops, self.passes))
            return Work(self.batch * passed, 4 * 7 * sum(weights))
        return Work(self.batch * flops[0], 4 * weights[0])  # of a GAN the generator answers

    @cached_property
    def _costs(self) -> tuple[list[float], list[int]]:
        """Of each network: operations of a sample's way forward, and the number of weights."""
        built = networks(self.build())
        return [flops_of(network) for network in built], [network.count_params() for network in built]


def networks(model: Any) -> list[Any]:
    """The networks that a model consists of."""
    return [model.generator, model.discriminator] if isinstance(model, models.DCGAN) else [model]


def flops_of(network: Any) -> float:
    """Multiplications and additions of a sample's way forward through the layers that have a kernel."""
    total = 0.0
    for call in network.calls:
        params = call.layer.params
        if "kernel" not in params:
            continue
        size = params["kernel"].size + (
            params["recurrent_kernel"].size if "recurrent_kernel" in params else 0
        )
        each_input = "recurrent_kernel" in params or "Transpose" in type(call.layer).__name__
        shape = (call.inputs if each_input else call.outputs).shape
        total += 2.0 * size * math.prod(shape[1:-1])
    return total


def leaves(network: Any) -> Iterator[Layer]:
    """The layers of a network that have parameters."""
    return (leaf for _, leaf in network.leaves() if leaf.params)


GAN_PASSES = (3, 9)  # the discriminator sees real images and fakes, and the fakes once more

MODELS = (
    ModelCase("digits MLP", 32, (64,), models.digits_mlp, classes=10),
    ModelCase("MLP 784-256-256-10", 128, (784,), models.mlp, classes=10),
    ModelCase("LeNet-5", 128, (28, 28, 1), models.lenet, classes=10),
    ModelCase("book convnet", 100, (28, 28, 1), models.book_convnet, classes=10),
    ModelCase("six-convolution book convnet", 100, (28, 28, 1), models.deep_book_convnet, classes=10),
    ModelCase("DCGAN 28", 64, (models.LATENT,), models.dcgan28, target=(28, 28, 1), passes=GAN_PASSES),
    ModelCase("DCGAN 64", 16, (models.LATENT,), models.dcgan64, target=(64, 64, 3), passes=GAN_PASSES),
    ModelCase("LSTM classifier", 32, (80,), models.word_classifier, target=(1,), words=20_000),
    ModelCase("four stacked LSTMs", 32, (60, 1), models.stacked_lstms, target=(1,)),
    ModelCase("autoencoder", 128, (784,), models.autoencoder, target=(784,)),
    ModelCase("U-Net 128", 4, (128, 128, 1), models.unet, target=(128, 128, 1)),
    ModelCase("ResNet-18 at 64 px", 8, (64, 64, 3), models.resnet18, classes=10),
)
