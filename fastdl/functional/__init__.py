"""Stateless mathematics: every operation as plain functions of arrays.

Each operation has three names. ``y = op(x, ...)`` keeps nothing; ``y, ctx = op_forward(x, ...)`` also
returns what the gradient needs; ``op_backward(dy, ctx)`` returns the gradients. Nothing is remembered
anywhere else, so calls may be nested, repeated, and run in any number of threads.

Arrays hold floats: float32 gives float32, float64 gives float64, and float16 is computed in float32.
Their memory may be laid out in any way; what is C-contiguous is not copied.
"""

# ruff: noqa: F403  (what a module offers is in its own __all__)

from __future__ import annotations

from .axiswise import *
from .conv import *
from .conv_transpose import *
from .cross_entropy import *
from .dense import *
from .embedding import *
from .global_pool import *
from .loss import *
from .noise import *
from .norm import *
from .patches import *
from .pointwise import *
from .pool import *
from .recurrent import *
from .recurrent_cells import *
from .upsample import *
