"""PyTorch, tuned by hand: images of NCHW cases stored with the channels last, optimizers fused."""

from __future__ import annotations

from case import STEP, Case
from model_cases import ModelCase

from . import Call, torch_
from .torch_ import version as version

FAMILIES = ("conv", "pool", "norm")


def prepare(case: Case | ModelCase, direction: str, threads: int) -> Call | None:
    """Prepare the case, or return None where this would be what `torch_` does."""
    if direction != STEP and not isinstance(case, ModelCase):
        image = case.family in FAMILIES and len(case.shapes[0]) == 4
        if not image or torch_.has_channels_last(case):
            return None
    return torch_.prepare(case, direction, threads, channels_last=True)
