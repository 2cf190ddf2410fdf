"""The language model of chapter 6: its scores, one for each word of a language, become a softmax in place.

Nobody but the loss reads them, and they are as many as words in a batch times words in a language: each time
that they go to memory and come back costs as much as a part of the products.
"""

from __future__ import annotations

from time import perf_counter
from typing import Any

from ..tier import STATE, Unserved, credit, settings
from .arrays import Array, plain
from .functions import softmax_in_place
from .published import published
from .time_layers import TimeAffine, sequence_loss

__all__ = ["Rnnlm", "loss_of_words"]


class Rnnlm:
    """Words from the words before them; `layers` are an embedding, an LSTM and an affine layer."""

    layers: list[Any]
    loss_layer: Any

    def forward(self, xs: Array, ts: Array) -> Any:
        """Return the loss of words xs (N, T) and of those that follow, ts (N, T)."""
        return loss_of_words(self, "Rnnlm", xs, ts)


def loss_of_words(model: Any, name: str, xs: Array, ts: Array, *train_flg: bool) -> Any:
    """Do a forward pass; the scores are made and used in one where their layers have met such input before.

    Parameters
    ----------
    model, name
        A model, and the name of its class in the book.
    xs, ts : (N, T) arrays
    *train_flg : bool
        What its `predict` takes besides, and its `drop_layers` are set to.
    """
    *layers, affine = model.layers
    last = model.loss_layer
    if settings.verify:
        raise Unserved("its layers are verified one by one")
    if not published(type(model), name) or "predict" in vars(model):
        raise Unserved("it is not the book's")
    plain(xs, ts)
    words = affine.params[0].shape[1]
    if ts.ndim != 2 or ts.shape != xs.shape or ts.dtype.kind not in "iu" or not ts.size:
        raise Unserved("not (N, T) words and as many labels")
    if ts.min() < -words or ts.max() >= words:
        raise Unserved("a label that is no word")
    if not (_served(affine, "TimeAffine") and _served(last, "TimeSoftmaxWithLoss")):
        return last.forward(model.predict(xs, *train_flg), ts)
    hs: Any = xs
    for flag in train_flg:
        for layer in model.drop_layers:
            layer.train_flg = flag
    for layer in layers:
        hs = layer.forward(hs)
    x = affine.x
    if hs.shape != x.shape or hs.dtype != x.dtype or any(hs.dtype != param.dtype for param in affine.params):
        return last.forward(affine.forward(hs), ts)
    start = perf_counter()
    last.cache = None  # its memory may be that of the scores
    loss = sequence_loss(last, TimeAffine.forward(affine, hs), ts, softmax_in_place)
    credit((affine, last), 0, perf_counter() - start)
    return loss


def _served(layer: Any, name: str) -> bool:
    """Whether fastdl has done a layer's last forward pass and is not in a contest about the next."""
    state = vars(layer).get(STATE)
    if state is None or type(layer).__name__ != name or "forward" in vars(layer):
        return False
    ours, contest, *_ = state.watch
    return bool(ours and contest is None)
