"""Weights of PyTorch's modules: state dicts that were saved with safetensors.

What a module is called there is its layer's name here, or else the order decides. A file of safetensors does
not keep the order, but numbers in names do: "0.weight" stands before "2.weight", "conv1" before "conv2".
Where that leaves two modules for one layer, the file is refused.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import TypeAlias

import numpy as np

from ..layers.base import Array, Layer
from ..layers.composite import Composite
from ..layers.conv import (
    Conv1D,
    Conv1DTranspose,
    Conv2D,
    Conv2DTranspose,
    Conv3D,
    Conv3DTranspose,
)
from ..layers.dense import Dense
from ..layers.depthwise import DepthwiseConv2D
from ..layers.embedding import Embedding
from ..layers.graph import Graph
from ..layers.norm import (
    BatchNormalization,
    GroupNormalization,
    InstanceNormalization,
    LayerNormalization,
)
from ..layers.pointwise import PReLU
from ..layers.recurrent import GRU, LSTM, Recurrent, SimpleRNN
from ..layers.wrappers import Bidirectional
from ..transfer import Source
from .orders import LAST, SAME, UNCLEAR, Order, input_orders

Module: TypeAlias = dict[str, Array]
Weights: TypeAlias = dict[str, Array]

_RECURRENT = re.compile(r"((?:weight|bias)_[ih]h)_l(\d+)((?:_reverse)?)")


def match(model: Graph, arrays: Mapping[str, Array]) -> tuple[dict[str, Source], list[str]]:
    """Return a source for each of the model's weights that a state dict has, and what else it holds.

    Raises
    ------
    ValueError
        If it cannot be told which of two modules a layer is, or in which order a layer has its features.
    """
    modules = _modules(arrays)
    orders = input_orders(model)
    units = dict(_units(model, "", set()))

    def weights(prefix: str, name: str) -> Weights:
        layer = units[prefix]
        return _read(layer, modules[name], orders.get(layer, SAME))

    own = {prefix: _shapes(layer.named_weights()) for prefix, layer in units.items()}
    found = {prefix: name for prefix in units if (name := prefix.rstrip("/").replace("/", ".")) in modules}
    free = [name for name in modules if name not in found.values()]
    for prefix in [prefix for prefix in units if prefix not in found]:
        fitting = [name for name in free if _shapes(weights(prefix, name)) == own[prefix]]
        if fitting:
            found[prefix] = _first(units[prefix], fitting)
            free.remove(found[prefix])
    sources: dict[str, Source] = {}
    left = [f"{name}.{key} {array.shape}" for name in free for key, array in modules[name].items()]
    for prefix, name in found.items():
        if orders.get(units[prefix]) == UNCLEAR:
            raise ValueError(
                f"in which order features reach layer {units[prefix].name} cannot be told; with"
                " data_format='channels_first' it is that of PyTorch"
            )
        for key, array in weights(prefix, name).items():
            if key in own[prefix]:
                sources[prefix + key] = Source(name, array)
            else:
                left.append(f"{name}, whose {key} is {array.shape}")
    return sources, left


def _shapes(weights: Mapping[str, Array]) -> dict[str, tuple[int, ...]]:
    return {name: array.shape for name, array in weights.items()}


def _modules(arrays: Mapping[str, Array]) -> dict[str, Module]:
    """Return the modules by name, in natural order. Each layer of a recurrent module counts as one."""
    modules: dict[str, Module] = {}
    for name in sorted(arrays, key=_tokens):
        path, _, key = name.rpartition(".")
        recurrent = _RECURRENT.fullmatch(key)
        if recurrent:
            key = recurrent[1] + recurrent[3]
            path += f".{recurrent[2]}" if recurrent[2] != "0" else ""
        if key != "num_batches_tracked":
            modules.setdefault(path, {})[key] = arrays[name]
    return modules


def _tokens(name: str) -> list[tuple[int, str]]:
    """Return a name as its numbers and what stands between them; they sort as a person would."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name) if part]


def _first(layer: Layer, names: list[str]) -> str:
    """Return the first of the modules that fit a layer, if their names say which that is."""
    first, *others = names
    for other in others:
        differing = [pair for pair in zip(_tokens(first), _tokens(other)) if pair[0] != pair[1]]
        if differing and any(number < 0 for number, _ in differing[0]):
            raise ValueError(
                f"layer {layer.name} may be {first} or {other}, whose order the file does not keep; give"
                " the layers the names of the modules"
            )
    return first


def _units(layer: Layer, prefix: str, met: set[Layer]) -> Iterator[tuple[str, Layer]]:
    """Yield the layers that are one module each, with the prefix of their weights' names."""
    if layer in met:
        return
    met.add(layer)
    if isinstance(layer, Composite) and not isinstance(layer, Bidirectional):
        for inner in layer.layers:
            yield from _units(inner, f"{prefix}{inner.name}/", met)
    elif layer.named_weights():
        yield prefix, layer


