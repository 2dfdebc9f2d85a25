"""What is checked at the door: every error names the value, the rule and the remedy."""

import functools
import warnings
from collections.abc import Set
from typing import Any

import mlx.core as mx
import numpy as np
from mlx.utils import tree_reduce

from ..arrays import Array, array, as_float32, host, is_one_of, items, kind, whole
from ..model.codec import Codec
from ..model.config import MimiConfig, shown
from ..model.ops.device import memory

# Samples are in [-1, 1]; past this they are integers that were never divided.
_LOUDEST = 100


def pcm(pcm: Any) -> Array:
    """Samples as ``[B, 1, T]`` float32, from ``[B, 1, T]``, ``[1, T]`` or ``[T]``."""
    rule = "it must be float32 in [-1, 1]. Convert it with astype(numpy.float32), and "
    found = as_float32("pcm", pcm, f"{rule}divide by 32768 what was int16.")
    shape = tuple(found.shape)
    full = (1,) * (3 - len(shape)) + shape
    if len(full) != 3 or full[1] != 1 or full[0] == 0 or not shape:
        raise ValueError(
            f"pcm has shape {shape}; it must be [B, 1, T], [1, T] or [T], one channel. "
            "Mix channels down, or give each as a row of a batch [B, 1, T]."
        )
    # mx.array does not take views with negative strides, such as a clip reversed.
    return (np.ascontiguousarray(found) if isinstance(found, np.ndarray) else found).reshape(full)


def latent(latent: Any, config: MimiConfig) -> Array:
    """Latents ``[B, hidden_size, F]``, float32, of at least one frame."""
    remedy = "Give what encode_to_latent or decode_latent returns."
    rule = f"it must be float32 [B, {config.hidden_size}, F]. {remedy}"
    found = as_float32("latent", latent, rule)
    shape = tuple(found.shape)
    if len(shape) != 3 or shape[1] != config.hidden_size or 0 in shape:
        raise ValueError(f"latent is float32 of shape {shape}; {rule}")
    return np.ascontiguousarray(found) if isinstance(found, np.ndarray) else found


def has_samples(pcm: Array) -> None:
    """A clip has samples."""
    if pcm.shape[2] == 0:
        raise ValueError("pcm is empty; a clip has at least one sample. Leave it out.")


def has_frames(codes: np.ndarray) -> None:
    """A clip's codes have frames."""
    if codes.shape[2] == 0:
        raise ValueError("codes has no frames; a clip has at least one. Leave it out.")


def clip(clip: Any) -> Array:
    """A whole clip: :func:`pcm` with at least one sample, all finite."""
    clip = pcm(clip)
    has_samples(clip)
    finite(host("pcm", clip))
    return clip


def finite(samples: np.ndarray) -> None:
    """No sample is NaN or infinite; that they are at the scale of integers is warned of once."""
    if not samples.size:
        return
    least, most = samples.min(), samples.max()
    if not (np.isfinite(least) and np.isfinite(most)):
        raise ValueError("pcm has NaN or infinite samples; all must be finite. Repair the source.")
    if max(-least, most) > _LOUDEST:
        _say_integers()


@functools.cache
def _say_integers() -> None:
    warnings.warn(
        f"pcm has samples past {_LOUDEST}; they are in [-1, 1], and 16-bit integers must be "
        "divided by 32768",
        stacklevel=4,
    )


def batch_size(batch_size: int) -> int:
    """The rows of a stream, at least one."""
    count = whole(batch_size)
    if count is None or count < 1:
        raise ValueError(
            f"batch_size is {shown(batch_size)}; a stream has at least one row. Give 1 or more."
        )
    return count


def fits_memory(rows: int, row: Any) -> None:
    """So many rows can have a state: ``row`` is that of one, and a step holds it old and new."""
    size = tree_reduce(lambda total, leaf: total + leaf.nbytes, row, 0) or 0
    there = memory()
    if 2 * rows * size > there:
        raise ValueError(
            f"{rows} rows; the state of one takes {size // 1000} KB, twice while it steps, and "
            f"there are {there // 10**9} GB of memory. Give fewer rows."
        )


def rows(name: str, given: int, batch_size: int) -> None:
    """A push has as many rows as its stream."""
    if given != batch_size:
        raise ValueError(
            f"{name} has {given} rows; this stream has {batch_size}. Push every row, with a mask "
            f"for those that wait, or make a stream with batch_size={given}."
        )


def mask(mask: Any, batch_size: int) -> np.ndarray:
    """One truth value for each row, ``[B]``."""
    found = host("mask", mask)
    if found.shape != (batch_size,) or found.dtype != bool:
        raise ValueError(
            f"mask is {kind(mask, found)} of shape {found.shape}; it must be {batch_size} "
            "booleans, one for each row. Give True for the rows that take part."
        )
    return found


