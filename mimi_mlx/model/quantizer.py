"""The split residual vector quantiser: latents to codes and back.

Two residual quantisers see the same latent, one of semantic codebooks, one of acoustic; what they
dequantise to is added. Codebooks and distances are float32 whatever the rest is.
"""

import functools
import hashlib

import mlx.core as mx
import mlx.nn as nn
import numpy as np

from .config import MimiConfig
from .ops import blank
from .ops import matmul as products


class SplitResidualVectorQuantizer(nn.Module):
    """Latents ``[B, F, hidden_size]`` to codes ``[B, K, F]``, int32, and back.

    Source: Moshi paper (arXiv 2410.00037), section 3.3.2; transformers'
    ``MimiSplitResidualVectorQuantizer``.
    """

    def __init__(self, config: MimiConfig):
        super().__init__()
        self.num_semantic = config.num_semantic_quantizers
        width = config.codebook_dim
        # Both halves' projections side by side: rows (input) or columns (output) are semantic,
        # then acoustic.
        self.input_proj = blank.linear(config.hidden_size, 2 * width)
        self.output_proj = blank.linear(2 * width, config.hidden_size)
        # Entries are columns, so that scores are one matmul by a codebook as it lies in memory.
        self.codebooks = mx.zeros((config.num_quantizers, width, config.codebook_size))
        self.biases = mx.zeros((config.num_quantizers, config.codebook_size))  # -|entry|^2 / 2

    def pack(self) -> None:
        """Lay the weights out as this machine reads them fastest."""
        self.codebooks = products.packed_columns(self.codebooks)
        for proj in (self.input_proj, self.output_proj):
            proj.weight = products.packed(proj.weight)

    @property
    def entries(self) -> np.ndarray:
        """All entries, ``[K, codebook_size, codebook_dim]``."""
        books = self.codebooks
        if products.is_packed(books):
            books = books.swapaxes(1, 2).flatten(2)
        return np.array(books).swapaxes(1, 2)

    @functools.cached_property
    def fingerprint(self) -> str:
        """The first 8 bytes of the SHA-256 of all entries as little-endian float32, in hex."""
        return hashlib.sha256(self.entries.astype("<f4").tobytes()).hexdigest()[:16]

    def encode(self, x: mx.array, num_codebooks: int) -> mx.array:
        """The nearest entry of each of the first ``num_codebooks`` codebooks, level by level."""
        # Splits are views; indexing by a level would copy its codebook.
        books = mx.split(self.codebooks[:num_codebooks], num_codebooks)
        biases = mx.split(self.biases[:num_codebooks], num_codebooks)
        levels = [(book.squeeze(0), bias) for book, bias in zip(books, biases, strict=True)]
        semantic, acoustic = mx.split(products.matmul(x, self.input_proj.weight), 2, axis=-1)
        first = self.num_semantic
        codes = _descend(semantic, levels[:first]) + _descend(acoustic, levels[first:])
        return mx.stack([level.reshape(x.shape[:2]) for level in codes], axis=1).astype(mx.int32)

    def decode(self, codes: mx.array) -> mx.array:
        """The latents ``[B, F, hidden_size]`` that codes ``[B, K, F]`` stand for."""
        books = self.codebooks[: codes.shape[1]]
        vectors = products.columns_of_each(books, codes)  # [B, K, D, F]
        semantic = vectors[:, : self.num_semantic].sum(axis=1)
        acoustic = vectors[:, self.num_semantic :].sum(axis=1)
        x = mx.concatenate([semantic, acoustic], axis=1).swapaxes(1, 2)  # [B, F, 2 D]
        return products.matmul(x, self.output_proj.weight)


def _descend(residual: mx.array, levels: list[tuple[mx.array, mx.array]]) -> list[mx.array]:
    """The codes ``[B * F]`` of each level, chosen on what the levels before it left."""
    residual = residual.flatten(0, 1)  # [B * F, D]
    codes = []
    for entries, bias in levels:
        # |residual - entry|^2 is least where residual.entry - |entry|^2 / 2 is greatest
        codes.append(mx.argmax(products.scores(bias, residual, entries), axis=-1))
        # Lazy: after the last level nobody asks for this.
        residual = residual - products.columns(entries, codes[-1])
    return codes
