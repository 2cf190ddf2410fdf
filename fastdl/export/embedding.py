"""The embedding layer in ONNX."""

from __future__ import annotations

import numpy as np

from ..layers.embedding import Embedding
from .graph import Converter, OnnxGraph, Value


def embedding(graph: OnnxGraph, layer: Embedding, x: Value) -> str:
    """Gather, from the rows of the table."""
    if x.dtype.kind == "f":
        x = graph.cast(x, np.dtype(np.int64))
    return graph.emit("Gather", graph.weight(layer, "embeddings", layer.params["embeddings"]), x.name, axis=0)


CONVERTERS: dict[type, Converter] = {Embedding: embedding}
