"""Small inputs for the trials of what goes over a whole corpus."""

from __future__ import annotations

from typing import Any

import numpy as np

_WORDS = 500
_ROWS = 48


def part_of_corpus(arguments: dict[str, Any]) -> float:
    """Take the first words, and of the vocabulary what holds them."""
    corpus = arguments["corpus"]
    part = arguments["corpus"] = corpus[:_WORDS]
    if "vocab_size" in arguments:
        arguments["vocab_size"] = min(arguments["vocab_size"], int(np.max(part)) + 1)
    return len(part) / len(corpus)


def part_of_matrix(arguments: dict[str, Any]) -> float:
    """Take the first rows and columns, and be silent."""
    C = arguments["C"]
    part = arguments["C"] = C[:_ROWS, :_ROWS]
    arguments["verbose"] = False
    share: float = part.size / C.size
    return share
