"""Networks of one column vector a sample: a mini-batch at once gives what its samples give one by one."""

from __future__ import annotations

import copy

import numpy as np
import pytest

from fastdl.compat.differences import difference
from fastdl.compat.nndl.targets import TARGETS
from fastdl.compat.tier import Unserved
from textbook import nndl as book

PLAIN, DECAYING = (target.replacement("fast").update_mini_batch for target in TARGETS)


def samples(count, inputs, outputs, dtype=np.float64):
    generator = np.random.default_rng(1)
    draw = lambda size: generator.standard_normal((size, 1)).astype(dtype)  # noqa: E731
    return [(draw(inputs), draw(outputs)) for _ in range(count)]


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("count", [1, 3, 10])
@pytest.mark.parametrize("sizes", [[4, 3], [7, 5, 2], [20, 6, 5, 3]])
def test_network(sizes, count, dtype):
    theirs = book.Network(sizes)
    mine = copy.deepcopy(theirs)
    before, was = list(mine.weights), copy.deepcopy(mine.weights)
    data = samples(count, sizes[0], sizes[-1], dtype)
    for _ in range(3):
        theirs.update_mini_batch(data, 0.5)
        PLAIN(mine, data, 0.5)
    assert not difference(vars(theirs), vars(mine)).reason
    assert not difference(before, was).reason  # new arrays each time


@pytest.mark.parametrize("cost", [book.Squares, book.Entropy])
@pytest.mark.parametrize("lmbda", [0.0, 5.0])
def test_network_with_decay(cost, lmbda):
    theirs = book.DecayingNetwork([8, 5, 3], cost)
    mine = copy.deepcopy(theirs)
    for _ in range(3):
        theirs.update_mini_batch(samples(6, 8, 3), 0.5, lmbda, 60)
        DECAYING(mine, samples(6, 8, 3), 0.5, lmbda, 60)
    assert not difference(vars(theirs), vars(mine)).reason


@pytest.mark.parametrize(
    "data",
    [
        [],
        [(np.ones(4), np.ones(3))],
        [(np.ones((4, 1)), 2)],
        [(np.ones((5, 1)), np.ones((3, 1)))],
        [(np.ones((4, 1), object), np.ones((3, 1)))],
    ],
)
def test_refused(data):
    network = book.Network([4, 3])
    before = copy.deepcopy(vars(network))
    with pytest.raises(Unserved):
        PLAIN(network, data, 0.5)
    assert not difference(before, vars(network)).reason


def test_other_weights_are_refused():
    network = book.Network([4, 3])
    network.weights = [w.astype(np.float32) for w in network.weights]
    with pytest.raises(Unserved):
        PLAIN(network, samples(2, 4, 3), 0.5)
