"""Whether code that runs is the book's: what one definition may assume of another that it works with."""

from __future__ import annotations

import ast
import inspect
import textwrap
from functools import lru_cache
from typing import Any

from ..fingerprint import fingerprint

FINGERPRINTS = {
    "Adam": {"1c6977fdb4000364"},
    "AdaGrad": {"1b4dc9a212c80720"},
    "BetterRnnlm": {"aa037b9ddd73629a"},
    "CBOW": {"66b69bb63bb2b048"},
    "Embedding": {"be0d067dea6efd51", "dcbf15cf7cedbfb6"},
    "EmbeddingDot": {"7cb12a3192a30aac"},
    "Momentum": {"1428b93d07abb5c7"},
    "NegativeSamplingLoss": {"ba46d229a5a40b2c"},
    "Nesterov": {"97eb4379fe8af366"},
    "RMSprop": {"1edecb027f15a8bc"},
    "Rnnlm": {"32f5dd5b511adc37"},
    "SGD": {"2480b4dcadc12f96"},
    "SigmoidWithLoss": {"186facbc3ed91f36"},
    "Trainer": {"2401b398cb3b0cb7"},
    "UnigramSampler": {"79e5e6358ae0da1a"},
    "clip_grads": {"36ba700130779940"},
    "remove_duplicate": {"c4b9c137bcf0453f"},
}
"""Of the versions that agree with each other, by name."""


def published(definition: Any, name: str) -> bool:
    """Return whether a class or function is the book's of that name, changed by nobody but fastdl."""
    methods = vars(definition) if isinstance(definition, type) else {}
    changed = any(
        inspect.isfunction(method)
        and not hasattr(method, "__fastdl__")
        and method.__module__ != definition.__module__
        for method in methods.values()
    )
    return (
        not changed
        and getattr(definition, "__name__", "") == name
        and _same(inspect.unwrap(definition), name)
    )


@lru_cache(maxsize=64)
def _same(definition: Any, name: str) -> bool:
    try:
        source = textwrap.dedent(inspect.getsource(definition))
        (node,) = ast.parse(source).body
    except (OSError, SyntaxError, TypeError, ValueError):
        return False
    return fingerprint(node) in FINGERPRINTS[name]
