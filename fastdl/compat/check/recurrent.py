"""Recurrent layers and their single steps, in the order of gates of whoever is checked.

fastdl keeps the gates of an LSTM as i, f, g, o, and those of a GRU as z, r, g with h = z·h + (1 - z)·g.
Weights are brought there by a `Gates`, and their gradients back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import permutations
from typing import Any

import numpy as np

from ... import functional as F
from .operation import Array, Gradients, Inputs, Operation, Outputs

__all__ = ["embedding", "recurrent", "recurrent_step", "temporal_affine", "temporal_loss"]

_WEIGHTS = ("Wx", "Wh", "b")
_OURS = {"lstm": "ifgo", "gru": "zrg", "rnn": "h"}


@dataclass(frozen=True)
class Gates:
    """Where the columns of a learner's weights are, by the letters of the gates.

    A GRU's z is a learner's 1 - z: its columns change their sign.
    """

    kind: str
    order: str

    def ours(self, a: Array) -> Array:
        """Return weights, or a bias, with fastdl's gates."""
        parts = dict(zip(self.order, np.split(a, len(self.order), axis=-1)))
        if self.kind == "gru":
            parts["z"] = -parts["z"]
        return np.concatenate([parts[gate] for gate in _OURS[self.kind]], axis=-1)

    def theirs(self, a: Any) -> Array:
        """Return gradients of fastdl's weights with the learner's gates."""
        parts = dict(zip(_OURS[self.kind], np.split(a, len(self.order), axis=-1)))
        if self.kind == "gru":
            parts["z"] = -parts["z"]
        return np.concatenate([parts[gate] for gate in self.order], axis=-1)


def _draw(kind: str, steps: int) -> Callable[[np.random.Generator, bool], Inputs]:
    """Inputs of a sequence, or without steps of one."""

    def inputs(rng: np.random.Generator, many: bool) -> Inputs:
        n, t, d, h = (8, 2 * steps, 12, 12) if many else (2, steps, 4, 3)
        gates = len(_OURS[kind])
        given = {
            "x": rng.standard_normal((n, t, d) if steps else (n, d)),
            "h": rng.standard_normal((n, h)),
            "c": rng.standard_normal((n, h)),
            "Wx": rng.standard_normal((d, gates * h)) / 2,
            "Wh": rng.standard_normal((h, gates * h)) / 2,
            "b": rng.standard_normal(gates * h) / 2,
        }
        return given

    return inputs


def recurrent(kind: str, order: str, *, state: bool) -> Operation:
    """A whole sequence: the hidden states of all steps, from a state h that is given or is 0."""
    gates = Gates(kind, order)
    run, back = getattr(F, f"{kind}_forward"), getattr(F, f"{kind}_backward")
    options = {"reset_after": False} if kind == "gru" else {}
    start = (None, None) if kind == "lstm" else (None,)

    def forward(given: Inputs) -> tuple[Outputs, Any]:
        h = (given["h"], *start[1:]) if state else start
        (hs, _), ctx = run(given["x"], *h, *(gates.ours(given[name]) for name in _WEIGHTS), **options)
        return (hs,), ctx

    def backward(kept: Any, douts: Outputs) -> Gradients:
        dx, dh, *_, dw_x, dw_h, db = back(douts[0], kept)
        found = {"x": dx, **dict(zip(_WEIGHTS, map(gates.theirs, (dw_x, dw_h, db))))}
        return {**found, "h": dh} if state else found

    wrt = ("x", "h", *_WEIGHTS) if state else ("x", *_WEIGHTS)
    return Operation(_draw(kind, 3), forward, backward, wrt, ("h",), mistakes=_mistakes(kind, order, forward))


def recurrent_step(kind: str, order: str) -> Operation:
    """One step: from x, h and for an LSTM c to the next h and c."""
    gates = Gates(kind, order)
    run, back = getattr(F, f"{kind}_cell_forward"), getattr(F, f"{kind}_cell_backward")
    options = {"reset_after": False} if kind == "gru" else {}
    states = ("h", "c") if kind == "lstm" else ("h",)

    def forward(given: Inputs) -> tuple[Outputs, Any]:
        weights = (gates.ours(given[name]) for name in _WEIGHTS)
        result, ctx = run(given["x"], *(given[name] for name in states), *weights, **options)
        return result if isinstance(result, tuple) else (result,), ctx

    def backward(kept: Any, douts: Outputs) -> Gradients:
        found = back(douts[0], kept, *douts[1:])
        found = found if kind == "lstm" else (*found[:2], *found[-3:])
        dx, *dstates = found[:-3]
        weights = dict(zip(_WEIGHTS, map(gates.theirs, found[-3:])))
        return {"x": dx, **dict(zip(states, dstates)), **weights}

    return Operation(
        _draw(kind, 0),
        forward,
        backward,
        ("x", *states, *_WEIGHTS),
        tuple(f"next_{state}" for state in states),
        mistakes=_mistakes(kind, order, forward),
    )


