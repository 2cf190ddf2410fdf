"""Callbacks for `fit`, with Keras's names, arguments, defaults and meaning."""

from __future__ import annotations

from .base import (
    Callback,
    History,
    LambdaCallback,
    LearningRateScheduler,
    Logs,
    TerminateOnNaN,
    attached,
)
from .monitor import EarlyStopping, ModelCheckpoint, ReduceLROnPlateau
from .progress import bar, describe_logs, progress
from .record import CSVLogger, TensorBoard

__all__ = [
    "CSVLogger",
    "Callback",
    "EarlyStopping",
    "History",
    "LambdaCallback",
    "LearningRateScheduler",
    "Logs",
    "ModelCheckpoint",
    "ReduceLROnPlateau",
    "TensorBoard",
    "TerminateOnNaN",
    "attached",
    "bar",
    "describe_logs",
    "progress",
]
