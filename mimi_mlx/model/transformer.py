"""Windowed causal attention at 25 Hz: every position sees itself and the 249 before it.

The state keeps the last ``window - 1`` keys and values. Keys are kept rotated by their position,
so a step rotates only what is new (rope.py).
"""

from typing import NamedTuple

import mlx.core as mx
import mlx.nn as nn
import numpy as np

from .config import LATENTS_PER_FRAME, MimiConfig
from .ops.activations import gelu
from .ops.attention import attention
from .ops.linear import Linear
from .rope import Rope, Rotation


class TransformerState(NamedTuple):
    """Each layer's past, how much of it is real, and where in the stream it ends.

    ``layers`` are rotated keys and values, ``[B, 2, heads, window - 1, head_dim]`` each.
    ``filled [B]``, int32, is at most window - 1; ``position [B]``, uint32, is the next one's.
    """

    layers: list[mx.array]
    filled: mx.array
    position: mx.array


class Positions(NamedTuple):
    """What all layers of a step of L positions share, for T = window - 1 + L keys.

    ``mask [B, 1, L, T]`` is true where a query may look.
    """

    mask: mx.array
    rotation: Rotation


class Attention(nn.Module):
    """Multi-head attention within a window. Source: transformers' ``MimiAttention``."""

    def __init__(self, config: MimiConfig):
        super().__init__()
        width = config.num_attention_heads * config.head_dim
        self.heads = config.num_attention_heads
        self.head_dim = config.head_dim
        self.past = config.sliding_window - 1
        # q, k and v in one matmul; o_proj's weight holds the layer scale (checkpoint/load.py)
        self.qkv_proj = Linear(config.hidden_size, 3 * width)
        self.o_proj = Linear(width, config.hidden_size)

    def init_state(self, batch_size: int) -> mx.array:
        """No keys and values yet: zeros, which no mask lets through."""
        return mx.zeros((batch_size, 2, self.heads, self.past, self.head_dim))

    def step(
        self, x: mx.array, residual: mx.array, state: mx.array, at: Positions
    ) -> tuple[mx.array, mx.array]:
        """Attend from ``x [B, L, hidden]``, add to ``residual``."""
        batch, length, _ = x.shape
        qkv = self.qkv_proj(x).reshape(batch, length, 3, self.heads, self.head_dim)
        qkv = at.rotation(qkv.transpose(0, 2, 3, 1, 4))  # [B, 3, heads, L, head_dim]
        past = mx.concatenate([state, qkv[:, 1:]], axis=3)  # [B, 2, heads, T, head_dim]
        y = attention(qkv[:, 0], past[:, 0], past[:, 1], self.head_dim**-0.5, at.mask)
        y = y.swapaxes(1, 2).reshape(batch, length, -1)
        past = past[..., length:, :]
        if length > LATENTS_PER_FRAME:  # a copy, not to keep the whole of a long step alive
            past = mx.contiguous(past)
        return self.o_proj(y, residual), past


class MLP(nn.Module):
    """Two matmuls around an exact GELU; fc2's weight holds the layer scale (checkpoint/load.py)."""

    def __init__(self, config: MimiConfig):
        super().__init__()
        self.fc1 = Linear(config.hidden_size, config.intermediate_size)
        self.fc2 = Linear(config.intermediate_size, config.hidden_size)

    def __call__(self, x: mx.array, residual: mx.array) -> mx.array:
        return self.fc2(gelu(self.fc1(x)), residual)


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
        """That of its attention."""
        return self.self_attn.init_state(batch_size)

    def step(self, x: mx.array, state: mx.array, at: Positions) -> tuple[mx.array, mx.array]:
        """``x [B, L, hidden]`` to the same shape."""
        x, state = self.self_attn.step(self.input_layernorm(x), x, state, at)
        return self.mlp(self.post_attention_layernorm(x), x), state


class Transformer(nn.Module):
    """``[B, L, hidden]`` to the same shape at 25 Hz, each position from the window before it.

    Source: Moshi paper (arXiv 2410.00037), section 3.3.1; transformers' ``MimiTransformerModel``.
    """

    def __init__(self, config: MimiConfig):
        super().__init__()
        self.layers = [TransformerLayer(config) for _ in range(config.num_hidden_layers)]
        self.window = config.sliding_window
        self.rope = Rope(config.head_dim, config.rope_theta)

    def init_state(self, batch_size: int) -> TransformerState:
        """The state before the first position."""
        layers = [layer.init_state(batch_size) for layer in self.layers]
        start = mx.zeros((batch_size,), mx.uint32)
        return TransformerState(layers, start.astype(mx.int32), start)

    def step(self, x: mx.array, state: TransformerState) -> tuple[mx.array, TransformerState]:
        """The next positions ``[B, L, hidden]``."""
        length = x.shape[1]
        at = self.positions(length, state)
        layers = []
        for layer, past in zip(self.layers, state.layers, strict=True):
            x, past = layer.step(x, past, at)
            layers.append(past)
        filled = mx.minimum(state.filled + length, self.window - 1)
        return x, TransformerState(layers, filled, state.position + length)

    def positions(self, length: int, state: TransformerState) -> Positions:
        """The mask and the rotation of a step of ``length`` positions from ``state`` on."""
        past = self.window - 1
        keys = np.arange(past + length)
        distance = keys[past:, None] - keys  # [L, T]
        allowed: np.ndarray = (distance >= 0) & (distance < self.window)
        real = mx.array(keys) >= past - state.filled[:, None, None, None]  # [B, 1, 1, T]
        return Positions(mx.array(allowed) & real, self.rope(state.position, length))
