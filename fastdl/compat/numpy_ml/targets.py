"""What of numpy-ml fastdl can stand in for."""

from __future__ import annotations

from ..target import Target

__all__ = ["TARGETS"]

FAMILY = "numpy_ml"
BACKWARD = ("dLdy", "X", "Z")


def _moved(name: str, known: str, batch: tuple[str, ...] = ()) -> Target:
    """A function that only moves data, which both tiers share."""
    where = f"utils:{name}"
    return Target(name, FAMILY, fast=where, exact=where, fingerprints=frozenset({known}), batch=batch)


def _computed(name: str, known: str) -> Target:
    """A function of images and kernels that the fast tier has alone."""
    return Target(name, FAMILY, fast=f"utils:{name}", fingerprints=frozenset({known}), batch=("X",))


TARGETS = (
    _moved("pad1D", "432270bb9e015200", ("X",)),
    _moved("pad2D", "ed00db86dce8ece5", ("X",)),
    _moved("dilate", "bfd4cd1709a78fb4", ("X",)),
    _moved("im2col", "bf6e065703d8a813", ("X",)),
    _moved("col2im", "91f1fc57932e778c"),
    _computed("conv1D", "e8f8696ddca079f5"),
    _computed("conv2D", "4e0c0f02c2f312db"),
    Target(
        "conv2D_naive",
        FAMILY,
        fast="utils:conv2D_naive",
        fingerprints=frozenset({"5862392c9a53bf94"}),
        sample="samples:few_windows_of_kernels",
    ),
    _computed("deconv2D_naive", "7d446748e8550da8"),
    Target(
        "Pool2D",
        FAMILY,
        fast="pooling:Pool2D",
        exact="pooling:ExactPool2D",
        fingerprints=frozenset({"496d9e70f1a18cf1"}),
        methods=("forward", "backward"),
        sample="samples:few_windows",
    ),
    Target(
        "Conv1D",
        FAMILY,
        fast="layers:Conv1D",
        fingerprints=frozenset({"bd57cbf579ca7efd"}),
        methods=("_bwd",),
        batch=BACKWARD,
    ),
    Target(
        "Conv2D",
        FAMILY,
        fast="layers:Conv2D",
        fingerprints=frozenset({"1390958acb875e66"}),
        methods=("_bwd",),
        batch=BACKWARD,
    ),
    Target(
        "Deconv2D",
        FAMILY,
        fast="layers:Deconv2D",
        fingerprints=frozenset({"a5e936b9aed565e4"}),
        methods=("_bwd",),
        batch=("dLdY", "X", "Z"),
    ),
    Target(
        "Softmax",
        FAMILY,
        fast="layers:Softmax",
        fingerprints=frozenset({"d3b80c1bfe1bf0b9", "b690c3875bebd9a7"}),
        methods=("_bwd",),
        batch=("dLdy", "X"),
    ),
    Target(
        "Embedding",
        FAMILY,
        fast="layers:Embedding",
        exact="layers:Embedding",
        fingerprints=frozenset({"f6eb6d205a4c1a6e"}),
        methods=("_bwd",),
    ),
    Target(
        "RMSProp",
        FAMILY,
        fast="optimizers:RMSProp",
        fingerprints=frozenset({"ad9d25098922d9dc"}),
        methods=("update",),
    ),
    Target(
        "Adam",
        FAMILY,
        fast="optimizers:Adam",
        fingerprints=frozenset({"c541a8596bcf09f7"}),
        methods=("update",),
    ),
)
