"""Models in files.

One file holds the architecture, as JSON, and the weights, as arrays: in NumPy's format where the name ends
in ".npz", in the safetensors format where it ends in ".safetensors" (for which the package of that name
must be installed). Reading a file never executes anything in it: the only classes that are made are
fastdl's layers and those the caller passes.

A file appears whole or not at all: it is written beside its place, flushed to the disk, and moved there.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Mapping
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from . import configurable, initializers, layers
from .layers.base import Array, Layer

if TYPE_CHECKING:
    from .models import Sequential

_HEADER = "fastdl"  # the entry, or the metadata's key, that holds the architecture
_VERSION = 1

# What reading a damaged archive may end in. RuntimeError is zipfile's word for a flag it does not know.
_DAMAGE = (ValueError, KeyError, TypeError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error)


def save_model(model: Sequential, path: str | PathLike[str]) -> None:
    """Write a model's architecture and weights to one file.

    Parameters
    ----------
    model : Sequential
        Built.
    path : str or path
        Ends in ".npz" or ".safetensors".

    Raises
    ------
    ValueError
        If the model is not built, or `path` ends otherwise.
    TypeError
        If a layer was made with something that JSON cannot hold.
    ImportError
        If safetensors is asked for and not installed.
    """
    path = Path(path)
    write = _format(path)[0]
    if not model.built:
        raise ValueError(f"save: {model.name} has no weights yet; build it or run it once")
    header = json.dumps({"version": _VERSION, "model": configurable.describe(model)})
    weights = model.named_weights()
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            write(file, header, weights)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


def load_model(
    path: str | PathLike[str], custom_objects: Mapping[str, type[configurable.Configurable]] | None = None
) -> Sequential:
    """Return the model that a file holds. It must be compiled before it is trained further.

    Parameters
    ----------
    path : str or path
        Of a file that ``model.save`` wrote.
    custom_objects : dict of str to class, optional
        The layers in it that are not fastdl's, by the names of their classes.

    Raises
    ------
    ValueError
        If the file is damaged, is not a model of fastdl, or holds a layer that is not known.
    ImportError
        If it is a safetensors file and the package is not installed.

    Examples
    --------
    >>> import os, tempfile
    >>> from fastdl import Input, Sequential, load_model
    >>> from fastdl.layers import Dense
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "model.npz")
    ...     Sequential([Input((4,)), Dense(3)]).save(path)
    ...     load_model(path).count_params()
    15
    """
    path = Path(path)
    read = _format(path)[1]
    try:
        header, weights = read(path)
        described = json.loads(header)
        version = described["version"]
    except _DAMAGE as error:
        raise ValueError(
            f"load_model: {path} is damaged, or not a model that fastdl saved ({error})"
        ) from error
    if version != _VERSION:
        raise ValueError(f"load_model: {path} has format {version!r}; this fastdl reads {_VERSION}")
    known = _known_classes() | dict(custom_objects or {})
    try:
        model = configurable.restore(described["model"], known)
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"load_model: {path}: {error}") from error
    _fill(path, model, weights)
    return model


def _known_classes() -> dict[str, type[configurable.Configurable]]:
    from .models import Sequential  # models import this module

    ours = (getattr(layers, name) for name in layers.__all__)
    found = {cls.__name__: cls for cls in ours if issubclass(cls, Layer)}
    return found | {cls.__name__: cls for cls in initializers.NAMES.values()} | {"Sequential": Sequential}


def _fill(path: Path, model: Any, weights: Mapping[str, Array]) -> None:
    """Copy the weights into the model, each where it belongs."""
    if not isinstance(model, Layer):
        raise ValueError(f"load_model: {path} holds no model")
    owned = model.named_weights()
    if owned.keys() != weights.keys():
        differing = ", ".join(sorted(owned.keys() ^ weights.keys()))
        raise ValueError(f"load_model: {path}: the weights are not those of its architecture ({differing})")
    for name, own in owned.items():
        if own.shape != weights[name].shape or own.dtype != weights[name].dtype:
            raise ValueError(
                f"load_model: {path}: {name} is {weights[name].dtype} {weights[name].shape},"
                f" but its layer has {own.dtype} {own.shape}"
            )
        own[...] = weights[name]


def _write_npz(file: BinaryIO, header: str, weights: Mapping[str, Array]) -> None:
    entries: dict[str, Any] = {_HEADER: np.frombuffer(header.encode(), np.uint8), **weights}
    np.savez(file, **entries)


def _read_npz(path: Path) -> tuple[str, dict[str, Array]]:
    try:
        with np.load(path, allow_pickle=False) as entries:
            arrays = dict(entries)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        raise ValueError("an entry would lie before the beginning of the file") from error
    return arrays.pop(_HEADER).tobytes().decode(), arrays


def _write_safetensors(file: BinaryIO, header: str, weights: Mapping[str, Array]) -> None:
    from safetensors.numpy import save

    file.write(save(dict(weights), metadata={_HEADER: header}))


def _read_safetensors(path: Path) -> tuple[str, dict[str, Array]]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as entries:
            header = (entries.metadata() or {})[_HEADER]
            return header, {name: entries.get_tensor(name) for name in entries.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise ValueError(str(error)) from error


Writer = Callable[[BinaryIO, str, Mapping[str, Array]], None]
Reader = Callable[[Path], tuple[str, dict[str, Array]]]


def _format(path: Path) -> tuple[Writer, Reader]:
    """Return how a file of this name is written and read."""
    if path.suffix == ".npz":
        return _write_npz, _read_npz
    if path.suffix != ".safetensors":
        raise ValueError(f"a model's file ends in .npz or .safetensors; got {str(path)!r}")
    try:
        import safetensors  # noqa: F401
    except ImportError:
        raise ImportError(
            "a .safetensors file needs the package safetensors: pip install fastdl[safetensors];"
            " a name that ends in .npz needs none"
        ) from None
    return _write_safetensors, _read_safetensors
