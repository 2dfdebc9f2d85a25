"""What is checked at the door: every error names the value, the rule and the remedy."""

import operator
from collections.abc import Sequence
from typing import Any

import mlx.core as mx
import numpy as np
from mlx.utils import tree_reduce

from ..model.config import MimiConfig
from ..model.ops.device import memory


def pcm(pcm: mx.array | np.ndarray) -> mx.array | np.ndarray:
    """Samples as ``[B, 1, T]`` float32, from ``[B, 1, T]``, ``[1, T]`` or ``[T]``."""
    dtype = str(getattr(pcm, "dtype", type(pcm).__name__)).removeprefix("mlx.core.")
    if dtype == "int16":
        raise ValueError(
            "pcm is int16; it must be float32 in [-1, 1]. "
            "Convert it with astype(numpy.float32) and divide by 32768."
        )
    if dtype != "float32":
        raise ValueError(
            f"pcm is {dtype}; it must be float32 in [-1, 1]. Convert it with astype(numpy.float32)."
        )
    shape = tuple(pcm.shape)
    full = (1,) * (3 - len(shape)) + shape
    if len(full) != 3 or full[1] != 1 or full[0] == 0 or not shape:
        raise ValueError(
            f"pcm has shape {shape}; it must be [B, 1, T], [1, T] or [T], one channel. "
            "Mix channels down, or give each as a row of a batch [B, 1, T]."
        )
    # mx.array does not take views with negative strides, such as a clip reversed.
    return (np.ascontiguousarray(pcm) if isinstance(pcm, np.ndarray) else pcm).reshape(full)


def latent(latent: mx.array | np.ndarray, config: MimiConfig) -> mx.array | np.ndarray:
    """Latents ``[B, hidden_size, F]``, float32, of at least one frame."""
    dtype, shape = str(latent.dtype).removeprefix("mlx.core."), tuple(latent.shape)
    fits = len(shape) == 3 and shape[1] == config.hidden_size and 0 not in shape
    if dtype != "float32" or not fits:
        raise ValueError(
            f"latent is {dtype} of shape {shape}; it must be float32 [B, {config.hidden_size}, F]. "
            "Give what encode_to_latent or decode_latent returns."
        )
    return latent


def clip(clip: mx.array | np.ndarray) -> mx.array | np.ndarray:
    """A whole clip: :func:`pcm` with at least one sample, all finite."""
    clip = pcm(clip)
    if clip.shape[2] == 0:
        raise ValueError("pcm is empty; a clip has at least one sample. Leave it out.")
    finite(host("pcm", clip))
    return clip


def host(name: str, array: mx.array | np.ndarray) -> np.ndarray:
    """An array's values, for this thread."""
    try:
        return np.asarray(array)
    except RuntimeError as error:
        raise ValueError(
            f"{name} cannot be computed in this thread ({error}); an array that crosses threads "
            "must be evaluated. Call mx.eval on it in the thread that made it."
        ) from error


def finite(samples: np.ndarray) -> None:
    """No sample is NaN or infinite."""
    if samples.size and not (np.isfinite(samples.min()) and np.isfinite(samples.max())):
        raise ValueError("pcm has NaN or infinite samples; all must be finite. Repair the source.")


def batch_size(batch_size: int) -> int:
    """The rows of a stream, at least one."""
    count = _whole(batch_size)
    if count is None or count < 1:
        raise ValueError(
            f"batch_size is {batch_size!r}; a stream has at least one row. Give 1 or more."
        )
    return count


def fits_memory(rows: int, row: Any) -> None:
    """So many rows can have a state: ``row`` is that of one, and a step holds it old and new."""
    size, there = tree_reduce(lambda total, leaf: total + leaf.nbytes, row, 0), memory()
    if 2 * rows * size > there:
        raise ValueError(
            f"{rows} rows; the state of one takes {size // 1000} KB, twice while it steps, and "
            f"this machine has {there // 10**9} GB. Give fewer rows."
        )


def rows(name: str, given: int, batch_size: int) -> None:
    """A push has as many rows as its stream."""
    if given != batch_size:
        raise ValueError(
            f"{name} has {given} rows; this stream has {batch_size}. Push every row, with a mask "
            f"for those that wait, or make a stream with batch_size={given}."
        )


