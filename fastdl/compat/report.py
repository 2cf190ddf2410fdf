"""What was replaced, what was left alone and why, and what it was worth."""

from __future__ import annotations

import json
import platform
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from .service import Service
from .tier import settings

__all__ = ["Report"]

_REASONS = 3
"""Reasons told for one definition in the text; the file has all."""


@dataclass
class Report:
    """A running account; ``str(report)`` is what it says so far.

    Attributes
    ----------
    services : list of Service
        One for each recognised definition, in the order in which they were defined.
    started : float
        When the account was opened, in seconds of `time.perf_counter`.
    """

    services: list[Service] = field(default_factory=list)
    started: float = field(default_factory=perf_counter)

    def as_dict(self) -> dict[str, Any]:
        """Return the account as plain data, as ``--report`` writes it: times in seconds."""
        seconds = perf_counter() - self.started
        inside = sum(count.seconds for service in self.services for count in service.counts.values())
        original = sum(
            count.original_seconds for service in self.services for count in service.counts.values()
        )
        return {
            "python": platform.python_version(),
            "numpy": np.__version__,
            "tier": settings.tier,
            "dtype": None if settings.dtype is None else settings.dtype.name,
            "seconds": seconds,
            "seconds_inside": inside,
            "original_seconds": original,
            "speedup": (seconds - inside + original) / seconds if seconds > 0 else 1.0,
            "largest_difference": max((service.largest for service in self.services), default=0.0),
            "definitions": [self._definition(service) for service in self.services],
        }

    @staticmethod
    def _definition(service: Service) -> dict[str, Any]:
        return {
            "name": service.name,
            "module": service.module,
            "file": service.file,
            "line": service.found.node.lineno,
            "recognised": "fingerprint" if service.found.known else "name",
            "family": None if service.target is None else service.target.family,
            "served": any(count.calls for count in service.counts.values()),
            "functions": {
                name: {
                    "calls": count.calls,
                    "seconds": count.seconds,
                    "original_seconds": count.original_seconds,
                    "left_to_the_original": count.left,
                }
                for name, count in service.counts.items()
            },
            "left_alone": service.found.reason or None,
            "reasons": service.reasons,
            "largest_difference": service.largest,
        }

    def write(self, file: str) -> None:
        """Write the account as JSON."""
        Path(file).write_text(json.dumps(self.as_dict(), indent=1) + "\n", encoding="utf-8")

    def __str__(self) -> str:
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        account = self.as_dict()
        counts = [
            (name, count)
            for service in self.services
            for name, count in service.counts.items()
            if count.calls
        ]
        dtype = f", {account['dtype']}" if account["dtype"] else ""
        yield (
            f"fastdl ({account['tier']}{dtype}): {account['seconds']:.2f} s; without fastdl about "
            f"{account['seconds'] * account['speedup']:.2f} s, {account['speedup']:.1f} times as long"
        )
        if counts:
            width = max(len(name) for name, _ in counts)
            yield f"  {'replaced':{width}}   calls  seconds  original (estimated)"
            for name, count in sorted(counts, key=lambda item: -item[1].original_seconds):
                known = count.original_seconds > 0 < count.seconds
                gain = f"{count.original_seconds / count.seconds:7.1f}x" if known else ""
                original = f"{count.original_seconds:9.3f}" if known else "  unknown"
                seconds = f"{count.seconds:8.3f} {original}"
                yield f"  {name:{width}} {count.calls:7d} {seconds} {gain}"
        else:
            yield "  nothing was replaced"
        yield from self._left_alone()
        if counts:
            yield f"  largest difference seen: {account['largest_difference']:.1e} of the largest value"

    def _left_alone(self) -> Iterator[str]:
        rows = []
        for service in self.services:
            reasons = sorted(service.reasons, key=lambda reason: -service.reasons[reason])[:_REASONS]
            if service.found.reason:
                rows.append((service.name, service.found.reason))
            elif reasons:
                left = sum(count.left for count in service.counts.values())
                rows.append((service.name, f"{left} calls: {'; '.join(reasons)}"))
        if rows:
            yield "  left alone"
            width = max(len(name) for name, _ in rows)
            for name, reason in rows:
                yield f"  {name:{width}}  {reason}"
