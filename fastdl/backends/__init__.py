"""Engines: the same primitives, once an engine, under the same names.

A backend is a module that defines the functions of :data:`PRIMITIVES`, with equal arguments and
defaults. `select` gathers them into one :class:`Ops`; with "auto" each primitive comes from the
first engine of :data:`ORDER` that has it, and ``fastdl.info()`` says which one that was.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, fields
from functools import cache
from importlib import import_module
from types import MappingProxyType, ModuleType
from typing import Any, TypeAlias

import numpy as np

from ..checks import one_of
from ..config import BACKENDS, current
from . import canonical

Primitive: TypeAlias = Callable[..., Any]

ORDER = ("native", "numpy")
_MODULES = {"native": "native", "numpy": "numpy_", "naive": "naive"}


@dataclass(frozen=True, slots=True, eq=False)
class Ops:
    """The primitives of one choice of engines. Their meaning is written down in `naive`."""

    name: str
    engines: Mapping[str, str]  # primitive -> the engine that serves it

    gemm: Primitive
    conv_fwd: Primitive
    conv_dx: Primitive
    conv_dw: Primitive
    conv_dw_pooled: Primitive
    conv_algorithm: Primitive
    bias_grad: Primitive
    maxpool_fwd: Primitive
    maxpool_gated: Primitive
    maxpool_bwd: Primitive
    maxpool_share: Primitive
    avgpool_fwd: Primitive
    avgpool_bwd: Primitive
    upsample_fwd: Primitive
    upsample_bwd: Primitive
    im2col: Primitive
    col2im: Primitive
    act_fwd: Primitive
    act_bwd: Primitive
    prelu_fwd: Primitive
    prelu_bwd: Primitive
    softmax_fwd: Primitive
    softmax_bwd: Primitive
    dropout_fwd: Primitive
    dropout_bwd: Primitive
    gate_fwd: Primitive
    gate_bwd: Primitive
    softmax_xent_fwd: Primitive
    softmax_xent_bwd: Primitive
    loss_fwd: Primitive
    loss_bwd: Primitive
    loss_sum: Primitive
    norm_stats: Primitive
    norm_apply: Primitive
    norm_fwd: Primitive
    norm_bwd: Primitive
    rnn_fwd: Primitive
    rnn_bwd: Primitive
    outside: Primitive
    gather: Primitive
    scatter_add: Primitive
    update: Primitive


PRIMITIVES = tuple(field.name for field in fields(Ops) if field.name not in ("name", "engines"))

_compiled: ModuleType | None = None  # not "_native": that name is the extension's
native_error: str | None = None  # why the compiled engine is missing; None when it is there
try:
    _compiled = import_module(".native", __name__)
except ImportError as error:
    native_error = str(error)
common_dtype: Callable[[str, tuple[Any, ...]], np.dtype[Any] | None]
common_dtype = _compiled.common_dtype if _compiled else canonical.common_dtype
RecycledMemory: Callable[[], AbstractContextManager[None]]
RecycledMemory = _compiled.RecycledMemory if _compiled else nullcontext


@cache
def select(name: str = "auto") -> Ops:
    """Return the primitives of the backend of that name.

    Raises
    ------
    ValueError
        If there is no backend of that name.
    RuntimeError
        If it is "native" and the compiled engine is missing; the message says why.
    """
    one_of("select", "backend", name, BACKENDS)
    if name == "native" and _compiled is None:
        raise RuntimeError(f"the native backend is not available: {native_error}")
    chain = [engine for engine in (ORDER if name == "auto" else (name,)) if engine != "native" or _compiled]
    found: dict[str, Primitive] = {}
    engines: dict[str, str] = {}
    for engine in chain:
        if len(found) == len(PRIMITIVES):  # the others are not even imported
            break
        module = _module(engine)
        label = f"native ({module.isa()})" if engine == "native" else engine
        for primitive in PRIMITIVES:
            if primitive not in found and hasattr(module, primitive):
                found[primitive] = getattr(module, primitive)
                engines[primitive] = label
    return Ops(name=name, engines=MappingProxyType(engines), **found)


def _module(engine: str) -> ModuleType:
    return import_module(f".{_MODULES[engine]}", __name__)


class Info(dict[str, Any]):
    """A dictionary that prints as a table."""

    def __repr__(self) -> str:
        rows: list[tuple[str, str]] = []
        for key, value in self.items():
            if isinstance(value, Mapping):
                rows += [(key, ""), *((f"  {name}", str(entry)) for name, entry in value.items())]
            else:
                rows.append((key, str(value)))
        width = max(len(key) for key, _ in rows)
        return "\n".join(f"{key:<{width}}  {value}".rstrip() for key, value in rows)

    __str__ = __repr__


def info() -> Info:
    """Say what computes here: versions, instruction set, threads, and the engine of each primitive.

    The algorithms are those that a convolution may be computed by. Which one serves a call is a matter of its
    shapes: ``ctx.plan.algorithm`` of `fastdl.functional.conv2d_forward` and its like says it.

    Returns
    -------
    Info
        A dictionary; printed, it is a table.

    Examples
    --------
    >>> import fastdl
    >>> fastdl.info()["engines"]["gemm"].split()[0] in ("native", "numpy")
    True
    """
    from .. import __version__

    settings = current()
    engines = dict(select(settings.backend).engines)
    algorithms = _module(engines["conv_algorithm"].split()[0]).CONV_ALGORITHMS
    return Info(
        fastdl=__version__,
        numpy=np.__version__,
        python=platform.python_version(),
        machine=platform.machine(),
        cpu=_compiled.isa() if _compiled else "not used",
        threads=_compiled.num_threads() if _compiled else 1,
        native=f"missing: {native_error}" if native_error else "available",
        backend=settings.backend,
        dtype=settings.dtype,
        data_format=settings.data_format,
        precision=settings.precision,
        algorithms=", ".join(algorithms),
        engines=engines,
    )
