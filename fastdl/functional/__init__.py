"""Stateless mathematics: every operation as plain functions of arrays.

Each operation has three names. ``y = op(x, ...)`` keeps nothing; ``y, ctx = op_forward(x, ...)`` also
returns what the gradient needs; ``op_backward(dy, ctx)`` returns the gradients. Nothing is hidden
anywhere else, so calls may be nested, repeated and run in any number of threads.
"""
from .dense import *
from .conv import *
from .conv_transpose import *