def _mistakes(kind: str, order: str, forward: Any) -> Callable[[Inputs], Iterable[tuple[str, Outputs]]]:
    def mistakes(given: Inputs) -> Iterable[tuple[str, Outputs]]:
        yield "b has not been added", forward({**given, "b": np.zeros_like(given["b"])})[0]
        for name in ("Wx", "Wh"):
            yield f"{name} has not been used", forward({**given, name: np.zeros_like(given[name])})[0]
        for other in permutations(order):
            if other != tuple(order):
                moved = {name: _as_if(given[name], order, other) for name in _WEIGHTS}
                hint = f"the gates are taken in the order {', '.join(other)} and not {', '.join(order)}"
                yield hint, forward({**given, **moved})[0]
        if kind == "gru":
            z = slice(0, given["h"].shape[-1])
            turned = {name: np.array(given[name]) for name in _WEIGHTS}
            for name in _WEIGHTS:
                turned[name][..., z] *= -1
            yield "z and 1 - z are exchanged", forward({**given, **turned})[0]

    return mistakes


def _as_if(a: Array, order: str, other: tuple[str, ...]) -> Array:
    """The weights whose gates, read in `order`, are those that are read from a in another one."""
    parts = dict(zip(other, np.split(a, len(order), axis=-1)))
    return np.concatenate([parts[gate] for gate in order], axis=-1)


# ---- around them


def temporal_affine() -> Operation:
    """x·w + b at every step of (N, T, D)."""

    def inputs(rng: np.random.Generator, many: bool) -> Inputs:
        n, t, d, m = (8, 8, 32, 32) if many else (2, 3, 4, 5)
        return {
            "x": rng.standard_normal((n, t, d)),
            "w": rng.standard_normal((d, m)),
            "b": rng.standard_normal(m),
        }

    def forward(given: Inputs) -> tuple[Outputs, Any]:
        y, ctx = F.linear_forward(given["x"], given["w"], given["b"])
        return (y,), ctx

    def backward(kept: Any, douts: Outputs) -> Gradients:
        return dict(zip("xwb", F.linear_backward(douts[0], kept)))

    return Operation(inputs, forward, backward, ("x", "w", "b"))


def embedding() -> Operation:
    """Rows of W, one for each id; an id that occurs twice has both gradients."""

    def inputs(rng: np.random.Generator, many: bool) -> Inputs:
        shape, rows = ((16, 10), 100) if many else ((2, 4), 5)
        ids = rng.integers(0, rows, shape)
        ids[0, :2] = 1
        return {"x": ids, "w": rng.standard_normal((rows, 8 if many else 3))}

    def forward(given: Inputs) -> tuple[Outputs, Any]:
        y, ctx = F.embedding_forward(given["x"], given["w"])
        return (y,), ctx

    def backward(kept: Any, douts: Outputs) -> Gradients:
        return {"w": F.embedding_backward(douts[0], kept)}

    def slips(given: Inputs, douts: Outputs) -> Iterable[tuple[str, Gradients]]:
        dw = np.zeros_like(given["w"])
        dw[given["x"]] = douts[0]
        yield "of an id that occurs twice only the last gradient is kept: np.add.at adds them all", {"w": dw}

    return Operation(inputs, forward, backward, ("w",), slips=slips)


def temporal_loss(masked: bool) -> Operation:
    """Softmax and cross-entropy at every step: with a mask the sum over N, else the mean of all labels."""

    def inputs(rng: np.random.Generator, many: bool) -> Inputs:
        n, t, v = (16, 8, 50) if many else (2, 3, 5)
        mask = rng.random((n, t)) > 0.3 if masked else np.ones((n, t), bool)
        return {"x": rng.standard_normal((n, t, v)), "y": rng.integers(0, v, (n, t)), "mask": mask}

    def forward(given: Inputs) -> tuple[Outputs, Any]:
        mask = given["mask"]
        labels = np.where(mask, given["y"], -1)
        loss, ctx = F.softmax_cross_entropy_forward(given["x"], labels, ignore_index=-1)
        scale = mask.sum() / len(mask) if masked else 1.0
        return (loss * scale,), (ctx, scale)

    def backward(kept: Any, douts: Outputs) -> Gradients:
        ctx, scale = kept
        return {"x": F.softmax_cross_entropy_backward(douts[0] * scale, ctx)}

    return Operation(inputs, forward, backward, ("x",), ("loss",), tolerance=1e-5, scalar=True)
