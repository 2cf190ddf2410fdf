"""Real data small enough to come with the package."""

from __future__ import annotations

from importlib import resources

import numpy as np
from numpy.typing import NDArray

__all__ = ["load_digits"]

Labelled = tuple[NDArray[np.float32], NDArray[np.int64]]


def load_digits(test_size: float = 0.2, seed: int = 0) -> tuple[Labelled, Labelled]:
    """Load 1797 handwritten digits of 8x8 pixels, split into a training and a test part.

    Each digit is split by itself, so both parts hold all ten in the same proportions. The same arguments give
    the same split every time.

    Parameters
    ----------
    test_size : float, default 0.2
        Share of the images that is held out, at least 0 and less than 1.
    seed : int, default 0
        Which split.

    Returns
    -------
    (x_train, y_train), (x_test, y_test) : tuple of tuples of arrays
        x : (N, 8, 8, 1) float32 in [0, 1], channels last; y : (N,) int64 in 0 ... 9.

    Raises
    ------
    ValueError
        If `test_size` is outside [0, 1).

    References
    ----------
    E. Alpaydin, C. Kaynak: Optical Recognition of Handwritten Digits. UCI Machine Learning Repository, 1998.
    CC BY 4.0.

    Examples
    --------
    >>> from fastdl.datasets import load_digits
    >>> (x_train, y_train), (x_test, y_test) = load_digits()
    >>> x_train.shape, x_test.shape
    ((1438, 8, 8, 1), (359, 8, 8, 1))
    """
    if not 0 <= test_size < 1:
        raise ValueError(f"load_digits: test_size must be at least 0 and less than 1, got {test_size!r}")

    source = resources.files("fastdl") / "data" / "digits.npz"
    with source.open("rb") as stream, np.load(stream, allow_pickle=False) as archive:
        x = (archive["images"][..., np.newaxis] / np.float32(16)).astype(np.float32)
        y = archive["labels"].astype(np.int64)

    rng = np.random.default_rng(seed)
    held_out = np.zeros(len(y), dtype=bool)
    for digit in range(10):
        rows = np.flatnonzero(y == digit)
        held_out[rng.permutation(rows)[: round(test_size * len(rows))]] = True

    order = rng.permutation(len(y))
    train, test = order[~held_out[order]], order[held_out[order]]
    return (x[train], y[train]), (x[test], y[test])
