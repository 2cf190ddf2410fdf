"""A learner's own layers held against fastdl: right or wrong, where, why perhaps, and how fast.

Functions go by the conventions of cs231n, ``(out, cache)`` and ``(dx, dw, db)``, classes by those of *Deep
Learning from Scratch*, `forward` and `backward` of an object that holds its parameters.
"""

from .examine import check
from .report import Comparison, Gradient, Report, Result, Speed

__all__ = ["Comparison", "Gradient", "Report", "Result", "Speed", "check"]
