"""PyTorch's recurrent modules, with fastdl's arrays and in fastdl's order of gates."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from cases import Case

Call = Callable[[], tuple[np.ndarray, ...]]


def calls(case: Case, arrays: tuple[np.ndarray, ...]) -> tuple[Call, Call]:
    """The forward and the training call, as `implementations.calls` makes them.

    What PyTorch returns in another form is brought into fastdl's inside of what is timed: a view, but for a
    GRU, where it is a copy of the weights and some percent of its time.
    """
    import torch

    x, *states, w_x, w_h, b = arrays
    units, swaps = w_h.shape[0], case.op == "gru"
    kind = getattr(torch.nn, case.op.upper())
    module = kind(x.shape[2], units, batch_first=True, dtype=getattr(torch, x.dtype.name))

    def swapped(w: np.ndarray) -> np.ndarray:
        """z, r, g to r, z, g, or back."""
        z, r, g = np.split(w, 3, axis=-1)
        return np.concatenate([r, z, g], axis=-1)

    biases = b if swaps else (b, np.zeros_like(b))
    given = [swapped(w) if swaps else w for w in (w_x, w_h, *biases)]
    with torch.no_grad():
        for parameter, w in zip(module.parameters(), given):
            parameter.copy_(torch.from_numpy(w).T if w.ndim == 2 else torch.from_numpy(w))
    inputs = [torch.from_numpy(x), *(torch.from_numpy(state[None]) for state in states)]

    def forward() -> Any:
        return module(inputs[0], tuple(inputs[1:]) if len(states) == 2 else inputs[1])[0]

    def run() -> tuple[np.ndarray, ...]:
        with torch.no_grad():
            return (forward().numpy(),)

    dy = torch.from_numpy(np.random.default_rng(1).standard_normal(run()[0].shape).astype(x.dtype))

    def train() -> tuple[np.ndarray, ...]:
        for tensor in inputs:
            tensor.requires_grad_(True)
        y = forward()
        dx, *rest = (g.numpy() for g in torch.autograd.grad(y, [*inputs, *module.parameters()], dy))
        for tensor in inputs:
            tensor.requires_grad_(False)
        dstates, dweights = [g[0] for g in rest[: len(states)]], [g.T for g in rest[len(states) :]]
        if swaps:
            dw_x, dw_h, *db = (swapped(g) for g in dweights)
            return y.detach().numpy(), dx, *dstates, dw_x, dw_h, np.stack(db)
        return y.detach().numpy(), dx, *dstates, *dweights[:3]

    return run, train
