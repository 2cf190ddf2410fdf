"""A model as a picture: a box a call of a layer, and lines for what flows between them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from importlib.util import find_spec
from typing import Any

from .. import checks, nested, summary
from ..layers.base import Layer
from ..layers.graph import Graph
from ..layers.symbolic import Call, Tensor
from ..training import Trainer
from . import canvas
from .layout import Box, Layout, Line, lay_out

MARGIN = 8.0  # points, as is all that follows
PADDING = 7.0
HEAD_SIZE = 9.0
LINE_SIZE = 7.0
LEADING = 1.45
FRAME_TOP = 20.0

# Fill and edge by what a layer is; the tints are of Okabe and Ito's colours.
STYLES = {
    "input": ("#f4f4f4", "#8c8c8c"),
    "weights": ("#e3eef7", "#0072b2"),
    "plain": ("#ffffff", "#8c8c8c"),
    "merge": ("#fcebdc", "#d55e00"),
    "model": ("#def1ea", "#009e73"),
}

LINE = "#6b6b6b"

_MAX_PIXELS = 60_000  # a side of a PNG, for matplotlib's renderer


@dataclass(frozen=True)
class _Options:
    """What is written into a box, and whether models within the model are opened."""

    show_shapes: bool
    show_dtype: bool
    show_layer_names: bool
    show_layer_activations: bool
    show_trainable: bool
    expand_nested: bool
    sideways: bool


@dataclass
class _Item:
    """One box with its text, or a frame around the drawing of a model.

    Attributes
    ----------
    heading : str
    lines : list of str
    style : str
        A key of STYLES.
    shared : bool
        Whether the layer is called elsewhere, too.
    box : Box
    inside : _Drawing, optional
        Of a frame: what is in it.
    entries, exits : list of float
        Of a frame: where its inputs and outputs are, from the anchor.
    """

    heading: str
    lines: list[str]
    style: str
    shared: bool
    box: Box = Box(0.0, 0.0, 0.0)
    inside: _Drawing | None = None
    entries: list[float] = field(default_factory=list)
    exits: list[float] = field(default_factory=list)


@dataclass
class _Drawing:
    """The boxes of a graph and where they are."""

    items: list[_Item]
    layout: Layout
    sources: list[int]
    results: list[int]


def plot_model(
    model: Trainer,
    to_file: canvas.Path = "model.png",
    show_shapes: bool = False,
    show_dtype: bool = False,
    show_layer_names: bool = False,
    rankdir: str = "TB",
    expand_nested: bool = False,
    dpi: int = 200,
    show_layer_activations: bool = False,
    show_trainable: bool = False,
) -> Any:
    """Draw a model as Keras's function of this name does, with matplotlib alone.

    A call of a layer is a box. A layer that is called several times has several, with dashed edges. Blue
    boxes have weights, orange ones take several inputs, green ones are models themselves.

    Parameters
    ----------
    model : Model or Sequential
    to_file : str or path, optional
        The file to save the picture to; what comes after the dot says how. None saves nothing.
    show_shapes : bool
        Whether to write the shapes of the outputs.
    show_dtype : bool
        Whether to write the dtypes of the layers.
    show_layer_names : bool
        Whether to write all names. Those of models and of layers called several times are always there.
    rankdir : {"TB", "LR"}
        From top to bottom, or from left to right.
    expand_nested : bool
        Whether to draw what models within the model consist of.
    dpi : int
        Dots an inch.
    show_layer_activations : bool
        Whether to write the activations.
    show_trainable : bool
        Whether to write which layers with weights are trained, and which are frozen.

    Returns
    -------
    matplotlib.figure.Figure or str
        Where matplotlib is not installed, the model as a tree of text, which is printed as well.

    Raises
    ------
    TypeError
        If `model` is no model.
    ValueError
        If its layers do not know their shapes yet.

    Examples
    --------
    >>> from fastdl import Input, Model
    >>> from fastdl.layers import Add, Dense
    >>> from fastdl.plots import plot_model
    >>> x = Input((4,))
    >>> model = Model(x, Add()([x, Dense(4, activation="relu")(x)]))
    >>> figure = plot_model(model, to_file=None, show_shapes=True)
    """
    if not isinstance(model, Trainer):
        raise TypeError(f"plot_model: model must be a Model or a Sequential; got {model!r}")
    if not model.built:
        raise ValueError(
            f"plot_model: the layers of {model.name} do not know their shapes yet; begin it with an Input, or"
            " run it once"
        )
    checks.one_of("plot_model", "rankdir", rankdir, ("TB", "LR"))
    dpi = checks.integer("plot_model", "dpi", dpi)
    if find_spec("matplotlib") is None:
        tree = summary.tree(model)
        print(tree)
        print('This is text, as matplotlib is not installed: pip install "fastdl[plots]"')
        return tree

    options = _Options(
        show_shapes=show_shapes,
        show_dtype=show_dtype,
        show_layer_names=show_layer_names,
        show_layer_activations=show_layer_activations,
        show_trainable=show_trainable,
        expand_nested=expand_nested,
        sideways=rankdir == "LR",
    )
    drawing = _draw(model, options)
    size = (drawing.layout.width + 2 * MARGIN, drawing.layout.height + 2 * MARGIN)
    width, height = size[::-1] if options.sideways else size
    figure = canvas.new_figure(
        width / 72, height / 72, dpi=min(dpi, _MAX_PIXELS * 72 / max(width, height)), layout="none"
    )
    axes = figure.add_axes((0, 0, 1, 1), xlim=(0, width), ylim=(height, 0))
    axes.axis("off")
    _paint(axes, drawing, (MARGIN, MARGIN), options.sideways)
    return canvas.finished(figure, to_file)


# ---- what there is to draw


def _draw(graph: Graph, options: _Options) -> _Drawing:
    """Return the boxes of a graph, laid out; with their axes exchanged if it goes sideways."""
    items: list[_Item] = []
    origins: dict[Tensor, tuple[int, int]] = {}
    lines: list[Line] = []
    for tensor in graph.inputs:
        origins[tensor] = (len(items), 0)
        items.append(_sized(_source(tensor, options), options))
    calls_of = Counter(call.layer for call in graph.calls)
    numbers: Counter[Layer] = Counter()
    for call in graph.calls:
        numbers[call.layer] += 1
        item = _called(call, numbers[call.layer], calls_of[call.layer], options)
        for place, tensor in enumerate(nested.parts(call.inputs)):
            source, port = origins[tensor]
            exits, entries = items[source].exits, item.entries
            lines.append(
                Line(
                    source,
                    len(items),
                    exits[port] if exits else None,
                    entries[place] if entries else None,
                )
            )
        for port, tensor in enumerate(nested.parts(call.outputs)):
            origins.setdefault(tensor, (len(items), port))
        items.append(item)
    layout = lay_out([item.box for item in items], lines)
    return _Drawing(
        items,
        layout,
        [origins[tensor][0] for tensor in graph.inputs],
        [origins[tensor][0] for tensor in graph.outputs],
    )


def _source(tensor: Tensor, options: _Options) -> _Item:
    lines = [tensor.name] if options.show_layer_names else []
    if options.show_shapes:
        lines.append(str(tensor.shape))
    return _Item("Input", lines, "input", shared=False)


def _called(call: Call, number: int, count: int, options: _Options) -> _Item:
    """Return the box of a call, the `number`-th of `count` of its layer."""
    layer = call.layer
    is_model = isinstance(layer, Trainer)
    kind = type(layer).__name__
    inner = getattr(layer, "layer", None)
    heading = f"{kind}({type(inner).__name__})" if isinstance(inner, Layer) else kind
    lines = list(_described(call, number, count, options))
    if is_model:
        style = "model"
    elif len(nested.parts(call.inputs)) > 1:
        style = "merge"
    else:
        style = "weights" if layer.params else "plain"
    item = _Item(heading, lines, style, shared=count > 1)
    if is_model and options.expand_nested:
        assert isinstance(layer, Graph)
        item.heading, item.lines = "  ".join([heading, *lines]), []
        return _framed(item, _draw(layer, options), options)
    return _sized(item, options)


def _described(call: Call, number: int, count: int, options: _Options) -> Iterator[str]:
    layer = call.layer
    if options.show_layer_names or count > 1 or isinstance(layer, Trainer):
        yield layer.name
    if count > 1:
        yield f"shared, call {number} of {count}"
    activation = getattr(layer, "activation", None)
    if options.show_layer_activations and activation is not None:
        yield (
            activation
            if isinstance(activation, str)
            else getattr(activation, "name", type(activation).__name__)
        )
    if options.show_shapes:
        for tensor in nested.parts(call.outputs):
            yield str(tensor.shape)
    if options.show_dtype:
        yield layer.dtype.name
    if options.show_trainable and layer.params:
        yield "trainable" if layer.trainable else "frozen"


def _sized(item: _Item, options: _Options) -> _Item:
    """Give a box the size of its text."""
    texts = [_text_width(item.heading, HEAD_SIZE, True)] + [
        _text_width(s, LINE_SIZE, False) for s in item.lines
    ]
    width = max(*texts, 44.0) + 2 * PADDING if len(texts) > 1 else max(texts[0], 44.0) + 2 * PADDING
    height = HEAD_SIZE * LEADING + len(item.lines) * LINE_SIZE * LEADING + PADDING
    if options.sideways:
        width, height = height, width
    item.box = Box(width, height, width / 2)
    return item


def _framed(item: _Item, drawing: _Drawing, options: _Options) -> _Item:
    """Put a frame with the name of a model around what it consists of."""
    heading = _text_width(item.heading, LINE_SIZE + 1, True) + 2 * PADDING
    layout, pad = drawing.layout, MARGIN + 2
    before, across = (FRAME_TOP, 0.0) if options.sideways else (0.0, FRAME_TOP)
    width, height = layout.width + 2 * pad + before, layout.height + 2 * pad + across
    along = max(height, heading) if options.sideways else max(width, heading)
    if options.sideways:
        _shift(layout, pad + before, pad + across + (along - height) / 2)
        height = along
    else:
        _shift(layout, pad + before + (along - width) / 2, pad + across)
        width = along

    def middle(number: int) -> float:
        return layout.corners[number][0] + drawing.items[number].box.anchor

    anchor = middle(drawing.sources[0])
    item.box = Box(width, height, anchor)
    item.inside = drawing
    item.entries = [middle(number) - anchor for number in drawing.sources]
    item.exits = [middle(number) - anchor for number in drawing.results]
    return item


def _shift(layout: Layout, x: float, y: float) -> None:
    layout.corners = [(left + x, top + y) for left, top in layout.corners]
    layout.routes = [[(px + x, py + y) for px, py in route] for route in layout.routes]


@cache
def _text_width(text: str, size: float, bold: bool) -> float:
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import TextPath

    font = FontProperties(family="DejaVu Sans", weight="bold" if bold else "normal")
    return float(TextPath((0, 0), text.replace("$", r"\$"), size=size, prop=font).get_extents().width)


# ---- and how


def _paint(axes: Any, drawing: _Drawing, origin: tuple[float, float], sideways: bool) -> None:
    from matplotlib.patches import FancyBboxPatch, PathPatch, Polygon
    from matplotlib.path import Path

    def turned(x: float, y: float) -> tuple[float, float]:
        x, y = x + origin[0], y + origin[1]
        return (y, x) if sideways else (x, y)

    for item, corner in zip(drawing.items, drawing.layout.corners):
        fill, edge = STYLES[item.style]
        left, top = turned(*corner)
        width, height = item.box[1::-1] if sideways else item.box[:2]
        is_frame = item.inside is not None
        axes.add_patch(
            FancyBboxPatch(
                (left, top),
                width,
                height,
                boxstyle="round,pad=0,rounding_size=3",
                facecolor="#f7fbf9" if is_frame else fill,
                edgecolor=edge,
                linewidth=0.8,
                linestyle=(0, (3, 2)) if item.shared else "-",
            )
        )
        if item.inside is not None:
            _write(
                axes, left + PADDING, top + 11, item.heading, LINE_SIZE + 1, bold=True, ha="left", color=edge
            )
            _paint(axes, item.inside, (corner[0] + origin[0], corner[1] + origin[1]), sideways)
            continue
        x, y = left + width / 2, top + PADDING / 2 + HEAD_SIZE * LEADING / 2
        _write(axes, x, y, item.heading, HEAD_SIZE, bold=True)
        y += (HEAD_SIZE - LINE_SIZE) * LEADING / 2
        for number, text in enumerate(item.lines):
            _write(axes, x, y + (number + 1) * LINE_SIZE * LEADING, text, LINE_SIZE, color="#595959")

    for route in drawing.layout.routes:
        vertices, codes = [turned(*route[0])], [Path.MOVETO]
        for (x0, y0), (x1, y1) in zip(route, route[1:]):
            half = (y0 + y1) / 2
            vertices += [turned(x0, half), turned(x1, half), turned(x1, y1)]
            codes += [Path.CURVE4] * 3
        axes.add_patch(PathPatch(Path(vertices, codes), edgecolor=LINE, facecolor="none", linewidth=0.8))
        x, y = route[-1]
        head = [turned(x, y), turned(x - 2, y - 4.5), turned(x + 2, y - 4.5)]
        axes.add_patch(Polygon(head, facecolor=LINE, edgecolor="none"))


def _write(
    axes: Any, x: float, y: float, text: str, size: float, *, bold: bool = False, **style: Any
) -> None:
    options = {"ha": "center", "color": canvas.INK, **style}
    axes.text(
        x,
        y,
        text,
        fontsize=size,
        family="DejaVu Sans",
        weight="bold" if bold else "normal",
        va="center_baseline",
        parse_math=False,
        **options,
    )
