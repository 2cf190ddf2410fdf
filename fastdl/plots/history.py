"""How the training went."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..callbacks import History
from . import canvas


def plot_history(
    history: History | Mapping[str, Sequence[float]],
    metrics: Sequence[str] | None = None,
    *,
    ax: Any = None,
    path: canvas.Path = None,
) -> Any:
    """Draw the loss and the metrics, epoch by epoch; one panel a quantity, with its validation.

    Parameters
    ----------
    history : History or dict of str to list of float
        What `fit` returns, or its ``history``.
    metrics : sequence of str, optional
        Which to draw, such as ``["loss", "accuracy"]``; by default all there are.
    ax : matplotlib Axes, or a sequence of as many as there are panels, optional
        Where to draw; by default in a new figure.
    path : str or path, optional
        A file to save the figure to.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    TypeError
        If `history` is neither.
    ValueError
        If there is nothing in it, a metric is not in it, or the axes are not as many as the panels.
    ImportError
        If matplotlib is not installed.

    Examples
    --------
    >>> from fastdl.plots import plot_history
    >>> figure = plot_history({"loss": [2.0, 1.0], "val_loss": [2.1, 1.4], "accuracy": [0.5, 0.8]})
    >>> [axes.get_title(loc="left") for axes in figure.axes]
    ['loss', 'accuracy']
    """
    logs = getattr(history, "history", history)
    if not isinstance(logs, Mapping):
        raise TypeError(f"plot_history: history must be what fit returns, or a dict; got {history!r}")
    names = [name for name in logs if not (name.startswith("val_") and name[4:] in logs)]
    if metrics is not None:
        unknown = [name for name in metrics if name not in logs]
        if unknown:
            raise ValueError(
                f"plot_history: there is no {unknown[0]!r} in history; there are {', '.join(logs)}"
            )
        names = list(metrics)
    if not names or not any(len(logs[name]) for name in names):
        raise ValueError("plot_history: there is nothing in history; did fit run for an epoch?")

    if ax is None:
        columns = min(len(names), 3)
        rows = -(-len(names) // columns)
        figure = canvas.new_figure(3.4 * columns, 2.5 * rows)
        panels = [figure.add_subplot(rows, columns, number + 1) for number in range(len(names))]
    else:
        panels = [ax] if hasattr(ax, "plot") else list(getattr(ax, "flat", ax))
        if len(panels) != len(names):
            raise ValueError(
                f"plot_history: ax must be {len(names)} Axes, for {', '.join(names)}; got {len(panels)}"
            )
    for axes, name in zip(panels, names):
        _draw_panel(axes, name, logs, getattr(history, "epoch", None))
    if len(panels[0].lines) > 1:  # the colours are the same in all panels
        panels[0].legend(frameon=False, fontsize=canvas.TEXT_SIZE, labelcolor=canvas.INK, handlelength=1.8)
    return canvas.finished(panels[0].figure, path)


def _draw_panel(
    axes: Any, name: str, logs: Mapping[str, Sequence[float]], epochs: Sequence[int] | None
) -> None:
    from matplotlib.ticker import MaxNLocator

    lines = [("training", canvas.BLUE, "-", logs[name])]
    if f"val_{name}" in logs:
        lines.append(("validation", canvas.ORANGE, "--", logs[f"val_{name}"]))
    for label, color, style, values in lines:
        # Counted from 1, as fit prints them.
        counted = range(1, len(values) + 1) if epochs is None else [epoch + 1 for epoch in epochs]
        marker = "o" if len(values) == 1 else None
        axes.plot(
            counted[: len(values)], values, style, color=color, linewidth=1.5, marker=marker, label=label
        )
    canvas.label(axes, title=name, x="epoch")
    canvas.hide(axes, "right", "top")
    axes.grid(axis="y", color="#eeeeee", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.xaxis.set_major_locator(MaxNLocator("auto", integer=True, min_n_ticks=1))
