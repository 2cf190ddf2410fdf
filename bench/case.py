"""What a row of the table says: an operation, its arrays, its options, and how much work it is."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

Shape = tuple[int, ...]

FORWARD, TRAINING, STEP = "forward", "training", "step"

REMEMBERED = {"SGD": 0, "Momentum": 1, "Adagrad": 1, "RMSprop": 1, "Adam": 2, "AdamW": 2}
"""How many arrays an optimizer keeps of each parameter."""


class Work(NamedTuple):
    """What cannot be avoided: the operations of the plain formula, and each array moved once."""

    flops: float
    bytes: float


@dataclass(frozen=True, eq=False)
class Case:
    """One row: `fastdl.functional.<op>` called with arrays of `shapes` and with `options`.

    A case of the family "optimizer" is a step of the class `fastdl.optimizers.<op>` with parameters of these
    shapes.
    """

    family: str
    op: str
    shapes: tuple[Shape, ...]
    label: str  # what tells the row from others of the same operation
    options: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    dtype: str = "float32"
    classes: int = 0  # labels below this number follow the arrays
    scale: float = 1.0  # of the numbers in the arrays
    directions: tuple[str, ...] = (FORWARD, TRAINING)

    @property
    def name(self) -> str:
        """For example ``conv2d 32x64x32x32 -> 64, 3x3``: unique in the table; ``--cases`` searches it."""
        return f"{self.op} {self.label}" + ("" if self.dtype == "float32" else f", {self.dtype}")

    @property
    def group(self) -> str:
        """The rows whose geometric mean is reported together."""
        return self.family if self.dtype == "float32" else self.dtype

    @property
    def layout(self) -> str:
        return str(self.options.get("layout", "NCHW"))

    @property
    def kinked(self) -> bool:
        """Whether a gradient jumps where a rounded number changes its sign."""
        return "activation" in self.options

    def arrays(self) -> tuple[np.ndarray, ...]:
        """The inputs, the same in every process."""
        rng = np.random.default_rng(0)
        drawn = [(self.scale * rng.standard_normal(shape)).astype(self.dtype) for shape in self.shapes]
        if self.options.get("training") is False:  # the last one is a variance
            drawn[-1] = np.abs(drawn[-1]) + 1
        if self.op == "embedding":  # ids, and as in a text a few of them are most
            drawn[0] = np.minimum(rng.zipf(1.2, self.shapes[0]), self.shapes[1][0]) - 1
        if self.classes:
            drawn.append(rng.integers(0, self.classes, self.shapes[0][0]))
        return tuple(drawn)

    @property
    def smallest(self) -> Case:
        """What a smoke test runs: the row itself, since small ones of each operation are in the table."""
        return self

    def work(self, direction: str) -> Work:
        """The work of one call. On the way back dy comes in and a gradient of each input goes out."""
        size = np.dtype(self.dtype).itemsize
        inputs, output = sum(map(math.prod, self.shapes)), math.prod(self.output_shape())
        if self.family == "optimizer":  # a gradient in; the parameter and what is kept of it in and out
            return Work(0, size * inputs * (3 + 2 * REMEMBERED[self.op]))
        if self.op == "embedding":  # of the table only the rows that are asked for; its gradient is whole
            table = math.prod(self.shapes[1])
            return Work(0, size * (2 * output + (output + table if direction == TRAINING else 0)))
        passes = 3 if direction == TRAINING else 1
        return Work(passes * self.flops, size * (inputs + output) * (2 if direction == TRAINING else 1))

    @property
    def flops(self) -> float:
        """Multiplications and additions of one run forward; 0 where nothing but memory is the limit."""
        x, *rest = self.shapes
        sizes = [math.prod(shape) for shape in rest]
        if self.family == "dense":
            return 2.0 * x[0] * sizes[0]
        if self.family == "recurrent":
            w_x, w_h = sizes[-3:-1]
            return 2.0 * math.prod(x[:-1]) * (w_x + w_h)
        if self.family == "conv":
            pixels = self.pixels(x) if "transpose" in self.op else self.pixels(self.output_shape())
            return 2.0 * x[0] * math.prod(pixels) * sizes[0]
        return 0

    def pixels(self, image: Shape) -> Shape:
        """The spatial part of the shape of an image."""
        return image[1:-1] if self.layout == "NHWC" else image[2:]

    def output_shape(self) -> Shape:
        x, *rest = self.shapes
        if self.family == "loss":
            return ()
        if self.family in ("conv", "pool"):
            return self._image()
        if self.family in ("dense", "embedding"):
            return *x[: len(x) if self.op == "embedding" else -1], rest[0][1]
        if self.family == "recurrent":
            return *x[:-1], rest[0][-1]
        return x

    def _image(self) -> Shape:
        """What a convolution or a pooling gives, in the case's layout."""
        x, options, transposed = self.shapes[0], self.options, "transpose" in self.op
        last = self.layout == "NHWC"
        channels = self.shapes[-1][0] if self.family == "conv" else x[-1 if last else 1]
        if self.op.startswith("global"):
            return x[0], channels
        sizes = []
        for axis, n in enumerate(self.pixels(x)):
            k = options["size"] if self.family == "pool" else self.shapes[1][axis if last else axis + 2]
            stride = options.get("stride", k if self.family == "pool" else 1)
            reach = options.get("dilation", 1) * (k - 1) + 1 - 2 * options.get("padding", 0)
            if transposed:
                sizes.append((n - 1) * stride + reach + options.get("output_padding", 0))
            else:
                sizes.append((n - reach) // stride + 1)
        return (x[0], *sizes, channels) if last else (x[0], channels, *sizes)
