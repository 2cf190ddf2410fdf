"""Recurrences: the check matrix, lengths and directions by hand, and torch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import fastdl
import fastdl.functional as F
from fastdl.backends import naive, select
from fastdl.shapes_recurrent import recurrent_plan
from harness import ENGINES, FAST_ENGINES, TAILS, Matrix, Operation, case, positive

GATES = {"lstm": 4, "gru": 3, "rnn": 1}
SEQUENCES = {name: ("x", "h0", *(("c0",) if name == "lstm" else ()), "w_x", "w_h", "b") for name in GATES}
KINDS: list[Any] = [("lstm", {}), ("gru", {}), ("gru", {"reset_after": False}), ("rnn", {})]
CELLS = {f"{name}_cell": tuple(a.rstrip("0") for a in SEQUENCES[name]) for name in GATES}


# ---- the matrix


class Recurrence(Operation):
    """An operation of several outputs: side by side they are one y, (N, T·H + H + H)."""

    def forward(self, *arguments: Any, **options: Any) -> tuple[Any, Any]:
        result, ctx = super().forward(*arguments, **options)
        outputs = flat(result)
        sizes = [int(np.prod(y.shape[1:])) for y in outputs]
        return np.concatenate([y.reshape(len(y), n) for y, n in zip(outputs, sizes)], axis=1), ctx

    def backward(self, dy: Any, ctx: Any) -> tuple[Any, ...]:
        plan = ctx.call.plan
        cell = self.name.endswith("_cell")
        width = 0 if cell else plan.steps * plan.units
        states = [dy[:, at : at + plan.units] for at in range(width, dy.shape[1], plan.units)]
        first = states.pop(0) if cell else dy[:, :width].reshape(plan.batch, plan.steps, plan.units)
        return getattr(F, f"{self.name}_backward")(first, ctx, *states)


def flat(result: Any) -> list[np.ndarray]:
    """The arrays of (hs, (h, c)), (hs, h), (h, c) or h."""
    return [y for part in result for y in flat(part)] if isinstance(result, tuple) else [result]


def moderate(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Numbers so small that the gates are where they bend, and a state does not explode."""
    return rng.uniform(-0.75, 0.75, size=shape)


