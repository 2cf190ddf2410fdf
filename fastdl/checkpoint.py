"""Models in files, and their weights alone.

A model's file holds the architecture, as JSON, and the weights, as arrays; of a model that is compiled, and
of those in it that are, also how it is trained and how far it has come: the optimizer with all it remembers,
and the state of what draws random numbers. Training goes on from there bit for bit.

Reading a file never executes anything in it: the only classes that are made are fastdl's own and those the
caller passes, and so it is with functions. `fastdl.archive` says in which formats, and why a file appears
whole or not at all.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from . import (
    archive,
    configurable,
    constraints,
    initializers,
    layers,
    losses,
    metrics,
    optimizers,
    regularizers,
    schedules,
)
from .layers.base import Array, Layer
from .layers.graph import Graph
from .transfer import Source, copy_weights

if TYPE_CHECKING:
    from .training import Trainer

_VERSION = 1

_KERAS = (".h5", ".hdf5", ".keras")

# What making the objects of a damaged description may end in.
_MISFITS = (ValueError, KeyError, TypeError, AttributeError)


def save_model(model: Trainer, path: str | PathLike[str]) -> None:
    """Write a model's architecture, weights and state of training to one file.

    Parameters
    ----------
    model : Model or Sequential
        Built.
    path : str or path
        Ends in ".npz" or ".safetensors".

    Raises
    ------
    ValueError
        If the model is not built, or `path` ends otherwise.
    TypeError
        If a layer was made with something that JSON cannot hold.
    ImportError
        If safetensors is asked for and not installed.
    """
    path = Path(path)
    archive.check_format(path)
    _require_weights("save", model)
    arrays = model.named_weights()
    kinds = _kinds(model)
    training = [_progress(names, trainer, arrays) for names, trainer in model.compiled_models()]
    described = configurable.describe(
        {"version": _VERSION, "weights": kinds, "model": model, "training": training}
    )
    archive.write(path, json.dumps(described), arrays)


def save_weights(model: Layer, path: str | PathLike[str]) -> None:
    """Write a model's weights to one file; see `Portable.save_weights`."""
    path = Path(path)
    archive.check_format(path)
    _require_weights("save_weights", model)
    header = {"version": _VERSION, "weights": _kinds(model)}
    archive.write(path, json.dumps(header), model.named_weights())


def load_weights(model: Graph, path: str | PathLike[str]) -> None:
    """Take a model's weights from a file; see `Portable.load_weights`."""
    path = Path(path)
    _require_weights("load_weights", model)
    if path.suffix not in (*_KERAS, *archive.FORMATS):
        endings = ", ".join([*archive.FORMATS, *_KERAS])
        raise ValueError(f"load_weights: a file of weights ends in {endings}; got {str(path)!r}")
    try:
        sources, left, foreign = _sources(model, path)
        copy_weights(model, sources, left, convert=foreign)
    except _MISFITS as error:
        raise ValueError(f"load_weights: {path}: {error}") from error


def _sources(model: Graph, path: Path) -> tuple[dict[str, Source], Iterable[str], bool]:
    """Return where the model's weights are in a file, what else it holds, and whether it is another's."""
    if path.suffix in _KERAS:
        from .readers import keras

        return *keras.read(path, model), True
    text, arrays = _open(path)
    if not text and path.suffix == ".safetensors":
        from .readers import pytorch

        return *pytorch.match(model, arrays), True
    kinds = dict(_header(text)["weights"])
    left = {name: Source(name, arrays[name]) for name in kinds}
    places = _places(_kinds(model), kinds)
    return {own: left.pop(name) for own, name in places.items()}, left, False


def _places(own: Mapping[str, str], stored: Mapping[str, str]) -> dict[str, str]:
    """Return, for the model's weights, which of the stored ones they are: by name, or else in order.

    Both are given with the classes of their layers, which must agree: a kernel of a transposed convolution
    may have the shape of a plain one.
    """
    # The names of the same architecture differ where its layers were named anew.
    places = dict(zip(own, own if own.keys() == stored.keys() else stored))
    for name, source in places.items():
        last = [part.rpartition("/")[2] for part in (name, source)]
        if own[name] != stored[source] or last[0] != last[1]:
            raise ValueError(
                f"it has {source} of a {stored[source]} where the model has {name} of a {own[name]}"
            )
    return places


def _kinds(model: Layer) -> dict[str, str]:
    """Return the classes of the layers by the names of their weights, in order."""
    return {
        prefix + name: type(leaf).__name__
        for prefix, leaf in model.leaves()
        for name in (*leaf.params, *leaf.state)
    }


def _require_weights(op: str, model: Layer) -> None:
    if not model.built:
        raise ValueError(f"{op}: {model.name} has no weights yet; build it or run it once")


def _progress(names: tuple[str, ...], model: Trainer, arrays: dict[str, Array]) -> dict[str, Any]:
    """Return how a model is trained and how far it has come; the arrays of its optimizer go to `arrays`."""
    assert model.optimizer is not None
    assert model.objective is not None
    slots: dict[str, list[str]] = {}
    remembered = model.optimizer.state
    for key in filter(remembered.__contains__, model.params):  # it may be another model's optimizer, too
        slots[key] = []
        for array in remembered[key]:
            slots[key].append(f"slot {len(arrays)}")  # no parameter's name, which has a slash
            arrays[slots[key][-1]] = array
    goals = model.objective.goals
    return {
        "names": names,
        "optimizer": model.optimizer,
        "iterations": model.optimizer.iterations,
        "slots": slots,
        "compile": {
            "loss": [goal.loss for goal in goals],
            "loss_weights": [goal.weight for goal in goals],
            "metrics": [goal.metrics for goal in goals],
        },
        "trainable": {
            prefix: model.compiled_trainable.get(leaf, leaf.trainable) for prefix, leaf in model.leaves()
        },
        "random": {prefix: layer._rng.bit_generator.state for prefix, layer in _drawing(model)},
    }


