"""What fastdl is held against: one module for each library, with the same functions.

``prepare(case, direction, threads)`` returns a `Call`, or None where the library has no such operation;
``version()`` says what is installed, and raises ImportError where nothing is.

Everything that a program does once is done by `prepare`: arrays become the library's own, weights get the
layout it asks for, graphs are compiled. What is left to `Call.run` is what the program would repeat.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from types import ModuleType
from typing import Any

import numpy as np

Results = tuple[np.ndarray, ...]

PEERS = {
    "torch": "torch_",
    "torch-channels-last": "torch_channels_last",
    "onnxruntime": "onnxruntime_",
    "openvino": "openvino_",
    "jax": "jax_",
    "tensorflow": "tensorflow_",
    "sklearn": "sklearn_",
    "numpy": "numpy_",
}
"""The name on the command line, and the module here. "numpy" is the textbook's code."""


@dataclass(frozen=True)
class Call:
    """One implementation of one case, ready to be timed."""

    run: Callable[[], Any]
    read: Callable[[Any], Results]  # what `run` returned, as fastdl would return it; not timed

    def results(self) -> Results:
        """Run once. Outputs come first, then a gradient for each input that has one."""
        return self.read(self.run())


def load(name: str) -> ModuleType:
    """Return the module of a peer.

    Raises
    ------
    ImportError
        If its library is not installed.
    """
    module = import_module(f".{PEERS[name]}", __name__)
    module.version()
    return module


def gradient(shape: tuple[int, ...], dtype: str) -> np.ndarray:
    """Return a gradient to send backward: random, since a constant one hides transposed axes."""
    return np.random.default_rng(1).standard_normal(shape).astype(dtype)


def steady_gradient(shape: tuple[int, ...], dtype: str) -> np.ndarray:
    """Return a gradient for an optimizer, no part of which is near zero.

    There an epsilon inside a root, as Keras has it, and one outside, as PyTorch has it, lead apart.
    """
    g = gradient(shape, dtype)
    return g + np.copysign(0.5, g).astype(dtype)
