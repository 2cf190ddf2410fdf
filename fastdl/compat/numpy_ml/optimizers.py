"""`numpy_ml.neural_nets.optimizers.optimizers`: each step in one pass over the arrays."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ..inputs import Array
from ..stepping import UNUSED, float64_pair, fresh, step
from ..tier import Unserved

__all__ = ["Adam", "RMSProp"]


class RMSProp:
    """Steps in units of the root of the mean squared gradient."""

    cache: dict[str, Any]
    hyperparameters: dict[str, Any]
    lr_scheduler: Callable[[int, Any], float]
    cur_step: int

    def update(self, param: Any, param_grad: Any, param_name: str, cur_loss: Any = None) -> Array:
        """Return the parameter after a step.

        Parameters
        ----------
        param, param_grad : array
        param_name : str
            Under which `cache` keeps the mean squared gradient.
        cur_loss : float, optional
            For the scheduler of the learning rate.
        """
        param, g = _unclipped(self, param, param_grad)
        squared = fresh(self.cache.get(param_name), g)
        rate, chosen = self.lr_scheduler(self.cur_step, cur_loss), self.hyperparameters
        hyper = (float(rate), 0.0, chosen["decay"], chosen["eps"], 0.0, 0.0)
        change = step("adam", g, [np.zeros(g.shape), squared, UNUSED], hyper)
        self.cache[param_name] = squared
        return param - change


class Adam:
    """Adam, with a count of steps for each parameter."""

    cache: dict[str, Any]
    hyperparameters: dict[str, Any]
    lr_scheduler: Callable[[int, Any], float]
    cur_step: int

    def update(self, param: Any, param_grad: Any, param_name: str, cur_loss: Any = None) -> Array:
        """Return the parameter after a step.

        Parameters
        ----------
        param, param_grad : array
        param_name : str
            Under which `cache` keeps a dict of t, mean and var.
        cur_loss : float, optional
            For the scheduler of the learning rate.
        """
        param, g = _unclipped(self, param, param_grad)
        kept = self.cache.get(param_name, {"t": 0, "mean": None, "var": None})
        mean, var, t = fresh(kept["mean"], g), fresh(kept["var"], g), kept["t"] + 1
        rate, chosen = self.lr_scheduler(self.cur_step, cur_loss), self.hyperparameters
        decay1, decay2 = chosen["decay1"], chosen["decay2"]
        root = math.sqrt(1 - decay2**t)
        hyper = (rate * root / (1 - decay1**t), decay1, decay2, chosen["eps"] * root, 0.0, 0.0)
        change = step("adam", g, [mean, var, UNUSED], hyper)
        kept.update(t=t, var=var, mean=mean)
        self.cache[param_name] = kept
        return param - change


def _unclipped(optimizer: Any, param: Any, gradient: Any) -> tuple[Array, Array]:
    if optimizer.hyperparameters["clip_norm"] is not None:
        raise Unserved("a clipped gradient")
    return float64_pair(param, gradient)
