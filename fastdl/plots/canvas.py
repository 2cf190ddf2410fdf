"""What all pictures share: a figure that belongs to nobody else, a palette, and the way to a file."""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike
from typing import Any, TypeAlias

Path: TypeAlias = str | PathLike[str] | None

# Okabe and Ito's colours stay apart for colour-blind eyes (https://jfly.uni-koeln.de/color/).
BLUE = "#0072b2"
ORANGE = "#d55e00"
INK = "#333333"
MUTED = "#767676"  # the lightest grey that is easily read on white: contrast 4.5
HAIRLINE = "#bbbbbb"

TITLE_SIZE = 10.0
TEXT_SIZE = 8.5


def new_figure(width: float, height: float, **options: Any) -> Any:
    """Return a white figure of this size in inches, which no global state knows of.

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError('pictures need matplotlib: pip install "fastdl[plots]"') from error
    style: dict[str, Any] = {"facecolor": "white", "dpi": 150, "layout": "constrained", **options}
    return Figure(figsize=(width, height), **style)


def axes_on(ax: Any, width: float, height: float) -> Any:
    """Return `ax`, or where there is none the axes of a new figure."""
    return new_figure(width, height).add_subplot() if ax is None else ax


def finished(figure: Any, path: Path) -> Any:
    """Save the figure if there is a path, and return it."""
    figure = figure.get_figure(root=True) if hasattr(figure, "get_figure") else figure
    if path is not None:
        figure.savefig(path)
    return figure


def label(axes: Any, title: str = "", x: str = "", y: str = "") -> None:
    """Write title and labels in the sizes and colours of all pictures."""
    axes.set_title(title, fontsize=TITLE_SIZE, color=INK, loc="left")
    axes.set_xlabel(x, fontsize=TEXT_SIZE, color=MUTED)
    axes.set_ylabel(y, fontsize=TEXT_SIZE, color=MUTED)
    axes.tick_params(labelsize=TEXT_SIZE, labelcolor=MUTED, color=HAIRLINE, length=3)


def hide(axes: Any, *sides: str) -> None:
    """Remove the lines on some sides of the axes; draw the others thin."""
    for side, spine in axes.spines.items():
        spine.set(visible=side not in sides, color=HAIRLINE, linewidth=0.8)


def color_scale(least: float, most: float) -> Mapping[str, Any]:
    """Return imshow's colours for numbers between these two.

    Numbers of both signs have white for zero, red above and blue below; others a perceptually uniform scale
    that begins at zero.
    """
    if least < 0:
        most = max(-least, most)
        return {"cmap": "RdBu_r", "vmin": -most, "vmax": most}
    return {"cmap": "viridis", "vmin": 0.0, "vmax": most or 1.0}


def color_bar(axes: Any, drawn: Any) -> None:
    """Put a slim scale at the right of the axes."""
    bar = axes.figure.colorbar(drawn, ax=axes, fraction=0.03, pad=0.02, aspect=30)
    bar.ax.tick_params(labelsize=TEXT_SIZE - 1, labelcolor=MUTED, color=HAIRLINE, length=2)
    bar.outline.set_visible(False)
