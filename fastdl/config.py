"""The settings of a program: backend, threads, dtype and data format, in one ContextVar.

A setting changed in one thread or task leaves the others alone. A new thread begins with the
settings of the environment (``FASTDL_BACKEND``, ``FASTDL_NUM_THREADS``), not with its parent's.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any

from .checks import integer, one_of

BACKENDS = ("auto", "native", "numpy", "naive")
DTYPES = ("float32", "float64")
DATA_FORMATS = ("channels_last", "channels_first")
PRECISIONS = ("default", "strict")


@dataclass(frozen=True, slots=True)
class Config:
    """What a call goes by when it is not told otherwise.

    Attributes
    ----------
    backend : str
        The engine that computes: "auto" (the best there is for each operation), "native",
        "numpy", or "naive" (plain loops, for reading and checking).
    threads : int
        Threads a native operation may use; 0 takes as many as the process has processors.
    dtype : str
        The dtype of new parameters, "float32" or "float64".
    data_format : str
        Where a new layer looks for the channels, "channels_last" or "channels_first".
    precision : str
        "default" lets float32 convolutions use Winograd's algorithm, whose error has a bound
        of its own; "strict" computes every product. Both bounds are in docs/numerics.md.
    check_finite : bool
        Whether models look at the output and the gradients of each of their layers: the first that is not
        finite is then an error that names the layer. Without it training only looks at the loss.
    """

    backend: str = "auto"
    threads: int = 0
    dtype: str = "float32"
    data_format: str = "channels_last"
    precision: str = "default"
    check_finite: bool = False

    def __post_init__(self) -> None:
        one_of("use", "backend", self.backend, BACKENDS)
        integer("use", "threads", self.threads, minimum=0)
        one_of("use", "dtype", self.dtype, DTYPES)
        one_of("use", "data_format", self.data_format, DATA_FORMATS)
        one_of("use", "precision", self.precision, PRECISIONS)


def _from_environment() -> Config:
    """The settings a process starts with."""
    threads = os.environ.get("FASTDL_NUM_THREADS", "").strip() or "0"
    if not threads.isdecimal():
        raise ValueError(f"FASTDL_NUM_THREADS must be a whole number, 0 for automatic; got {threads!r}")
    backend = os.environ.get("FASTDL_BACKEND", "").strip() or "auto"
    if backend not in BACKENDS:
        raise ValueError(f"FASTDL_BACKEND must be one of {', '.join(BACKENDS)}; got {backend!r}")
    return Config(backend=backend, threads=int(threads))


_initial = _from_environment()
_current: ContextVar[Config] = ContextVar("fastdl_config", default=_initial)


current: Callable[[], Config] = _current.get
"""Return the settings in force in this thread or task."""


class use:  # noqa: N801  (a call that may stand after `with`)
    """Change settings: from here on, or inside a ``with`` block only.

    Parameters
    ----------
    backend, threads, dtype, data_format, precision, check_finite
        As in :class:`Config`; what is not given stays as it is.

    Raises
    ------
    ValueError, TypeError
        If a setting has a value it cannot have.

    Examples
    --------
    >>> import fastdl
    >>> with fastdl.use(backend="numpy", dtype="float64") as settings:
    ...     settings.backend, settings.dtype, settings.data_format
    ('numpy', 'float64', 'channels_last')
    """

    def __init__(
        self,
        *,
        backend: str | None = None,
        threads: int | None = None,
        dtype: Any = None,
        data_format: str | None = None,
        precision: str | None = None,
        check_finite: bool | None = None,
    ) -> None:
        given = {
            "backend": backend,
            "threads": threads,
            "dtype": _name(dtype),
            "data_format": data_format,
            "precision": precision,
            "check_finite": None if check_finite is None else bool(check_finite),
        }
        changes: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
        self._before = _current.set(replace(current(), **changes))

    def __enter__(self) -> Config:
        return current()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _current.reset(self._before)


def _name(dtype: Any) -> Any:
    """Return "float32" for np.float32 and for an array's dtype, and anything else as it came."""
    return getattr(dtype, "name", None) or getattr(dtype, "__name__", None) or dtype


def set_num_threads(threads: int) -> None:
    """Let native operations use this many threads from here on; 0 counts the processors.

    Raises
    ------
    ValueError, TypeError
        If `threads` is not a whole number of at least 0.
    """
    use(threads=threads)