def small(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """So small that 64 units forget: else a rounding would grow from step to step, without a bound."""
    return rng.uniform(-0.2, 0.2, size=shape)


def shapes(name: str, n: int, t: int, d: int, h: int, after: bool = True) -> list[tuple[int, ...]]:
    """The shapes of the arguments of an operation, for N, T, D and H."""
    columns = GATES[name.removesuffix("_cell")] * h
    x = (n, d) if name.endswith("_cell") else (n, t, d)
    bias = (2, columns) if name.startswith("gru") and after else (columns,)
    states = [(n, h)] * (2 if name.startswith("lstm") else 1)
    return [x, *states, (d, columns), (h, columns), bias]


def sizes(name: str, n: int, t: int, d: int, h: int, **options: Any) -> Any:
    return case(*shapes(name, n, t, d, h, options.get("reset_after", True)), **options)


def row(name: str, cases: list[Any], n: int = 3, t: int = 3, width: int = 60, **more: Any) -> Recurrence:
    """One row. A gradient has passed T steps and T steps back, each with its sum of `width` products and some
    twenty roundings in the gates, and is a sum over N·T."""
    arguments = (SEQUENCES | CELLS)[name]
    return Recurrence(
        name,
        cases,
        arguments=arguments,
        kind="curve",
        terms=2 * t * (width + 20) + n * t,
        batched=arguments[:-3],
        **{"draw": moderate, **more},
    )


def cases(name: str, **options: Any) -> list[Any]:
    return [
        sizes(name, 2, 2, 2, 3, **options),
        sizes(name, 3, 3, 4, 5, reverse=True, **options),
        sizes(name, 3, 3, 2, 4, lengths=(3, 1, 2), **options),
        sizes(name, 3, 3, 2, 4, lengths=(2, 3, 3), reverse=True, **options),
        *(sizes(name, 2, 2, 3, n, **options) for n in TAILS),
        *(sizes(name, n, 2, 2, 3, **options) for n in (1, 4, 8, 9, 17)),
    ]


def refusals(name: str) -> list[Any]:
    run = getattr(F, name)
    x, *states, w_x, w_h, b = (np.ones(shape) for shape in shapes(name, 2, 3, 4, 5))
    whole = np.ones((2, 3), int)
    return [
        (ValueError, r"x must be \(N, T, D\); got shape \(2, 4\)",
         lambda: run(x[:, 0], *states, w_x, w_h, b)),
        (ValueError, "x must have at least one step", lambda: run(x[:, :0], *states, w_x, w_h, b)),
        (ValueError, "x has 3 features .* but w_x expects 4", lambda: run(x[..., 1:], *states, w_x, w_h, b)),
        (ValueError, r"w_h must be \(H, ", lambda: run(x, *states, w_x, w_h[:, 1:], b)),
        (ValueError, r"w_x must be \(D, .* with H = 5", lambda: run(x, *states, w_x[:, 1:], w_h, b)),
        (ValueError, r"h0 must have the shape of a state \(N, H\), \(2, 5\); got \(1, 5\)",
         lambda: run(x, states[0][:1], *states[1:], w_x, w_h, b)),
        (ValueError, "b must have shape", lambda: run(x, *states, w_x, w_h, b[..., 1:])),
        (ValueError, r"recurrent_mask must have the shape of a state",
         lambda: run(x, *states, w_x, w_h, b, recurrent_mask=np.ones(5))),
        (ValueError, "lengths must have the shape of one a sequence",
         lambda: run(x, *states, w_x, w_h, b, lengths=[3])),
        (ValueError, "at most the 3 steps of x; got 4 at index 1",
         lambda: run(x, *states, w_x, w_h, b, lengths=[3, 4])),
        (ValueError, "lengths must be at least 0", lambda: run(x, *states, w_x, w_h, b, lengths=[-1, 3])),
        (TypeError, "lengths must hold integers; got float64",
         lambda: run(x, *states, w_x, w_h, b, lengths=[1.0, 2.0])),
        (TypeError, "x must hold float", lambda: run(whole, *states, w_x, w_h, b)),
    ]  # fmt: skip


WIDE = {"n": 70, "t": 12, "width": 104}


LARGE = (70, 12, 64), (70, 2, 520), (270, 1, 70)


def large(name: str, **options: Any) -> dict[str, Any]:
    """Many steps; weights that are more than a cache keeps; one step, of more rows than a task has."""
    return {**WIDE, "draw": small, "large": [sizes(name, n, t, 40, h, **options) for n, t, h in LARGE]}


class TestSequences(Matrix):
    operations = [
        row("lstm", cases("lstm"), refusals=[
            *refusals("lstm"),
            (ValueError, r"peepholes must have the shape of \(i, f, o\), each of H, \(3, 5\)",
             lambda: F.lstm(*(np.ones(s) for s in shapes("lstm", 2, 3, 4, 5)), peepholes=np.ones((4, 5)))),
        ]),
        row("gru", cases("gru"), n=17, refusals=refusals("gru")),
        row("gru", cases("gru", reset_after=False), n=17),
        row("rnn", cases("rnn"), n=17, refusals=[
            *refusals("rnn"),
            (ValueError, "activation must be one of 'tanh', 'relu'; got 'elu'",
             lambda: F.rnn(*(np.ones(s) for s in shapes("rnn", 2, 3, 4, 5)), activation="elu")),
        ]),
        # Above its corner, which a difference must not meet; below it the cases of torch are.
        row("rnn", cases("rnn", activation="relu"), n=17, draw=positive),
        row("lstm", [sizes("lstm", 2, 2, 2, 3)], **large("lstm")),
        row("gru", [sizes("gru", 2, 2, 2, 3)], **large("gru", reverse=True)),
        row("gru", [sizes("gru", 2, 2, 2, 3, reset_after=False)], **large("gru", reset_after=False)),
        row("rnn", [sizes("rnn", 2, 2, 2, 3)], **large("rnn")),
    ]  # fmt: skip


class TestCells(Matrix):
    operations = [
        row("lstm_cell", [sizes("lstm_cell", 3, 1, 4, h) for h in (2, 5, 16)]),
        row("gru_cell", [sizes("gru_cell", 3, 1, 4, h) for h in (2, 5, 16)]),
        row("gru_cell", [sizes("gru_cell", 3, 1, 4, h, reset_after=False) for h in (2, 5, 16)]),
        row("rnn_cell", [sizes("rnn_cell", 3, 1, 4, h) for h in (2, 5, 16)]),
        row("rnn_cell", [sizes("rnn_cell", 3, 1, 4, 5, activation="relu")], draw=positive),
    ]


class Peephole(Recurrence):
    """An LSTM whose seventh argument is its peepholes, with part of the state dropped."""

    def forward(self, *arguments: Any, **options: Any) -> tuple[Any, Any]:
        *given, peepholes = arguments
        return super().forward(*given, peepholes=peepholes, **options)


def half_dropped(rng: np.random.Generator, shapes: Any) -> dict[str, Any]:
    return {"recurrent_mask": 2.0 * (rng.random(shapes[1]) < 0.5)}


class TestPeepholesAndMask(Matrix):
    operations = [
        Peephole(
            "lstm",
            [
                case(*shapes("lstm", 3, 3, 2, h), (3, h), **options)
                for h in (3, 16, 17)
                for options in ({}, {"lengths": (3, 1, 2), "reverse": True})
            ],
            arguments=(*SEQUENCES["lstm"], "peepholes"),
            kind="curve",
            terms=500,
            draw=moderate,
            batched=("x", "h0", "c0"),
        ),
        *(
            Recurrence(
                name,
                [sizes(name, 3, 3, 2, h, **options) for h in (3, 16, 17)],
                arguments=SEQUENCES[name],
                kind="curve",
                terms=500,
                draw=moderate,
                given=half_dropped,
                batched=(),
            )
            for name, options in KINDS
        ),
    ]


# ---- by hand


def arguments(name: str, n: int, t: int, d: int, h: int, after: bool = True) -> list[np.ndarray]:
    rng = np.random.default_rng(n + t + d + h)
    return [moderate(rng, shape) for shape in shapes(name, n, t, d, h, after)]


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name, options", KINDS, ids=str)
class TestLengths:
    @pytest.mark.parametrize("reverse", [False, True])
    def test_each_sequence_as_if_alone(
        self, engine: str, name: str, options: dict[str, Any], reverse: bool
    ) -> None:
        """Forward and backward, with NaN past the end of each."""
        x, *states, w_x, w_h, b = arguments(name, 4, 5, 3, 6, options.get("reset_after", True))
        lengths = [5, 1, 0, 3]
        forward, backward = getattr(F, f"{name}_forward"), getattr(F, f"{name}_backward")
        rng = np.random.default_rng(0)
        with fastdl.use(backend=engine):
            for n, length in enumerate(lengths):
                x[n, length:] = np.nan
            result, ctx = forward(x, *states, w_x, w_h, b, reverse=reverse, lengths=lengths, **options)
            hs, *last = flat(result)
            dhs, *dlast = (rng.normal(size=y.shape) for y in (hs, *last))
            dx, *rest = backward(dhs, ctx, *dlast)
            dstates, dweights = rest[: len(states)], rest[len(states) :]
            total = [np.zeros_like(w) for w in (w_x, w_h, b)]
            for n, length in enumerate(lengths):
                assert not hs[n, length:].any()
                assert not dx[n, length:].any()
                one = slice(n, n + 1)
                if length == 0:
                    for came, state in zip(last, states):
                        np.testing.assert_array_equal(came[n], state[n])
                    continue
                given = [x[one, :length], *(state[one] for state in states), w_x, w_h, b]
                alone, ctx = forward(*given, reverse=reverse, **options)
                for came, expected in zip((hs[one, :length], *(y[one] for y in last)), flat(alone)):
                    np.testing.assert_allclose(came, expected, rtol=1e-12)
                dx_alone, *more = backward(dhs[one, :length], ctx, *(d[one] for d in dlast))
                np.testing.assert_allclose(dx[one, :length], dx_alone, rtol=1e-11, atol=1e-14)
                for came, expected in zip(dstates, more):
                    np.testing.assert_allclose(came[one], expected, rtol=1e-11, atol=1e-14)
                for summed, part in zip(total, more[len(states) :]):
                    summed += part
        for came, expected in zip(dweights, total):
            np.testing.assert_allclose(came, expected, rtol=1e-11, atol=1e-13)

    def test_reverse_is_forward_on_the_reversed(
        self, engine: str, name: str, options: dict[str, Any]
    ) -> None:
        x, *rest = arguments(name, 2, 4, 3, 5, options.get("reset_after", True))
        with fastdl.use(backend=engine):
            hs, *last = flat(getattr(F, name)(x, *rest, reverse=True, **options))
            flipped, *last_flipped = flat(getattr(F, name)(x[:, ::-1], *rest, **options))
        for came, expected in zip((hs[:, ::-1], *last), (flipped, *last_flipped)):
            np.testing.assert_array_equal(came, expected)

    def test_a_sequence_is_its_steps(self, engine: str, name: str, options: dict[str, Any]) -> None:
        x, *states, w_x, w_h, b = arguments(name, 3, 4, 3, 5, options.get("reset_after", True))
        with fastdl.use(backend=engine):
            hs, *_ = flat(getattr(F, name)(x, *states, w_x, w_h, b, **options))
            for t in range(4):
                states = flat(getattr(F, f"{name}_cell")(x[:, t], *states, w_x, w_h, b, **options))
                np.testing.assert_allclose(hs[:, t], states[0], rtol=1e-12)

    def test_what_is_left_out_is_zero(self, engine: str, name: str, options: dict[str, Any]) -> None:
        x, *states, w_x, w_h, b = arguments(name, 3, 4, 3, 5, options.get("reset_after", True))
        nothing = [None] * len(states)
        forward, backward = getattr(F, f"{name}_forward"), getattr(F, f"{name}_backward")
        with fastdl.use(backend=engine):
            result, ctx = forward(x, *nothing, w_x, w_h, **options)
            zeros = [np.zeros_like(state) for state in states]
            expected, ctx0 = forward(x, *zeros, w_x, w_h, np.zeros_like(b), **options)
            dh = np.ones_like(states[0])
            came, full = backward(None, ctx, dh), backward(np.zeros((3, 4, 5)), ctx0, dh)
            only = backward(None, ctx0, dh, needs=("w_h",))
        for a, e in zip(flat(result), flat(expected)):
            np.testing.assert_array_equal(a, e)
        assert came[-1] is None
        for a, e in zip(came[:-1], full[:-1]):
            np.testing.assert_allclose(a, e, rtol=1e-12, atol=1e-15)
        assert [gradient is None for gradient in only] == [True] * (len(only) - 2) + [False, True]
        np.testing.assert_array_equal(only[-2], full[-2])


@pytest.mark.parametrize("engine", FAST_ENGINES)
@pytest.mark.parametrize("steps, units", [(6, 19), (3, 160), (1, 32)])
def test_a_row_does_not_depend_on_the_others(engine: str, steps: int, units: int) -> None:
    """The same bits, whether a sequence comes alone, among few or among many."""
    x, h0, c0, *weights = (a.astype(np.float32) for a in arguments("lstm", 37, steps, 5, units))
    mask = (np.random.default_rng(1).random(h0.shape) < 0.5).astype(np.float32) * 2
    with fastdl.use(backend=engine):
        for given in (None, mask):
            hs, _ = F.lstm(x, h0, c0, *weights, recurrent_mask=given)
            for n in (1, 3, 8, 20):
                part = None if given is None else given[:n]
                few, _ = F.lstm(x[:n], h0[:n], c0[:n], *weights, recurrent_mask=part)
                np.testing.assert_allclose(few, hs[:n], rtol=1e-5, atol=1e-6)
                if engine == "native":
                    np.testing.assert_array_equal(few, hs[:n])


@pytest.mark.parametrize("name, options", KINDS, ids=str)
def test_many_units_agree_with_numpy(name: str, options: dict[str, Any]) -> None:
    """Weights larger than a level-2 cache, and rows whose gates follow in groups."""
    for batch, steps, features, units in ((21, 2, 40, 150), (9, 2, 300, 300)):
        shape = shapes(name, batch, steps, features, units, options.get("reset_after", True))
        given = [moderate(np.random.default_rng(3), size) / 8 for size in shape]
        with fastdl.use(backend="numpy"):
            expected = flat(getattr(F, name)(*given, **options))
        for came, wanted in zip(flat(getattr(F, name)(*given, **options)), expected):
            np.testing.assert_allclose(came, wanted, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("batch, steps", [(3, 2), (9, 2), (9, 1)])
@pytest.mark.parametrize("kind, gates", [("lstm", 4), ("tanh", 1), ("relu", 1)])
@pytest.mark.parametrize("engine", FAST_ENGINES)
def test_biases_on_either_side_add_up(engine: str, kind: str, gates: int, batch: int, steps: int) -> None:
    rng = np.random.default_rng(2)
    d, h = 5, 18
    x, w_x, w_h = (moderate(rng, size) for size in ((batch, steps, d), (d, gates * h), (h, gates * h)))
    b, b_h = moderate(rng, (gates * h,)), moderate(rng, (gates * h,))
    state = moderate(rng, (batch, h))
    plan = recurrent_plan("rnn", kind, x.shape, w_x.shape, w_h.shape)
    given = (x.reshape(-1, d), w_x, b, state, state if kind == "lstm" else None, w_h, b_h, None, None, None)
    expected, came = (ops.rnn_fwd(*given, plan, False)[0] for ops in (naive, select(engine)))
    np.testing.assert_allclose(came, expected, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("name, options", KINDS, ids=str)
def test_a_long_sequence_is_its_parts(name: str, options: dict[str, Any], reverse: bool) -> None:
    """More steps than the compiled engine takes the inputs of at a time, for more sequences than a tile."""
    n, t, h, part = 11, 210, 40, 21
    rng = np.random.default_rng(5)
    x, *states, w_x, w_h, b = (
        moderate(rng, shape).astype(np.float32)
        for shape in shapes(name, n, t, 5, h, options.get("reset_after", True))
    )
    arguments = {**options, "reverse": reverse}
    whole = flat(getattr(F, name)(x, *states, w_x, w_h, b, **arguments))
    found, order = np.empty_like(whole[0]), range(0, t, part)
    for at in reversed(order) if reverse else order:
        step = slice(at, at + part)
        found[:, step], *states = flat(getattr(F, name)(x[:, step], *states, w_x, w_h, b, **arguments))
    for here, there in zip(whole, [found, *states]):
        np.testing.assert_array_equal(here, there)


def test_a_ctx_is_for_its_own_backward() -> None:
    _, ctx = F.gru_forward(*arguments("gru", 2, 3, 4, 5))
    with pytest.raises(TypeError, match="lstm_backward: ctx must come from lstm_forward; got one from gru"):
        F.lstm_backward(None, ctx)
    with pytest.raises(ValueError, match=r"gru_backward: dhs must have the shape of hs, \(2, 3, 5\)"):
        F.gru_backward(np.ones((2, 5)), ctx)
    with pytest.raises(ValueError, match="gru_backward: needs must be"):
        F.gru_backward(None, ctx, needs=("h",))


# ---- torch


def to_torch(name: str, w: np.ndarray) -> np.ndarray:
    """PyTorch's order of the gates (a GRU begins with r), with the gates in front."""
    if name == "gru":
        z, r, g = np.split(w, 3, axis=-1)
        w = np.concatenate([r, z, g], axis=-1)
    return np.ascontiguousarray(w.T)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("lengths", [None, (2, 6, 4)])
@pytest.mark.parametrize("kind", ["lstm", "gru", "tanh", "relu"])
def test_torch(engine: str, kind: str, lengths: Any) -> None:
    """In float64, both directions at once: outputs, last states and all gradients."""
    torch = pytest.importorskip("torch")
    n, t, d, h = 3, 6, 4, 5
    name = {"tanh": "rnn", "relu": "rnn"}.get(kind, kind)
    options = {"activation": kind} if name == "rnn" else {}
    extra = {"nonlinearity": kind} if name == "rnn" else {}
    module = getattr(torch.nn, name.upper())(
        d, h, batch_first=True, bidirectional=True, dtype=torch.float64, **extra
    )
    rng = np.random.default_rng(3)
    columns, states = GATES[name] * h, 2 if name == "lstm" else 1
    x = rng.normal(size=(n, t, d))
    start = rng.normal(size=(states, 2, n, h))
    weights = [[moderate(rng, s) for s in ((d, columns), (h, columns), (columns,), (columns,))] for _ in "fb"]
    suffixes = ("", "_reverse")
    with torch.no_grad():
        for suffix, given in zip(suffixes, weights):
            for part, w in zip(("weight_ih", "weight_hh", "bias_ih", "bias_hh"), given):
                getattr(module, f"{part}_l0{suffix}").copy_(torch.tensor(to_torch(name, w)))
    x_t, start_t = torch.tensor(x, requires_grad=True), torch.tensor(start, requires_grad=True)
    packed = x_t
    if lengths:
        packed = torch.nn.utils.rnn.pack_padded_sequence(
            x_t, torch.tensor(lengths), batch_first=True, enforce_sorted=False
        )
    y_t, last_t = module(packed, tuple(start_t) if states == 2 else start_t[0])
    if lengths:
        y_t, _ = torch.nn.utils.rnn.pad_packed_sequence(y_t, batch_first=True)
    last_t = torch.stack(last_t if states == 2 else [last_t])
    dy, dlast = rng.normal(size=tuple(y_t.shape)), rng.normal(size=tuple(last_t.shape))
    ((y_t * torch.tensor(dy)).sum() + (last_t * torch.tensor(dlast)).sum()).backward()

    dx = np.zeros_like(x)
    for side, (suffix, (w_x, w_h, *biases)) in enumerate(zip(suffixes, weights)):
        b = np.stack(biases) if name == "gru" else sum(biases)
        half = slice(side * h, side * h + h)
        with fastdl.use(backend=engine):
            result, ctx = getattr(F, f"{name}_forward")(
                x, *start[:, side], w_x, w_h, b, reverse=bool(side), lengths=lengths, **options
            )
            dx_side, *dstart, dw_x, dw_h, db = getattr(F, f"{name}_backward")(
                dy[..., half], ctx, *dlast[:, side]
            )
        dx += dx_side
        hs, *last = flat(result)
        pairs = [(hs, y_t[..., half]), *zip(last, last_t[:, side]), *zip(dstart, start_t.grad[:, side])]
        named = {"weight_ih": dw_x, "weight_hh": dw_h}
        named |= dict(zip(("bias_ih", "bias_hh"), db if name == "gru" else (db, db)))
        pairs += [(to_torch(name, g), getattr(module, f"{p}_l0{suffix}").grad) for p, g in named.items()]
        for came, expected in pairs:
            np.testing.assert_allclose(came, expected.detach().numpy(), rtol=1e-11, atol=1e-12)
    np.testing.assert_allclose(dx, x_t.grad.numpy(), rtol=1e-11, atol=1e-12)
