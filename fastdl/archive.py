"""One file of named arrays and a text, whole or not at all.

It is written beside its place, flushed to the disk, and moved there: in NumPy's format where the name ends in
".npz", in the safetensors format where it ends in ".safetensors", for which the package of that name must be
installed. Neither can hold anything that reading would execute.
"""

from __future__ import annotations

import contextlib
import errno
import os
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

Array = np.ndarray[Any, Any]

FORMATS = (".npz", ".safetensors")

_TEXT = "fastdl"  # the entry, or the metadata's key, that holds the text

_NONE = np.empty(0, np.uint8)

# What reading a damaged file may end in. RuntimeError is zipfile's word for a flag it does not know.
DAMAGE = (ValueError, KeyError, TypeError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error)


def write(path: Path, text: str, arrays: Mapping[str, Array]) -> None:
    """Write a file, or leave what is at `path` as it is."""
    encode = check_format(path)[0]
    write_whole(path, lambda file: encode(file, text, arrays))


def write_whole(path: Path, fill: Callable[[BinaryIO], Any]) -> None:
    """Let `fill` write a file, and put it at `path` once it is complete."""
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            fill(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


def read(path: Path) -> tuple[str, dict[str, Array]]:
    """Return the text and the arrays of a file; one of `DAMAGE` is raised if there is something wrong.

    The text is empty where the file was not written here.
    """
    return check_format(path)[1](path)


def _write_npz(file: BinaryIO, text: str, arrays: Mapping[str, Array]) -> None:
    entries: dict[str, Any] = {_TEXT: np.frombuffer(text.encode(), np.uint8), **arrays}
    np.savez(file, **entries)


def _read_npz(path: Path) -> tuple[str, dict[str, Array]]:
    try:
        with np.load(path, allow_pickle=False) as entries:
            arrays = dict(entries)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        raise ValueError("an entry would lie before the beginning of the file") from error
    return arrays.pop(_TEXT, _NONE).tobytes().decode(), arrays


def _write_safetensors(file: BinaryIO, text: str, arrays: Mapping[str, Array]) -> None:
    from safetensors.numpy import save

    file.write(save(dict(arrays), metadata={_TEXT: text}))


def _read_safetensors(path: Path) -> tuple[str, dict[str, Array]]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as entries:
            text = (entries.metadata() or {}).get(_TEXT, "")
            return text, {name: entries.get_tensor(name) for name in entries.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise ValueError(str(error)) from error


Writer = Callable[[BinaryIO, str, Mapping[str, Array]], None]
Reader = Callable[[Path], tuple[str, dict[str, Array]]]


def check_format(path: Path) -> tuple[Writer, Reader]:
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
