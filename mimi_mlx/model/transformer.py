"""Windowed causal attention at 25 Hz: every position sees itself and the 249 before it.

The state keeps the last ``window - 1`` keys and values. Keys are kept rotated by their position,
so a step rotates only what is new. Positions are whole numbers that wrap around, and a rotation is
a whole number of 2^-32 turns that wraps with them: between any two positions it is exactly that of
their distance, after a minute or a year, so nothing grows and nothing drifts.
"""

from typing import NamedTuple

import mlx.core as mx
import mlx.nn as nn
import numpy as np

from .config import LATENTS_PER_FRAME, MimiConfig
from .ops import blank
from .ops import linear as matmul
from .ops import matmul as products
from .ops.activations import gelu


class TransformerState(NamedTuple):
    """Each layer's past, how much of it is real, and where in the stream it ends.

    ``layers`` are rotated keys and values, ``[B, 2, heads, window - 1, head_dim]`` each.
    ``count [B]``, int32, is at most window - 1; ``position [B]``, uint32, is the next one's.
    """

    layers: list[mx.array]
    count: mx.array
    position: mx.array


class Positions(NamedTuple):
    """What all layers of a step of L positions share, for T = window - 1 + L keys.

    ``mask [B, 1, L, T]`` is true where a query may look. ``cos`` and the signed ``sin`` rotate
    queries, keys and (by nothing) values: ``[B, 3, 1, L, 2, head_dim / 2]``.
    """

    mask: mx.array
    cos: mx.array
    sin: mx.array


class Attention(nn.Module):
    """Multi-head attention within a window. Source: transformers' ``MimiAttention``."""

    def __init__(self, config: MimiConfig):
        super().__init__()
        width = config.num_attention_heads * config.head_dim
        self.heads = config.num_attention_heads
        self.head_dim = config.head_dim
        self.past = config.sliding_window - 1
        # q, k and v in one matmul; the layer scale is in o_proj's weight (both by weights.py)
        self.qkv_proj = blank.linear(config.hidden_size, 3 * width)
        self.o_proj = blank.linear(width, config.hidden_size)

    def init_state(self, batch_size: int) -> mx.array:
        return mx.zeros((batch_size, 2, self.heads, self.past, self.head_dim))

    def step(
        self, x: mx.array, residual: mx.array, state: mx.array, at: Positions
    ) -> tuple[mx.array, mx.array]:
        """Attend from ``x [B, L, hidden]``, add to ``residual``."""
        batch, length, _ = x.shape
        qkv = matmul.times(self.qkv_proj, x).reshape(batch, length, 3, self.heads, self.head_dim)
        qkv = rotate(qkv.transpose(0, 2, 3, 1, 4), at)  # [B, 3, heads, L, head_dim]
        past = mx.concatenate([state, qkv[:, 1:]], axis=3)  # [B, 2, heads, T, head_dim]
        y = products.attention(qkv[:, 0], past[:, 0], past[:, 1], self.head_dim**-0.5, at.mask)
        y = y.swapaxes(1, 2).reshape(batch, length, -1)
        past = past[..., length:, :]
        if length > LATENTS_PER_FRAME:  # a copy, not to keep the whole of a long step alive
            past = mx.contiguous(past)
        return matmul.plus(residual, self.o_proj, y), past


class TransformerLayer(nn.Module):
    """Attention, then an MLP, each on a normalised input and added to it.

    Source: transformers' ``MimiTransformerLayer``.
    """

    def __init__(self, config: MimiConfig):
        super().__init__()
        self.self_attn = Attention(config)
        self.mlp = MLP(config)
        self.input_layernorm = nn.LayerNorm(config.hidden_size, eps=config.norm_eps)
        self.post_attention_layernorm = nn.LayerNorm(config.hidden_size, eps=config.norm_eps)

    def init_state(self, batch_size: int) -> mx.array:
        return self.self_attn.init_state(batch_size)

    def step(self, x: mx.array, state: mx.array, at: Positions) -> tuple[mx.array, mx.array]:
        x, state = self.self_attn.step(self.input_layernorm(x), x, state, at)
        return self.mlp(self.post_attention_layernorm(x), x), state


