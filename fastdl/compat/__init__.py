"""Other people's teaching code, unmodified, at fastdl's speed.

``python -m fastdl run script.py``, ``fastdl.accelerate()`` and ``%load_ext fastdl`` recognise the functions
and classes of well-known books and courses as they are defined, and serve them. Each family of definitions is
a subpackage, and its modules can be imported in place of the original's: ``from fastdl.compat.dlfs1.layers
import *``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from numpy.typing import DTypeLike

    from .report import Report
    from .target import Tier

__all__ = ["accelerate"]


def accelerate(tier: Tier = "fast", *, dtype: DTypeLike | None = None, verify: bool = False) -> Report:
    """Serve the teaching code that this program has imported and will import.

    Call it before the imports of what it should serve, or after: functions that another module has copied are
    replaced there too. A definition of a published version is known by its fingerprint. Another one with the
    name, the parameters and the dictionary keys of such a definition is held against fastdl on copies of the
    first real input, and served only if values and types are equal and fastdl is faster; it is tried again
    for each new kind of input.

    Parameters
    ----------
    tier : "fast" or "exact"
        Exact gives the bits that the original gives on this machine: only the moving and selecting of data is
        compiled.
    dtype : None or "float32"
        Let the fast tier compute in float32, and answer in it, where the original computes in float64.
    verify : bool
        Run the original beside every replacement, and keep the largest difference.

    Returns
    -------
    Report
        A running account: ``print(report)``, ``report.as_dict()``, ``report.write(file)``.

    Raises
    ------
    ValueError
        If tier or dtype is none of these, or both are asked for at once.

    Examples
    --------
    >>> import fastdl
    >>> report = fastdl.accelerate("exact", dtype="float32")
    Traceback (most recent call last):
    ...
    ValueError: accelerate: the exact tier computes in the original's dtype; got dtype='float32'
    """
    import numpy as np

    from ..functional._arrays import engine
    from . import hook
    from .tier import settings

    if tier not in ("fast", "exact"):
        raise ValueError(f"accelerate: tier must be 'fast' or 'exact'; got {tier!r}")
    if dtype is not None and tier == "exact":
        raise ValueError(f"accelerate: the exact tier computes in the original's dtype; got dtype={dtype!r}")
    if dtype is not None and np.dtype(dtype) != np.float32:
        raise ValueError(f"accelerate: dtype must be None or 'float32'; got {dtype!r}")
    settings.tier = tier
    settings.dtype = None if dtype is None else np.dtype(dtype)
    settings.verify = verify
    engine()  # what computes is loaded now, and not in the first call that is served
    hook.install()
    hook.adopt_loaded()
    return hook.report
