"""The arguments of Keras's classes, in order and with their defaults.

``python tests/keras_signatures.py`` asks Keras again (it needs keras and jax, and fastdl on the path to know
which classes) and writes ``data/keras_signatures.json``.
"""

from __future__ import annotations

import importlib
import inspect
import json
import os
from pathlib import Path
from types import ModuleType
from typing import Any

RECORDED = Path(__file__).parent / "data" / "keras_signatures.json"

# A module of fastdl, and the base class whose arguments all its classes take.
MODULES = {
    "layers": "Layer",
    "optimizers": "Optimizer",
    "schedules": "LearningRateSchedule",
    "losses": "Loss",
    "metrics": "Metric",
    "callbacks": "Callback",
    "initializers": "Initializer",
    "regularizers": "Regularizer",
    "constraints": "Constraint",
}
REQUIRED = "required"

Signature = dict[str, str]


def classes(module: ModuleType, base: str) -> dict[str, Any]:
    """The public classes of a module that are of its family, each under its own name."""
    family = getattr(module, base)
    return {
        name: value
        for name, value in vars(module).items()
        if inspect.isclass(value) and issubclass(value, family) and name == value.__name__
    }


def named(init: Any) -> tuple[Signature, bool]:
    """The arguments of a constructor with their defaults as text, and whether it passes others on."""
    parameters = list(inspect.signature(init).parameters.values())[1:]
    plain = [p for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    defaults = {p.name: REQUIRED if p.default is p.empty else repr(p.default) for p in plain}
    return defaults, any(p.kind is p.VAR_KEYWORD for p in parameters)


def record() -> None:
    """Ask Keras, and keep its answers."""
    os.environ.setdefault("KERAS_BACKEND", "jax")
    import keras

    signatures: dict[str, Signature] = {}
    for family, base in MODULES.items():
        theirs = keras.optimizers.schedules if family == "schedules" else getattr(keras, family)
        for name in classes(importlib.import_module(f"fastdl.{family}"), base):
            if hasattr(theirs, name):
                found, is_open = named(getattr(theirs, name).__init__)
                shared = named(getattr(theirs, base).__init__)[0] if is_open else {}
                signatures[f"{family}.{name}"] = found | {
                    argument: default for argument, default in shared.items() if argument not in found
                }
    lines = [f"{json.dumps(name)}: {json.dumps(signature)}" for name, signature in sorted(signatures.items())]
    RECORDED.write_text("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    record()
