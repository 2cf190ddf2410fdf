"""Pictures, for those who have matplotlib. Nothing here touches the backend or the figures of a program."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

_INK = "#333333"


def image_grid(figure: Any, images: Array, titles: Sequence[str], columns: int, **style: Any) -> None:
    """Draw images side by side into a figure or subfigure.

    Parameters
    ----------
    figure : matplotlib.figure.FigureBase
    images : ndarray, (N, H, W)
    titles : sequence of N str
        What stands over each image; empty strings for nothing.
    columns : int
        Images a row.
    **style
        For ``Axes.imshow``, such as ``cmap="gray_r"``.

    Examples
    --------
    >>> from matplotlib.figure import Figure
    >>> image_grid(figure := Figure(), np.zeros((3, 8, 8)), ["a", "b", "c"], columns=2)
    >>> len(figure.axes)
    3
    """
    rows = -(-len(images) // columns)
    for i, (image, title) in enumerate(zip(images, titles)):
        axes = figure.add_subplot(rows, columns, i + 1)
        axes.imshow(image, **style)
        axes.set_title(title, fontsize=8, color=_INK, pad=4)
        axes.set(xticks=[], yticks=[])
        for spine in axes.spines.values():
            spine.set(color="#bbbbbb", linewidth=0.6)


def filters(figure: Any, kernel: Array, columns: int = 8) -> None:
    """Draw the filters of a convolution on one colour scale: red adds, blue takes away, white is zero.

    Parameters
    ----------
    figure : matplotlib.figure.FigureBase
    kernel : ndarray, (KH, KW, C, O)
        A layer's ``params["kernel"]``. Of several input channels the first is shown.
    columns : int
        Filters a row.

    Examples
    --------
    >>> from matplotlib.figure import Figure
    >>> filters(figure := Figure(), np.ones((3, 3, 1, 16)))
    >>> len(figure.axes)
    16
    """
    images = np.moveaxis(kernel[:, :, 0], -1, 0)
    most = float(np.abs(images).max()) or 1.0
    image_grid(figure, images, [""] * len(images), columns, cmap="RdBu_r", vmin=-most, vmax=most)


def digits_report(path: str | Path, images: Array, truth: Array, predicted: Array, kernel: Array) -> None:
    """Save one picture of the digits that were misclassified, at most 16, and of the first layer's filters.

    Parameters
    ----------
    path : str or Path
    images : ndarray, (N, 8, 8, 1)
    truth, predicted : ndarray of int, (N,)
    kernel : ndarray, (KH, KW, 1, O)
    """
    from matplotlib.figure import Figure

    columns, tile = 8, 1.3  # inches
    shown = min(len(images), 16)
    rows = [max(1, -(-shown // columns)), -(-kernel.shape[-1] // columns)]
    height = tile * sum(rows) + 0.9
    figure = Figure(figsize=(tile * columns, height), dpi=150, layout="constrained", facecolor="white")
    halves: Any = figure.subfigures(2, 1, height_ratios=[tile * n + 0.45 for n in rows])
    upper, lower = halves

    upper.suptitle(f"Misclassified: {len(images)}", color=_INK, fontsize=12)
    titles = [f"predicted {p}, true {t}" for p, t in zip(predicted[:shown], truth[:shown])]
    image_grid(upper, images[:shown, :, :, 0], titles, columns, cmap="gray_r", vmin=0, vmax=1)

    lower.suptitle("Filters of the first layer (red adds, blue takes away)", color=_INK, fontsize=12)
    filters(lower, kernel, columns)
    figure.savefig(path)
