"""What fastdl can stand in for in the first book's code, and in the course's notebooks."""

from __future__ import annotations

from ..target import Target

__all__ = ["TARGETS"]

_PASSES = ("forward", "backward")


def _layer(
    name: str,
    *fingerprints: str,
    exact: str | None = None,
    module: str = "layers",
    by_name: bool = False,
    batch: tuple[str, ...] = ("x",),
    private: tuple[str, ...] = (),
) -> Target:
    """A layer with both passes."""
    return Target(
        name=name,
        family="dlfs1",
        fast=f"{module}:{name}",
        exact=f"{exact}:{name}" if exact else None,
        fingerprints=frozenset(fingerprints),
        methods=_PASSES,
        by_name=by_name,
        batch=batch,
        private=frozenset(private),
    )


def _function(
    name: str,
    *fingerprints: str,
    module: str = "functions",
    exact: bool = False,
    by_name: bool = False,
    batch: tuple[str, ...] = ("x",),
    sample: str | None = None,
) -> Target:
    """A function of arrays."""
    return Target(
        name=name,
        family="dlfs1",
        fast=f"{module}:{name}",
        exact=f"{module}:{name}" if exact else None,
        fingerprints=frozenset(fingerprints),
        by_name=by_name,
        batch=batch,
        sample=sample,
    )


def _optimizer(name: str, *fingerprints: str) -> Target:
    """An optimizer, whose exact rule is the same function."""
    return Target(
        name=name,
        family="dlfs1",
        fast=f"optimizer:{name}",
        exact=f"optimizer:{name}",
        fingerprints=frozenset(fingerprints),
        methods=("update",),
        sample=".samples:parameters",
    )


def _network(name: str, *fingerprints: str) -> Target:
    """A network whose layers are the book's; each of them is tried by itself."""
    return Target(
        name=name,
        family="dlfs1",
        fast=f"networks:{name}",
        exact=f"exact_networks:{name}",
        fingerprints=frozenset(fingerprints),
        methods=("predict", "gradient"),
        trial=False,
    )


TARGETS = (
    _layer("Relu", "d33f8fa6fdb9c2ef", exact="layers", by_name=True),
    _layer("Sigmoid", "ace5cbf1f1a8d8a3", "dbdf4edf0048f072"),
    _layer("Affine", "9a712e876c910d53", by_name=True),
    _layer("Relu", "5f6ea3190ea43e1a", "6ac3f8d9c7cb09a9", module="course", exact="course", by_name=True),
    _layer("Affine", "fd1d6acd818e886e", module="course"),
    _layer("SoftmaxWithLoss", "51ea9eded080a69a", batch=("x", "t")),
    _layer("BatchNormalization", "29f37de1624c713e", by_name=True, private=("xc", "xn", "std")),
    _layer(
        "Convolution", "a5af3a3de6775731", "088d74a328f8cf63", exact="exact", by_name=True, private=("col",)
    ),
    _layer(
        "Pooling", "192b849446a25908", "26cf79b9ee9b94b5", exact="exact", by_name=True, private=("arg_max",)
    ),
    _function("im2col", "e5135f706b6c38b8", module="util", exact=True, by_name=True, batch=("input_data",)),
    _function("col2im", "f88b1b5fd782f6e8", module="util", exact=True, by_name=True, sample=".samples:rows"),
    _function("sigmoid", "ffc4e683f51b3f70"),
    _function("sigmoid_grad", "33377ee15b13d3bf"),
    _function("relu_grad", "8d39f318872f4428", exact=True),
    _function("softmax", "38915b759b9aa9a2", "294e328aa09878d0"),
    _function("cross_entropy_error", "b4779869a9bf163d", batch=("y", "t")),
    _function("softmax_loss", "d5faa44972cd7ec7", batch=("X", "t")),
    _network("SimpleConvNet", "cb6d27f3bf2d16d8"),
    _network("DeepConvNet", "13e0df433a11b464"),
    _optimizer("SGD", "38b4a3596f7d9138"),
    _optimizer("Momentum", "6746a7a013ea85f7"),
    _optimizer("Nesterov", "6ac0d83126323f21"),
    _optimizer("AdaGrad", "56f6d81f916255dc"),
    _optimizer("RMSprop", "112b7d9de043bf59"),
    _optimizer("Adam", "0ab40cef7556bbe3"),
)
