"""Layers that are one operation, and what they need to name it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from .. import checks, config, functional
from .base import Array, Back, Layer


class Operation(NamedTuple):
    """The three functions of one operation."""

    run: Callable[..., Any]
    forward: Callable[..., Any]
    backward: Callable[..., Any]

    @classmethod
    def named(cls, name: str) -> Operation:
        """Return the operation that `fastdl.functional` has under this name."""
        return cls(*(getattr(functional, name + part) for part in ("", "_forward", "_backward")))


class FunctionLayer(Layer):
    """Base of the layers that are one operation with fixed arguments, and have no parameters.

    A subclass sets `operation` and `arguments`.
    """

    operation: Operation
    arguments: dict[str, Any]

    def call(self, x: Array) -> Array:
        return self.operation.run(x, **self.arguments)

    def vjp(self, x: Array, training: bool = True) -> tuple[Array, Back]:
        y, ctx = self.operation.forward(x, **self.arguments)
        return y, lambda dy: self.operation.backward(dy, ctx)


def resolve_data_format(op: str, given: str | None) -> str:
    """Return the data format a layer was given, or the one in force."""
    if given is None:
        return config.current().data_format
    checks.one_of(op, "data_format", given, config.DATA_FORMATS)
    return given


def functions_layout(data_format: str) -> str:
    """Return what the functions call a data format."""
    return "NHWC" if data_format == "channels_last" else "NCHW"
