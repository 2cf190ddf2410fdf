"""The one table of what is measured.

`compare.py` and every ``bench_<family>.py`` read it, so a new row is timed everywhere. Shapes of images are
written (N, C, H, W) here; a row with ``layout="NHWC"`` is the same image with the channels last.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import Any

from case import FORWARD, STEP, Case, Shape


def times(*sizes: int) -> str:
    return "x".join(map(str, sizes))


def image(x: Shape, options: dict[str, Any]) -> Shape:
    return (x[0], *x[2:], x[1]) if options.get("layout") == "NHWC" else x


def words(options: dict[str, Any]) -> str:
    """Options as a name says them: what does not change the work is left out."""
    said = {"layout": "{}", "activation": "{}", "mode": "{}"}
    hidden = ("size", "padding", "output_padding", "running_mean", "running_var", "training", "scale")
    shown = {key: value for key, value in options.items() if key not in hidden}
    return "".join(f", {said.get(key, key + ' {}').format(value)}" for key, value in shown.items())


def conv(
    x: Shape,
    channels: int,
    size: int,
    *,
    padding: int | None = None,
    transposed: bool = False,
    dtype: str = "float32",
    **options: Any,
) -> Case:
    """A convolution over one axis or two; `padding` keeps the size at stride 1 unless it is given."""
    groups = options.get("groups", 1)
    kernel = (size,) * (len(x) - 2)
    ends = (x[1], channels // groups) if transposed else (channels, x[1] // groups)
    w = (*kernel, *reversed(ends)) if options.get("layout") == "NHWC" else (*ends, *kernel)
    told = words(options).replace(f"groups {x[1]}", "depthwise")
    if padding is None:
        padding = options.get("dilation", 1) * (size - 1) // 2
    x = image(x, options)
    return Case(
        "conv",
        f"conv{'_transpose' if transposed else ''}{len(kernel)}d",
        (x, w, (channels,)),
        f"{times(*x)} -> {channels}, {times(*kernel)}{told}",
        options=MappingProxyType({"padding": padding, **options}),
        dtype=dtype,
    )


def depthwise(x: Shape, size: int, **options: Any) -> Case:
    return conv(x, x[1], size, groups=x[1], **options)


def pool(op: str, x: Shape, *, dtype: str = "float32", **options: Any) -> Case:
    x = image(x, options)
    size = "" if op.startswith("global") else f", {times(*[options['size']] * (len(x) - 2))}"
    label = times(*x) + size + words(options)
    return Case("pool", op, (x,), label, options=MappingProxyType(options), dtype=dtype)


def dense(batch: int, inputs: int, outputs: int, dtype: str = "float32", **options: Any) -> Case:
    shapes = ((batch, inputs), (inputs, outputs), (outputs,))
    label = f"{batch}x{inputs} -> {outputs}{words(options)}"
    return Case("dense", "linear", shapes, label, options=MappingProxyType(options), dtype=dtype)


def pointwise(op: str, *shape: int, dtype: str = "float32") -> Case:
    return Case("pointwise", op, (shape,), times(*shape), dtype=dtype)


def norm(op: str, x: Shape, *, dtype: str = "float32", **options: Any) -> Case:
    """Over channels, which an image has where its layout says and anything else at the end."""
    channels = x[1] if len(x) > 2 and op != "layer_norm" else x[-1]
    x = image(x, options)
    shapes = (x, (channels,), (channels,))
    if op == "batch_norm":
        if options.pop("layout", "NCHW") == "NHWC":
            options["axis"] = -1
        options |= {"running_mean": None, "running_var": None, "training": True}
    label = times(*x) + words(options)
    return Case("norm", op, shapes, label, options=MappingProxyType(options), dtype=dtype)


def norm_inference(x: Shape) -> Case:
    """Batch normalisation with the statistics that were gathered in training."""
    shapes = (x, *[(x[1],)] * 4)
    options = MappingProxyType({"training": False})
    return Case("norm", "batch_norm", shapes, f"{times(*x)}, inference", options, directions=(FORWARD,))


GATES = {"lstm": 4, "gru": 3, "rnn": 1}


def recurrent(kind: str, x: Shape, units: int, dtype: str = "float32") -> Case:
    """A layer over sequences (N, T, D), or one step of it for x (N, D).

    Weights are of a size at which states neither vanish nor saturate.
    """
    columns = GATES[kind] * units
    states = ((x[0], units),) * (2 if kind == "lstm" else 1)
    bias = (2, columns) if kind == "gru" else (columns,)
    shapes = (x, *states, (x[-1], columns), (units, columns), bias)
    op = kind if len(x) == 3 else f"{kind}_cell"
    return Case("recurrent", op, shapes, f"{times(*x)} -> {units}", dtype=dtype, scale=0.1)


def cross_entropy(batch: int, classes: int, dtype: str = "float32") -> Case:
    shape = (batch, classes)
    return Case("loss", "softmax_cross_entropy", (shape,), times(*shape), dtype=dtype, classes=classes)


def embedding(ids: Shape, rows: int, columns: int) -> Case:
    return Case("embedding", "embedding", (ids, (rows, columns)), f"{times(*ids)} of {times(rows, columns)}")


def step(op: str, model: str, *shapes: Shape, dtype: str = "float32") -> Case:
    return Case("optimizer", op, shapes, model, dtype=dtype, directions=(STEP,))


LENET = ((6, 1, 5, 5), (6,), (16, 6, 5, 5), (16,), (400, 120), (120,), (120, 84), (84,), (84, 10), (10,))
PERCEPTRON = ((784, 256), (256,), (256, 256), (256,), (256, 10), (10,))
MILLIONS = ((1024, 1024),) * 4

CASES = (
    # Few channels: what a kernel reads again and again is the output.
    conv((2, 3, 8, 8), 4, 3),
    conv((32, 1, 28, 28), 6, 5),
    conv((32, 1, 28, 28), 32, 3),
    conv((100, 1, 28, 28), 30, 5, padding=0),
    conv((32, 3, 32, 32), 32, 3),
    conv((8, 3, 224, 224), 16, 3),
    conv((1, 3, 224, 224), 64, 7, stride=2),
    conv((2, 3, 128, 128), 32, 7),
    # 3x3 with stride 1, where Winograd's algorithm may take over.
    conv((32, 16, 8, 8), 32, 3),
    conv((100, 16, 14, 14), 32, 3),
    conv((32, 64, 32, 32), 64, 3),
    conv((32, 64, 32, 32), 64, 3, activation="relu"),
    conv((32, 128, 16, 16), 128, 3),
    conv((32, 256, 8, 8), 256, 3),
    conv((1, 64, 56, 56), 64, 3),
    conv((128, 32, 16, 16), 64, 3),
    conv((7, 13, 31, 29), 17, 3),
    # Larger windows.
    conv((128, 6, 14, 14), 16, 5, padding=0),
    conv((16, 32, 28, 28), 32, 5),
    conv((3, 5, 15, 17), 11, 5),
    conv((4, 32, 56, 56), 32, 7),
    # 1x1: a matrix product.
    conv((32, 64, 32, 32), 128, 1),
    conv((32, 256, 14, 14), 64, 1),
    conv((1, 128, 28, 28), 256, 1),
    conv((32, 64, 16, 16), 128, 1, stride=2),
    # Stride 2.
    conv((32, 64, 32, 32), 128, 3, stride=2),
    conv((32, 64, 32, 32), 128, 4, stride=2),
    conv((64, 64, 14, 14), 128, 5, stride=2),
    conv((64, 1, 28, 28), 64, 5, stride=2),
    # One channel at a time, in groups, and with holes.
    depthwise((32, 64, 32, 32), 3),
    depthwise((8, 128, 28, 28), 3, stride=2),
    depthwise((8, 96, 14, 14), 5),
    conv((16, 64, 28, 28), 64, 3, groups=4),
    conv((8, 64, 32, 32), 64, 3, dilation=2),
    conv((2, 32, 64, 64), 32, 3, dilation=4),
    # Channels last.
    conv((32, 1, 28, 28), 32, 3, layout="NHWC"),
    conv((32, 3, 32, 32), 32, 3, layout="NHWC"),
    conv((32, 64, 32, 32), 64, 3, layout="NHWC"),
    conv((32, 128, 16, 16), 128, 3, layout="NHWC"),
    conv((8, 128, 28, 28), 256, 1, layout="NHWC"),
    conv((32, 64, 32, 32), 128, 4, stride=2, layout="NHWC"),
    depthwise((32, 64, 32, 32), 3, layout="NHWC"),
    # Transposed.
    conv((64, 128, 7, 7), 64, 4, stride=2, padding=1, transposed=True),
    conv((32, 64, 16, 16), 3, 4, stride=2, padding=1, transposed=True),
    conv((16, 256, 8, 8), 128, 4, stride=2, padding=1, transposed=True),
    conv((64, 128, 7, 7), 64, 5, stride=2, output_padding=1, transposed=True),
    conv((64, 64, 14, 14), 1, 5, stride=2, output_padding=1, transposed=True),
    conv((4, 64, 32, 32), 32, 2, stride=2, padding=0, transposed=True),
    conv((64, 128, 7, 7), 64, 4, stride=2, padding=1, transposed=True, layout="NHWC"),
    conv((64, 128, 7, 7), 64, 5, stride=2, output_padding=1, transposed=True, layout="NHWC"),
    # One axis.
    conv((32, 1, 1000), 32, 7),
    conv((32, 64, 128), 64, 3),
    conv((8, 128, 200), 128, 5),
    conv((32, 64, 128), 64, 3, layout="NHWC"),
    # float64, which teaching code is written in.
    conv((32, 1, 28, 28), 32, 3, dtype="float64"),
    conv((32, 64, 16, 16), 64, 3, dtype="float64"),
    conv((16, 64, 14, 14), 64, 4, stride=2, padding=1, transposed=True, dtype="float64"),
    pool("max_pool2d", (32, 64, 32, 32), size=2, dtype="float64"),
    dense(128, 784, 256, dtype="float64"),
    pointwise("tanh", 128, 1024, dtype="float64"),
    norm("batch_norm", (32, 64, 32, 32), dtype="float64"),
    recurrent("lstm", (32, 50, 128), 128, dtype="float64"),
    cross_entropy(128, 1000, dtype="float64"),
    step("Adam", "784-256-256-10", *PERCEPTRON, dtype="float64"),
    # Pooling.
    pool("max_pool2d", (2, 3, 8, 8), size=2),
    pool("max_pool2d", (32, 6, 28, 28), size=2),
    pool("max_pool2d", (32, 64, 32, 32), size=2),
    pool("max_pool2d", (1, 64, 112, 112), size=3, stride=2, padding=1),
    pool("max_pool2d", (32, 64, 32, 32), size=2, layout="NHWC"),
    pool("avg_pool2d", (2, 3, 8, 8), size=2),
    pool("avg_pool2d", (32, 64, 32, 32), size=2),
    pool("avg_pool2d", (32, 64, 32, 32), size=2, layout="NHWC"),
    pool("global_avg_pool2d", (32, 256, 8, 8)),
    pool("max_pool1d", (32, 64, 128), size=2),
    # Normalisation.
    norm("batch_norm", (8, 32)),
    norm("batch_norm", (128, 256)),
    norm("batch_norm", (32, 16, 7, 7)),
    norm("batch_norm", (32, 64, 32, 32)),
    norm("batch_norm", (32, 64, 32, 32), layout="NHWC"),
    norm_inference((32, 64, 32, 32)),
    norm("layer_norm", (8, 64)),
    norm("layer_norm", (128, 1024)),
    norm("instance_norm", (8, 64, 32, 32)),
    norm("group_norm", (32, 64, 16, 16), groups=8),
    # Dense.
    dense(1, 8, 8, activation="relu"),
    dense(4, 16, 8),
    dense(32, 64, 10),
    dense(1, 1024, 1024),
    dense(100, 784, 50),
    dense(128, 784, 256),
    dense(128, 256, 256, activation="relu"),
    dense(64, 3136, 128),
    dense(128, 1024, 1024),
    dense(768, 768, 768),
    dense(128, 4096, 4096),
    # Activations.
    pointwise("relu", 8, 64),
    pointwise("relu", 32, 64, 32, 32),
    pointwise("leaky_relu", 32, 64, 32, 32),
    pointwise("elu", 128, 1024),
    pointwise("sigmoid", 8, 64),
    pointwise("sigmoid", 128, 1024),
    pointwise("tanh", 128, 1024),
    pointwise("tanh", 32, 64, 32, 32),
    pointwise("gelu", 128, 1024),
    pointwise("silu", 128, 1024),
    pointwise("softplus", 128, 1024),
    pointwise("softmax", 32, 10),
    pointwise("softmax", 128, 1000),
    pointwise("log_softmax", 128, 1000),
    # Losses.
    cross_entropy(32, 10),
    cross_entropy(128, 100),
    cross_entropy(128, 1000),
    cross_entropy(64, 10_000),
    Case("loss", "mean_squared_error", ((128, 1000), (128, 1000)), "128x1000"),
    # Recurrence.
    recurrent("lstm", (1, 100, 64), 64),
    recurrent("lstm", (32, 1, 64), 64),
    recurrent("lstm", (1, 200, 32), 32),
    recurrent("lstm", (32, 50, 128), 128),
    recurrent("lstm", (128, 20, 64), 32),
    recurrent("lstm", (32, 200, 32), 64),
    recurrent("lstm", (64, 25, 256), 512),
    recurrent("gru", (1, 100, 64), 64),
    recurrent("gru", (32, 50, 128), 128),
    recurrent("gru", (128, 20, 64), 256),
    recurrent("rnn", (2, 5, 8), 8),
    recurrent("rnn", (32, 50, 128), 128),
    recurrent("lstm", (1, 64), 64),
    recurrent("lstm", (32, 128), 128),
    recurrent("lstm", (128, 256), 512),
    recurrent("gru", (32, 128), 128),
    recurrent("rnn", (32, 128), 128),
    # Embedding.
    embedding((64, 50), 1000, 64),
    embedding((32, 100), 10_000, 128),
    embedding((32, 200), 20_000, 128),
    embedding((4096,), 50_000, 16),
    # Optimizers.
    step("SGD", "LeNet-5", *LENET),
    step("SGD", "4 million", *MILLIONS),
    step("Momentum", "784-256-256-10", *PERCEPTRON),
    step("RMSprop", "784-256-256-10", *PERCEPTRON),
    step("Adagrad", "784-256-256-10", *PERCEPTRON),
    step("Adam", "LeNet-5", *LENET),
    step("Adam", "784-256-256-10", *PERCEPTRON),
    step("Adam", "4 million", *MILLIONS),
    step("AdamW", "784-256-256-10", *PERCEPTRON),
)
