"""The split residual vector quantiser: latents to codes and back.

Two residual quantisers see the same latent, one of semantic codebooks, one of acoustic; what they
dequantise to is added. Codebooks and distances are float32 whatever the rest is.
"""

import functools
import hashlib

import mlx.core as mx
import mlx.nn as nn

from .config import MimiConfig
from .ops.codebooks import Codebooks
from .ops.linear import Linear
from .ops.search import search


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
        self.input_proj = Linear(config.hidden_size, 2 * width)
        self.output_proj = Linear(2 * width, config.hidden_size)
        self.codebooks = Codebooks(config.num_quantizers, config.codebook_size, width)

    @functools.cached_property
    def fingerprint(self) -> str:
        """The first 8 bytes of the SHA-256 of all entries as little-endian float32, in hex.

        Whoever cuts a model to its first codebooks sets it to that of the whole, whose codes mean
        the same.
        """
        entries = self.codebooks.entries.astype("<f4")
        return hashlib.sha256(entries.tobytes()).hexdigest()[:16]

    def encode(self, x: mx.array, num_codebooks: int) -> mx.array:
        """The nearest entry of each of the first ``num_codebooks`` codebooks, level by level."""
        return search(self.input_proj(x), self.codebooks, num_codebooks, self.num_semantic)

    def decode(self, codes: mx.array) -> mx.array:
        """The latents ``[B, F, hidden_size]`` that codes ``[B, K, F]`` stand for."""
        return self._latents(self.codebooks.lookup(codes))

    def decode_mixed(self, codes: mx.array) -> mx.array:
        """:meth:`decode` of rows that have different numbers of codebooks: -1 past their own."""
        entries = self.codebooks.lookup(mx.maximum(codes, 0))
        return self._latents(mx.where(codes[:, :, None] < 0, 0.0, entries))

    def _latents(self, entries: mx.array) -> mx.array:
        """Of entries ``[B, K, D, F]``."""
        semantic = entries[:, : self.num_semantic].sum(axis=1)
        acoustic = entries[:, self.num_semantic :].sum(axis=1)
        x = mx.concatenate([semantic, acoustic], axis=1).swapaxes(1, 2)  # [B, F, 2 D]
        return self.output_proj(x)
