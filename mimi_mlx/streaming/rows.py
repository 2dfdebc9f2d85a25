"""States by rows: leaves are ``[B, ...]``, and no row knows of another."""

from collections.abc import Sequence
from typing import Any

import mlx.core as mx
import numpy as np
from mlx.utils import tree_map

State = Any


def select(mask: mx.array, a: State, b: State) -> State:
    """The state with rows of ``a`` where ``mask [B]`` is true and of ``b`` elsewhere."""

    def rows(x: mx.array, y: mx.array) -> mx.array:
        return mx.where(mask.reshape(-1, *[1] * (x.ndim - 1)), x, y)

    return tree_map(rows, a, b)


def take(state: State, rows: np.ndarray) -> State:
    """The state of some rows alone."""
    index = mx.array(rows.astype(np.int32))
    return tree_map(lambda leaf: leaf[index], state)


def place(state: State, rows: np.ndarray, some: State) -> None:
    """Have a state's ``rows``, which ascend, be the first rows of ``some``: it is altered."""
    first, last = int(rows[0]), int(rows[-1])
    together = last - first == len(rows) - 1
    where = slice(first, last + 1) if together else mx.array(rows.astype(np.int32))

    def replace(leaf: mx.array, new: mx.array) -> None:
        if leaf.size:  # MLX 0.32 ends the process where there is nothing to replace
            leaf[where] = new[: len(rows)]

    tree_map(replace, state, some)


def joined(a: State, b: State) -> State:
    """The rows of ``a``, and after them those of ``b``."""
    return tree_map(lambda x, y: mx.concatenate([x, y]), a, b)


def padded(rows: Sequence[np.ndarray], nothing: int) -> np.ndarray:
    """Rows ``[C, T]`` of different lengths as one array ``[B, C, T]``, ``nothing`` past an end."""
    longest = max(row.shape[-1] for row in rows)
    filled = np.full((len(rows), len(rows[0]), longest), nothing, rows[0].dtype)
    for row, values in zip(filled, rows, strict=True):
        row[:, : values.shape[-1]] = values
    return filled