def row_mask(rows: Any, batch_size: int) -> np.ndarray:
    """The rows that are meant, ``[B]``: a row's number, several, or a mask of booleans."""
    one = whole(rows)
    given = [one] if one is not None else list(rows) if isinstance(rows, Set) else items(rows)
    if given and all(isinstance(item, bool | np.bool_) for item in given):
        if len(given) != batch_size:
            raise ValueError(
                f"rows is a mask of {len(given)} booleans; this stream has {batch_size} rows. "
                "Give one boolean for each row, or row numbers."
            )
        return np.array(given, bool)
    found = np.zeros(batch_size, bool)
    for item in [rows] if given is None else given:
        number = whole(item)
        if number is None or not 0 <= number < batch_size:
            raise ValueError(
                f"row {shown(item)} does not exist; this stream has rows 0 to {batch_size - 1}. "
                "Give numbers in that range, or one boolean for each row."
            )
        found[number] = True
    return found


def kind_of(name: str, given: Any, kind: type, remedy: str) -> None:
    """``given`` is of a class."""
    if not isinstance(given, kind):
        raise ValueError(
            f"{name} is a {type(given).__name__}; it must be a {kind.__name__}. {remedy}"
        )


def only(only: Any) -> None:
    """The half that is to be loaded, or None for both."""
    if not (only is None or is_one_of(only, ("encoder", "decoder"))):
        raise ValueError(
            f"only is {shown(only)}; it must be 'encoder' or 'decoder'. Leave it out for both."
        )


def has_half(codec: Codec, half: str, method: str) -> None:
    """The model was loaded with the half that a method needs."""
    if half not in codec:
        other = "decoder" if half == "encoder" else "encoder"
        raise ValueError(
            f"{method}: this model was loaded with only={other!r} and has no {half}. "
            f"Load it without only={other!r}."
        )


def step(x: Array, state: Any, kind: type) -> mx.array:
    """A pure step's input, whose state is of the same way and has as many rows."""
    kind_of("state", state, kind, "Give what the step before gave, or an init_..._state.")
    rows("the input", x.shape[0], len(state.transformer.position))
    if x.shape[2] == 0:
        raise ValueError(
            "the input is empty; a step has at least a frame or its part. Leave it out."
        )
    return mx.array(x)


def num_codebooks(asked: int | None, config: MimiConfig) -> int:
    """How many codebooks to use; None means all."""
    if asked is None:
        return config.num_quantizers
    count = whole(asked)
    if count is None or not 1 <= count <= config.num_quantizers:
        raise ValueError(
            f"num_codebooks is {shown(asked)}; this model has 1 to {config.num_quantizers}. "
            "Choose one of these."
        )
    return count


def codes(codes: Any, config: MimiConfig, mask: np.ndarray | None = None) -> np.ndarray:
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


def lazy_codes(codes: Any, config: MimiConfig) -> Array:
    """Integers as ``[B, K, F]``, from ``[B, K, F]`` or ``[K, F]``, whatever the values."""
    found = array("codes", codes)
    is_whole = (
        found.dtype.kind in "iu"
        if isinstance(found, np.ndarray)
        else mx.issubdtype(found.dtype, mx.integer)
    )
    if not is_whole:
        raise ValueError(
            f"codes is {kind(codes, found)}; codes are integers. Convert them with astype."
        )
    values = found[None] if found.ndim == 2 else found
    if values.ndim != 3 or not 1 <= values.shape[1] <= config.num_quantizers or not values.shape[0]:
        raise ValueError(
            f"codes has shape {tuple(found.shape)}; it must be [B, K, F] or [K, F] with K from 1 "
            f"to {config.num_quantizers}. Check the order of the axes."
        )
    return values


def step_codes(given: Any, config: MimiConfig) -> Array:
    """The codes of a pure step: those of an MLX array, which may not be there yet, are bounded."""
    if not isinstance(given, mx.array):
        return codes(given, config)
    bounded = mx.clip(mx.array(lazy_codes(given, config)), 0, config.codebook_size - 1)
    return bounded.astype(mx.int32)


def codes_or_ends(codes: Any, config: MimiConfig) -> np.ndarray:
    """Like :func:`codes`, where a row may also end in frames of -1."""
    values = host("codes", lazy_codes(codes, config))
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


def lengths(lengths: Any, rows: int, most: int) -> list[int]:
    """The samples of each of ``rows`` rows: numbers from 1 to ``most``."""
    found = [whole(length) or 0 for length in items(lengths) or ()]
    if len(found) != rows or not all(1 <= length <= most for length in found):
        raise ValueError(
            f"the lengths are {shown(lengths)}; there must be {rows}, one for each row, from 1 to "
            f"{most}. Give the number of samples of each row."
        )
    return found


def ends(length: Any, rows: int, most: int) -> list[int]:
    """:func:`lengths` of each row, where one number is for all of them."""
    return lengths([length] * rows if whole(length) is not None else length, rows, most)
