"""Pictures: what they show is what there is, nothing overlaps, and nothing global is touched."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fastdl import Input, Model, Sequential, layers, plots

pytest.importorskip("matplotlib", reason="pictures need it")
from matplotlib.figure import Figure

HISTORY = {"loss": [3.0, 2.0, 1.0], "accuracy": [0.1, 0.2, 0.3], "val_loss": [3.0, 2.5, 2.0]}


def texts(axes: Any) -> list[str]:
    return [text.get_text() for text in axes.texts]


# ---- history


def test_history_has_a_panel_a_quantity() -> None:
    loss, accuracy = plots.plot_history(HISTORY).axes
    assert [axes.get_title(loc="left") for axes in (loss, accuracy)] == ["loss", "accuracy"]
    assert [list(line.get_ydata()) for line in loss.lines] == [HISTORY["loss"], HISTORY["val_loss"]]
    assert [line.get_label() for line in loss.lines] == ["training", "validation"]
    assert [list(line.get_ydata()) for line in accuracy.lines] == [HISTORY["accuracy"]]


def test_history_of_fit_counts_epochs_as_fit_prints_them() -> None:
    model = Sequential([Input((2,)), layers.Dense(1)])
    model.compile("sgd", "mse")
    x, y = np.ones((4, 2)), np.ones((4, 1))
    history = model.fit(x, y, epochs=5, initial_epoch=3, verbose=0)
    (axes,) = plots.plot_history(history).axes
    assert list(axes.lines[0].get_xdata()) == [4, 5]


def test_history_takes_some_metrics_and_given_axes() -> None:
    figure = Figure()
    axes = figure.subplots(1, 2)
    assert plots.plot_history(HISTORY, ["accuracy", "val_loss"], ax=axes) is figure
    assert [one.get_title(loc="left") for one in axes] == ["accuracy", "val_loss"]
    plots.plot_history(HISTORY, ["loss"], ax=Figure().add_subplot())


@pytest.mark.parametrize(
    "arguments, error, words",
    [
        ((5,), TypeError, "what fit returns, or a dict; got 5"),
        (({},), ValueError, "nothing in history"),
        (({"loss": []},), ValueError, "nothing in history"),
        ((HISTORY, ["auc"]), ValueError, "no 'auc' in history; there are loss, accuracy, val_loss"),
    ],
)
def test_history_refuses(arguments: tuple[Any, ...], error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        plots.plot_history(*arguments)


def test_history_refuses_other_axes() -> None:
    with pytest.raises(ValueError, match="ax must be 2 Axes, for loss, accuracy; got 1"):
        plots.plot_history(HISTORY, ax=Figure().add_subplot())


# ---- confusion


@pytest.mark.parametrize("names", [None, "abcdef"])
def test_confusions_are_counted(names: str | None) -> None:
    y_true, y_pred = np.random.default_rng(0).integers(0, 5, (2, 200))
    counts, shown = plots.count_confusions(y_true, y_pred, names)
    classes = range(len(shown))
    assert shown == list(names or "01234")
    assert counts.tolist() == [[np.sum((y_true == i) & (y_pred == j)) for j in classes] for i in classes]


def test_confusion_matrix_writes_counts_or_shares() -> None:
    y_true, y_pred = ["b", "a", "b", "b"], ["b", "b", "b", "a"]
    (axes,) = plots.confusion_matrix(y_true, y_pred).axes
    assert texts(axes) == ["0", "1", "1", "2"]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["a", "b"]
    (axes,) = plots.confusion_matrix(y_true, y_pred, normalize=True).axes
    assert texts(axes) == ["0.00", "1.00", "0.33", "0.67"]
    assert np.array_equal(axes.images[0].get_array(), [[0, 1], [1 / 3, 2 / 3]])


@pytest.mark.parametrize(
    "arguments, error, words",
    [
        (([0, 1], [0]), ValueError, "equally many; got 2 and 1"),
        (([], []), ValueError, "must not be empty"),
        (([0, 1], [[0.1, 0.9], [0.8, 0.2]]), ValueError, r"y_pred must be one label .*argmax"),
        (([0, 1], [0.1, 0.9]), TypeError, "y_pred must hold integers or strings; got float64"),
        ((["a"], [0]), TypeError, "both be integers"),
        (([0, 2], [0, 1], ["a", "b"]), ValueError, "the classes 0 to 1; got a label 2"),
        (([0, -1], [0, 1], ["a", "b"]), ValueError, "got a label -1"),
        ((["u", "v"], ["u", "w"], ["a", "b"]), ValueError, "each of the 3 classes u, v, w; got 2"),
    ],
)
def test_confusion_matrix_refuses(arguments: tuple[Any, ...], error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        plots.confusion_matrix(*arguments)


# ---- images


def tiles(figure: Any, height: int, width: int, count: int, columns: int) -> np.ndarray[Any, Any]:
    """The images that a grid was made of, if they are not enlarged."""
    whole = np.ma.filled(figure.axes[0].images[0].get_array(), np.nan)
    pitch_y = whole.shape[0] // -(-count // columns)
    pitch_x = -(-whole.shape[1] // columns)
    corners = [(i // columns * (pitch_y + 1), i % columns * pitch_x) for i in range(count)]
    return np.stack([whole[y : y + height, x : x + width] for y, x in corners])


def test_image_grid_shows_each_image_in_its_place() -> None:
    images = np.random.default_rng(0).random((5, 16, 16))
    figure = plots.image_grid(images, columns=3)
    assert np.array_equal(tiles(figure, 16, 16, 5, 3), images)
    assert texts(plots.image_grid(images, list("abcde")).axes[0]) == list("abcde")


@pytest.mark.parametrize(
    "images, titles, words",
    [
        (np.ones((2, 3)), None, r"got shape \(2, 3\)"),
        (np.ones((2, 3, 4, 2)), None, r"got shape \(2, 3, 4, 2\)"),
        (np.ones((0, 3, 4)), None, "must not be empty"),
        (np.ones((2, 3, 4)), ["a"], "as many as images, 2; got 1"),
    ],
)
def test_image_grid_refuses(images: Any, titles: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        plots.image_grid(images, titles)


@pytest.mark.parametrize(
    "layer, shape, filters, columns",
    [
        (layers.Conv2D(4, 16), (16, 16, 1), "hwio->oihw", 4),
        (layers.Conv2D(4, 16), (16, 16, 3), "hwio->iohw", 4),
        (layers.Conv2DTranspose(4, 16), (16, 16, 3), "hwoi->iohw", 4),
        (layers.DepthwiseConv2D(16, depth_multiplier=2), (16, 16, 3), "hwio->iohw", 2),
        (layers.SeparableConv2D(4, 16), (16, 16, 3), "hwio->iohw", 1),
        (layers.Conv1D(4, 16), (16, 16), "tio->oit", 4),
    ],
)
def test_filters(layer: layers.Layer, shape: tuple[int, ...], filters: str, columns: int) -> None:
    """Windows of 16, which are not enlarged, so that a tile is the filter itself."""
    layer.compute_output_shape((None, *shape))
    kernel = next(iter(layer.params.values()))
    expected = np.einsum(filters, kernel)
    expected = expected.reshape(-1, *expected.shape[-2:])
    figure = plots.filters(layer, columns=columns)
    assert np.array_equal(tiles(figure, 16, 16, len(expected), columns), expected)
    assert figure.axes[0].images[0].norm.vmax == -figure.axes[0].images[0].norm.vmin == abs(kernel).max()


def test_filters_refuse() -> None:
    with pytest.raises(TypeError, match="must be a convolution over one or two axes; got Dense"):
        plots.filters(layers.Dense(3))
    with pytest.raises(TypeError, match="got Conv3D"):
        plots.filters(layers.Conv3D(3, 3))
    with pytest.raises(ValueError, match="has no weights yet"):
        plots.filters(layers.Conv2D(3, 3))


@pytest.mark.parametrize("which", ["act", 1, -3])
@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_feature_maps(data_format: str, which: str | int) -> None:
    """Of an activation, which does not know where the channels are, after a convolution, which does."""
    shape = (16, 18, 2) if data_format == "channels_last" else (2, 16, 18)
    convolution = layers.Conv2D(5, 3, padding="same", data_format=data_format)
    activation = layers.ReLU(name="act")
    model = Sequential([Input(shape), convolution, activation, layers.Flatten(), layers.Dense(2)])
    x = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    y = activation(convolution(x[np.newaxis]))[0]
    expected = y if data_format == "channels_first" else np.moveaxis(y, -1, 0)
    figure = plots.feature_maps(model, x, which, columns=5)
    assert np.array_equal(tiles(figure, 16, 18, 5, 5), expected)
    assert (
        plots.feature_maps(model, x[np.newaxis], activation)
        .axes[0]
        .get_title(loc="left")
        .startswith("act: 5")
    )


def test_feature_maps_of_a_graph_of_two_inputs() -> None:
    a, b = Input((8, 8, 1)), Input((8, 8, 1))
    shared = layers.Conv2D(4, 3)
    total = layers.Add(name="total")([shared(a), shared(b)])
    model = Model([a, b], layers.Flatten()(total))
    figure = plots.feature_maps(model, [np.ones((8, 8, 1)), np.zeros((1, 8, 8, 1))], "total")
    assert len(figure.axes) == 2  # the maps and their scale


def test_feature_maps_refuse() -> None:
    model = Sequential([Input((8, 8, 1)), layers.Conv2D(4, 3, name="first"), layers.Flatten(name="flat")])
    x = np.ones((8, 8, 1))
    with pytest.raises(ValueError, match=r"output of flat is no image; it has shape \(144,\)"):
        plots.feature_maps(model, x, "flat")
    with pytest.raises(ValueError, match=r"x must be one sample; got shape \(2, 8, 8, 1\)"):
        plots.feature_maps(model, np.ones((2, 8, 8, 1)), "first")
    with pytest.raises(ValueError, match="no layer 'last'"):
        plots.feature_maps(model, x, "last")
    with pytest.raises(ValueError, match="layer must be less than 2; got 2"):
        plots.feature_maps(model, x, 2)
    with pytest.raises(ValueError, match="stranger is no layer of"):
        plots.feature_maps(model, x, layers.Dense(2, name="stranger"))
    with pytest.raises(ValueError, match="has no weights yet"):
        plots.feature_maps(Sequential([layers.Conv2D(2, 3, name="first")]), x, "first")


# ---- others' figures, and none


@pytest.mark.parametrize(
    "draw",
    [
        lambda **to: plots.plot_history({"loss": [1.0]}, **to),
        lambda **to: plots.confusion_matrix([0], [0], **to),
        lambda **to: plots.image_grid(np.ones((2, 3, 3)), **to),
    ],
    ids=["history", "confusion", "images"],
)
def test_figures_are_saved_and_axes_drawn_on(draw: Any, tmp_path: Path) -> None:
    draw(path=tmp_path / "picture.png")
    assert (tmp_path / "picture.png").read_bytes().startswith(b"\x89PNG")
    figure = Figure()
    inner = figure.subfigures(1, 2)[0].add_subplot()
    assert draw(ax=inner) is figure
    assert inner.has_data()


def test_pyplot_is_left_alone() -> None:
    code = (
        "import sys; from fastdl import plots; plots.plot_history({'loss': [1.0]}).canvas.draw();"
        " print('matplotlib.pyplot' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120
    )
    assert done.stdout == "False\n"


def test_without_matplotlib_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match=r'pip install "fastdl\[plots\]"'):
        plots.plot_history(HISTORY)
