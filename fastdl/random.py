"""One seed for everything that is drawn: initial weights, the order of batches, dropout and noise."""

from __future__ import annotations

import threading

import numpy as np

_lock = threading.Lock()
_root = np.random.SeedSequence()


def set_random_seed(seed: int) -> None:
    """Make what follows repeat bit for bit.

    Every layer takes its own stream of numbers when it is made; a model takes the order of its batches from
    its own. After this call those streams are the same each time, in the order in which they are
    taken. NumPy's and Python's own generators are left alone.

    Parameters
    ----------
    seed : int
        Not negative.

    Examples
    --------
    >>> import fastdl
    >>> from fastdl.layers import Dense
    >>> def first_weight():
    ...     fastdl.set_random_seed(7)
    ...     layer = Dense(1)
    ...     layer.build((None, 1))
    ...     return float(layer.params["kernel"][0, 0])
    >>> first_weight() == first_weight()
    True
    """
    global _root
    if isinstance(seed, bool) or not hasattr(seed, "__index__"):
        raise TypeError(f"set_random_seed: seed must be an integer; got {seed!r}")
    if seed < 0:
        raise ValueError(f"set_random_seed: seed must not be negative; got {seed}")
    with _lock:
        _root = np.random.SeedSequence(int(seed))


def generator(seed: int | None = None) -> np.random.Generator:
    """Return a new stream: the one of `seed`, or without one the next of the run's seed."""
    if seed is not None:
        return np.random.default_rng(seed)
    with _lock:
        return np.random.default_rng(_root.spawn(1)[0])
