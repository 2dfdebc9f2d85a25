"""Whole clips whose rows end at different times: what a loop of long steps does not do alone."""

from collections.abc import Sequence
from typing import Any

import mlx.core as mx
import numpy as np
from mlx.utils import tree_map

from .runner import Step, advance, evaluate


def ragged(step: Step, pcm: Any, lengths: list[int], state: Any, unit: int) -> mx.array:
    """Codes of rows of different lengths, each as if alone: ``[B, K, F]``, -1 past a row's end.

    The rows advance together up to where the shortest one has no whole frame left. A row that
    ends there finishes alone, with its ragged frame if it has one; the others go on.
    """
    pcm = np.asarray(pcm)
    rows, at = np.arange(len(lengths)), 0
    done: list[list[np.ndarray]] = [[] for _ in lengths]
    while rows.size:
        left = np.array([lengths[row] for row in rows]) - at
        end = at + left.min() // unit * unit
        if end > at:
            y, state = advance(step, pcm[rows, :, at:end], state, unit)
            for row, codes in zip(rows, np.array(y), strict=True):
                done[row].append(codes)
        left -= end - at
        for i in np.flatnonzero((left > 0) & (left < unit)):
            last = mx.array(pcm[rows[i] : rows[i] + 1, :, end : lengths[rows[i]]])
            y, _ = step(last, _take(state, [i]))
            done[rows[i]].append(np.array(y[0]))
        keep = np.flatnonzero(left >= unit)
        rows, state, at = rows[keep], _take(state, keep), end
    codes = [np.concatenate(parts, axis=-1) for parts in done]
    frames = max(row.shape[-1] for row in codes)
    padded = np.full((len(codes), codes[0].shape[0], frames), -1, np.int32)
    for row, found in zip(padded, codes, strict=True):
        row[:, : found.shape[-1]] = found
    return mx.array(padded)


def cut(pcm: mx.array, ends: np.ndarray) -> mx.array:
    """Cut ``[B, 1, T]`` to its longest row's end; silence past the ends of the others."""
    longest = int(ends.max())
    if (ends == longest).all() and longest == pcm.shape[-1]:
        return pcm
    past = mx.arange(longest) >= mx.array(ends)[:, None, None]
    pcm = mx.where(past, 0.0, pcm[..., :longest])
    evaluate(pcm)
    return pcm


def _take(state: Any, rows: Sequence[int]) -> Any:
    """The state of some rows alone."""
    index = mx.array(np.asarray(rows, np.int32))
    return tree_map(lambda leaf: leaf[index], state)
