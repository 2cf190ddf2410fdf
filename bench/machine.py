"""What the numbers were measured on, and whether anything else was running."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping

import fastdl
from fastdl import backends

IDLE = 0.5  # processes that wanted to run in the last minute; below this nothing much did


def describe(versions: Mapping[str, str]) -> dict[str, object]:
    return {
        "processor": processor(),
        "processors": os.cpu_count(),
        "system": platform.system(),
        "python": platform.python_version(),
        "fastdl": fastdl.__version__,
        "engine": backends.select("auto").engines["conv_fwd"],
        "load": load(),
        **versions,
    }


def processor() -> str:
    """Return the processor's name where the system tells it, else its architecture."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def load() -> float | None:
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else None


def busy() -> str | None:
    """Return why the machine is called busy, or None if it is not."""
    waiting = load()
    return f"load {waiting:.1f}" if waiting is not None and waiting > IDLE else None
