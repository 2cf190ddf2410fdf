"""The classes of the course's notebooks, where they differ from the book's."""

from __future__ import annotations

import copy

import numpy as np
import pytest
from test_dlfs1 import drawn, equal

from fastdl.compat.dlfs1.targets import TARGETS
from fastdl.compat.tier import settings
from textbook import dlfs1 as textbook

COURSE = {target.name: target for target in TARGETS if (target.fast or "").split(":")[0] == "course"}


class CourseRelu:
    def __init__(self):
        self.cache = None


@pytest.mark.parametrize("tier", ["fast", "exact"])
def test_course_relu(monkeypatch, tier):
    monkeypatch.setattr(settings, "tier", tier)
    ours = COURSE["Relu"].replacement(settings.tier)
    layer, x = CourseRelu(), drawn(3, 40)
    equal(textbook.Relu().forward(x), ours.forward(layer, x))
    assert (layer.cache == (x <= 0)).all()
    dout = np.ones((3, 40))
    assert ours.backward(layer, dout) is dout
    equal((x > 0).astype(float), dout)


@pytest.mark.parametrize("shape, outputs", [((3, 4), 5), ((64, 90), 130)])
def test_course_affine(monkeypatch, shape, outputs):
    monkeypatch.setattr(settings, "tier", "fast")
    ours = COURSE["Affine"].replacement("fast")
    layer = textbook.Affine(drawn(shape[1], outputs, seed=1), drawn(outputs, seed=2))
    mine, x = copy.deepcopy(layer), drawn(*shape)
    y = layer.forward(x)
    equal(y, ours.forward(mine, x))
    equal(layer.backward(y), ours.backward(mine, y))
    equal(layer.dW, mine.dW)
    equal(np.sum(y), mine.db)
