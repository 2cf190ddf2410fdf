"""Dense and convolutional layers, pooling, activations, normalisation and losses."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from ... import functional as F
from .operation import Array, Gradients, Inputs, Operation, Outputs

__all__ = [
    "affine",
    "batchnorm",
    "col2im",
    "conv",
    "cross_entropy",
    "im2col",
    "layernorm",
    "matmul",
    "max_pool",
    "mean_squared_error",
    "pointwise",
    "sigmoid_loss",
    "softmax",
    "softmax_loss",
]

Generator = np.random.Generator


# ---- dense


def affine(shape: tuple[int, ...], large: tuple[int, ...]) -> Operation:
    """x·w + b, of x whose axes but the first are flattened."""

    def inputs(rng: Generator, many: bool) -> Inputs:
        sizes, out = (large, 32) if many else (shape, 5)
        features = int(np.prod(sizes[1:]))
        return {
            "x": rng.standard_normal(sizes),
            "w": rng.standard_normal((features, out)),
            "b": rng.standard_normal(out),
        }

    def forward(given: Inputs) -> tuple[Outputs, Any]:
        x = given["x"]
        y, ctx = F.linear_forward(x.reshape(len(x), -1), given["w"], given["b"])
        return (y,), (x.shape, ctx)

    def backward(kept: Any, douts: Outputs) -> Gradients:
        dx, dw, db = F.linear_backward(douts[0], kept[1])
        assert dx is not None
        return {"x": dx.reshape(kept[0]), "w": dw, "b": db}

    def mistakes(given: Inputs) -> Iterable[tuple[str, Outputs]]:
        yield _without("b", given, forward)

    return Operation(inputs, forward, backward, ("x", "w", "b"), mistakes=mistakes)


def _matmul_inputs(rng: Generator, many: bool) -> Inputs:
    rows, features, out = (64, 64, 32) if many else (4, 6, 5)
    return {"x": rng.standard_normal((rows, features)), "w": rng.standard_normal((features, out))}


def _matmul_forward(given: Inputs) -> tuple[Outputs, Any]:
    y, ctx = F.linear_forward(given["x"], given["w"])
    return (y,), ctx


def _matmul_backward(kept: Any, douts: Outputs) -> Gradients:
    dx, dw, _ = F.linear_backward(douts[0], kept, ("x", "w"))
    return {"x": dx, "w": dw}


matmul = Operation(_matmul_inputs, _matmul_forward, _matmul_backward, ("x", "w"))


def _without(name: str, given: Inputs, forward: Any) -> tuple[str, Outputs]:
    """What an operation gives whose bias has been forgotten."""
    return f"{name} has not been added", forward({**given, name: np.zeros_like(given[name])})[0]


# ---- windows


def _conv_inputs(rng: Generator, many: bool) -> Inputs:
    n, c, side, out = (4, 3, 12, 8) if many else (2, 3, 6, 4)
    return {
        "x": rng.standard_normal((n, c, side, side + 1)),
        "w": rng.standard_normal((out, c, 3, 3)),
        "b": rng.standard_normal(out),
        "stride": 1,
        "pad": 1,
        "conv_param": {"stride": 1, "pad": 1},
    }


def _conv_forward(given: Inputs) -> tuple[Outputs, Any]:
    y, ctx = F.conv2d_forward(
        given["x"], given["w"], given["b"], stride=given["stride"], padding=given["pad"]
    )
    return (y,), ctx


def _conv_backward(kept: Any, douts: Outputs) -> Gradients:
    return dict(zip("xwb", F.conv2d_backward(douts[0], kept)))


def _conv_mistakes(given: Inputs) -> Iterable[tuple[str, Outputs]]:
    yield _without("b", given, _conv_forward)
    w = given["w"]
    for hint, other in (
        ("the kernel is flipped: deep learning does not turn it round", w[:, :, ::-1, ::-1]),
        ("the kernel's rows and columns are exchanged", w.transpose(0, 1, 3, 2)),
    ):
        yield hint, _conv_forward({**given, "w": other})[0]


conv = Operation(_conv_inputs, _conv_forward, _conv_backward, ("x", "w", "b"), mistakes=_conv_mistakes)


def _pool_inputs(rng: Generator, many: bool) -> Inputs:
    n, c, height, width = (8, 8, 24, 20) if many else (2, 3, 6, 4)
    param = {"pool_height": 2, "pool_width": 2, "stride": 2}
    return {"x": rng.standard_normal((n, c, height, width)), "pool_param": param, **param}


def _pool_forward(given: Inputs) -> tuple[Outputs, Any]:
    y, ctx = F.max_pool2d_forward(given["x"], 2, stride=2)
    return (y,), ctx


def _pool_backward(kept: Any, douts: Outputs) -> Gradients:
    return {"x": F.max_pool2d_backward(douts[0], kept)}


def _pool_mistakes(given: Inputs) -> Iterable[tuple[str, Outputs]]:
    yield "it is the mean of each window and not the largest value", (F.avg_pool2d(given["x"], 2, stride=2),)


max_pool = Operation(_pool_inputs, _pool_forward, _pool_backward, ("x",), mistakes=_pool_mistakes)


def _patch_inputs(rng: Generator, many: bool) -> Inputs:
    n, c, side = (8, 4, 16) if many else (2, 3, 5)
    given: Inputs = {
        "x": rng.standard_normal((n, c, side, side + 1)),
        "height": 3,
        "width": 2,
        "stride": 1,
        "pad": 1,
    }
    given["cols"] = rng.standard_normal(np.shape(_columns(given)))
    given["shape"] = given["x"].shape
    return given


def _columns(given: Inputs) -> Array:
    return F.im2col(
        given["x"], (given["height"], given["width"]), stride=given["stride"], padding=given["pad"]
    )


def _im2col_forward(given: Inputs) -> tuple[Outputs, Any]:
    return (_columns(given),), None


def _col2im_forward(given: Inputs) -> tuple[Outputs, Any]:
    size = given["height"], given["width"]
    return (
        F.col2im(given["cols"], given["shape"], size, stride=given["stride"], padding=given["pad"]),
    ), None


im2col = Operation(_patch_inputs, _im2col_forward, outputs=("col",))
col2im = Operation(_patch_inputs, _col2im_forward, outputs=("img",))


# ---- pointwise


def pointwise(name: str, slope_of_output: bool = False) -> Operation:
    """An activation of fastdl; with `slope_of_output` its derivative, as a function of x."""
    run, back = getattr(F, f"{name}_forward"), getattr(F, f"{name}_backward")

    def inputs(rng: Generator, many: bool) -> Inputs:
        return {"x": rng.standard_normal((64, 100) if many else (4, 5))}

    def forward(given: Inputs) -> tuple[Outputs, Any]:
        y, ctx = run(given["x"])
        return (back(np.ones_like(y), ctx) if slope_of_output else y,), ctx

    def backward(kept: Any, douts: Outputs) -> Gradients:
        return {"x": back(douts[0], kept)}

    return Operation(inputs, forward, None if slope_of_output else backward, ("x",))


def _softmax_inputs(rng: Generator, many: bool) -> Inputs:
    return {"x": rng.standard_normal((64, 100) if many else (4, 5))}


def _softmax_forward(given: Inputs) -> tuple[Outputs, Any]:
    y, ctx = F.softmax_forward(given["x"])
    return (y,), ctx


def _softmax_backward(kept: Any, douts: Outputs) -> Gradients:
    return {"x": F.softmax_backward(douts[0], kept)}


def _softmax_mistakes(given: Inputs) -> Iterable[tuple[str, Outputs]]:
    x = given["x"]
    yield "it sums over the rows of the batch and not over the classes", (F.softmax(x, 0),)
    powers = np.exp(x - x.max(1, keepdims=True))
    for whole in (np.exp(x), powers):
        yield "one sum over the whole array divides every row", (whole / whole.sum(),)
    yield "nothing divides by the sum", (powers,)


softmax = Operation(_softmax_inputs, _softmax_forward, _softmax_backward, ("x",), mistakes=_softmax_mistakes)


# ---- normalisation


def batchnorm(spatial: bool = False, eps: float = 1e-5) -> Operation:
    """Batch normalisation in training mode: of (N, D), or by channel of (N, C, H, W)."""

    def inputs(rng: Generator, many: bool) -> Inputs:
        shape = ((8, 6, 12, 10) if many else (3, 4, 2, 5)) if spatial else ((64, 60) if many else (6, 4))
        return {
            "x": 2 * rng.standard_normal(shape) + 1,
            "gamma": rng.standard_normal(shape[1]),
            "beta": rng.standard_normal(shape[1]),
            "bn_param": {"mode": "train", "eps": eps, "momentum": 0.9},
        }

    def forward(given: Inputs) -> tuple[Outputs, Any]:
        y, ctx = F.batch_norm_forward(
            given["x"], given["gamma"], given["beta"], None, None, training=True, eps=eps
        )
        return (y,), ctx

    def mistakes(given: Inputs) -> Iterable[tuple[str, Outputs]]:
        x = given["x"]
        axes = (0, 2, 3)[: x.ndim - 1]
        shape = (1, -1, 1, 1)[: x.ndim]
        gamma, beta = given["gamma"].reshape(shape), given["beta"].reshape(shape)
        centred = x - x.mean(axes, keepdims=True)
        var = x.var(axes, keepdims=True)
        unbiased = x.var(axes, ddof=1, keepdims=True)
        yield (
            "the variance is divided by N - 1 and not by N",
            (centred / np.sqrt(unbiased + eps) * gamma + beta,),
        )
        yield "it divides by the variance and not by its root", (centred / (var + eps) * gamma + beta,)
        yield "gamma and beta are missing", (centred / np.sqrt(var + eps),)
        yield "gamma and beta are exchanged", (centred / np.sqrt(var + eps) * beta + gamma,)
        if not spatial:
            yield (
                "the mean is that of each row and not of each feature",
                (F.layer_norm(x, given["gamma"], given["beta"], eps=eps),),
            )

    def slips(given: Inputs, douts: Outputs) -> Iterable[tuple[str, Gradients]]:
        x = given["x"]
        axes = (0, 2, 3)[: x.ndim - 1]
        gamma = given["gamma"].reshape((1, -1, 1, 1)[: x.ndim])
        dx = douts[0] * gamma / np.sqrt(x.var(axes, keepdims=True) + eps)
        yield "the mean and the variance are taken for constants: they depend on x too", {"x": dx}
        yield "that of the variance is missing: it depends on x too", {"x": dx - dx.mean(axes, keepdims=True)}

    return Operation(
        inputs, forward, _norm_backward("batch"), ("x", "gamma", "beta"), mistakes=mistakes, slips=slips
    )


def _norm_backward(kind: str) -> Any:
    back = getattr(F, f"{kind}_norm_backward")

    def backward(kept: Any, douts: Outputs) -> Gradients:
        return dict(zip(("x", "gamma", "beta"), back(douts[0], kept)))

    return backward


def _layernorm_inputs(rng: Generator, many: bool) -> Inputs:
    rows, features = (64, 60) if many else (4, 6)
    return {
        "x": 2 * rng.standard_normal((rows, features)) + 1,
        "gamma": rng.standard_normal(features),
        "beta": rng.standard_normal(features),
        "ln_param": {"eps": 1e-5},
    }


def _layernorm_forward(given: Inputs) -> tuple[Outputs, Any]:
    y, ctx = F.layer_norm_forward(given["x"], given["gamma"], given["beta"], eps=1e-5)
    return (y,), ctx


def _layernorm_mistakes(given: Inputs) -> Iterable[tuple[str, Outputs]]:
    x, gamma, beta = given["x"], given["gamma"], given["beta"]
    yield (
        "the mean is that of each feature and not of each row",
        (F.batch_norm(x, gamma, beta, None, None, training=True, eps=1e-5),),
    )


layernorm = Operation(
    _layernorm_inputs,
    _layernorm_forward,
    _norm_backward("layer"),
    ("x", "gamma", "beta"),
    mistakes=_layernorm_mistakes,
)


# ---- losses


def softmax_loss(one_hot: bool = False) -> Operation:
    """Softmax and cross-entropy, the mean over the batch."""

    def inputs(rng: Generator, many: bool) -> Inputs:
        rows, classes = (64, 100) if many else (4, 5)
        labels = rng.integers(0, classes, rows)
        return {
            "x": rng.standard_normal((rows, classes)),
            "y": np.eye(classes)[labels] if one_hot else labels,
        }

    def forward(given: Inputs) -> tuple[Outputs, Any]:
        loss, ctx = F.softmax_cross_entropy_forward(given["x"], given["y"])
        return (loss,), ctx

    def backward(kept: Any, douts: Outputs) -> Gradients:
        return {"x": F.softmax_cross_entropy_backward(douts[0], kept)}

    def slips(given: Inputs, douts: Outputs) -> Iterable[tuple[str, Gradients]]:
        probabilities = F.softmax(given["x"])
        right = np.zeros_like(probabilities)
        right[np.arange(len(right)), given["y"].argmax(1) if one_hot else given["y"]] = 1
        for divisor in (1, len(right)):
            yield "the target is not subtracted", {"x": probabilities / divisor}
            yield "the sign is wrong", {"x": (right - probabilities) / divisor}

    return Operation(inputs, forward, backward, ("x",), ("loss",), tolerance=1e-5, scalar=True, slips=slips)


def _cross_entropy_inputs(rng: Generator, many: bool) -> Inputs:
    rows, classes = (64, 100) if many else (4, 5)
    labels = rng.integers(0, classes, rows)
    return {
        "y": F.softmax(rng.standard_normal((rows, classes))),
        "t": np.eye(classes)[labels],
        "labels": labels,
    }


def _cross_entropy_forward(given: Inputs) -> tuple[Outputs, Any]:
    return (F.softmax_cross_entropy(np.log(given["y"]), given["t"]),), None


cross_entropy = Operation(
    _cross_entropy_inputs, _cross_entropy_forward, outputs=("loss",), tolerance=1e-5, scalar=True
)


def sigmoid_loss() -> Operation:
    """Sigmoid and binary cross-entropy, the mean over the batch."""

    def inputs(rng: Generator, many: bool) -> Inputs:
        rows = 2000 if many else 6
        return {"x": rng.standard_normal(rows), "y": rng.integers(0, 2, rows)}

    def forward(given: Inputs) -> tuple[Outputs, Any]:
        target = given["y"].astype(np.float64)
        loss, ctx = F.binary_cross_entropy_forward(given["x"], target, from_logits=True)
        return (loss,), ctx

    def backward(kept: Any, douts: Outputs) -> Gradients:
        return {"x": F.binary_cross_entropy_backward(douts[0], kept)}

    return Operation(inputs, forward, backward, ("x",), ("loss",), tolerance=1e-5, scalar=True)


def _squares_inputs(rng: Generator, many: bool) -> Inputs:
    size = 2000 if many else 5
    return {"y": rng.standard_normal(size), "t": rng.standard_normal(size)}


def mean_squared_error(factor: float) -> Operation:
    """factor·Σ(y - t)² of one sample, or with 0 the mean."""

    def forward(given: Inputs) -> tuple[Outputs, Any]:
        mean = F.mean_squared_error(given["y"], given["t"])
        return (mean * (factor * given["y"].size if factor else 1.0),), None

    return Operation(_squares_inputs, forward, outputs=("loss",), scalar=True)
