"""Images side by side: data, filters, activations."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import config, nested
from ..layers.arrays import Array
from ..layers.base import Layer
from ..layers.conv import Conv1DTranspose, Conv2DTranspose, Convolution
from ..layers.depthwise import SeparableConv2D
from ..training import Trainer
from . import canvas

_TILE = 0.62  # inches that the longer side of an image takes, where there is room
_PAGE = 12.0  # inches that all of them take at most
_FINE = 16  # pixels that it has at least


def image_grid(
    images: Any,
    titles: Sequence[str] | None = None,
    *,
    columns: int | None = None,
    title: str = "",
    bar: bool = False,
    ax: Any = None,
    path: canvas.Path = None,
    **style: Any,
) -> Any:
    """Draw images of one size side by side, on one scale.

    Parameters
    ----------
    images : array_like, (N, H, W), (N, H, W, 1) or (N, H, W, 3)
        Numbers to be shown as colours, or red, green and blue in [0, 1].
    titles : sequence of N str, optional
        What stands over each image.
    columns : int, optional
        Images a row; by default such that the picture is somewhat wider than high.
    title : str
        Over all of them.
    bar : bool
        Whether to say at the right which colour is which number.
    ax : matplotlib Axes, optional
        Where to draw; by default in a new figure.
    path : str or path, optional
        A file to save the figure to.
    **style
        For ``Axes.imshow``, such as ``cmap="gray_r"`` or ``vmax=1``. By default numbers without a sign go
        from dark at zero to light, and of those with one red are positive, blue negative.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ValueError
        If `images` is no such array, is empty, or does not go with `titles`.
    ImportError
        If matplotlib is not installed.

    Examples
    --------
    >>> from fastdl.datasets import load_digits
    >>> (x, y), _ = load_digits()
    >>> figure = image_grid(x[:30], [str(digit) for digit in y[:30]], columns=10, cmap="gray_r")
    >>> len(figure.axes[0].texts)
    30
    """
    images = _as_images(images)
    count = len(images)
    if titles is not None and len(titles) != count:
        raise ValueError(f"image_grid: titles must be as many as images, {count}; got {len(titles)}")
    columns = min(columns or max(8, math.ceil(math.sqrt(1.6 * count))), count)
    rows = -(-count // columns)

    # One picture is made of all, so that a thousand small ones cost no more than a large one. Small pixels
    # are repeated for a gap that is thinner than they are.
    images = images.repeat(zoom := -(-_FINE // max(images.shape[1:3])), axis=1).repeat(zoom, axis=2)
    height, width = images.shape[1:3]
    gap = max(1, round(0.06 * max(height, width)))
    tile = min(max(_TILE, 0.075 * max(map(len, titles or [""]))), _PAGE / max(rows, columns))
    inch = max(height, width) / tile  # in pixels
    above = round(0.15 * inch) if titles else 0
    pitch_y, pitch_x = above + height + gap, width + gap
    empty = 1.0 if images.ndim == 4 else np.nan
    whole = np.full((rows * pitch_y - gap, columns * pitch_x - gap, *images.shape[3:]), empty)
    for number, image in enumerate(images):
        y, x = number // columns * pitch_y + above, number % columns * pitch_x
        whole[y : y + height, x : x + width] = image

    figure_width = whole.shape[1] / inch + 0.2 + 0.6 * bar
    axes = canvas.axes_on(ax, figure_width, whole.shape[0] / inch + 0.2 + 0.25 * bool(title))
    if images.ndim == 3:
        finite = images[np.isfinite(images)]
        style = {**canvas.color_scale(float(finite.min(initial=0)), float(finite.max(initial=0))), **style}
    drawn = axes.imshow(whole, interpolation="nearest", **style)
    for number, text in enumerate(titles or ()):
        y, x = number // columns * pitch_y + above, number % columns * pitch_x
        axes.text(x - 0.5, y - 0.5 - 0.03 * inch, text, fontsize=7, color=canvas.MUTED, va="bottom")
    axes.set(xticks=[], yticks=[])
    canvas.hide(axes, "left", "right", "top", "bottom")
    axes.set_title(title, fontsize=canvas.TITLE_SIZE, color=canvas.INK, loc="left")
    if bar:
        canvas.color_bar(axes, drawn)
    return canvas.finished(axes.figure, path)


def filters(layer: Layer, *, columns: int | None = None, ax: Any = None, path: canvas.Path = None) -> Any:
    """Draw the filters of a convolution on one scale: red adds, blue takes away, white is zero.

    Parameters
    ----------
    layer : Conv1D, Conv2D, DepthwiseConv2D, or a transposed or separable one
        Of one channel, such as the first layer over grey images, all filters are drawn side by side. Of C
        channels each has a row, and each filter a column. Over one axis a filter is one image, with time to
        the right and a row a channel.
    columns : int, optional
        Filters a row, where the rows are no channels.
    ax : matplotlib Axes, optional
        Where to draw; by default in a new figure.
    path : str or path, optional
        A file to save the figure to.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    TypeError
        If it is another layer.
    ValueError
        If it has no weights yet.
    ImportError
        If matplotlib is not installed.

    Examples
    --------
    >>> from fastdl.layers import Conv2D
    >>> layer = Conv2D(16, 3, input_shape=(8, 8, 1))
    >>> _ = layer.compute_output_shape((None, 8, 8, 1))
    >>> figure = filters(layer)
    """
    shown = layer.layers[0] if isinstance(layer, SeparableConv2D) else layer
    if not isinstance(shown, Convolution) or shown.ndim > 2:
        kind = type(layer).__name__
        raise TypeError(f"filters: layer must be a convolution over one or two axes; got {kind} {layer!r}")
    if not shown.built:
        raise ValueError(f"filters: {layer.name} has no weights yet; run it or its model once")
    kernel = shown.params["kernel"]
    if isinstance(shown, (Conv1DTranspose, Conv2DTranspose)):
        kernel = kernel.swapaxes(-1, -2)  # (..., filters, channels) as (..., channels, filters)
    channels, count = kernel.shape[-2:]
    title = f"{layer.name}: {count} filters"
    if kernel.ndim == 3:
        images = kernel.transpose(2, 1, 0)
    else:
        images = kernel.transpose(2, 3, 0, 1).reshape(channels * count, *kernel.shape[:2])
        if channels > 1:
            title, columns = f"{title} (across) of {channels} channels (down)", count
    most = float(np.abs(images).max()) or 1.0  # weights have a sign even where all have the same
    scale = canvas.color_scale(-most, most)
    return image_grid(images, columns=columns, title=title, bar=True, ax=ax, path=path, **scale)


def feature_maps(
    model: Trainer,
    x: Any,
    layer: str | int | Layer,
    *,
    columns: int | None = None,
    ax: Any = None,
    path: canvas.Path = None,
) -> Any:
    """Draw what a layer makes of one image, channel by channel on one scale.

    Parameters
    ----------
    model : Model or Sequential
    x : array_like, (H, W, C) or (1, H, W, C), or a list or dict of them
        In the form of the model's inputs, with channels where the model has them.
    layer : str, int or Layer
        The layer, its name, or its place in ``model.layers``. Of a layer that is called several times the
        first call counts.
    columns : int, optional
        Channels a row.
    ax : matplotlib Axes, optional
        Where to draw; by default in a new figure.
    path : str or path, optional
        A file to save the figure to.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ValueError
        If the model has no such layer, `x` is more than one sample, or the layer's output is no image.
    ImportError
        If matplotlib is not installed.

    Examples
    --------
    >>> from fastdl import Input, Sequential
    >>> from fastdl.datasets import load_digits
    >>> from fastdl.layers import Conv2D
    >>> model = Sequential([Input((8, 8, 1)), Conv2D(12, 3, activation="relu", name="edges")])
    >>> (x, y), _ = load_digits()
    >>> figure = feature_maps(model, x[0], "edges")
    """
    chosen = _layer(model, layer)
    if not model.built:
        raise ValueError(f"feature_maps: {model.name} has no weights yet; run it once")
    given = nested.parts(x)
    samples = []
    for array, tensor in zip(map(np.asarray, given), model.inputs):
        sample = array[np.newaxis] if array.ndim == len(tensor.shape) - 1 else array
        if len(sample) != 1:
            raise ValueError(f"feature_maps: x must be one sample; got shape {array.shape}")
        samples.append(sample)
    y, data_format = _activation(model, nested.rebuild(x, samples), chosen)
    if y.ndim != 4:
        raise ValueError(f"feature_maps: the output of {chosen.name} is no image; it has shape {y.shape[1:]}")
    maps = y[0] if data_format == "channels_first" else np.moveaxis(y[0], -1, 0)
    title = f"{chosen.name}: {len(maps)} channels of {maps.shape[1]} x {maps.shape[2]}"
    return image_grid(maps, columns=columns, title=title, bar=True, ax=ax, path=path)


def _layer(model: Trainer, layer: str | int | Layer) -> Layer:
    """Return the layer of that name or place, if it is one of the model's."""
    if isinstance(layer, str):
        return model.get_layer(layer)
    if isinstance(layer, Layer):
        if layer not in model.layers:
            raise ValueError(f"feature_maps: {layer.name} is no layer of {model.name}")
        return layer
    if not -len(model.layers) <= layer < len(model.layers):
        raise ValueError(f"feature_maps: layer must be less than {len(model.layers)}; got {layer}")
    return model.layers[layer]


def _activation(model: Trainer, x: Any, layer: Layer) -> tuple[Array, str]:
    """Return what the layer's first call returns, and where its channels are.

    A layer that does not know, such as an activation, has them where the last one before it that does has
    them.
    """
    values = dict(zip(model.inputs, nested.parts(model.accept(x))))
    data_format = config.current().data_format
    for call in model.calls:
        y = call.layer(nested.apply(values.__getitem__, call.inputs), bool(call.training))
        data_format = getattr(call.layer, "data_format", data_format)
        if call.layer is layer:
            break
        values.update(zip(nested.parts(call.outputs), nested.parts(y)))
    return y, data_format


def _as_images(given: Any) -> Array:
    images = np.asarray(given)
    if images.ndim == 4 and images.shape[-1] == 1:
        images = images[..., 0]
    if images.ndim not in (3, 4) or images.shape[3:] not in ((), (3,)):
        raise ValueError(
            f"image_grid: images must be (N, H, W), (N, H, W, 1) or (N, H, W, 3); got shape {images.shape}"
        )
    if not images.size:
        raise ValueError(f"image_grid: images must not be empty; got shape {images.shape}")
    return images
