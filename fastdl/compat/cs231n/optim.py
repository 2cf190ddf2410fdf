"""The update rules: ``next_w, config = rule(w, dw, config)``; config has the settings and what is remembered.

Missing settings are put into config. What a rule remembers is bound to new arrays, and w itself is not
written to, but by `sgd` and those that say so.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ...functional._arrays import engine
from ..tier import Unserved
from .arrays import Array

__all__ = ["adam", "rmsprop", "sgd", "sgd_momentum"]

_ADAM: dict[str, Any] = {
    "learning_rate": 1e-3,
    "beta1": 0.9,
    "beta2": 0.999,
    "epsilon": 1e-8,
    "m": None,
    "v": None,
    "t": 0,
}


def sgd(w: Any, dw: Any, config: Any = None) -> tuple[Any, Any]:
    """Subtract learning_rate · dw from w, in place."""
    config = _with_defaults(config, {"learning_rate": 1e-2})
    w -= config["learning_rate"] * dw
    return w, config


def sgd_momentum(w: Any, dw: Any, config: Any = None) -> tuple[Array, Any]:
    """Add the velocity, which is momentum · velocity - learning_rate · dw, to w."""
    dw = checked(w, dw)
    settings = {"learning_rate": 1e-2, "momentum": 0.9, **(config or {})}
    velocity = remembered(settings, "velocity", w)
    next_w = np.array(w, order="C")
    hyper = settings["learning_rate"], settings["momentum"]
    engine().update("momentum", [(next_w, dw, [velocity], None)], hyper)
    settings["velocity"] = velocity
    return next_w, _stored(config, settings)


def rmsprop(w: Any, dw: Any, config: Any = None) -> tuple[Array, Any]:
    """Subtract learning_rate · dw / (sqrt(cache) + epsilon), cache being the decaying mean of dw²."""
    return _rmsprop(w, dw, config)


def rmsprop_in_place(w: Any, dw: Any, config: Any = None) -> tuple[Array, Any]:
    """Do the step of `rmsprop` to w itself."""
    return _rmsprop(w, dw, config, in_place=True)


def rmsprop_unfilled(w: Any, dw: Any, config: Any = None) -> tuple[Array, Any]:
    """Do the step of `rmsprop`, and put no settings into config."""
    return _rmsprop(w, dw, config, filled=False)


def adam(w: Any, dw: Any, config: Any = None) -> tuple[Array, Any]:
    """Subtract learning_rate · m' / (sqrt(v') + epsilon), m' and v' corrected for their beginning at 0."""
    return _adam(w, dw, config)


def adam_in_place(w: Any, dw: Any, config: Any = None) -> tuple[Array, Any]:
    """Do the step of `adam` to w itself."""
    return _adam(w, dw, config, in_place=True)


def adam_unfilled(w: Any, dw: Any, config: Any = None) -> tuple[Array, Any]:
    """Do the step of `adam`, and put no settings into config."""
    return _adam(w, dw, config, filled=False)


def adam_hat_in_place(w: Any, dw: Any, config: Any = None) -> tuple[Array, Any]:
    """Do the step that the third assignment comes with: to w itself, epsilon added before v is corrected."""
    return _adam(w, dw, config, in_place=True, hat=True)


def _rmsprop(
    w: Any, dw: Any, config: Any, *, in_place: bool = False, filled: bool = True
) -> tuple[Array, Any]:
    settings = {"learning_rate": 1e-2, "decay_rate": 0.99, "epsilon": 1e-8, **(config or {})}
    dw = checked(w, dw)
    cache = remembered(settings, "cache", w)
    rate, decay, epsilon = (settings[key] for key in ("learning_rate", "decay_rate", "epsilon"))
    next_w = _own(w) if in_place else np.array(w, order="C")
    stepped(next_w, dw, np.zeros_like(w), cache, (rate, 0.0, decay, epsilon))
    return next_w, _stored(config, {**settings, "cache": cache} if filled else {"cache": cache})


def _adam(
    w: Any, dw: Any, config: Any, *, in_place: bool = False, filled: bool = True, hat: bool = False
) -> tuple[Array, Any]:
    settings = {**_ADAM, **(config or {})}
    dw = checked(w, dw)
    m, v = (remembered(settings, key, w) for key in ("m", "v"))
    t, beta1, beta2, epsilon = settings["t"] + 1, *(settings[key] for key in ("beta1", "beta2", "epsilon"))
    next_w = _own(w) if in_place else np.array(w, order="C")
    root = math.sqrt(1 - beta2**t)
    rate = settings["learning_rate"] * root / (1 - beta1**t)
    stepped(next_w, dw, m, v, (rate, beta1, beta2, epsilon if hat else epsilon * root))
    state = {"m": m, "v": v, "t": t}
    return next_w, _stored(config, {**settings, **state} if filled else state)


def _own(w: Array) -> Array:
    if not w.flags.carray:
        raise Unserved("weights that are a view, or cannot be written")
    return w


def stepped(w: Array, dw: Array, m: Array, v: Array, hyper: tuple[float, float, float, float]) -> Array:
    """Step w in place by (rate, beta1, beta2, epsilon), with no largest v and no decay."""
    engine().update("adam", [(w, dw, [m, v, np.empty(0, w.dtype)], None)], (*hyper, 0.0, 0.0))
    return w


def checked(w: Any, dw: Any) -> Array:
    """Refuse weights that a kernel does not take, and return their gradient as it takes it."""
    if type(w) is not np.ndarray or type(dw) is not np.ndarray or w.dtype not in (np.float32, np.float64):
        raise Unserved("weights that are not an array of floats")
    if w.shape != dw.shape or w.dtype != dw.dtype or not w.size:
        raise Unserved("a gradient unlike its weights")
    return np.require(dw, requirements=["C", "A"])


def remembered(settings: dict[str, Any], key: str, w: Array) -> Array:
    """Return a copy of what is remembered, for the step to change; 0 at first."""
    found = settings.get(key)
    if found is None:
        return np.zeros_like(w)
    if type(found) is not np.ndarray or found.dtype != w.dtype or found.shape != w.shape:
        raise Unserved(f"a {key} unlike the weights")
    return np.array(found, order="C")


def _with_defaults(config: Any, defaults: dict[str, Any]) -> Any:
    config = {} if config is None else config
    for key, value in defaults.items():
        config.setdefault(key, value)
    return config


def _stored(config: Any, settings: dict[str, Any]) -> Any:
    """Return the person's dict, or a new one, with these entries; nothing was written to it before."""
    config = {} if config is None else config
    config.update(settings)
    return config