def load_model(
    path: str | PathLike[str],
    custom_objects: Mapping[str, Any] | None = None,
    compile: bool = True,
) -> Any:
    """Return the model that a file holds, ready to be trained further if it was compiled.

    Parameters
    ----------
    path : str or path
        Of a file that ``model.save`` wrote.
    custom_objects : dict of str to class or function, optional
        The layers, losses, metrics and functions in it that are not fastdl's, by their names.
    compile : bool
        Whether to compile the model, and those in it, as they were when it was saved.

    Returns
    -------
    Model or Sequential

    Raises
    ------
    ValueError
        If the file is damaged, is not a model of fastdl, or holds a layer that is not known.
    ImportError
        If it is a safetensors file and the package is not installed.

    Examples
    --------
    >>> import os, tempfile
    >>> from fastdl import Input, Sequential, load_model
    >>> from fastdl.layers import Dense
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "model.npz")
    ...     Sequential([Input((4,)), Dense(3)]).save(path)
    ...     load_model(path).count_params()
    15
    """
    path = Path(path)
    archive.check_format(path)
    try:
        text, arrays = _open(path)
        described = _header(text)
        if "model" not in described:
            raise ValueError("it holds weights alone; make the model, then call its load_weights")
        if not compile:
            described["training"] = []
        known = _known_classes() | _by_file_name(custom_objects or {})
        slots = {name: arrays.pop(name) for name in _slot_names(described)}
        restored = configurable.restore(described, known)
        _fill(restored["model"], arrays)
        for progress in restored["training"]:
            _resume(restored["model"], progress, slots)
    except _MISFITS as error:
        raise ValueError(f"load_model: {path}: {error}") from error
    return restored["model"]


def _open(path: Path) -> tuple[str, dict[str, Array]]:
    """Return the text and the arrays of a file."""
    try:
        return archive.read(path)
    except archive.DAMAGE as error:
        raise ValueError(f"it is damaged, or not a file that fastdl saved ({error})") from error


def _header(text: str) -> dict[str, Any]:
    """Return what the text of a file says."""
    try:
        header = json.loads(text)
        version = header["version"]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"it is damaged, or not a file that fastdl saved ({error})") from error
    if version != _VERSION:
        raise ValueError(f"it has format {version!r}; this fastdl reads {_VERSION}")
    return header


def _known_classes() -> dict[str, Any]:
    from .models import Model, Sequential  # models import this module

    kinds = (initializers, losses, metrics, optimizers, regularizers, constraints, schedules)
    classes = [Model, Sequential, *(cls for kind in kinds for cls in kind.NAMES.values())]
    classes += [losses.FunctionLoss, losses.Masked, metrics.FunctionMetric]
    classes += [cls for cls in vars(layers).values() if isinstance(cls, type) and issubclass(cls, Layer)]
    return {configurable.file_name(cls): cls for cls in classes}


def _by_file_name(custom_objects: Mapping[str, Any]) -> dict[str, Any]:
    """Return a person's objects under the names that they have in a file."""
    return {getattr(thing, "family", "") + name: thing for name, thing in custom_objects.items()}


def _slot_names(described: Mapping[str, Any]) -> Iterator[str]:
    for progress in described["training"]:
        for names in progress["slots"].values():
            yield from names


def _fill(model: Any, weights: Mapping[str, Array]) -> None:
    """Copy the weights into the model, each where it belongs."""
    if not isinstance(model, Layer):
        raise ValueError("the file holds no model")
    sources = {name: Source(name, array) for name, array in weights.items()}
    copy_weights(model, sources, left=sources.keys() - model.named_weights().keys())


def _resume(whole: Trainer, progress: Mapping[str, Any], slots: Mapping[str, Array]) -> None:
    """Compile a model, which stands in the whole or is it, and bring it to where it was."""
    model: Any = whole
    for name in progress["names"]:
        model = model.get_layer(name)
    optimizer, params = progress["optimizer"], model.params
    model.compile(optimizer, **progress["compile"])
    for key, names in progress["slots"].items():
        remembered = [slots[name] for name in names]
        expected = optimizer.slots(np.empty_like(params[key]))
        if [(a.shape, a.dtype) for a in remembered] != [(a.shape, a.dtype) for a in expected]:
            raise ValueError(f"what the optimizer remembers does not fit {key}")
        optimizer.state[key] = remembered
    optimizer.iterations = int(progress["iterations"])
    model.compiled_trainable = {leaf: progress["trainable"][prefix] for prefix, leaf in model.leaves()}
    for prefix, layer in _drawing(model):
        layer._rng.bit_generator.state = progress["random"][prefix]


def _drawing(model: Trainer) -> Iterator[tuple[str, Layer]]:
    """Yield what has a generator of random numbers: the model, for the order of batches, and its layers."""
    yield "", model
    yield from model.leaves()
