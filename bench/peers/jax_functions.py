"""The operations with JAX's functions, on fastdl's arrays."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from case import Case

Function = Callable[..., Any]
EPSILON = 1e-5


def find(case: Case) -> Function | None:
    """Return the case's operation as a function of its arrays, or None if it is not here."""
    makers: dict[str, Callable[[Case], Function]] = {
        "conv": convolution,
        "pool": pooling,
        "norm": normalisation,
        "recurrent": recurrence,
        "pointwise": pointwise,
    }
    if case.family in makers:
        return makers[case.family](case)
    functions: dict[str, Function] = {
        "linear": lambda x, w, b: x @ w + b,
        "embedding": lambda ids, table: table[ids],
        "softmax_cross_entropy": cross_entropy,
        "mean_squared_error": lambda x, target: jnp.mean((x - target) ** 2),
    }
    function = functions.get(case.op)
    return function and activated(function, case)


def activated(function: Function, case: Case) -> Function:
    activation = case.options.get("activation")
    return (lambda *arrays: getattr(jax.nn, activation)(function(*arrays))) if activation else function


def convolution(case: Case) -> Function:
    options, last = case.options, case.layout == "NHWC"
    x, w, _ = case.shapes
    space = "HW"[: len(x) - 2]
    axes = range(1, len(x) - 1) if last else range(2, len(x))
    kernel = w[:-2] if last else w[2:]
    transposed = "transpose" in case.op
    inside, outside = ("I", "O") if transposed else ("O", "I")
    weights = space + outside + inside if last else inside + outside + space
    images = f"N{space}C" if last else f"NC{space}"
    stride, padding = options.get("stride", 1), options["padding"]
    arguments: dict[str, Any] = {
        "dimension_numbers": (images, weights, images),
        "feature_group_count": options.get("groups", 1),
        "rhs_dilation": (options.get("dilation", 1),) * len(space),
    }
    if transposed:
        ends = [(k - 1 - padding, k - 1 - padding + options.get("output_padding", 0)) for k in kernel]
        arguments |= {"window_strides": (1,) * len(space), "padding": ends}
        arguments["lhs_dilation"] = (stride,) * len(space)
    else:
        arguments |= {"window_strides": (stride,) * len(space), "padding": [(padding, padding)] * len(space)}
    flipped = tuple(range(len(space))) if last else tuple(axes)

    def function(x: Any, w: Any, b: Any) -> Any:
        y = lax.conv_general_dilated(x, jnp.flip(w, flipped) if transposed else w, **arguments)
        return y + (b if last else b.reshape(-1, *[1] * len(space)))

    return activated(function, case)


def pooling(case: Case) -> Function:
    options, ndim = case.options, len(case.shapes[0])
    spatial = range(1, ndim - 1) if case.layout == "NHWC" else range(2, ndim)
    if case.op.startswith("global"):
        return lambda x: x.mean(tuple(spatial))
    size, padding = options["size"], options.get("padding", 0)
    stride = options.get("stride", size)
    window = tuple(size if axis in spatial else 1 for axis in range(ndim))
    strides = tuple(stride if axis in spatial else 1 for axis in range(ndim))
    ends = [(padding, padding) if axis in spatial else (0, 0) for axis in range(ndim)]
    if case.op.startswith("max"):
        return lambda x: lax.reduce_window(x, -jnp.inf, lax.max, window, strides, ends)
    cells = size ** len(spatial)
    return lambda x: lax.reduce_window(x, 0.0, lax.add, window, strides, ends) / cells


def normalisation(case: Case) -> Function:
    ndim, options = len(case.shapes[0]), case.options
    channel = options.get("axis", 1) % ndim if case.op != "layer_norm" else ndim - 1
    shape = tuple(-1 if axis == channel else 1 for axis in range(ndim))
    over = {
        "batch_norm": tuple(axis for axis in range(ndim) if axis != channel),
        "layer_norm": (ndim - 1,),
        "instance_norm": tuple(range(2, ndim)),
        "group_norm": tuple(range(2, ndim + 1)),
    }[case.op]

    def standard(x: Any) -> Any:
        return (x - x.mean(over, keepdims=True)) * lax.rsqrt(x.var(over, keepdims=True) + EPSILON)

    def grouped(x: Any) -> Any:
        n, c, *space = x.shape
        return standard(x.reshape(n, options["groups"], c // options["groups"], *space)).reshape(x.shape)

    hat = grouped if case.op == "group_norm" else standard

    def function(x: Any, gamma: Any, beta: Any) -> Any:
        return hat(x) * gamma.reshape(shape) + beta.reshape(shape)

    def inference(x: Any, gamma: Any, beta: Any, mean: Any, var: Any) -> Any:
        scale = gamma * lax.rsqrt(var + EPSILON)
        return x * scale.reshape(shape) + (beta - mean * scale).reshape(shape)

    return inference if options.get("training") is False else function


def pointwise(case: Case) -> Function:
    if case.op == "gelu":
        return lambda x: jax.nn.gelu(x, approximate=False)
    if case.op == "leaky_relu":
        return lambda x: jax.nn.leaky_relu(x, 0.2)
    function: Function = getattr(jax.nn, case.op)
    return function


def cross_entropy(x: Any, labels: Any) -> Any:
    return -jnp.take_along_axis(jax.nn.log_softmax(x), labels[:, None], 1).mean()


def recurrence(case: Case) -> Function:
    """One step, or a scan of it over time."""
    step = {"lstm": lstm_step, "gru": gru_step, "rnn": rnn_step}[case.op.removesuffix("_cell")]

    def cell(x: Any, *rest: Any) -> Any:
        *states, w_x, w_h, b = rest
        return step(x, states, w_x, w_h, b)[0]

    def sequence(x: Any, *rest: Any) -> Any:
        *states, w_x, w_h, b = rest

        def advance(states: Any, x: Any) -> tuple[Any, Any]:
            states = step(x, states, w_x, w_h, b)
            return states, states[0]

        return lax.scan(advance, states, x.swapaxes(0, 1))[1].swapaxes(0, 1)

    return cell if case.op.endswith("_cell") else sequence


def lstm_step(x: Any, states: Any, w_x: Any, w_h: Any, b: Any) -> Any:
    h, c = states
    i, f, g, o = jnp.split(x @ w_x + h @ w_h + b, 4, axis=-1)
    c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
    return [jax.nn.sigmoid(o) * jnp.tanh(c), c]


def gru_step(x: Any, states: Any, w_x: Any, w_h: Any, b: Any) -> Any:
    (h,) = states
    of_x, of_h = jnp.split(x @ w_x + b[0], 3, axis=-1), jnp.split(h @ w_h + b[1], 3, axis=-1)
    z, r = (jax.nn.sigmoid(of_x[i] + of_h[i]) for i in (0, 1))
    return [z * h + (1 - z) * jnp.tanh(of_x[2] + r * of_h[2])]


def rnn_step(x: Any, states: Any, w_x: Any, w_h: Any, b: Any) -> Any:
    return [jnp.tanh(x @ w_x + states[0] @ w_h + b)]
