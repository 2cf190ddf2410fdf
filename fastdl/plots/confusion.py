"""Which class is taken for which."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..layers.arrays import Array
from . import canvas


def count_confusions(
    y_true: Any, y_pred: Any, class_names: Sequence[str] | None = None
) -> tuple[Array, list[str]]:
    """Return how often each class was taken for each, and the names of the classes.

    Parameters
    ----------
    y_true, y_pred : array_like, (N,)
        What the samples are and what they are taken for: integers or strings.
    class_names : sequence of C str, optional
        Names of the classes 0 ... C - 1; of the sorted classes where those are strings. By default the
        classes are those that occur, under their own names.

    Returns
    -------
    counts : ndarray of int, (C, C)
        ``counts[i, j]`` samples of class i, the row, were taken for class j, the column.
    names : list of C str

    Raises
    ------
    TypeError
        If the labels are neither integers nor strings, such as probabilities.
    ValueError
        If there are no labels, if `y_true` and `y_pred` do not go together, or if there are more classes than
        names.

    Examples
    --------
    >>> from fastdl.plots import count_confusions
    >>> counts, names = count_confusions(["cat", "cat", "dog"], ["cat", "dog", "dog"])
    >>> counts
    array([[1, 1],
           [0, 1]])
    >>> names
    ['cat', 'dog']
    """
    truth, taken = _labels("y_true", y_true), _labels("y_pred", y_pred)
    if truth.shape != taken.shape:
        raise ValueError(
            f"confusion_matrix: y_true and y_pred must be equally many; got {len(truth)} and {len(taken)}"
        )
    if (truth.dtype.kind == "U") != (taken.dtype.kind == "U"):
        raise TypeError("confusion_matrix: y_true and y_pred must both be integers, or both strings")
    if not truth.size:
        raise ValueError("confusion_matrix: y_true and y_pred must not be empty")
    classes, places = np.unique(np.concatenate([truth, taken]), return_inverse=True)
    names = [str(name) for name in (classes if class_names is None else class_names)]
    if class_names is not None:
        if classes.dtype.kind != "U":
            least, most = int(classes[0]), int(classes[-1])
            if least < 0 or most >= len(names):
                raise ValueError(
                    f"confusion_matrix: class_names has {len(names)} names, for the classes 0 to"
                    f" {len(names) - 1}; got a label {least if least < 0 else most}"
                )
            places = classes[places]
        elif len(classes) != len(names):
            raise ValueError(
                f"confusion_matrix: class_names must have a name for each of the {len(classes)} classes"
                f" {', '.join(classes)}; got {len(names)}"
            )
    counts = np.zeros((len(names), len(names)), int)
    np.add.at(counts, (places[: truth.size], places[truth.size :]), 1)
    return counts, names


def confusion_matrix(
    y_true: Any,
    y_pred: Any,
    class_names: Sequence[str] | None = None,
    normalize: bool = False,
    *,
    ax: Any = None,
    path: canvas.Path = None,
) -> Any:
    """Draw how often each class, a row, is taken for each, a column.

    Parameters
    ----------
    y_true, y_pred : array_like, (N,)
        Integers or strings; of probabilities take ``argmax(axis=1)`` first.
    class_names : sequence of C str, optional
        Names of the classes 0 ... C - 1. By default those that occur are shown as they are.
    normalize : bool
        Whether to show shares of the row, which is what is known of that class, and not counts.
    ax : matplotlib Axes, optional
        Where to draw; by default in a new figure.
    path : str or path, optional
        A file to save the figure to.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    TypeError, ValueError
        As for `count_confusions`, before anything is drawn.
    ImportError
        If matplotlib is not installed.

    Examples
    --------
    >>> from fastdl.plots import confusion_matrix
    >>> figure = confusion_matrix([0, 0, 1, 2], [0, 1, 1, 2], class_names=["oak", "elm", "ash"])
    >>> [text.get_text() for text in figure.axes[0].texts]
    ['1', '1', '0', '0', '1', '0', '0', '0', '1']
    """
    counts, names = count_confusions(y_true, y_pred, class_names)
    of_class = counts.sum(axis=1, keepdims=True)
    shares = counts / np.maximum(of_class, 1)  # a class that never occurs has a row of zeros
    size = 1.5 + 0.42 * len(names)
    axes = canvas.axes_on(ax, max(size, 2.6), max(size - 0.4, 2.2))
    # Colours go by the share in either case: a rare class looks as good or bad as it is.
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for (row, column), count in np.ndenumerate(counts):
        share = shares[row, column]
        if count:
            color = "white" if share > 0.5 else canvas.INK
        else:
            color = canvas.HAIRLINE
        text = f"{share:.2f}" if normalize else f"{count}"
        axes.text(column, row, text, ha="center", va="center", fontsize=canvas.TEXT_SIZE, color=color)
    canvas.label(axes, x="predicted", y="true")
    places = range(len(names))
    is_crowded = len(names) > 1 and max(map(len, names)) > 4
    axes.set_xticks(places, names, rotation=45 if is_crowded else 0, ha="right" if is_crowded else "center")
    axes.set_yticks(places, names)
    axes.tick_params(length=0)
    canvas.hide(axes, "left", "right", "top", "bottom")
    return canvas.finished(axes.figure, path)


def _labels(name: str, given: Any) -> Array:
    labels = np.asarray(given)
    if labels.dtype == object and all(isinstance(entry, str) for entry in labels.flat):
        labels = labels.astype(str)
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim != 1:
        raise ValueError(
            f"confusion_matrix: {name} must be one label a sample; got shape {labels.shape}"
            " (of probabilities or one-hot rows take argmax(axis=1))"
        )
    if labels.size and labels.dtype.kind not in "biuU":
        raise TypeError(f"confusion_matrix: {name} must hold integers or strings; got {labels.dtype.name}")
    return labels.astype(int) if labels.dtype.kind == "b" else labels
