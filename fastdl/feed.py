"""Where batches come from that are not in memory: generators, loaders, memory-mapped files."""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import suppress
from itertools import islice
from queue import Empty, Full, Queue
from typing import Any, NamedTuple, TypeVar

import numpy as np

from .batches import Batch

T = TypeVar("T")

_AHEAD = 2  # batches that wait: one to begin with at once, one while the next is made
_PATIENCE = 0.05  # seconds between two looks at whether there is still someone who wants them


class Source(NamedTuple):
    """Batches by epoch, and how many an epoch has where that is known."""

    steps: int | None
    epoch: Callable[[int], Generator[Batch, None, None]]


def memory(data: Batch, size: int, rng: np.random.Generator | None = None) -> Source:
    """Return samples as batches of that size, in an order that `rng` draws."""

    def epoch(number: int) -> Generator[Batch, None, None]:
        batches = data.batches(size, rng)
        return prefetched(batch.loaded() for batch in batches) if data.in_file else batches

    return Source(-(-data.size // size), epoch)


class Feed:
    """Batches from an iterable, epoch by epoch.

    Parameters
    ----------
    op : str
        The person's call.
    source : iterable
        Of (x, y) or (x, y, sample_weight). What can be gone through again is, each epoch; an iterator, such
        as a generator, goes on where it was. A length and an index are as good as an iterator.
    steps : int, optional
        Batches in an epoch; without it an epoch is as long as the source.
    epochs : int
        How many there will be.

    Raises
    ------
    ValueError, TypeError
        If the source is no iterable, or is an iterator whose end would be missing.
    """

    def __init__(self, op: str, source: Any, steps: int | None = None, epochs: int = 1) -> None:
        indexed = hasattr(source, "__getitem__") and hasattr(source, "__len__")
        if hasattr(source, "__array__") or not (hasattr(source, "__iter__") or indexed):
            raise TypeError(f"{op}: without y, x must be an iterable of batches (x, y); got {_kind(source)}")
        if isinstance(source, Iterator) and steps is None and epochs > 1:
            raise ValueError(
                f"{op}: {_kind(source)} ends with the first epoch; say how many batches are one with"
                " steps_per_epoch, or give what can be gone through again"
            )
        self.op = op
        self.source = source
        self.steps = len(source) if steps is None and hasattr(source, "__len__") else steps

    def epoch(self, number: int = 0) -> Generator[tuple[str, Any], None, None]:
        """Yield the batches of an epoch, counted from 0, each with words that say which one it is."""
        given = 0
        for batch in prefetched(self._batches(number)):
            given += 1
            yield f"{self.op}: batch {given} of epoch {number + 1}", batch
        if given == 0 or given < (self.steps or 0):
            due = f" of {self.steps}" if self.steps else ""
            raise ValueError(
                f"{self.op}: {_kind(self.source)} ended after {given}{due} batches of epoch {number + 1};"
                " the model is as the last batch left it"
            )

    def _batches(self, number: int) -> Iterator[Any]:
        """Yield what the source gives, on the thread that fetches."""
        source = self.source
        items = iter(source) if hasattr(source, "__iter__") else (source[i] for i in range(len(source)))
        given = 0
        try:
            for item in islice(items, self.steps):
                yield item
                given += 1
        except Exception as error:
            raise RuntimeError(
                f"{self.op}: {_kind(source)} raised {type(error).__name__} ({error}) where batch {given + 1}"
                f" of epoch {number + 1} was due; the model is as the last batch left it"
            ) from error


def as_pair(place: str, batch: Any) -> tuple[Any, ...]:
    """Return a batch, at a place of which errors speak, as (x, y) or (x, y, sample_weight)."""
    if not isinstance(batch, (tuple, list)) or len(batch) not in (2, 3):
        raise ValueError(f"{place} must be (x, y) or (x, y, sample_weight); got {_kind(batch)}")
    return tuple(batch)


def prefetched(items: Iterable[T]) -> Generator[T, None, None]:
    """Yield `items`, fetched on another thread while the caller is at work on those before.

    The order is theirs. An exception of theirs is raised here, after the items before it. When the caller
    stops early, nothing more is fetched than the one item that may be on its way.
    """
    waiting: Queue[tuple[bool, Any]] = Queue(_AHEAD)
    wanted = threading.Event()
    wanted.set()

    def hand_over(is_item: bool, what: Any) -> bool:
        while wanted.is_set():
            with suppress(Full):
                waiting.put((is_item, what), timeout=_PATIENCE)
                return True
        return False

    def fetch() -> None:
        try:
            for item in items:
                if not hand_over(True, item):
                    return
            hand_over(False, None)
        except BaseException as error:
            hand_over(False, error)

    # The thread sees the settings of `fastdl.use` that its maker sees.
    thread = threading.Thread(
        target=contextvars.copy_context().run, args=(fetch,), name="fastdl prefetch", daemon=True
    )
    thread.start()
    try:
        while True:
            is_item, what = waiting.get()
            if is_item:
                yield what
            elif what is None:
                return
            else:
                raise what
    finally:
        wanted.clear()
        with suppress(Empty):
            while True:
                waiting.get_nowait()
        thread.join()


def _kind(thing: Any) -> str:
    return f"the {type(thing).__name__}"
