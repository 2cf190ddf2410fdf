"""The better language model of chapter 6: two LSTMs, dropout, and words that weigh the scores as well."""

from __future__ import annotations

from typing import Any

from .arrays import Array
from .rnnlm import loss_of_words

__all__ = ["BetterRnnlm"]


class BetterRnnlm:
    """Words from the words before them; `drop_layers` are those of `layers` that drop in training."""

    layers: list[Any]
    drop_layers: list[Any]
    loss_layer: Any

    def forward(self, xs: Array, ts: Array, train_flg: bool = True) -> Any:
        """Return the loss of words xs (N, T) and of those that follow, ts (N, T)."""
        return loss_of_words(self, "BetterRnnlm", xs, ts, train_flg)
