"""Codebooks as a search reads them: entries are columns, so that scores are one matmul."""

from typing import NamedTuple

import mlx.core as mx
import mlx.nn as nn
import numpy as np

from .device import packs
from .matmul import BLOCK, add_times, is_packed


class Codebook(NamedTuple):
    """One codebook: views of ``columns [D, N]``, or as they are packed, and of ``bias [1, N]``."""

    columns: mx.array
    bias: mx.array

    def scores(self, x: mx.array) -> mx.array:
        """How near each entry is to ``x [L, D]``, the greatest score the nearest: ``[L, N]``.

        |x - entry|^2 is least where x.entry - |entry|^2 / 2 is greatest; the bias is the latter.
        """
        if self.columns.ndim == 2:
            return add_times(self.bias, x, self.columns)
        y = add_times(self.bias.reshape(-1, 1, BLOCK), x, self.columns)  # [N / 64, L, 64]
        return y.swapaxes(0, 1).flatten(1)

    def entry(self, code: mx.array) -> mx.array:
        """The entries of ``code [L]``: ``[L, D]``."""
        if self.columns.ndim == 2:
            return mx.take(self.columns, code, axis=1).T
        return self.columns[code // BLOCK, :, code % BLOCK]


class Codebooks(nn.Module):
    """K codebooks of N entries of D numbers: ``columns [K, D, N]`` and ``biases [K, N]``."""

    def __init__(self, count: int, size: int, width: int):
        super().__init__()
        self.columns = mx.zeros((count, width, size))
        self.biases = mx.zeros((count, size))  # -|entry|^2 / 2

    def split(self, count: int) -> list[Codebook]:
        """The first ``count`` of them. Splits are views; indexing would copy each codebook."""
        columns = mx.split(self.columns[:count], count)
        biases = mx.split(self.biases[:count], count)
        return [Codebook(c.squeeze(0), b) for c, b in zip(columns, biases, strict=True)]

    def lookup(self, codes: mx.array) -> mx.array:
        """The entries that codes ``[B, K, F]`` name: ``[B, K, D, F]``."""
        columns = self.columns[: codes.shape[1]]
        if is_packed(columns):
            which = mx.arange(len(columns))[:, None]
            return columns[which, codes // BLOCK, :, codes % BLOCK].swapaxes(2, 3)
        return mx.take_along_axis(columns[None], codes[:, :, None], axis=3)

    @property
    def entries(self) -> np.ndarray:
        """All entries, ``[K, N, D]``."""
        columns = self.columns
        if is_packed(columns):
            columns = columns.swapaxes(1, 2).flatten(2)
        return np.array(columns).swapaxes(1, 2)

    def pack(self) -> None:
        """Lay the columns out as their products are fastest: ``[K, N / 64, D, 64]``."""
        if packs() and not is_packed(self.columns) and self.columns.shape[-1] % BLOCK == 0:
            blocks = self.columns.reshape(*self.columns.shape[:2], -1, BLOCK)
            self.columns = mx.contiguous(blocks.swapaxes(1, 2))
