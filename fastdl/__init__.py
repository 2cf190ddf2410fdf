"""fastdl: deep learning for NumPy at the speed of a framework.

Arrays go in, arrays come out. Behind them work compiled kernels that use what the processor has; where they
could not be built, NumPy does the same work. ``fastdl.info()`` says which of the two it is.

Three doors lead in::

    from fastdl import Sequential             # models and layers with Keras's names
    from fastdl.layers import Conv2D, Dense
    import fastdl.functional as F             # the plain operations, each with its gradient

``python -m fastdl demo`` shows all of it at work.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

# The one name that is a function here and a module beside it. Importing it now settles the matter: a later
# ``import fastdl.gradcheck`` finds the module loaded and leaves this attribute alone.
from .gradcheck import gradcheck, numerical_gradient

if TYPE_CHECKING:
    from .backends import info
    from .checkpoint import load_model
    from .compat import accelerate
    from .config import set_num_threads, use
    from .models import Input, Model, Sequential
    from .random import set_random_seed

__version__ = "0.1.0"

_MODULES = (
    "backends",
    "callbacks",
    "checkpoint",
    "compat",
    "config",
    "constraints",
    "datasets",
    "functional",
    "initializers",
    "layers",
    "losses",
    "metrics",
    "models",
    "optimizers",
    "plots",
    "regularizers",
    "schedules",
    "training",
)

# Where each public name lives. A name is loaded when it is first used, so that ``import fastdl`` costs NumPy
# and little else.
_HOMES = {
    "Input": "models",
    "Model": "models",
    "Sequential": "models",
    "accelerate": "compat",
    "info": "backends",
    "load_model": "checkpoint",
    "set_num_threads": "config",
    "set_random_seed": "random",
    "use": "config",
}

__all__ = [
    "Input",
    "Model",
    "Sequential",
    "__version__",
    "accelerate",
    "gradcheck",
    "info",
    "load_model",
    "numerical_gradient",
    "set_num_threads",
    "set_random_seed",
    "use",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        value = getattr(import_module(f"fastdl.{_HOMES[name]}"), name)
    elif name in _MODULES:
        value = import_module(f"fastdl.{name}")
    else:
        raise AttributeError(f"module 'fastdl' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES, *_MODULES})


def load_ipython_extension(shell: Any) -> None:
    """Serve what a notebook's cells define and import: IPython calls this for ``%load_ext fastdl``."""
    from .compat import notebook

    notebook.load(shell)


def unload_ipython_extension(shell: Any) -> None:
    """Serve no more of it: IPython calls this for ``%unload_ext fastdl``."""
    from .compat import notebook

    notebook.unload(shell)
