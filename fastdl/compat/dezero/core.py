"""The walk through the graph: `dezero.core`, without sorting. What it visits, and when, is the same."""

from __future__ import annotations

import sys
from heapq import heappop, heappush
from types import ModuleType
from typing import Any

from ..tier import Unserved

__all__ = ["Variable"]


class Variable:
    """An array, and the function that made it."""

    data: Any
    grad: Any
    creator: Any

    def backward(self, retain_grad: bool = False, create_graph: bool = False) -> None:
        """Leave in each variable that this one is made of the gradient of this one."""
        core = _core(type(self))
        if self.creator is None:
            raise Unserved("nothing has made this variable")
        if self.grad is None:
            self.grad = core.Variable(core.dezero.cuda.get_array_module(self.data).ones_like(self.data))
        # The latest generation first, and of equals the one that was found last.
        found = {self.creator}
        heap = [(-self.creator.generation, 0, self.creator)]
        config = core.Config
        while heap:
            node = heappop(heap)[2]
            outputs = node.outputs
            enabled = config.enable_backprop
            config.enable_backprop = create_graph
            try:
                gradients = node.backward(*[output().grad for output in outputs])
                if not isinstance(gradients, tuple):
                    gradients = (gradients,)
                for x, gradient in zip(node.inputs, gradients):
                    x.grad = gradient if x.grad is None else x.grad + gradient
                    creator = x.creator
                    if creator is not None and creator not in found:
                        heappush(heap, (-creator.generation, -len(found), creator))
                        found.add(creator)
            finally:
                config.enable_backprop = enabled
            if not retain_grad:
                for output in outputs:
                    output().grad = None


def _core(kind: type) -> ModuleType:
    """Return the module that defines the original's class of variables, the last base of all of them."""
    return sys.modules[kind.__mro__[-2].__module__]
