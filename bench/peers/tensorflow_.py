"""TensorFlow on the CPU: every case is one compiled function. Images have their channels last."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from case import FORWARD, Case
from model_cases import ModelCase

from . import Call, Results, gradient


def version() -> str:
    import tensorflow as tf

    return str(tf.__version__)


def prepare(case: Case | ModelCase, direction: str, threads: int) -> Call | None:
    import tensorflow as tf

    if isinstance(case, ModelCase):
        return None
    function = find(case)
    if function is None or not use_threads(threads):
        return None
    arrays = [tf.constant(array) for array in case.arrays()]
    if direction == FORWARD:
        forward = tf.function(function).get_concrete_function(*arrays)
        return Call(lambda: forward(*arrays), lambda y: (y.numpy(),))

    wanted = [i for i, array in enumerate(arrays) if array.dtype.is_floating]
    if case.family == "loss":  # fastdl's give no gradient for the target
        wanted = wanted[:1]
    dy = tf.constant(gradient(case.output_shape(), case.dtype))

    def both_ways(*arrays: Any) -> Any:
        sources = [arrays[i] for i in wanted]
        with tf.GradientTape() as tape:
            tape.watch(sources)
            y = function(*arrays)
        gradients = tape.gradient(y, sources, dy)
        return y, [tf.convert_to_tensor(g) for g in gradients]  # an embedding's may be rows

    train = tf.function(both_ways).get_concrete_function(*arrays)

    def read(result: Any) -> Results:
        y, gradients = result
        return (y.numpy(), *(g.numpy() for g in gradients))

    return Call(lambda: train(*arrays), read)


def use_threads(threads: int) -> bool:
    """Ask for so many threads; they cannot be changed once TensorFlow has computed anything."""
    import tensorflow as tf

    config = tf.config.threading
    try:
        config.set_intra_op_parallelism_threads(threads)
        config.set_inter_op_parallelism_threads(1)
    except RuntimeError:
        return bool(config.get_intra_op_parallelism_threads() == threads)
    return True


def find(case: Case) -> Callable[..., Any] | None:
    """Return the case's operation as a function of its arrays, or None if TensorFlow has none such."""
    import tensorflow as tf

    options = case.options
    if case.family == "conv":
        return convolution(case)
    if case.family == "pool":
        return pooling(case)
    functions: dict[str, Callable[..., Any]] = {
        "linear": lambda x, w, b: tf.matmul(x, w) + b,
        "relu": tf.nn.relu,
        "leaky_relu": lambda x: tf.nn.leaky_relu(x, 0.2),
        "elu": tf.nn.elu,
        "sigmoid": tf.sigmoid,
        "tanh": tf.tanh,
        "gelu": lambda x: tf.nn.gelu(x, approximate=False),
        "silu": tf.nn.silu,
        "softplus": tf.nn.softplus,
        "softmax": tf.nn.softmax,
        "log_softmax": tf.nn.log_softmax,
        "embedding": lambda ids, table: tf.gather(table, ids),
        "softmax_cross_entropy": lambda x, labels: tf.reduce_mean(
            tf.nn.sparse_softmax_cross_entropy_with_logits(labels, x)
        ),
        "mean_squared_error": lambda x, target: tf.reduce_mean((x - target) ** 2),
    }
    function = functions.get(case.op)
    if function and (activation := options.get("activation")):
        return lambda *arrays: getattr(tf.nn, activation)(function(*arrays))
    return function


def convolution(case: Case) -> Callable[..., Any] | None:
    import tensorflow as tf

    options = case.options
    if case.layout != "NHWC" or case.op != "conv2d" or "groups" in options:
        return None
    padding = [[0, 0], *[[options["padding"]] * 2] * 2, [0, 0]]
    strides = [options.get("stride", 1)] * 2
    return lambda x, w, b: tf.nn.conv2d(x, w, strides, padding) + b


def pooling(case: Case) -> Callable[..., Any] | None:
    import tensorflow as tf

    if case.layout != "NHWC":
        return None
    kind = {"max_pool2d": tf.nn.max_pool2d, "avg_pool2d": tf.nn.avg_pool2d}[case.op]
    size = case.options["size"]
    return lambda x: kind(x, size, size, "VALID")
