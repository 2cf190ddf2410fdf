"""A whole step of the second book's CBOW, against its layers one by one."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
from dlfs2_cases import BY_NAME, near, normal, rng

from fastdl.compat.dlfs2.cbow import add_rows, window
from fastdl.compat.dlfs2.published import published
from fastdl.compat.tier import Unserved


def by_its_layers(model: Any, contexts: Any, target: Any) -> Any:
    """Go through a model layer by layer."""
    h = sum(layer.forward(idx) for layer, idx in zip(model.in_layers, contexts.T)) / len(model.in_layers)
    loss = model.ns_loss.forward(h.astype("f"), target)
    dh = model.ns_loss.backward(1) / len(model.in_layers)
    for layer in model.in_layers:
        layer.backward(dh.astype("f"))
    return loss


@pytest.fixture
def trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Believe of any class that it is the book's."""
    for module in ("cbow", "trainer"):
        monkeypatch.setattr(f"fastdl.compat.dlfs2.{module}.published", lambda *_: True)


def two_models(words: int = 60) -> tuple[Any, Any]:
    model = BY_NAME["CBOW"].replacement("fast")(words, 5, 2, np.arange(3 * words) % words)
    return model, copy.deepcopy(model)


@pytest.mark.usefixtures("trusted")
def test_cbow() -> None:
    ours, theirs = two_models()
    for seed in range(3):
        contexts, target = rng(seed).integers(0, 60, (20, 4)), rng(seed + 9).integers(0, 60, 20)
        np.random.seed(seed)  # noqa: NPY002
        expected = by_its_layers(theirs, contexts, target)
        np.random.seed(seed)  # noqa: NPY002
        near(ours.forward(contexts, target), expected)
        ours.backward()
        near(ours.grads, theirs.grads)
        for mine, other in zip(ours.ns_loss.loss_layers, theirs.ns_loss.loss_layers):
            near((mine.y, mine.t, mine.loss), (other.y, other.t, other.loss))
        ours.grads[0][...] = 1  # outside a window anybody may


@pytest.mark.usefixtures("trusted")
def test_a_window_clears_the_rows_that_it_knows_and_all_that_it_does_not() -> None:
    ours, theirs = two_models()
    merge = BY_NAME["remove_duplicate"].replacement("exact")
    with window(ours) as inside:
        for seed in range(4):
            contexts, target = rng(seed).integers(0, 60, (3, 4)), rng(seed + 9).integers(0, 60, 3)
            np.random.seed(seed)  # noqa: NPY002
            by_its_layers(theirs, contexts, target)
            np.random.seed(seed)  # noqa: NPY002
            ours.forward(contexts, target)
            ours.backward()
            _, expected = merge(theirs.params, theirs.grads)
            assert add_rows(inside, ours.grads[0], ours.grads[1:4])
            assert add_rows(inside, ours.grads[4], ours.grads[5:])
            near([ours.grads[0], ours.grads[4]], expected)
            near(ours.grads, theirs.grads)
            if seed == 2:
                ours.grads[1][...] = 1
                inside.forget()
                assert not add_rows(inside, ours.grads[0], ours.grads[1:4])


@pytest.mark.usefixtures("trusted")
def test_cbow_refuses_before_it_draws() -> None:
    ours, _ = two_models()
    state = np.random.get_state()[1].copy()  # noqa: NPY002
    fine = np.zeros((3, 4), "i"), np.zeros(3, "i")
    for bad in ((fine[0] + 60, fine[1]), (fine[0], fine[1] + 60), (fine[0][:2], fine[1]), ([[1]], fine[1])):
        with pytest.raises(Unserved):
            ours.forward(*bad)
    ours.in_layers[1].params = [normal(60, 5)]
    with pytest.raises(Unserved):
        ours.forward(*fine)
    np.testing.assert_array_equal(np.random.get_state()[1], state)  # noqa: NPY002


def test_only_the_books_own_definitions_are_trusted() -> None:
    ours, _ = two_models()
    assert not published(type(ours), "CBOW")
    with pytest.raises(Unserved):
        ours.forward(np.zeros((3, 4), "i"), np.zeros(3, "i"))
    with pytest.raises(Unserved):
        BY_NAME["Trainer"].replacement("fast")(ours, None).fit(np.zeros((3, 4), "i"), np.zeros(3, "i"))
