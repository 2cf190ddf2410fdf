"""Who is faster, where a trial does not say it: the two take turns."""

from __future__ import annotations

import math

import numpy as np
import pytest
from made_up import DOUBLE, HEAD, family  # noqa: F401 - a fixture
from test_serving import X, calls, load, service

from fastdl.compat import serving
from fastdl.compat.contest import TIMED, Contest
from fastdl.compat.trial import SLOWER

pytestmark = pytest.mark.usefixtures("family")


@pytest.mark.parametrize(
    ("times", "winner"),
    [
        ([], None),
        ([(1.0, 2.0)], None),  # one round
        ([(1.0, 0.3)] * 2, False),
        ([(1.0, 2.0)] * 2, True),
        ([(1.0, 1.1)] * 3, None),
        ([(1.0, 1.1)] * 4, True),
        ([(5.0, 1.1), (1.0, 9.0), (2.0, 2.0), (2.0, 2.0)], True),  # the least counts
        ([(1.0, 0.9)] * 4, False),
        ([(9.0, 8.0)], None),
        ([(9.0, 8.0)] * 2, False),  # long
    ],
)
def test_a_contest_ends_when_it_is_clear(times, winner):
    contest = Contest(2)
    for ours, theirs in times:
        contest.add(False, 0, theirs * 1e-3)
        contest.add(True, 0, ours * 1e-3)
    assert contest.winner is winner
    contest.add(True, 1, 100.0)  # not called on the other side: it says nothing
    assert contest.winner is winner
    assert not contest.ours_next
    assert Contest(1, ahead=True).ours_next
    assert not Contest(1, expected=(math.nan,)).ours_next


@pytest.mark.parametrize(("expected", "winner"), [(2e-3, None), (4e-3, True), (math.nan, None)])
def test_the_original_has_no_turn_where_fastdl_is_far_ahead(expected, winner):
    contest = Contest(2, ahead=True, expected=(expected, 0.0))
    assert contest.winner is None
    contest.add(True, 0, 1.0, 1000)
    assert contest.winner is winner
    contest.add(True, 1, 0.5, 1000)
    assert contest.winner is None


@pytest.mark.parametrize(
    ("theirs", "served", "left"), [(0.5, 66, {TIMED: 2, SLOWER: 3}), (2.0, 69, {TIMED: 2})]
)
def test_what_seems_slower_takes_turns_again(tmp_path, monkeypatch, theirs, served, left):
    learner = load(HEAD + DOUBLE, tmp_path, monkeypatch)
    learner.double(X, {"offset": 1})
    ticks = {True: 0.0, False: 0.0}

    def now(*, ours):
        ticks[ours] += 1.0 if ours else theirs
        return ticks[ours]

    monkeypatch.setattr(serving, "now", now)
    service("double").counts["double"].seconds += 1e3
    for _ in range(70):
        np.testing.assert_array_equal(learner.double(X, {"offset": 1}), X * 2 + 1)
    assert calls("double") == served
    assert service("double").reasons == left
