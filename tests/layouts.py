"""The same numbers, otherwise in memory: what arrays may look like, and arrays next to a forbidden page."""

from __future__ import annotations

import ctypes
import mmap
from collections.abc import Callable

import numpy as np


class Subclass(np.ndarray):
    """An array of a class of one's own."""


def _sliced(x: np.ndarray) -> np.ndarray:
    wide = np.full((*x.shape[:-1], 2 * x.shape[-1]), np.nan, x.dtype)
    wide[..., ::2] = x
    return wide[..., ::2]


def _reversed(x: np.ndarray) -> np.ndarray:
    return x[..., ::-1].copy()[..., ::-1]


def _broadcast(x: np.ndarray) -> np.ndarray:
    return np.broadcast_to(x[..., :1], x.shape)


def _read_only(x: np.ndarray) -> np.ndarray:
    x = x.copy()
    x.flags.writeable = False
    return x


def _misaligned(x: np.ndarray) -> np.ndarray:
    memory = np.empty(x.nbytes + 1, np.uint8)[1:]
    memory[...] = np.frombuffer(x.tobytes(), np.uint8)
    return memory.view(x.dtype).reshape(x.shape)


def _byte_swapped(x: np.ndarray) -> np.ndarray:
    return x.astype(x.dtype.newbyteorder())


DRESSES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "fortran": np.asfortranarray,
    "sliced": _sliced,
    "negative-stride": _reversed,
    "broadcast": _broadcast,
    "read-only": _read_only,
    "misaligned": _misaligned,
    "byte-swapped": _byte_swapped,
    "subclass": lambda x: x.view(Subclass),
}


def guarded(x: np.ndarray, at_end: bool) -> np.ndarray:
    """A copy of x that ends where an unreadable page begins, or begins where one ends."""
    room = -(-max(x.nbytes, 1) // mmap.PAGESIZE) * mmap.PAGESIZE
    memory = mmap.mmap(-1, room + 2 * mmap.PAGESIZE)
    address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    for page in (address, address + mmap.PAGESIZE + room):
        if ctypes.CDLL(None).mprotect(ctypes.c_void_p(page), ctypes.c_size_t(mmap.PAGESIZE), 0):
            raise OSError("mprotect failed")
    offset = mmap.PAGESIZE + (room - x.nbytes if at_end else 0)
    copy = np.frombuffer(memory, x.dtype, x.size, offset).reshape(x.shape)
    copy[...] = x
    return copy


def to_last(x: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(np.moveaxis(x, 1, -1))


def w_to_last(w: np.ndarray) -> np.ndarray:
    """OIHW to HWIO, and IOHW to HWOI."""
    return np.ascontiguousarray(np.moveaxis(w, (0, 1), (-1, -2)))
