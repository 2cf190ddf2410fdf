"""The one table of what is measured.

A row says an operation, the shapes of its arrays and its options. `compare.py` and every
``bench_<family>.py`` read this table, so a new row is timed everywhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Case:
    """One row: `fastdl.functional.<op>` called with arrays of `shapes` and with `options`.

    `terms` is the number of products summed into one output; 0 means that the operation is bound by memory,
    and its rate is given in bytes.
    """

    family: str
    op: str
    shapes: tuple[tuple[int, ...], ...]
    terms: int = 0
    options: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    classes: int = 0  # labels below this number follow the arrays
    scale: float = 1.0  # of the numbers in the arrays

    @property
    def name(self) -> str:
        """For example ``conv2d 32x64x32x32 -> 64, 3x3``: unique in the table; ``--cases`` searches it."""
        x, *rest = self.shapes
        text = f"{self.op} {'x'.join(map(str, x))}"
        if self.family == "dense":
            text += f" -> {rest[0][1]}"
        elif self.family == "conv":
            text += f" -> {rest[0][0]}, {'x'.join(map(str, rest[0][2:]))}"
        elif self.family == "recurrent":
            text += f" -> {rest[0][1]}"
        elif self.family == "pool":
            text += f", {self.options['size']}x{self.options['size']}"
        elif self.family == "embedding":
            text += f" of {'x'.join(map(str, rest[0]))}"
        if self.options.get("stride", 1) != 1:
            text += f", stride {self.options['stride']}"
        return text

    def arrays(self, dtype: str = "float32") -> tuple[np.ndarray, ...]:
        """The inputs, the same in every process."""
        rng = np.random.default_rng(0)
        drawn = [(self.scale * rng.standard_normal(shape)).astype(dtype) for shape in self.shapes]
        if self.family == "embedding":  # ids, and as in a text a few of them are most
            drawn[0] = np.minimum(rng.zipf(1.2, self.shapes[0]), self.shapes[1][0]) - 1
        if self.classes:
            drawn.append(rng.integers(0, self.classes, self.shapes[0][0]))
        return tuple(drawn)

    @property
    def multiply_adds(self) -> int:
        """About how many steps the innermost of plain loops would take."""
        x, *rest = (int(np.prod(shape)) for shape in self.shapes)
        if self.family == "recurrent":
            return x // self.shapes[0][2] * self.shapes[1][1] * self.terms
        return x * (rest[0] // self.shapes[0][1] if self.terms else 1)

    def work(self, y: np.ndarray, train: bool) -> tuple[float, str]:
        """What one call does: operations, or bytes with each array touched once; and the unit of its rate."""
        if self.terms:
            return 2.0 * y.size * self.terms * (3 if train else 1), "GFLOP/s"
        touched = int(np.prod(self.shapes[0])) * y.itemsize + y.nbytes
        return float(touched * (2 if train else 1)), "GB/s"


def dense(batch: int, inputs: int, outputs: int) -> Case:
    return Case("dense", "linear", ((batch, inputs), (inputs, outputs), (outputs,)), terms=inputs)


def conv(x: tuple[int, int, int, int], channels: int, size: int, stride: int = 1, padding: int = 1) -> Case:
    shapes = (x, (channels, x[1], size, size), (channels,))
    options = MappingProxyType({"stride": stride, "padding": padding})
    return Case("conv", "conv2d", shapes, terms=x[1] * size * size, options=options)


def pool(op: str, x: tuple[int, int, int, int], size: int) -> Case:
    return Case("pool", op, (x,), options=MappingProxyType({"size": size}))


def pointwise(op: str, *shape: int) -> Case:
    return Case("pointwise", op, (shape,))


def norm(op: str, x: tuple[int, ...], channels: int, **options: Any) -> Case:
    return Case("norm", op, (x, (channels,), (channels,)), options=MappingProxyType(options))


TRAINING = {"running_mean": None, "running_var": None, "training": True}


def recurrent(op: str, gates: int, x: tuple[int, int, int], units: int) -> Case:
    """Weights of a size at which states neither vanish nor saturate."""
    columns = gates * units
    states = ((x[0], units),) * (2 if op == "lstm" else 1)
    bias = (2, columns) if op == "gru" else (columns,)
    shapes = (x, *states, (x[2], columns), (units, columns), bias)
    return Case("recurrent", op, shapes, terms=gates * (x[2] + units), scale=0.1)


# The seven that fastdl promises to run at PyTorch's speed or better.
PROMISED = (
    conv((32, 1, 28, 28), 32, 3),
    conv((32, 3, 32, 32), 32, 3),
    conv((32, 64, 32, 32), 64, 3),
    conv((32, 128, 16, 16), 128, 3),
    conv((32, 64, 32, 32), 128, 4, stride=2),
    pool("max_pool2d", (32, 64, 32, 32), 2),
    dense(128, 784, 256),
)

CASES = (
    *PROMISED,
    dense(32, 64, 10),
    dense(4, 16, 8),
    conv((32, 16, 8, 8), 32, 3),
    conv((2, 3, 8, 8), 4, 3),
    pool("max_pool2d", (2, 3, 8, 8), 2),
    pool("avg_pool2d", (32, 64, 32, 32), 2),
    pool("avg_pool2d", (2, 3, 8, 8), 2),
    pointwise("relu", 32, 64, 32, 32),
    pointwise("sigmoid", 128, 1024),
    pointwise("tanh", 128, 1024),
    pointwise("gelu", 128, 1024),
    pointwise("softmax", 128, 1000),
    pointwise("relu", 8, 64),
    norm("batch_norm", (32, 64, 32, 32), 64, **TRAINING),
    norm("batch_norm", (32, 16, 7, 7), 16, **TRAINING),
    norm("batch_norm", (8, 32), 32, **TRAINING),
    norm("layer_norm", (128, 1024), 1024),
    norm("layer_norm", (8, 64), 64),
    norm("group_norm", (32, 64, 16, 16), 64, groups=8),
    norm("instance_norm", (8, 64, 32, 32), 64),
    recurrent("lstm", 4, (32, 50, 128), 128),
    recurrent("lstm", 4, (1, 100, 64), 64),
    recurrent("gru", 3, (32, 50, 128), 128),
    recurrent("rnn", 1, (32, 50, 128), 128),
    recurrent("rnn", 1, (2, 5, 8), 8),
    Case("loss", "softmax_cross_entropy", ((128, 1000),), classes=1000),
    Case("loss", "softmax_cross_entropy", ((32, 10),), classes=10),
    Case("embedding", "embedding", ((32, 100), (10000, 128))),
    Case("embedding", "embedding", ((64, 50), (1000, 64))),
    Case("embedding", "embedding", ((4096,), (50000, 16))),
    Case("loss", "mean_squared_error", ((128, 1000), (128, 1000))),
)
