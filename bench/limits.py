"""What this machine can do: multiplications and additions in a second, and bytes copied in a second.

Both are measured in the run that they are compared with, in as many threads.

* The FMA peak is that of `fma.c`, compiled here: chains of fused multiply-adds that stay in registers. Where
  there is no C compiler it is the best rate of fastdl's own matrix product at a few sizes, which is lower;
  `fma_source` says which it was.
* A copy is NumPy's, of as many bytes as the case moves, so that what fits into a cache is held against the
  cache. Read and written bytes both count. The copy of much more than any cache holds is the memory's.
"""

from __future__ import annotations

import ctypes
import math
import os
import subprocess
import tempfile
import threading
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

import fastdl
import fastdl.functional as F
from case import Work

STEPS = 1 << 18  # of the kernel in one call: about a millisecond
ATTEMPTS = 5  # the best one counts
MOVED = 1 << 26  # bytes that one attempt to time a copy moves, in as many copies as that takes
SMALLEST, LARGEST = 14, 28  # powers of two: bytes of one copy


def shortest_time(work: Work, threads: int, dtype: str) -> tuple[float, str]:
    """Return the seconds the machine needs for `work` at least, and what limits it: "fma" or "copy"."""
    arithmetic = work.flops / fma_peak(threads, dtype)
    movement = work.bytes / copy_rate(work.bytes, threads)
    return max((arithmetic, "fma"), (movement, "copy"))


@cache
def fma_peak(threads: int, dtype: str = "float32") -> float:
    """Return operations in a second, two for each multiply-add, with `threads` threads."""
    kernel = _kernel(dtype)
    if kernel is None:
        return _gemm_peak(threads, dtype)
    flops = kernel(0) * STEPS * threads
    return flops / min(_seconds([lambda: kernel(STEPS)] * threads) for _ in range(ATTEMPTS))


def fma_source() -> str:
    return "fastdl's matrix product" if _kernel("float32") is None else "fma.c"


def copy_rate(size: float, threads: int) -> float:
    """Return bytes in a second, read and written, of copies that move about `size` bytes each."""
    return _copy_rate(1 << min(max(round(math.log2(size)), SMALLEST), LARGEST), threads)


@cache
def _copy_rate(size: int, threads: int) -> float:
    """Each thread copies a part of its own, again and again."""
    numbers = size // 8 // threads
    repeats = max(1, MOVED // size)

    def copier() -> Callable[[], None]:
        source, target = np.ones(numbers, np.float32), np.zeros(numbers, np.float32)

        def copy() -> None:
            for _ in range(repeats):
                np.copyto(target, source)

        return copy

    copiers = [copier() for _ in range(threads)]
    return 8.0 * numbers * threads * repeats / min(_seconds(copiers) for _ in range(ATTEMPTS))


def _seconds(works: Sequence[Callable[[], Any]]) -> float:
    """Return how long all of `works` take together, each in a thread of its own."""
    if len(works) == 1:
        start = perf_counter()
        works[0]()
        return perf_counter() - start
    gate = threading.Barrier(len(works))
    spans: list[tuple[float, float]] = []

    def run(work: Callable[[], Any]) -> None:
        gate.wait()
        start = perf_counter()
        work()
        spans.append((start, perf_counter()))

    threads = [threading.Thread(target=run, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return max(end for _, end in spans) - min(start for start, _ in spans)


@cache
def _kernel(dtype: str) -> Callable[[int], float] | None:
    """Return `fma.c` as a function, which runs so many steps and returns the operations of one."""
    source = Path(__file__).with_name("fma.c")
    compiler = os.environ.get("CC", "cc").split()
    with tempfile.TemporaryDirectory() as folder:
        library = Path(folder) / "fma.so"
        options = ["-O3", "-march=native", "-ffp-contract=fast", "-shared", "-fPIC"]
        real = "float" if dtype == "float32" else "double"
        try:
            subprocess.run(
                [*compiler, *options, f"-DREAL={real}", str(source), "-o", str(library)],
                check=True,
                capture_output=True,
            )
            function = ctypes.CDLL(str(library)).fma_chains
        except (OSError, subprocess.CalledProcessError):
            return None
    function.argtypes, function.restype = [ctypes.c_int64], ctypes.c_double
    return function  # type: ignore[no-any-return]


def _gemm_peak(threads: int, dtype: str) -> float:
    best = 0.0
    with fastdl.use(threads=threads):
        for n in (192, 384, 768):
            a = np.ones((n, n), dtype)
            for _ in range(ATTEMPTS):
                best = max(best, 2.0 * n**3 / _seconds([lambda a=a: F.linear(a, a)]))
    return best


def memory_rate(threads: int) -> float:
    """Return bytes in a second of a copy that no cache holds."""
    return copy_rate(1 << LARGEST, threads)


def describe(threads: int) -> dict[str, str]:
    """Return the limits as a report says them."""
    return {
        "FMA peak": f"{fma_peak(threads) / 1e9:.0f} GFLOP/s by {fma_source()}",
        "copy": f"{memory_rate(threads) / 1e9:.1f} GB/s in memory,"
        f" {copy_rate(1 << 18, threads) / 1e9:.0f} GB/s in cache",
    }
