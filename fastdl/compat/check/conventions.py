"""The names that fastdl knows, and how a definition of each name is called."""

from __future__ import annotations

from typing import Any

from . import feedforward as ff
from . import recurrent as rnn
from . import special
from .subjects import CS231N, Maker, Skip, Subject, backward_of, forward_of, function, layer, stem

__all__ = ["KNOWN", "subjects_of"]


def _first_that_fits(*makers: Maker) -> Maker:
    """All ways of several conventions that a definition's parameters allow."""

    def make(name: str, value: Any, names: dict[str, Any]) -> list[Subject]:
        found: list[Subject] = []
        reasons = []
        for maker in makers:
            try:
                found += maker(name, value, names)
            except Skip as skip:
                reasons.append(str(skip))
        if not found:
            raise Skip(reasons[0])
        return found

    return make


def _passes(base: str, operation: ff.Operation, *arguments: str) -> dict[str, Maker]:
    """The two functions of an operation."""
    return {
        f"{base}_forward": forward_of(operation, *arguments),
        f"{base}_backward": backward_of(operation, *arguments),
    }


_AFFINE = ff.affine((4, 2, 3), (32, 8, 8))
_FLAT = ff.affine((4, 6), (32, 64))
_SEQUENCE = ("x", "h", "Wx", "Wh", "b")
_CELL = ("x", "h", "c", "Wx", "Wh", "b")

FUNCTIONS: dict[str, Maker] = {
    **_passes("affine", _AFFINE, "x", "w", "b"),
    **_passes("relu", ff.pointwise("relu"), "x"),
    **_passes("sigmoid", ff.pointwise("sigmoid"), "x"),
    **_passes("tanh", ff.pointwise("tanh"), "x"),
    **_passes("conv", ff.conv, "x", "w", "b", "conv_param"),
    **_passes("max_pool", ff.max_pool, "x", "pool_param"),
    **_passes("batchnorm", ff.batchnorm(), "x", "gamma", "beta", "bn_param"),
    **_passes("spatial_batchnorm", ff.batchnorm(spatial=True), "x", "gamma", "beta", "bn_param"),
    **_passes("layernorm", ff.layernorm, "x", "gamma", "beta", "ln_param"),
    **_passes("rnn_step", rnn.recurrent_step("rnn", "h"), *_SEQUENCE),
    **_passes("rnn", rnn.recurrent("rnn", "h", state=True), *_SEQUENCE),
    **_passes("lstm_step", rnn.recurrent_step("lstm", "ifog"), *_CELL),
    **_passes("lstm", rnn.recurrent("lstm", "ifog", state=True), *_SEQUENCE),
    **_passes("temporal_affine", rnn.temporal_affine(), "x", "w", "b"),
    **_passes("word_embedding", rnn.embedding(), "x", "w"),
    "dropout_forward": special.dropout_function(backward=False),
    "dropout_backward": special.dropout_function(backward=True),
    "softmax_loss": function(ff.softmax_loss(), "x", "y", convention=CS231N),
    "temporal_softmax_loss": function(rnn.temporal_loss(masked=True), "x", "y", "mask", convention=CS231N),
    "sigmoid": function(ff.pointwise("sigmoid"), "x"),
    "sigmoid_grad": function(ff.pointwise("sigmoid", slope_of_output=True), "x"),
    "relu": function(ff.pointwise("relu"), "x"),
    "tanh": function(ff.pointwise("tanh"), "x"),
    "softmax": function(ff.softmax, "x"),
    "cross_entropy_error": _first_that_fits(
        function(ff.cross_entropy, "y", "t", note="targets are one-hot"),
        function(ff.cross_entropy, "y", "labels", note="targets are labels"),
    ),
    "sum_squared_error": function(ff.mean_squared_error(0.5), "y", "t"),
    "mean_squared_error": _first_that_fits(
        function(ff.mean_squared_error(0.0), "y", "t"),
        function(ff.mean_squared_error(0.5), "y", "t", note="it is half the sum of squares"),
    ),
    "im2col": function(ff.im2col, "x", "height", "width", "stride", "pad"),
    "col2im": function(ff.col2im, "cols", "shape", "height", "width", "stride", "pad"),
    "sgd": special.optimizer_function("sgd"),
    "sgd_momentum": special.optimizer_function("momentum"),
    "rmsprop": special.optimizer_function("rmsprop"),
    "adam": special.optimizer_function("adam"),
}

_LABELS = ("targets are labels", "targets are one-hot")

CLASSES: dict[str, Maker] = {
    "Affine": layer(_FLAT, ("w", "b")),
    "Linear": layer(_FLAT, ("w", "b")),
    "MatMul": layer(ff.matmul, ("w",)),
    "Relu": layer(ff.pointwise("relu")),
    "ReLU": layer(ff.pointwise("relu")),
    "Sigmoid": layer(ff.pointwise("sigmoid")),
    "Tanh": layer(ff.pointwise("tanh")),
    "Softmax": layer(ff.softmax),
    "SoftmaxWithLoss": _first_that_fits(
        *(
            layer(ff.softmax_loss(one_hot), called=("x", "y"), note=_LABELS[one_hot])
            for one_hot in (True, False)
        )
    ),
    "SigmoidWithLoss": layer(ff.sigmoid_loss(), called=("x", "y")),
    "Convolution": layer(ff.conv, ("w", "b", "stride", "pad")),
    "Pooling": layer(ff.max_pool, ("pool_height", "pool_width", "stride")),
    "BatchNormalization": _first_that_fits(
        *(layer(ff.batchnorm(eps=eps), ("gamma", "beta")) for eps in (1e-6, 1e-7, 1e-5, 1e-8, 1e-3))
    ),
    "Dropout": special.dropout_class,
    "Embedding": layer(rnn.embedding(), ("w",)),
    "TimeEmbedding": layer(rnn.embedding(), ("w",)),
    "TimeAffine": layer(rnn.temporal_affine(), ("w", "b")),
    "TimeSoftmaxWithLoss": layer(rnn.temporal_loss(masked=False), called=("x", "y")),
    "RNN": layer(rnn.recurrent_step("rnn", "h"), _SEQUENCE[2:], ("x", "h")),
    "LSTM": layer(rnn.recurrent_step("lstm", "fgio"), _SEQUENCE[2:], ("x", "h", "c")),
    "GRU": layer(rnn.recurrent_step("gru", "zrg"), _SEQUENCE[2:], ("x", "h")),
    "TimeRNN": layer(rnn.recurrent("rnn", "h", state=False), _SEQUENCE[2:]),
    "TimeLSTM": layer(rnn.recurrent("lstm", "fgio", state=False), _SEQUENCE[2:]),
    "TimeGRU": layer(rnn.recurrent("gru", "zrg", state=False), _SEQUENCE[2:]),
    "SGD": special.optimizer_class("sgd"),
    "Momentum": special.optimizer_class("momentum"),
    "AdaGrad": special.optimizer_class("adagrad"),
    "RMSprop": special.optimizer_class("rmsprop"),
    "Adam": special.optimizer_class("adam"),
}

KNOWN = (*FUNCTIONS, *CLASSES)


def subjects_of(name: str, value: Any, names: dict[str, Any]) -> list[Subject] | None:
    """Return the ways in which a definition may be meant; None if its name is not known.

    Raises
    ------
    Skip
        If it takes other parameters.
    """
    maker = CLASSES.get(name) if isinstance(value, type) else FUNCTIONS.get(stem(name))
    return None if maker is None else list(maker(name, value, names))
