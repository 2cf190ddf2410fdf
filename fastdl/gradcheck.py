"""Gradients held against finite differences."""

from __future__ import annotations

from typing import Any


def numerical_gradient(f: Any, x: Any, eps: float = 1e-4) -> Any: ...


def gradcheck(model: Any, x: Any) -> Any: ...