# ---- one module as a layer's weights: each function takes what it reads out of the module


def _affine(layer: Layer, module: Module) -> Weights:
    """(O, I, ...), of a transposed convolution (I, O, ...), as (..., I, O) or (..., O, I)."""
    weight = module.pop("weight")
    return {"kernel": weight.transpose(*range(2, weight.ndim), 1, 0)} | _renamed(module, {"bias": "bias"})


def _depthwise(layer: Layer, module: Module) -> Weights:
    """(C · M, 1, KH, KW) as (KH, KW, C, M)."""
    kernel = module.pop("weight").transpose(2, 3, 1, 0)
    own = layer.params["kernel"].shape
    if kernel.shape == (*own[:2], 1, own[2] * own[3]):
        kernel = kernel.reshape(own)
    return {"kernel": kernel} | _renamed(module, {"bias": "bias"})


def _norm(layer: Layer, module: Module) -> Weights:
    names = {
        "gamma": "weight",
        "beta": "bias",
        "moving_mean": "running_mean",
        "moving_variance": "running_var",
    }
    return _renamed(module, names)


def _prelu(layer: Layer, module: Module) -> Weights:
    """One slope a channel, in the channel's place among the axes that the layer shares."""
    alpha, weight = layer.params["alpha"], module.pop("weight")
    fits = max(alpha.shape) == alpha.size == weight.size
    return {"alpha": weight.reshape(alpha.shape) if fits else weight}


def _embedding(layer: Layer, module: Module) -> Weights:
    return _renamed(module, {"embeddings": "weight"})


def _renamed(module: Module, names: Mapping[str, str]) -> Weights:
    return {own: module.pop(name) for own, name in names.items() if name in module}


_GATES = {SimpleRNN: (0,), LSTM: (0, 1, 2, 3), GRU: (1, 0, 2)}  # PyTorch's GRU has r before z


def _recurrent(layer: Layer, module: Module) -> Weights:
    return _direction(layer, module, "")


def _bidirectional(layer: Layer, module: Module) -> Weights:
    assert isinstance(layer, Bidirectional)
    return {
        f"{inner.name}/{name}": array
        for inner, suffix in zip(layer.directions, ("", "_reverse"))
        for name, array in _direction(inner, module, suffix).items()
    }


def _direction(layer: Layer, module: Module, suffix: str) -> Weights:
    """(gates · H, I) as (I, gates · H), the gates in Keras's order."""
    assert isinstance(layer, Recurrent)

    def own(name: str) -> Array:
        parts = np.split(module.pop(name + suffix), layer.gates)
        return np.concatenate([parts[gate] for gate in _GATES[type(layer)]])

    weights = {"kernel": own("weight_ih").T, "recurrent_kernel": own("weight_hh").T}
    if f"bias_ih{suffix}" in module:
        both = np.stack([own("bias_ih"), own("bias_hh")])
        # Only under a reset gate does it matter which product a bias belongs to.
        weights["bias"] = both if isinstance(layer, GRU) else both.sum(axis=0)
    return weights


_READERS: dict[type[Layer], Callable[[Layer, Module], Weights]] = {
    **dict.fromkeys((Dense, Conv1D, Conv2D, Conv3D), _affine),
    **dict.fromkeys((Conv1DTranspose, Conv2DTranspose, Conv3DTranspose), _affine),
    DepthwiseConv2D: _depthwise,
    **dict.fromkeys((BatchNormalization, LayerNormalization), _norm),
    **dict.fromkeys((GroupNormalization, InstanceNormalization), _norm),
    PReLU: _prelu,
    Embedding: _embedding,
    **dict.fromkeys((SimpleRNN, LSTM, GRU), _recurrent),
    Bidirectional: _bidirectional,
}

# What has a row or an entry for each feature of the input.
_BY_FEATURE = ("kernel", "gamma", "beta", "moving_mean", "moving_variance", "alpha")


def _read(layer: Layer, module: Module, order: Order) -> Weights:
    """Return a module's arrays as those of a layer; what it has no use for keeps its name."""
    rest = dict(module)
    try:
        weights = _READERS[type(layer)](layer, rest)
    except (KeyError, ValueError):  # an array is missing, or has not as many axes
        return module
    for name, array in weights.items():
        if name.rpartition("/")[2] not in _BY_FEATURE:
            continue
        if order.kind == "features" and len(array) == len(order.places):
            weights[name] = array[list(order.places)]
        elif order == LAST and isinstance(layer, LayerNormalization):
            weights[name] = np.moveaxis(array, 0, -1)
    return weights | rest
