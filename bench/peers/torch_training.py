"""Whole models in PyTorch: fastdl's weights, the answer for a batch, and a training step."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as TF

from case import FORWARD
from fastdl.layers import Layer
from model_cases import ModelCase, leaves, networks

from . import Call, Results
from .torch_ import make_optimizer
from .torch_models import BUILDERS, AfterFlatten, BeforeImage

SGD_MODELS = ("LeNet-5", "ResNet-18 at 64 px")
MEAN_SQUARED = ("four stacked LSTMs", "autoencoder")


def prepare(case: ModelCase, direction: str, tuned: bool = False) -> Call:
    """Prepare a model; `tuned` stores images with the channels last and fuses the optimizer."""
    nets = BUILDERS[case.op]()
    model = case.network()
    matched = [pairs(*both) for both in zip(networks(model), nets)]
    for couple in matched:
        copy_weights(couple)
    x, y = (channels_first(array) for array in case.arrays())
    if tuned:
        nets = [net.to(memory_format=torch.channels_last) for net in nets]
        x, y = (to_channels_last(tensor) for tensor in (x, y))
    if direction == FORWARD:
        return _answer(case, nets[0].eval(), x)

    step = _gan_step if len(nets) == 2 else _step

    def read(loss: float) -> Results:
        return np.asarray(loss, np.float32), *gradients(matched[0])

    return Call(step(case, nets, x, y, tuned), read)


def _answer(case: ModelCase, net: nn.Module, x: Any) -> Call:
    def run() -> Any:
        with torch.inference_mode():
            y = net(x)
            if case.classes:
                return y.softmax(1)
            return y if case.op == "four stacked LSTMs" or "DCGAN" in case.op else y.sigmoid()

    return Call(run, lambda y: ((y.permute(0, 2, 3, 1) if y.ndim == 4 else y).numpy(),))


def _step(case: ModelCase, nets: list[nn.Module], x: Any, y: Any, tuned: bool) -> Any:
    (net,) = nets
    name, rate = ("SGD", 0.01) if case.op in SGD_MODELS else ("Adam", 0.001)
    optimizer = make_optimizer(name, net.parameters(), tuned, rate)

    def loss_of(outputs: Any) -> Any:
        if case.classes:
            return TF.cross_entropy(outputs, y)
        if case.op in MEAN_SQUARED:
            return TF.mse_loss(outputs if case.op != "autoencoder" else outputs.sigmoid(), y)
        return TF.binary_cross_entropy_with_logits(outputs, y)

    def run() -> float:
        optimizer.zero_grad()
        loss = loss_of(net(x))
        loss.backward()
        optimizer.step()
        return float(loss.item())

    return run


def _gan_step(case: ModelCase, nets: list[nn.Module], noise: Any, real: Any, tuned: bool) -> Any:
    generator, discriminator = nets
    optimizers = [make_optimizer("Adam", net.parameters(), tuned, 2e-4, betas=(0.5, 0.999)) for net in nets]

    def loss_of(images: Any, target: float) -> Any:
        logits = discriminator(images)
        return TF.binary_cross_entropy_with_logits(logits, torch.full_like(logits, target))

    def run() -> float:
        optimizers[1].zero_grad()
        fake = generator(noise)
        of_real = loss_of(real, 1.0)
        of_real.backward()
        of_fake = loss_of(fake.detach(), 0.0)
        of_fake.backward()
        optimizers[1].step()

        optimizers[0].zero_grad()
        if tuned:
            discriminator.requires_grad_(False)
        of_generator = loss_of(fake, 1.0)
        of_generator.backward()
        discriminator.requires_grad_(True)
        optimizers[0].step()
        return float(of_real.item() + of_fake.item() + of_generator.item())

    return run


def channels_first(array: np.ndarray) -> Any:
    tensor = torch.from_numpy(array)
    return tensor.permute(0, 3, 1, 2).contiguous() if tensor.ndim == 4 else tensor


def to_channels_last(tensor: Any) -> Any:
    return tensor.contiguous(memory_format=torch.channels_last) if tensor.ndim == 4 else tensor


# ---- weights: Keras's layouts and PyTorch's

Pairs = list[tuple[Layer, list[Any], nn.Module]]


def pairs(network: Any, net: nn.Module) -> Pairs:
    """Match fastdl's layers with the parameters of PyTorch's: by name where they have one, else in order."""
    named = {name.rpartition(".")[2]: module for name, module in net.named_modules()}
    parts = [part for module in net.modules() for part in parameter_groups(module)]
    found: Pairs = []
    for i, leaf in enumerate(leaves(network)):
        module = named.get(leaf.name)
        group = parts[i] if module is None else next(iter(parameter_groups(module)))
        found.append((leaf, *group))
    return found


def parameter_groups(module: nn.Module) -> Iterator[tuple[list[Any], nn.Module]]:
    """What of a module one layer of fastdl's is: several LSTMs may be one module."""
    parameters = list(module.parameters(recurse=False))
    size = 4 if isinstance(module, nn.LSTM) else len(parameters)
    for start in range(0, len(parameters), max(size, 1)):
        yield parameters[start : start + size], module


def copy_weights(matched: Pairs) -> None:
    with torch.no_grad():
        for leaf, parameters, module in matched:
            weights = [to_torch(array, module) for array in leaf.params.values()]
            if isinstance(module, nn.LSTM):
                weights.append(np.zeros_like(weights[-1]))
            for parameter, array in zip(parameters, weights, strict=True):
                parameter.copy_(torch.from_numpy(np.ascontiguousarray(array)))


def gradients(matched: Pairs) -> Iterator[np.ndarray]:
    """The gradients after a step, as fastdl has them."""
    for leaf, parameters, module in matched:
        for parameter, array in zip(parameters, leaf.params.values()):
            yield from_torch(parameter.grad.numpy(), array.shape, module)


def to_torch(array: np.ndarray, module: nn.Module) -> np.ndarray:
    if isinstance(module, nn.Embedding):
        return array
    if isinstance(module, AfterFlatten) and array.ndim == 2:
        c, h, w = module.image
        return array.reshape(h, w, c, -1).transpose(3, 2, 0, 1).reshape(array.shape[::-1])
    if isinstance(module, BeforeImage):
        c, h, w = module.image
        return array.reshape(-1, h, w, c).transpose(3, 1, 2, 0).reshape(array.shape[::-1])
    return array.transpose(3, 2, 0, 1) if array.ndim == 4 else array.T


def from_torch(array: np.ndarray, shape: tuple[int, ...], module: nn.Module) -> np.ndarray:
    """The inverse of `to_torch`."""
    if isinstance(module, nn.Embedding):
        return array
    if isinstance(module, AfterFlatten) and array.ndim == 2:
        return array.reshape(-1, *module.image).transpose(2, 3, 1, 0).reshape(shape)
    if isinstance(module, BeforeImage):
        c, h, w = module.image
        return array.reshape(c, h, w, -1).transpose(3, 1, 2, 0).reshape(shape)
    return array.transpose(2, 3, 1, 0) if array.ndim == 4 else array.T
