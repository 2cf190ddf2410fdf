"""What of ML-From-Scratch fastdl can stand in for."""

from __future__ import annotations

from ..target import Target

__all__ = ["TARGETS"]

FAMILY = "ml_from_scratch"
PASSES = ("forward_pass", "backward_pass")


def _activation(name: str, known: str) -> Target:
    return Target(
        name,
        FAMILY,
        fast=f"activation_functions:{name}",
        fingerprints=frozenset({known}),
        methods=("__call__", "gradient"),
        batch=("x",),
    )


def _optimizer(name: str, known: str) -> Target:
    return Target(
        name, FAMILY, fast=f"optimizers:{name}", fingerprints=frozenset({known}), methods=("update",)
    )


TARGETS = (
    Target(
        "image_to_column",
        FAMILY,
        fast="columns:image_to_column",
        exact="columns:image_to_column",
        fingerprints=frozenset({"db845d31268d6344"}),
        by_name=True,
        batch=("images",),
    ),
    Target(
        "column_to_image",
        FAMILY,
        fast="columns:column_to_image",
        exact="columns:column_to_image",
        fingerprints=frozenset({"9ae81d0473c676ee"}),
        by_name=True,
        sample=".samples:columns",
    ),
    Target(
        "Conv2D",
        FAMILY,
        fast="layers:Conv2D",
        fingerprints=frozenset({"b78e007117564bab"}),
        methods=PASSES,
        batch=("X",),
        private=frozenset({"X_col"}),
    ),
    Target(
        "BatchNormalization",
        FAMILY,
        fast="layers:BatchNormalization",
        fingerprints=frozenset({"6ff4e343cb3f2737"}),
        methods=PASSES,
        batch=("X",),
        private=frozenset({"X_centered"}),
    ),
    Target(
        "RNN",
        FAMILY,
        fast="layers:RNN",
        fingerprints=frozenset({"68115b908a17e743"}),
        methods=PASSES,
        batch=("X",),
    ),
    _activation("ReLU", "913b42e03b6c19bf"),
    _activation("Sigmoid", "ba844eeccff5407c"),
    _activation("Softmax", "f40e8c4e191d84d7"),
    _activation("TanH", "8efeac2107e0b234"),
    _optimizer("Adadelta", "f1966c13ad69c5e1"),
    _optimizer("Adagrad", "36d9e4e2dbdc0e8c"),
    _optimizer("Adam", "dbaafabef4ea6fd3"),
    _optimizer("RMSprop", "a31c376311aea69d"),
)
