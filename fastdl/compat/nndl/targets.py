"""What fastdl can stand in for in the ports of *Neural Networks and Deep Learning*."""

from __future__ import annotations

from ..target import Target

__all__ = ["TARGETS"]


def _network(module: str, *fingerprints: str) -> Target:
    return Target(
        name="Network",
        family="nndl",
        fast=f"{module}:Network",
        fingerprints=frozenset(fingerprints),
        methods=("update_mini_batch",),
        by_name=True,
    )


TARGETS = (
    _network("network", "5fa349ee2dee8423", "24d5de99ca7a05c4"),
    _network("network2", "eb8e22b90dd7ac3b", "bf29ec04ef34c86a"),
)
