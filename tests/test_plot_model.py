"""Models as pictures: nothing overlaps, and everything is said; without matplotlib, as text."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fastdl import Input, Model, Sequential, layers, plots, summary
from fastdl.plots.layout import Box, Layout, Line, lay_out

drawn = pytest.mark.skipif(find_spec("matplotlib") is None, reason="drawing needs matplotlib")


# ---- where the boxes go


def random_graph(seed: int) -> tuple[list[Box], list[Line]]:
    rng = np.random.default_rng(seed)
    count = int(rng.integers(2, 16))
    boxes = [
        Box(width, height, width * share)
        for width, height, share in rng.uniform((20, 10, 0.2), (90, 40, 0.8), (count, 3))
    ]
    lines = []
    for target in range(1, count):
        for source in rng.choice(target, min(target, int(rng.integers(0, 4))), replace=False):
            lines.append(Line(int(source), target))
    return boxes, lines


def points(route: list[tuple[float, float]]) -> np.ndarray[Any, Any]:
    """Places along a route: a cubic from each of its points to the next, vertical at both ends."""
    t = np.linspace(0, 1, 21)[:, np.newaxis]
    pieces = []
    for (x0, y0), (x1, y1) in zip(route, route[1:]):
        half = (y0 + y1) / 2
        corners = np.array([(x0, y0), (x0, half), (x1, half), (x1, y1)])
        weights = np.hstack([(1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t**2 * (1 - t), t**3])
        pieces.append(weights @ corners)
    return np.concatenate(pieces)


def assert_tidy(layout: Layout, boxes: list[Box], lines: list[Line]) -> None:
    near = 1e-6  # of points
    areas = [(x, y, x + box.width, y + box.height) for (x, y), box in zip(layout.corners, boxes)]
    for number, (left, top, right, bottom) in enumerate(areas):
        assert left > -near
        assert top > -near
        assert right < layout.width + near
        assert bottom < layout.height + near
        for other in areas[:number]:
            apart = left > other[2] or right < other[0] or top > other[3] or bottom < other[1]
            assert apart, "two boxes overlap"
    for line, route in zip(lines, layout.routes):
        x, y = points(route).T
        for number, (left, top, right, bottom) in enumerate(areas):
            inside = (x > left + near) & (x < right - near) & (y > top + near) & (y < bottom - near)
            assert not inside.any(), f"the line {line} crosses box {number}"
        below, above = areas[line.source][3], areas[line.target][1]
        assert route[0][1] == pytest.approx(below)
        assert route[-1][1] == pytest.approx(above)
        assert areas[line.source][0] <= route[0][0] <= areas[line.source][2]
        assert areas[line.target][0] <= route[-1][0] <= areas[line.target][2]


@pytest.mark.parametrize("seed", range(25))
def test_boxes_do_not_overlap_and_no_line_crosses_one(seed: int) -> None:
    boxes, lines = random_graph(seed)
    assert_tidy(lay_out(boxes, lines), boxes, lines)


def test_a_trunk_is_straight_and_skips_run_beside_it() -> None:
    boxes = [Box(40, 20, 20)] * 7
    lines = [Line(i, i + 1) for i in range(6)] + [Line(0, 6), Line(1, 5), Line(2, 4)]
    layout = lay_out(boxes, lines)
    assert len({x for x, _ in layout.corners}) == 1
    outer, middle, inner = (route[len(route) // 2][0] for route in layout.routes[-3:])
    assert outer > middle > inner > 40


def test_branches_stand_side_by_side_in_their_order() -> None:
    layout = lay_out(
        [Box(40, 20, 20)] * 5, [Line(0, 1), Line(0, 2), Line(0, 3), *(Line(i, 4) for i in (1, 2, 3))]
    )
    (stem, _), (a, top), (b, _), (c, _), (end, _) = layout.corners
    assert a < b < c
    assert stem == b == end
    assert {y for _, y in layout.corners[1:4]} == {top}


# ---- models


def network() -> Model:
    """Two inputs, a shared layer, a model in the model, a skip connection and two outputs."""
    a, b = Input((4,), name="a"), Input((4,), name="b")
    shared = layers.Dense(4, activation="relu", name="twin")
    tower = Sequential([Input((4,)), layers.Dense(4, name="d1"), layers.ReLU(name="r1")], name="tower")
    total = layers.Add(name="sum")([shared(a), shared(b), tower(b)])
    return Model(
        [a, b], [layers.Dense(1, name="left")(total), layers.Dense(2, name="right")(total)], name="net"
    )


def texts(figure: Any) -> list[str]:
    return [text.get_text() for text in figure.axes[0].texts]


def boxes_and_texts(figure: Any) -> tuple[list[Any], list[Any]]:
    figure.canvas.draw()
    (axes,) = figure.axes
    is_box = [patch for patch in axes.patches if type(patch).__name__ == "FancyBboxPatch"]
    return [patch.get_window_extent() for patch in is_box], [text.get_window_extent() for text in axes.texts]


@drawn
@pytest.mark.parametrize("rankdir", ["TB", "LR"])
@pytest.mark.parametrize("expand_nested", [False, True])
def test_every_text_is_inside_a_box(rankdir: str, expand_nested: bool) -> None:
    everything = dict.fromkeys(("show_shapes", "show_dtype", "show_layer_names", "show_trainable"), True)
    figure = plots.plot_model(
        network(),
        None,
        rankdir=rankdir,
        expand_nested=expand_nested,
        show_layer_activations=True,
        **everything,
    )
    boxes, written = boxes_and_texts(figure)
    assert len(boxes) == (11 if expand_nested else 8)
    for text in written:
        assert any(
            box.x0 <= text.x0 and text.x1 <= box.x1 and box.y0 <= text.y0 and text.y1 <= box.y1
            for box in boxes
        )


@drawn
def test_plot_model_writes_what_it_is_asked_for(tmp_path: Path) -> None:
    model = network()
    model.layers[0].trainable = False
    plain = texts(plots.plot_model(model, None))
    assert plain.count("Dense") == 4
    assert plain.count("twin") == 2  # a shared layer is named, or nobody could tell
    assert "shared, call 2 of 2" in plain
    assert "tower" in plain
    figure = plots.plot_model(
        model,
        tmp_path / "net.svg",
        show_shapes=True,
        show_layer_names=True,
        show_trainable=True,
        show_layer_activations=True,
    )
    assert {"(None, 4)", "sum", "frozen", "trainable", "relu", "a"} <= set(texts(figure))
    assert (tmp_path / "net.svg").read_text("utf-8").startswith("<?xml")


@drawn
def test_plot_model_saves_where_keras_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    plots.plot_model(Sequential([Input((2,)), layers.Dense(1)]))
    assert (tmp_path / "model.png").read_bytes().startswith(b"\x89PNG")


@drawn
def test_plot_model_draws_a_name_with_a_dollar() -> None:
    model = Sequential([Input((2,)), layers.Dense(1, name="price_$_{")])
    plots.plot_model(model, None, show_layer_names=True).canvas.draw()


@drawn
def test_plot_model_of_a_long_model_fits_a_png() -> None:
    model = Sequential([Input((2,)), *(layers.ReLU() for _ in range(30))])
    figure = plots.plot_model(model, None, dpi=4000)
    assert 50_000 < figure.get_figheight() * figure.dpi < 2**16  # what matplotlib's renderer takes


def test_plot_model_refuses() -> None:
    model = Sequential([Input((2,)), layers.Dense(1)])
    with pytest.raises(TypeError, match="must be a Model or a Sequential"):
        plots.plot_model(layers.Dense(1), None)
    with pytest.raises(ValueError, match="do not know their shapes"):
        plots.plot_model(Sequential([layers.Dense(1)]), None)
    with pytest.raises(ValueError, match="rankdir must be"):
        plots.plot_model(model, None, rankdir="BT")
    with pytest.raises(ValueError, match="dpi must be at least 1"):
        plots.plot_model(model, None, dpi=0)


def test_tree() -> None:
    assert summary.tree(network()).splitlines() == [
        "net (Model)",
        "|-- a (Input) (None, 4)",
        "|-- b (Input) (None, 4)",
        "|-- twin (Dense) (None, 4) <- a; b",
        "|-- tower (Sequential) (None, 4) <- b",
        "|   |-- d1 (Dense) (None, 4)",
        "|   `-- r1 (ReLU) (None, 4)",
        "|-- sum (Add) (None, 4) <- twin[0], twin[1], tower",
        "|-- left (Dense) (None, 1) <- sum",
        "`-- right (Dense) (None, 2) <- sum",
    ]


def test_without_matplotlib_there_is_a_tree(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "matplotlib", None)  # as if it were not installed
    model = Sequential([Input((2,)), layers.Dense(1, name="only")], name="net")
    tree = plots.plot_model(model)
    assert tree == "net (Sequential)\n`-- only (Dense) (None, 1)"
    printed = capsys.readouterr().out
    assert printed.startswith(tree)
    assert 'pip install "fastdl[plots]"' in printed
    assert not list(tmp_path.iterdir())
