"""scikit-learn's MLPClassifier, for the models that it has: a step of Adam, and the answer."""

from __future__ import annotations

from typing import Any

import numpy as np

from case import FORWARD, Case
from model_cases import ModelCase, networks

from . import Call, Results

HIDDEN = {"digits MLP": (64, 32), "MLP 784-256-256-10": (256, 256)}


def version() -> str:
    import sklearn

    return str(sklearn.__version__)


def prepare(case: Case | ModelCase, direction: str, threads: int) -> Call | None:
    from sklearn.neural_network import MLPClassifier
    from threadpoolctl import threadpool_limits

    if not isinstance(case, ModelCase) or case.op not in HIDDEN:
        return None
    threadpool_limits(threads, user_api="blas")
    x, y = case.arrays()
    model = MLPClassifier(HIDDEN[case.op], alpha=0.0, batch_size=case.batch, epsilon=1e-7)
    model.partial_fit(x, y, classes=np.arange(10))  # makes the weights, in the dtype of x
    start(model, networks(case.network())[0].get_weights())
    if direction == FORWARD:
        return Call(lambda: model.predict_proba(x), lambda p: (p,))

    # It keeps no gradients; after one step of Adam from nothing they can be told from its first moments.
    def read(_: Any) -> Results:
        first = [m / (1 - model.beta_1) for m in model._optimizer.ms]
        half = len(first) // 2
        pairs = zip(first[:half], first[half:])
        return np.asarray(model.loss_, x.dtype), *(part for pair in pairs for part in pair)

    return Call(lambda: model.partial_fit(x, y), read)


def start(model: Any, weights: Results) -> None:
    """Give the model these weights, and an optimizer that has taken no step."""
    from sklearn.neural_network._stochastic_optimizers import AdamOptimizer

    for own, given in zip((*model.coefs_, *model.intercepts_), (*weights[::2], *weights[1::2])):
        own[...] = given
    model._optimizer = AdamOptimizer(model.coefs_ + model.intercepts_, 0.001, 0.9, 0.999, 1e-7)
