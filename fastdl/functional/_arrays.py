"""From any array of floats to the canonical one that an engine takes, and back.

Canonical is: an ndarray of float32 or float64, C-contiguous, aligned, in native byte order. An array
that is canonical already passes through untouched; everything else is copied once. The work is in two
steps, `floats` before the plan and `canonical` after it, so that nothing is copied for a call that is
going to be refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from ..backends import Ops, common_dtype, select
from ..checks import Shape, same_shape
from ..config import current

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]

FLOAT16, FLOAT32, FLOAT64 = (np.dtype(f"float{bits}") for bits in (16, 32, 64))
_OF_SIZE = {dtype.itemsize: dtype for dtype in (FLOAT16, FLOAT32, FLOAT64)}


@dataclass(slots=True)  # like every ctx not frozen: that would take half a microsecond a call
class LinearMapContext:
    """The ctx of a map that is linear in its one argument: its gradient needs the plan and no array."""

    op: str
    ops: Ops
    plan: Any
    dtype: np.dtype[Any]


def engine() -> Ops:
    """Return the primitives that the settings in force ask for."""
    return select(current().backend)


def floats(op: str, names: str, *values: ArrayLike | None) -> tuple[Sequence[Any], np.dtype[Any], bool]:
    """Return the arguments as arrays of floats, the dtype of the result, and whether all are canonical.

    Parameters
    ----------
    op, names : str
        For messages: the call, and the arguments' names with spaces between. A last name in
        parentheses is one that may be None, and then stays None.
    *values : array_like
        The arguments.

    Raises
    ------
    TypeError
        Naming the first argument that does not hold float16, float32 or float64.
    """
    dtype = common_dtype(names, values)
    if dtype is not None:
        return values, dtype, True
    arrays = [
        None if value is None and name[0] == "(" else _as_floats(op, name.strip("()"), value)
        for name, value in zip(names.split(), values)
    ]
    widest = max(array.dtype.itemsize for array in arrays if array is not None)
    return arrays, _OF_SIZE[widest], False


def _as_floats(op: str, name: str, value: Any) -> Array:
    array = as_array(op, name, value)
    if array.dtype.kind != "f" or array.dtype.itemsize > 8:
        raise TypeError(f"{op}: {name} must hold float16, float32 or float64; got {array.dtype}")
    return array


def as_array(op: str, name: str, value: Any) -> Array:
    """Return anything NumPy takes for an array as a plain one, copying nothing that is one already."""
    try:
        return np.asarray(value)
    except ValueError as error:  # rows of several lengths
        raise TypeError(f"{op}: {name} must be an array; {error}") from None


def canonical(arrays: Sequence[Any], dtype: np.dtype[Any]) -> list[Any]:
    """Return arrays of floats as the engine takes them; float16 is computed in float32."""
    if dtype is FLOAT16:
        dtype = FLOAT32
    return [
        array if array is None or _is_canonical(array, dtype) else np.array(array, dtype, order="C")
        for array in arrays
    ]


def _is_canonical(array: Array, dtype: np.dtype[Any]) -> bool:
    return array.dtype == dtype and array.flags.c_contiguous and array.flags.aligned


def restored(array: Array, dtype: np.dtype[Any]) -> Array:
    """Return a result in the dtype that the arguments had."""
    return array if array.dtype is dtype or array.dtype == dtype else array.astype(dtype)


def shaped(array: Array, shape: Shape) -> Array:
    """Return an array with the shape that the person's call gives it."""
    return array if array.shape == shape else array.reshape(shape)


def one_float(op: str, x: ArrayLike) -> tuple[Array, np.dtype[Any]]:
    """Return x, the only argument, canonical, and its dtype; for operations that fit any shape."""
    arrays, dtype, ready = floats(op, "x", x)
    return (arrays if ready else canonical(arrays, dtype))[0], dtype


def gradient(
    op: str, dy: ArrayLike, y_shape: Shape, dtype: np.dtype[Any], name: str = "dy", of: str = "y"
) -> Array:
    """Return the gradient that came back, canonical; it must have the shape of what went out."""
    op = f"{op}_backward"
    arrays, came, ready = floats(op, name, dy)
    same_shape(op, name, arrays[0].shape, y_shape, of)
    return (arrays if ready and came is dtype else canonical(arrays, dtype))[0]


def check_ctx(op: str, ctx: Any) -> None:
    """Refuse a ctx that another operation made: its plan and its arrays would not fit together."""
    came = getattr(ctx, "op", None)
    if came != op:
        raise TypeError(
            f"{op}_backward: ctx must come from {op}_forward; "
            f"got {f'one from {came}_forward' if came else repr(ctx)}"
        )
