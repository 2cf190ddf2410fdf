"""Models as ONNX files, which other programs run.

`graph` gathers nodes and goes through a model; a file for each family says what its layers are in ONNX's
operators; `model` knows them all and writes the file. A layer that is not known is refused, and so is one of
a class derived from a known one, since it may do something else.
"""

from __future__ import annotations

from .model import export_onnx

__all__ = ["export_onnx"]
