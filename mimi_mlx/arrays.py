"""Arrays from whatever holds numbers: MLX's, NumPy's, lists, and tensors of other libraries."""

import operator
from collections.abc import Collection, Sequence
from typing import Any

import mlx.core as mx
import numpy as np
from numpy.typing import ArrayLike as NumpyLike

from .files import reason

Array = mx.array | np.ndarray

ArrayLike = mx.array | NumpyLike
"""What :func:`array` takes. Objects that have ``__dlpack__`` alone are taken too."""


def array(name: str, value: Any) -> Array:
    """``value`` as an array, without a copy where there is one already.

    Raises:
        ValueError: It cannot be read as one.
    """
    if isinstance(value, mx.array | np.ndarray):
        return value
    try:
        if hasattr(value, "__dlpack__") and not hasattr(value, "__array__"):
            return np.from_dlpack(value)
        return np.asarray(value)
    except Exception as error:  # of whichever library's it is
        raise ValueError(
            f"{name} is a {type(value).__name__} that is no array ({reason(error)}); it must be "
            "one of NumPy or MLX, or read as one. Give x.detach().cpu().numpy() of a tensor x."
        ) from error


def host(name: str, value: Any) -> np.ndarray:
    """An array's values, for this thread.

    Raises:
        ValueError: It cannot be read as an array, or not in this thread.
    """
    found = array(name, value)
    try:
        if isinstance(found, mx.array) and found.dtype == mx.bfloat16:  # which NumPy has not
            found = found.astype(mx.float32)
        return np.asarray(found)
    except RuntimeError as error:
        raise ValueError(
            f"{name} cannot be computed in this thread ({reason(error)}); an array that crosses "
            "threads must be evaluated. Call mx.eval on it in the thread that made it."
        ) from error


def kind(value: Any, found: Array) -> str:
    """The name of an array's type of number, or of what it was made from if these are none."""
    if isinstance(found, np.ndarray) and found.dtype.kind not in "biufc":
        return type(value).__name__ if found is not value else str(found.dtype)
    return str(found.dtype).removeprefix("mlx.core.")


def numbers(name: str, value: Any) -> np.ndarray:
    """An array's values for this thread, which are numbers or booleans."""
    found = host(name, value)
    if found.dtype.kind not in "biuf":
        raise ValueError(
            f"{name} is {kind(value, found)}; it must be an array of numbers. Give one."
        )
    return found


def is_one_of(value: Any, words: Collection[str]) -> bool:
    """Whether ``value`` is one of some words; an array has no such answer of its own."""
    return isinstance(value, str) and value in words


def as_float32(name: str, value: Any, rule: str) -> Array:
    """Floats of any size as float32; ``rule`` says what must be given instead of other things."""
    found = array(name, value)
    if found.dtype in (np.float32, mx.float32):
        return found
    if isinstance(found, mx.array) and mx.issubdtype(found.dtype, mx.floating):
        # No GPU has float64.
        return (
            mx.array(host(name, found)) if found.dtype == mx.float64 else found.astype(mx.float32)
        )
    if isinstance(found, np.ndarray) and found.dtype.kind == "f":
        with np.errstate(over="ignore"):  # what is then infinite is refused as that
            return found.astype(np.float32)
    raise ValueError(f"{name} is {kind(value, found)}; {rule}")


def whole(value: Any) -> int | None:
    """A whole number of any type as an int, or None if it is no number or not whole."""
    try:
        return None if isinstance(value, bool) else operator.index(value)
    except TypeError:
        return None


def items(values: Any) -> list[Any] | None:
    """What a sequence or an array of one axis holds, or None if it is none of these."""
    if isinstance(values, str | bytes | bytearray):
        return None
    if isinstance(values, Sequence):
        return list(values)
    try:
        found = host("", values).tolist()
    except ValueError:
        return None
    return found if isinstance(found, list) else None
