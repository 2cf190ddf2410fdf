"""`image_to_column` and `column_to_image` of ML-From-Scratch, which move data and so serve both tiers."""

from __future__ import annotations

from typing import Any

from ..columns import Windows, from_columns, to_columns, windows
from ..inputs import Array, plain
from ..tier import Unserved

__all__ = ["column_to_image", "image_to_column", "sliding"]


def image_to_column(images: Any, filter_shape: Any, stride: Any, output_shape: Any = "same") -> Array:
    """Return the column matrix of images, (C·FH·FW, OH·OW·N).

    Parameters
    ----------
    images : (N, C, H, W) array
    filter_shape : 2 ints
    stride : int
    output_shape : "same" or "valid"
        "same" keeps the size for a stride of 1; the odd zero goes to the end.
    """
    images = plain(images, 4)
    return to_columns(images.transpose(1, 2, 3, 0), sliding(images.shape, filter_shape, stride, output_shape))


def column_to_image(
    cols: Any, images_shape: Any, filter_shape: Any, stride: Any, output_shape: Any = "same"
) -> Array:
    """Return images in which every column has been added at its place: (N, C, H, W), in float64.

    Parameters
    ----------
    cols : (C·FH·FW, OH·OW·N) array
    images_shape : 4 ints
    filter_shape, stride, output_shape
        As in `image_to_column`.
    """
    cols = plain(cols)
    how = sliding(images_shape, filter_shape, stride, output_shape)
    batch, channels, height, width = images_shape
    if cols.size != channels * how.kernel[0] * how.kernel[1] * how.out[0] * how.out[1] * batch:
        raise Unserved(f"columns of shape {cols.shape}")
    top, _, left, _ = how.pads
    return from_columns(cols, channels, batch, how)[:, :, top : top + height, left : left + width]


def sliding(images_shape: Any, filter_shape: Any, stride: Any, output_shape: Any) -> Windows:
    """Return how a filter slides over images."""
    if not isinstance(output_shape, str) or output_shape not in ("same", "valid"):
        raise Unserved(f"a padding {output_shape!r}")
    if len(images_shape) != 4 or len(filter_shape) != 2:
        raise Unserved(f"a filter of shape {filter_shape!r} for images of {images_shape!r}")
    height, width = filter_shape
    pads = (0, 0, 0, 0)
    if output_shape == "same":
        pads = ((height - 1) // 2, height // 2, (width - 1) // 2, width // 2)
    return windows(tuple(images_shape[2:]), (height, width), pads, stride)
