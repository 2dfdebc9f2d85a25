"""Samples to frames: lengths and masks, as transformers' ``MimiModel`` counts them."""

from typing import Any

import mlx.core as mx
import numpy as np

from ..arrays import Array, is_one_of, numbers, whole
from ..model.config import shown


def encoded(input_length: Any, frame_size: int) -> int | Array:
    """Frames of so many samples, the ragged last one counted: a number, or an array as given."""
    one = whole(input_length)
    lengths = numbers("input_length", input_length) if one is None else np.array(0)
    if lengths.dtype.kind not in "iu" or (lengths < 0).any() or (one or 0) < 0:
        raise ValueError(
            f"input_length is {shown(input_length)}; it must be whole numbers of samples, 0 or "
            "more. Give the lengths of the clips."
        )
    if one is not None:
        return -(-one // frame_size)
    frames = -(-lengths.astype(np.int64) // frame_size)
    return mx.array(frames) if isinstance(input_length, mx.array) else frames


def samples(padding_mask: Any) -> int:
    """T of a mask ``[..., T]``."""
    shape = numbers("padding_mask", padding_mask).shape
    if not shape:
        raise ValueError("padding_mask has no axes; its last one is time. Give an array [B, T].")
    return shape[-1]


def codes_mask(padding_mask: Any, padding_side: Any, frame_size: int) -> mx.array:
    """Which frames ``[B, F]`` are real by a mask ``[B, T]``; F is the longest row's."""
    mask = numbers("padding_mask", padding_mask)
    if mask.ndim != 2:
        raise ValueError(
            f"padding_mask has shape {mask.shape}; it must be [B, T]. "
            "Give the feature extractor's padding_mask."
        )
    if not is_one_of(padding_side, ("right", "left")):
        raise ValueError(
            f"padding_side is {shown(padding_side)}; it must be 'right' or 'left'. Choose one."
        )
    frames = np.asarray(encoded((mask != 0).sum(axis=1), frame_size))
    at = np.arange(int(frames.max(initial=0)))
    real: np.ndarray = (at if padding_side == "right" else at[::-1]) < frames[:, None]
    return mx.array(real)