class MLP(nn.Module):
    """Two matmuls around an exact GELU; the layer scale is in fc2's weight (by weights.py)."""

    def __init__(self, config: MimiConfig):
        super().__init__()
        self.fc1 = blank.linear(config.hidden_size, config.intermediate_size)
        self.fc2 = blank.linear(config.intermediate_size, config.hidden_size)

    def __call__(self, x: mx.array, residual: mx.array) -> mx.array:
        return matmul.plus(residual, self.fc2, gelu(matmul.times(self.fc1, x)))


class Transformer(nn.Module):
    """``[B, L, hidden]`` to the same shape at 25 Hz, each position from the window before it.

    Source: Moshi paper (arXiv 2410.00037), section 3.3.1; transformers' ``MimiTransformerModel``.
    """

    def __init__(self, config: MimiConfig):
        super().__init__()
        self.layers = [TransformerLayer(config) for _ in range(config.num_hidden_layers)]
        self.window = config.sliding_window
        self._rotation = _rotation(config)

    def init_state(self, batch_size: int) -> TransformerState:
        layers = [layer.init_state(batch_size) for layer in self.layers]
        start = mx.zeros((batch_size,), mx.uint32)
        return TransformerState(layers, start.astype(mx.int32), start)

    def step(self, x: mx.array, state: TransformerState) -> tuple[mx.array, TransformerState]:
        length = x.shape[1]
        at = self.positions(length, state)
        layers = []
        for layer, past in zip(self.layers, state.layers, strict=True):
            x, past = layer.step(x, past, at)
            layers.append(past)
        count = mx.minimum(state.count + length, self.window - 1)
        return x, TransformerState(layers, count, state.position + length)

    def __call__(self, x: mx.array) -> mx.array:
        return self.step(x, self.init_state(x.shape[0]))[0]

    def pack(self) -> None:
        """Lay the weights out as this machine reads them fastest."""
        for layer in self.layers:
            attention, mlp = layer.self_attn, layer.mlp
            matmul.pack(attention.qkv_proj, attention.o_proj, mlp.fc1, mlp.fc2)

    def positions(self, length: int, state: TransformerState) -> Positions:
        """The mask and the rotation of a step of ``length`` positions from ``state`` on."""
        past = self.window - 1
        keys = np.arange(past + length)
        distance = keys[past:, None] - keys  # [L, T]
        allowed = mx.array((distance >= 0) & (distance < self.window))
        real = mx.array(keys) >= past - state.count[:, None, None, None]  # [B, 1, 1, T]
        turns, start = self._rotation
        start = start + turns * np.arange(length, dtype=np.uint32)[:, None, None]
        at = state.position[:, None, None, None, None, None] * mx.array(turns) + mx.array(start)
        # As a signed number, half a turn either way: all the precision that float32 can give.
        angle = at.view(mx.int32).astype(mx.float32) * (np.pi / 2**31)
        cos, sin = mx.split(mx.sin(angle), 2)
        return Positions(allowed & real, cos.squeeze(0), sin.squeeze(0))


def _rotation(config: MimiConfig) -> tuple[np.ndarray, np.ndarray]:
    """What one position adds to each angle, and each angle at position 0, in 2^-32 turns.

    ``[3, 1, 1, 1, head_dim / 2]`` for queries, keys and values, which do not turn, and
    ``[2, 1, 3, 1, 1, 2, 1]``: a cosine is a sine a quarter of a turn on; the sine that goes with
    the first half of a pair has a minus, half a turn. Source: RoFormer (arXiv 2104.09864).
    """
    pairs = np.arange(0, config.head_dim, 2) / config.head_dim
    turns = np.round(config.rope_theta**-pairs / (2 * np.pi) * 2**32)
    turns = np.multiply.outer([1, 1, 0], turns).astype(np.uint32)[:, None, None, None]
    start = np.zeros((2, 1, 3, 1, 1, 2, 1), np.uint32)
    start[0] = 2**30
    start[1, :, :2, :, :, 0] = 2**31
    return turns, start


def rotate(x: mx.array, at: Positions) -> mx.array:
    """Rotate queries, keys and values ``[B, 3, heads, L, head_dim]``, each pair half apart.

    Compiled, this is one kernel: swapping the halves is a view.
    """
    halves = x.reshape(*x.shape[:-1], 2, -1)
    return (halves * at.cos + halves[..., ::-1, :] * at.sin).reshape(x.shape)
