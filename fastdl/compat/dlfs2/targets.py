"""What fastdl stands in for of this family."""

from __future__ import annotations

from typing import Any

from ..target import Target

_FAMILY = "dlfs2"
_GRADIENTS = ("forward", "backward")


def _layer(name: str, module: str, *fingerprints: str, exact: str | None = None, **options: Any) -> Target:
    return Target(
        name,
        _FAMILY,
        fast=f"{module}:{name}",
        exact=None if exact is None else f"{exact}:{name}",
        fingerprints=frozenset(fingerprints),
        methods=_GRADIENTS,
        **options,
    )


_LAYERS: dict[str, Any] = {"private": frozenset({"layers"}), "by_name": True}
"""Of layers that keep one layer a step in `layers`, which nobody reads."""

_STEPS: dict[str, Any] = {**_LAYERS, "sample": ".samples:steps"}


def _optimizer(name: str, fingerprint: str) -> Target:
    return Target(
        name,
        _FAMILY,
        fast=f"optimizer:{name}",
        exact=f"optimizer:{name}",
        fingerprints=frozenset({fingerprint}),
        methods=("update",),
        sample=".samples:parameters",
    )


def _model(name: str, module: str, fingerprint: str) -> Target:
    """A model whose layers have been tried; it only brings them together."""
    return Target(
        name,
        _FAMILY,
        fast=f"{module}:{name}",
        fingerprints=frozenset({fingerprint}),
        methods=("forward",),
        trial=False,
    )


def _exactly(name: str, module: str, *fingerprints: str, **options: Any) -> Target:
    """What only moves and counts: both tiers are the same."""
    where = f"{module}:{name}"
    prints = frozenset(fingerprints)
    return Target(name, _FAMILY, fast=where, exact=where, fingerprints=prints, **options)


TARGETS: tuple[Target, ...] = (
    # common.layers
    _layer("Affine", "layers", "7931864495ba206a", batch=("x",)),
    _layer("SoftmaxWithLoss", "layers", "ca8b9ac9602e3727", batch=("x", "t")),
    _layer("SigmoidWithLoss", "layers", "186facbc3ed91f36", exact="layers", batch=("x", "t")),
    _layer(
        "Embedding",
        "layers",
        "be0d067dea6efd51",
        "dcbf15cf7cedbfb6",
        exact="exact",
        sample="samples:few_words",
    ),
    # common.time_layers
    _layer("TimeRNN", "time_layers", "45a1aa3d397095ad", **_STEPS),
    _layer("TimeGRU", "time_layers", "d4ee9a0510327681", "c81be46ef171f0d2", **_STEPS),
    _layer("TimeLSTM", "time_layers", "8f0c72b852bcf510", **_STEPS),
    _layer(
        "TimeEmbedding",
        "time_layers",
        "c344453039af7eda",
        exact="exact",
        sample="samples:few_words",
        **_LAYERS,
    ),
    _layer(
        "TimeAffine",
        "time_layers",
        "ac2ef86934942934",
        exact="exact",
        by_name=True,
        sample="samples:few_scores",
    ),
    _layer(
        "TimeSoftmaxWithLoss",
        "time_layers",
        "818e6a1e39c3bc37",
        exact="exact",
        by_name=True,
        sample="samples:few_labels",
    ),
    # common.functions, common.optimizer
    Target(
        "softmax",
        _FAMILY,
        fast="functions:softmax",
        exact="exact:softmax",
        fingerprints=frozenset({"18015ff527739f2e"}),
        batch=("x",),
    ),
    _optimizer("SGD", "2480b4dcadc12f96"),
    _optimizer("Momentum", "1428b93d07abb5c7"),
    _optimizer("Nesterov", "97eb4379fe8af366"),
    _optimizer("AdaGrad", "1b4dc9a212c80720"),
    _optimizer("RMSprop", "1edecb027f15a8bc"),
    _optimizer("Adam", "1c6977fdb4000364"),
    # common.trainer, common.util
    Target(
        "Trainer",
        _FAMILY,
        fast="trainer:Trainer",
        fingerprints=frozenset({"2401b398cb3b0cb7"}),
        methods=("fit",),
        trial=False,
    ),
    _exactly("remove_duplicate", "trainer", "c4b9c137bcf0453f", sample=".samples:parameters"),
    _exactly("RnnlmTrainer", "trainer", "023f3a71f9e7eda6", methods=("get_batch",), trial=False),
    Target(
        "clip_grads",
        _FAMILY,
        fast="util:clip_grads",
        fingerprints=frozenset({"36ba700130779940"}),
        sample=".samples:gradients",
    ),
    _exactly("convert_one_hot", "util", "51857c39d8adb63b", batch=("corpus",)),
    _exactly(
        "create_co_matrix", "util", "4e61e709bf3a354b", "ff848a55708f4aed", sample="samples:part_of_corpus"
    ),
    _exactly("most_similar", "util", "13e271e31cdce076", trial=False),
    _exactly("create_contexts_target", "util", "827ba1cb6c2d1282", sample="samples:part_of_corpus"),
    Target(
        "ppmi",
        _FAMILY,
        fast="util:ppmi",
        fingerprints=frozenset({"db9e25c8c5a484dd", "860ce2a0df391340"}),
        sample="samples:part_of_matrix",
    ),
    # ch04, ch06, ch08
    _exactly(
        "UnigramSampler",
        "negative_sampling_layer",
        "79e5e6358ae0da1a",
        methods=("get_negative_sample",),
        batch=("target",),
    ),
    _layer("CBOW", "cbow", "66b69bb63bb2b048", trial=False),
    _model("Rnnlm", "rnnlm", "32f5dd5b511adc37"),
    _model("BetterRnnlm", "better_rnnlm", "aa037b9ddd73629a"),
    _layer("TimeAttention", "attention_layer", "e2c429d43a8c80d5", **_LAYERS, batch=("hs_enc", "hs_dec")),
)
