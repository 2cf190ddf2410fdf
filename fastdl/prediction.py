"""Outputs for more samples than fit in memory at once, batch by batch."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from operator import itemgetter
from typing import TYPE_CHECKING, Any

import numpy as np

from . import callbacks as callbacks_
from . import nested
from .feed import Feed
from .layers.base import Array

if TYPE_CHECKING:
    from .training import Trainer


def run(
    model: Trainer,
    x: Any,
    batch_size: int,
    verbose: int | str,
    steps: int | None,
    callbacks: Sequence[callbacks_.Callback],
) -> Any:
    """Return a model's outputs for samples; the arguments are those of `Trainer.predict`."""
    if _is_stream(x):
        return _gathered(model, _streamed(x, steps), steps, verbose == 1, callbacks)
    x = _sliceable(model, x)
    counts = [len(part) for part in nested.parts(x)]
    if len(set(counts)) > 1:
        raise ValueError(f"predict: the inputs in x have {', '.join(map(str, counts))} samples")
    count = counts[0] if steps is None else min(counts[0], steps * batch_size)
    batches = (
        nested.apply(itemgetter(slice(start, min(start + batch_size, count))), x)
        for start in range(0, max(count, 1), batch_size)
    )
    steps = -(-count // batch_size)
    return _gathered(model, batches, steps, verbose == 1 and steps > 1, callbacks)


def _gathered(
    model: Trainer,
    batches: Generator[Any, None, None],
    steps: int | None,
    is_shown: bool,
    callbacks: Sequence[callbacks_.Callback],
) -> Any:
    """Return the outputs of batches, `steps` of them where that is known, as one."""
    for callback in callbacks:
        callback.on_predict_begin({})
    pieces: list[list[Array]] = []
    y: Any = None
    with closing(batches):
        for number, batch in enumerate(callbacks_.bar(batches, "predict", steps) if is_shown else batches):
            for callback in callbacks:
                callback.on_predict_batch_begin(number, {})
            y = model(batch)
            parts = nested.parts(y)
            pieces = pieces or [[] for _ in parts]
            for gathered, part in zip(pieces, parts):
                gathered.append(part)
            for callback in callbacks:
                callback.on_predict_batch_end(number, {"outputs": y})
    for callback in callbacks:
        callback.on_predict_end({})
    return nested.rebuild(y, [parts[0] if len(parts) == 1 else np.concatenate(parts) for parts in pieces])


def _streamed(x: Any, steps: int | None) -> Generator[Any, None, None]:
    """Yield the x of each batch; a tuple has it first, and what belongs to it after that."""
    for _, batch in Feed("predict", x, steps).epoch():
        yield batch[0] if isinstance(batch, tuple) else batch


def _is_stream(x: Any) -> bool:
    """Whether x is an iterable of batches, and not samples."""
    if isinstance(x, Iterator):
        return True
    is_data = nested.is_group(x) or hasattr(x, "__array__") or hasattr(x, "shape") or isinstance(x, str)
    return not is_data and (hasattr(x, "__iter__") or hasattr(x, "__getitem__"))


def _sliceable(model: Trainer, x: Any) -> Any:
    """Return samples as something of which batches can be taken, without a copy where they are that."""

    def one(part: Any) -> Any:
        return part if hasattr(part, "shape") and hasattr(part, "__getitem__") else np.asarray(part)

    several = isinstance(x, dict) or (nested.is_group(x) and model.built and nested.is_group(model.input))
    x = nested.apply(one, x) if several else one(x)
    if any(len(part.shape) == 0 for part in nested.parts(x)):
        raise ValueError("predict: x must have a first axis, the samples; got a single number")
    if model.built:
        alone = not nested.is_group(model.input)
        given = nested.arrange("predict: x", x, model.input_names, alone=alone)
        model.check_shapes([tuple(part.shape) for part in given])
    return x
