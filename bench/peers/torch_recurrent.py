"""PyTorch's recurrent modules, with fastdl's arrays and in fastdl's order of gates."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from case import FORWARD, Case

from . import Call, Results, gradient


def prepare(case: Case, direction: str, arrays: Results) -> Call:
    """Prepare a layer over sequences, or a cell."""
    import torch

    x, *states, w_x, w_h, b = arrays
    cell = case.op.endswith("_cell")
    kind, gru = case.op.removesuffix("_cell").upper(), case.op.startswith("gru")
    dtype = getattr(torch, x.dtype.name)
    if cell:
        module = getattr(torch.nn, f"{kind}Cell")(x.shape[-1], len(w_h), dtype=dtype)
    else:
        module = getattr(torch.nn, kind)(x.shape[-1], len(w_h), batch_first=True, dtype=dtype)

    biases = b if gru else (b, np.zeros_like(b))
    load(module, [swapped(w) if gru else w for w in (w_x, w_h, *biases)])
    inputs = [torch.from_numpy(x), *(torch.from_numpy(state if cell else state[None]) for state in states)]

    def forward() -> Any:
        result = module(inputs[0], tuple(inputs[1:]) if len(states) == 2 else inputs[1])
        return result if cell and len(states) == 1 else result[0]

    if direction == FORWARD:
        module.requires_grad_(False)
        return Call(forward, lambda y: (y.numpy(),))

    dy = torch.from_numpy(gradient(case.output_shape(), case.dtype))
    for tensor in inputs:
        tensor.requires_grad_(True)
    sources = [*inputs, *module.parameters()]

    def train() -> Any:
        y = forward()
        return y, torch.autograd.grad(y, sources, dy)

    def read(result: Any) -> Results:
        y, gradients = result
        dx, *rest = (g.numpy() for g in gradients)
        dstates, dweights = rest[: len(states)], [g.T for g in rest[len(states) :]]
        if not cell:
            dstates = [g[0] for g in dstates]
        if gru:
            dw_x, dw_h, *db = (swapped(g) for g in dweights)
            return y.detach().numpy(), dx, *dstates, dw_x, dw_h, np.stack(db)
        return y.detach().numpy(), dx, *dstates, *dweights[:3]

    return Call(train, read)


def swapped(w: np.ndarray) -> np.ndarray:
    """A GRU's gates z, r, g as r, z, g, or back."""
    z, r, g = np.split(w, 3, axis=-1)
    return np.concatenate([r, z, g], axis=-1)


def load(module: Any, weights: Sequence[np.ndarray]) -> None:
    """Copy w_x (D, gates H), w_h (H, gates H) and two biases into a module."""
    import torch

    with torch.no_grad():
        for parameter, w in zip(module.parameters(), weights):
            parameter.copy_(torch.from_numpy(w).T if w.ndim == 2 else torch.from_numpy(w))
