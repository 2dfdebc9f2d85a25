"""The split residual vector quantiser: latents to codes and back.

Two residual quantisers see the same latent, one of semantic codebooks, one of acoustic; what they
dequantise to is added. Codebooks and distances are float32 whatever the rest is.
"""

import mlx.core as mx
import mlx.nn as nn

from .config import MimiConfig


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
        self.input_proj = nn.Linear(config.hidden_size, 2 * width, bias=False)
        self.output_proj = nn.Linear(2 * width, config.hidden_size, bias=False)
        shape = (config.num_quantizers, config.codebook_size)
        self.codebooks = mx.zeros((*shape, width))
        self.half_norms = mx.zeros(shape)  # |entry|^2 / 2

    def encode(self, x: mx.array, num_codebooks: int) -> mx.array:
        """The nearest entry of each of the first ``num_codebooks`` codebooks, level by level."""
        semantic, acoustic = mx.split(self.input_proj(x).astype(mx.float32), 2, axis=-1)
        split = min(self.num_semantic, num_codebooks)
        codes = self._descend(semantic, 0, split) + self._descend(acoustic, split, num_codebooks)
        return mx.stack(codes, axis=1)

    def _descend(self, residual: mx.array, start: int, end: int) -> list[mx.array]:
        """Codes ``[B, F]`` of codebooks start to end - 1, each on what the ones before left."""
        codes = []
        for level in range(start, end):
            if codes:
                residual = residual - self.codebooks[level - 1][codes[-1]]
            codes.append(self._nearest(residual, level))
        return codes

    def _nearest(self, residual: mx.array, level: int) -> mx.array:
        # |r - e|^2 is least where r.e - |e|^2 / 2 is greatest
        entries = self.codebooks[level]
        scores = mx.addmm(-self.half_norms[level], residual, entries.T)
        return mx.argmax(scores, axis=-1).astype(mx.int32)

    def decode(self, codes: mx.array) -> mx.array:
        """The latents ``[B, F, hidden_size]`` that codes ``[B, K, F]`` stand for."""
        levels, entries, width = self.codebooks.shape
        offsets = mx.arange(codes.shape[1])[:, None] * entries
        vectors = self.codebooks.reshape(levels * entries, width)[codes + offsets]  # [B, K, F, D]
        semantic = vectors[:, : self.num_semantic].sum(axis=1)
        acoustic = vectors[:, self.num_semantic :].sum(axis=1)
        x = mx.concatenate([semantic, acoustic], axis=-1)
        return self.output_proj(x.astype(self.output_proj.weight.dtype))
