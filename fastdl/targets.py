"""Targets and weights, as a loss or a metric takes them."""

from __future__ import annotations

from typing import Any

import numpy as np

from .layers.base import Array


def class_numbers(op: str, y_true: Any, y_pred: Array) -> Array:
    """Return class numbers, one for each row of y_pred (N, ..., classes), as one int64 axis."""
    labels = np.asarray(y_true)
    if labels.shape not in (y_pred.shape[:-1], (*y_pred.shape[:-1], 1)):
        raise ValueError(
            f"{op}: y_true must be class numbers of shape {y_pred.shape[:-1]} (y_pred is {y_pred.shape});"
            f" got shape {labels.shape}"
        )
    whole = labels.dtype.kind in "iub" or labels.dtype.kind == "f" and (labels == np.floor(labels)).all()
    if not whole:
        raise TypeError(f"{op}: y_true must be class numbers; got {labels.dtype.name} that are not whole")
    return labels.reshape(-1).astype(np.int64, copy=False)


def floats(op: str, y_true: Array, dtype: np.dtype[Any]) -> Array:
    if y_true.dtype.kind not in "fiub":
        raise TypeError(f"{op}: y_true must hold numbers; got {y_true.dtype}")
    return y_true.astype(dtype, copy=False)


def aligned(op: str, y_true: Any, y_pred: Array) -> Array:
    """Return the targets in y_pred's dtype and shape; a last axis of size 1 may be missing in either."""
    y_true = np.asarray(y_true)
    if y_true.shape != y_pred.shape:
        if (*y_true.shape, 1) != y_pred.shape and y_true.shape != (*y_pred.shape, 1):
            raise ValueError(f"{op}: y_true must have y_pred's shape {y_pred.shape}; got {y_true.shape}")
        y_true = y_true.reshape(y_pred.shape)
    return floats(op, y_true, y_pred.dtype)


def weights(op: str, sample_weight: Any, losses: Array) -> Array:
    """Return the weights of samples, or of steps of them, repeated to the shape of their losses."""
    weights = np.asarray(sample_weight, losses.dtype)
    if weights.ndim == 0 or weights.shape != losses.shape[: weights.ndim]:
        raise ValueError(f"{op}: sample_weight must have shape {losses.shape[:1]}; got {weights.shape}")
    return np.broadcast_to(weights.reshape(weights.shape + (1,) * (losses.ndim - weights.ndim)), losses.shape)
