"""Run a person's script as ``python script.py`` does, with fastdl behind its definitions."""

from __future__ import annotations

import io
import os
import random
import runpy
import signal
import sys
from collections.abc import Iterator, Sequence
from types import ModuleType, TracebackType

import numpy as np

from ..backends import RecycledMemory
from . import hook

__all__ = ["run_module", "run_script"]

_INTERNAL = (os.path.dirname(__file__) + os.sep, os.path.abspath(runpy.__file__), "<frozen runpy>")


def run_script(path: str, arguments: Sequence[str], seed: int | None = None) -> int:
    """Run a script as ``__main__`` and return the exit status that Python would have given.

    ``sys.argv``, ``sys.path[0]``, ``__file__`` and the module ``__main__`` are those of ``python path
    arguments``. An exception that leaves the script prints the traceback that it would have had without
    fastdl.
    """
    file = os.path.join(os.getcwd(), path)  # as Python: absolute, and no further changed
    try:
        with io.open_code(path) as stream:
            source = stream.read()
    except OSError as error:
        reason = f"[Errno {error.errno}] {error.strerror}"
        print(f"{sys.executable}: can't open file {file!r}: {reason}", file=sys.stderr)
        return 2
    main = ModuleType("__main__")
    main.__dict__.update(__file__=file, __builtins__=__builtins__, __cached__=None)
    main.__dict__["__annotations__"] = {}
    sys.modules["__main__"] = main
    sys.argv = [path, *arguments]
    sys.path[0] = os.path.dirname(os.path.realpath(path))
    _seed(seed)

    def body() -> None:
        code = hook.compiled(source, file, "__main__") or compile(source, file, "exec", dont_inherit=True)
        exec(code, main.__dict__)

    return _status(body)


def run_module(name: str, arguments: Sequence[str], seed: int | None = None) -> int:
    """Run a module as ``python -m name arguments`` does; see `run_script`."""
    sys.argv = [name, *arguments]
    sys.path[0] = os.getcwd()
    _seed(seed)
    return _status(lambda: runpy.run_module(name, run_name="__main__", alter_sys=True))


def _seed(seed: int | None) -> None:
    if seed is not None:
        np.random.seed(seed)  # noqa: NPY002 - the generator that teaching code draws from
        random.seed(seed)


def _status(body: object) -> int:
    assert callable(body)
    try:
        with RecycledMemory():  # what NumPy itself makes in every step of a script, too
            body()
    except SystemExit as stop:
        if stop.code is None or isinstance(stop.code, int):
            return stop.code or 0
        print(stop.code, file=sys.stderr)
        return 1
    except KeyboardInterrupt as error:
        _show(error)
        sys.stdout.flush()
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # die of it, so that a shell's loop ends too
        os.kill(os.getpid(), signal.SIGINT)
        return 130
    except BaseException as error:
        _show(error)
        return 1
    return 0


def _show(error: BaseException) -> None:
    _clean(error, set())
    sys.excepthook(type(error), error, error.__traceback__)


def _clean(error: BaseException | None, seen: set[int]) -> None:
    """Take fastdl's frames out of the tracebacks of an exception and of those that led to it."""
    if error is None or id(error) in seen:
        return
    seen.add(id(error))
    kept: TracebackType | None = None
    for entry in reversed(list(_entries(error.__traceback__))):
        if not entry.tb_frame.f_code.co_filename.startswith(_INTERNAL):
            kept = TracebackType(kept, entry.tb_frame, entry.tb_lasti, entry.tb_lineno)
    error.__traceback__ = kept
    _clean(error.__cause__, seen)
    _clean(error.__context__, seen)


def _entries(traceback: TracebackType | None) -> Iterator[TracebackType]:
    while traceback is not None:
        yield traceback
        traceback = traceback.tb_next
