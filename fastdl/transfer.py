"""Arrays of a file into the weights of a model: all of them, or none."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from .layers.base import Array, Layer

_SHOWN = 5  # how many misfits a message lists


class Source(NamedTuple):
    """An array, and what its file calls it."""

    name: str
    array: Array


def copy_weights(
    model: Layer, sources: Mapping[str, Source], left: Iterable[str] = (), *, convert: bool = False
) -> None:
    """Copy arrays into the weights of a model.

    Parameters
    ----------
    model : Layer
        Built.
    sources : dict of str to Source
        For each of the model's weights, by its name there.
    left : iterable of str
        What else the file holds.
    convert : bool
        Whether floating-point numbers of another width are welcome.

    Raises
    ------
    ValueError
        If anything is missing, left or of another shape or dtype; nothing has been changed then.
    """
    owned = model.named_weights()
    misfits = []
    for name, own in owned.items():
        layer = name.rpartition("/")[0] or model.name
        if name not in sources:
            misfits.append(f"nothing for {name} {own.shape} of layer {layer}")
            continue
        source, array = sources[name]
        fits = array.dtype.kind == "f" if convert else array.dtype == own.dtype
        if array.shape != own.shape or not fits:
            misfits.append(
                f"{source} is {array.dtype} {array.shape}, but its layer {layer} has"
                f" {own.dtype} {own.shape} as {name.rpartition('/')[2]}"
            )
    misfits += [f"no layer takes {name}" for name in left]
    if misfits:
        more = len(misfits) - _SHOWN
        listed = "; ".join([*misfits[:_SHOWN], *([f"and {more} more"] if more > 0 else [])])
        raise ValueError(f"it does not fit {model.name}: {listed}")
    for name, own in owned.items():
        own[...] = sources[name].array
    model.params.touch()