def mask(mask: Sequence[bool], batch_size: int) -> np.ndarray:
    """One truth value for each row, ``[B]``."""
    found = np.asarray(mask)
    if found.shape != (batch_size,) or found.dtype != bool:
        raise ValueError(
            f"mask is {found.dtype} of shape {found.shape}; it must be {batch_size} booleans, "
            "one for each row. Give True for the rows that take part."
        )
    return found


def row_mask(rows: Sequence[int], batch_size: int) -> np.ndarray:
    """Row numbers as a mask ``[B]``."""
    found = np.zeros(batch_size, bool)
    for row in rows:
        number = _whole(row)
        if number is None or not 0 <= number < batch_size:
            raise ValueError(
                f"row {row!r} does not exist; this stream has rows 0 to {batch_size - 1}. "
                "Give rows in that range."
            )
        found[number] = True
    return found


def num_codebooks(asked: int | None, config: MimiConfig) -> int:
    """How many codebooks to use; None means all."""
    if asked is None:
        return config.num_quantizers
    count = _whole(asked)
    if count is None or not 1 <= count <= config.num_quantizers:
        raise ValueError(
            f"num_codebooks is {asked!r}; this model has 1 to {config.num_quantizers}. "
            "Choose one of these."
        )
    return count


def codes(
    codes: mx.array | np.ndarray, config: MimiConfig, mask: np.ndarray | None = None
) -> np.ndarray:
    """Codes as ``[B, K, F]`` int32, from ``[B, K, F]`` or ``[K, F]``; every code in range.

    Rows where ``mask [B]`` is false are not read: they come back as zeros.
    """
    values = host("codes", codes)
    if mask is not None and values.ndim == 3 and len(values) == len(mask):
        values = np.where(mask[:, None, None], values, values.dtype.type(0))
    values = codes_or_ends(values, config)
    if values.size and values.min() < 0:
        raise ValueError(
            f"codes has -1; here every code must be from 0 to {config.codebook_size - 1}. "
            "Cut the rows to their ends."
        )
    return values


def codes_or_ends(codes: mx.array | np.ndarray, config: MimiConfig) -> np.ndarray:
    """Like :func:`codes`, where a row may also end in frames of -1."""
    values = host("codes", codes)
    if values.dtype.kind not in "iu":
        raise ValueError(f"codes is {values.dtype}; codes are integers. Convert them with astype.")
    if values.ndim == 2:
        values = values[None]
    if values.ndim != 3 or not 1 <= values.shape[1] <= config.num_quantizers or not values.shape[0]:
        raise ValueError(
            f"codes has shape {np.shape(codes)}; it must be [B, K, F] or [K, F] with K from 1 to "
            f"{config.num_quantizers}. Check the order of the axes."
        )
    if not values.size:
        return values.astype(np.int32)
    if values.min() < -1 or values.max() >= config.codebook_size:
        worst = values.max() if values.max() >= config.codebook_size else values.min()
        raise ValueError(
            f"codes has {worst}; a code is from 0 to {config.codebook_size - 1}, and -1 only "
            "past a row's end. Check that they come from this model."
        )
    values = values.astype(np.int32)
    ended = (values == -1).any(axis=1)  # [B, F]
    if ended.any() and ((values == -1).all(axis=1) != np.maximum.accumulate(ended, axis=1)).any():
        raise ValueError(
            "codes has -1 inside a row; only whole frames at a row's end may be -1. "
            "Remove or fill the frames that are missing."
        )
    return values


def lengths(lengths: Sequence[int], rows: int, most: int) -> list[int]:
    """The samples of each of ``rows`` rows: numbers from 1 to ``most``."""
    found = [_whole(length) or 0 for length in lengths]
    if len(found) != rows or not all(1 <= length <= most for length in found):
        raise ValueError(
            f"the lengths are {list(lengths)}; there must be {rows}, one for each row, from 1 to "
            f"{most}. Give the number of samples of each row."
        )
    return found


def _whole(value: Any) -> int | None:
    """A whole number of any type as an int, or None if it is no number or not whole."""
    try:
        return None if isinstance(value, bool) else operator.index(value)
    except TypeError:
        return None
