"""How the second book's family is held against other code of the same names."""

from __future__ import annotations

import copy
import functools
import importlib.util
import os
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from fastdl.compat.dlfs2.targets import TARGETS
from fastdl.compat.tier import settings

BY_NAME = {target.name: target for target in TARGETS}
TOLERANCE = {"f": 1e-4, "d": 1e-10}
REPOSITORIES = os.environ.get("FASTDL_TEACHING_REPOS")
RECURRENT = ("TimeRNN", "TimeGRU", "TimeLSTM")
OPTIMIZERS = ("SGD", "Momentum", "Nesterov", "AdaGrad", "RMSprop", "Adam")


def load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"textbook_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


textbook = load(Path(__file__).parent / "textbook" / "dlfs2.py")


def near(ours: Any, theirs: Any, exact: bool = False, bound: float | None = None) -> None:
    """Hold structure, dtypes and values of one thing against another; the bound is that of the dtype."""
    if isinstance(theirs, (list, tuple)):
        assert len(ours) == len(theirs)
        for one, two in zip(ours, theirs):
            near(one, two, exact, bound)
        return
    if theirs is None or isinstance(theirs, str):
        assert ours == theirs
        return
    ours, theirs = np.asarray(ours), np.asarray(theirs)
    assert ours.dtype == theirs.dtype
    assert ours.shape == theirs.shape
    if exact or theirs.dtype.kind != "f":
        np.testing.assert_array_equal(ours, theirs)
    else:
        largest = np.abs(theirs[np.isfinite(theirs)]).max(initial=1e-30)
        atol = (bound or TOLERANCE[theirs.dtype.char]) * largest
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=atol)


def in_tier(method: Callable[..., Any], tier: Any) -> Callable[..., Any]:
    """Return a method that runs as it would under that tier."""

    @functools.wraps(method)
    def call(*args: Any) -> Any:
        before, settings.tier = settings.tier, tier
        try:
            return method(*args)
        finally:
            settings.tier = before

    return call


class Pair:
    """An instance of a class, and one of a subclass with fastdl's methods, called with the same arguments."""

    def __init__(self, name: str, *args: Any, tier: Any = "fast", original: Any = None) -> None:
        self.target, self.exact = BY_NAME[name], tier == "exact"
        self.bound: float | None = None
        original = original or getattr(textbook, name)
        ours = self.target.replacement(tier)
        methods = {method: in_tier(getattr(ours, method), tier) for method in self.target.methods}
        served = type(name, (original,), methods)
        self.theirs = original(*copy.deepcopy(args))
        self.ours = served(*copy.deepcopy(args))

    def __call__(self, method: str, *args: Any) -> Any:
        mine, other = copy.deepcopy(args), copy.deepcopy(args)
        random = np.random.get_state()  # noqa: NPY002
        expected = getattr(self.theirs, method)(*other)
        after = np.random.get_state()  # noqa: NPY002
        np.random.set_state(random)  # noqa: NPY002
        found = getattr(self.ours, method)(*mine)
        near(np.random.get_state()[1:], after[1:], True)  # noqa: NPY002
        near(found, expected, self.exact, self.bound)
        near(mine, other, self.exact, self.bound)
        hidden = self.target.private | {"tape", "xs", "saved", "dc"}
        for key in vars(self.theirs).keys() - hidden:
            near(getattr(self.ours, key), getattr(self.theirs, key), self.exact, self.bound)
        return expected


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def normal(*shape: int, dtype: Any = "f", seed: int = 0) -> Any:
    return rng(seed).standard_normal(shape).astype(dtype)


def weights(kind: str, D: int, H: int, dtype: Any = "f") -> tuple[Any, Any, Any]:
    gates = {"TimeRNN": 1, "TimeGRU": 3, "TimeLSTM": 4}[kind] * H
    return normal(D, gates, dtype=dtype) / 2, normal(H, gates, dtype=dtype) / 2, normal(gates, dtype=dtype)


CORPUS = rng().integers(0, 12, 200)
