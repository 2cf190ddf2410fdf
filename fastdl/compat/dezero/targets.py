"""What fastdl can stand in for in DeZero. Only published definitions: nobody writes their own."""

from __future__ import annotations

from ..target import Target

__all__ = ["TARGETS"]


def _forward(
    name: str,
    module: str,
    *fingerprints: str,
    exact: bool = False,
    batch: tuple[str, ...] = ("x",),
    private: frozenset[str] = frozenset(),
    trial: bool = True,
) -> Target:
    """A node of the graph whose `forward` is served."""
    return Target(
        name=name,
        family="dezero",
        fast=f"{module}:{name}",
        exact=f"exact:{name}" if exact else None,
        fingerprints=frozenset(fingerprints),
        methods=("forward",),
        batch=batch,
        private=private,
        trial=trial,
    )


def _update(name: str, *fingerprints: str) -> Target:
    """An optimizer. Its state goes by the identity of a parameter, which a copy has not: no trial."""
    return Target(
        name=name,
        family="dezero",
        fast=f"optimizers:{name}",
        fingerprints=frozenset(fingerprints),
        methods=("update_one",),
        trial=False,
    )


def _function(name: str, *fingerprints: str) -> Target:
    """A function on arrays."""
    return Target(
        name=name,
        family="dezero",
        fast=f"functions_conv:{name}",
        exact=f"exact:{name}",
        fingerprints=frozenset(fingerprints),
    )


_INDEXES = frozenset({"indexes"})

TARGETS = (
    _forward("Conv2d", "functions_conv", "490acd20637c9eba", exact=True),
    _forward("Deconv2d", "functions_conv", "599dfd1a238a5111"),
    _forward("Conv2DGradW", "functions_conv", "b1328852b370d4d0", exact=True, batch=("x", "gy")),
    _forward("Pooling", "functions_conv", "d9d79724bb1a54be", exact=True, private=_INDEXES),
    # These two hold the whole graph, which is not to be copied.
    _forward("Pooling2DGrad", "functions_conv", "bfd02c2eb92ea832", exact=True, trial=False),
    _forward("Pooling2DWithIndexes", "functions_conv", "3a30f335e59f13bf", exact=True, trial=False),
    _forward("AveragePooling", "functions_conv", "0e39967d743ee4c0", exact=True),
    _function("im2col_array", "bd54d3f05bf928d1"),
    _function("col2im_array", "47bb4783b6f4f990"),
    _forward("Sigmoid", "functions", "1d2e63fd262878ae", "34379958f3383b05"),
    _forward("Softmax", "functions", "e7236904bd7dd171"),
    _forward(
        "SoftmaxCrossEntropy",
        "functions",
        "5aa90ca2cadadd71",
        "cb00bce194ae775e",
        "69a9d73c0a389c3e",
        batch=("x", "t"),
    ),
    _forward("BatchNorm", "functions", "1e6952c931e9c008", "a5c1022ff0001ca9"),
    Target(
        name="GetItemGrad",
        family="dezero",
        fast="functions:GetItemGrad",
        exact="functions:GetItemGrad",
        fingerprints=frozenset({"7c715b2a5ecdbc58"}),
        methods=("forward",),
    ),
    _update("SGD", "4ec27181572cdf19", "ff1c6642e9fa13c7"),
    _update("MomentumSGD", "0d34eed42def8edf", "76da7d6e5b891fbf"),
    _update("AdaDelta", "fa9b99d5191aa4fb", "2d5194c6eac547e4"),
    _update("Adam", "7ee7a71fd0e62cf6", "d014f3271316f5f1"),
    Target(
        name="Variable",
        family="dezero",
        fast="core:Variable",
        exact="core:Variable",
        fingerprints=frozenset({"866f1e86ee5fb72b"}),
        methods=("backward",),
        trial=False,
    ),
)
