"""Weights that Keras 3 saved: files that end in .weights.h5, and those inside a .keras file.

Keras names the group of a layer by its class and by how many of the class stand before it in the same model,
``layers/dense_1/vars/0``, whatever the layer itself is called. Inside a nested model counting begins anew; a
wrapper's layer and a recurrent layer's cell are groups of their own.

Source: keras/src/saving/saving_lib.py of Keras 3, `_walk_saveable` and `_save_container_state`.
"""

from __future__ import annotations

import io
import zipfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from ..configurable import snake_case
from ..layers.base import Array, Layer
from ..layers.recurrent import Recurrent
from ..layers.wrappers import Bidirectional, TimeDistributed
from ..portable import Portable
from ..transfer import Source

_INSIDE = "model.weights.h5"  # the weights' name in a .keras file, which is a zip file

# No array says that it is this much larger than what is stored of it, unless it is to fill the memory.
_MOST_COMPRESSED = 1100


def read(path: Path, model: Layer) -> tuple[dict[str, Source], list[str]]:
    """Return a source for each of the model's weights that the file has, and what else it holds.

    Parameters
    ----------
    path : Path
        Ends in .keras, or is a file of HDF5.
    model : Layer
        Built.

    Raises
    ------
    ValueError
        If the file is damaged or not Keras 3's.
    ImportError
        If h5py is not installed.
    """
    stored = _arrays(path)
    sources: dict[str, Source] = {}
    for group, names in _groups(model, "", "", set()):
        for number, name in enumerate(names):
            place = f"{group}vars/{number}"
            if place in stored:
                sources[name] = Source(place, stored.pop(place))
    return sources, [f"{place} {array.shape}" for place, array in stored.items()]


def _groups(layer: Layer, group: str, prefix: str, met: set[Layer]) -> Iterator[tuple[str, list[str]]]:
    """Yield the groups that hold arrays, with the names of a model's weights that they are, in order."""
    if layer in met:  # what is shared is stored where it is met first
        return
    met.add(layer)
    if isinstance(layer, Portable):
        numbers: Counter[str] = Counter()
        for inner in layer.layers:
            kind = "functional" if _is_graph(inner) else snake_case(type(inner).__name__)
            name = f"{kind}_{numbers[kind]}" if numbers[kind] else kind
            numbers[kind] += 1
            yield from _groups(inner, f"{group}layers/{name}/", f"{prefix}{inner.name}/", met)
    elif isinstance(layer, Bidirectional):
        for side, inner in zip(("forward_layer", "backward_layer"), layer.layers):
            yield from _groups(inner, f"{group}{side}/", f"{prefix}{inner.name}/", met)
    elif isinstance(layer, TimeDistributed):
        yield from _groups(layer.layer, f"{group}layer/", f"{prefix}{layer.layer.name}/", met)
    else:
        if isinstance(layer, Recurrent):
            group += "cell/"
        yield group, [prefix + name for name in layer.named_weights()]


def _is_graph(layer: Layer) -> bool:
    """Whether Keras would call this model functional."""
    return isinstance(layer, Portable) and type(layer).__name__ == "Model"


def _arrays(path: Path) -> dict[str, Array]:
    """Return the arrays of a file by their places."""
    try:
        import h5py
    except ImportError:
        raise ImportError("a file of Keras needs the package h5py: pip install fastdl[h5py]") from None
    try:
        with path.open("rb") as file, h5py.File(_weights_in(path, file), "r") as entries:
            if "layer_names" in entries.attrs:
                raise ValueError("it has the format of Keras 1 and 2, not that of Keras 3")
            found: dict[str, Array] = {}

            # It goes along no link that leads out of the file, and comes to each thing once.
            def visit(place: str, entry: Any) -> None:
                place = place.replace("_layer_checkpoint_dependencies", "layers")  # its name in early files
                if isinstance(entry, h5py.Dataset) and _is_weight(place):
                    found[place] = _array(entry)

            entries.visititems(visit)
            return found
    except FileNotFoundError:
        raise
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(f"it is damaged, or not a file of Keras 3's weights ({error})") from error


def _weights_in(path: Path, file: BinaryIO) -> BinaryIO:
    if path.suffix != ".keras":
        return file
    with zipfile.ZipFile(file) as parts:
        return io.BytesIO(parts.read(_INSIDE))


def _is_weight(place: str) -> bool:
    """Whether it belongs to a layer: neither to the optimizer nor to what draws random numbers."""
    return place.startswith("layers/") and "seed_generator/" not in place


def _array(entry: Any) -> Array:
    if entry.external or entry.is_virtual:
        raise ValueError(f"{entry.name} lies in another file")
    if entry.nbytes > _MOST_COMPRESSED * max(entry.id.get_storage_size(), 1):
        raise ValueError(f"{entry.name} says that it is much larger than it is")
    if entry.attrs.get("dtype") == "bfloat16":  # the upper half of a float32
        return (np.asarray(entry[()]).view(np.uint16).astype(np.uint32) << 16).view(np.float32)
    return np.asarray(entry[()])
