"""Windowed causal attention at 25 Hz: every position sees itself and the 249 before it.

The state keeps the last ``window - 1`` keys and values before rotation. A step appends its own,
rotates keys from position 0 on and queries from ``window - 1`` on. Scores depend on distances
alone, so no position enters the state, nothing grows and nothing drifts, however long the stream.
"""

from typing import NamedTuple

import mlx.core as mx
import mlx.nn as nn
import numpy as np

from .config import MimiConfig


class TransformerState(NamedTuple):
    """Each layer's past, and how much of it is real.

    ``layers`` are keys and values before rotation, ``[B, 2, heads, window - 1, head_dim]`` each;
    ``count [B]``, int32, is at most window - 1.
    """

    layers: list[mx.array]
    count: mx.array


class Positions(NamedTuple):
    """What all layers of a step of L positions share, for T = window - 1 + L keys.

    ``mask [B, 1, L, T]`` is true where a query may look; a rotation is the pair of tables for
    :func:`rotate`, each ``[positions, 2, head_dim / 2]``.
    """

    mask: mx.array
    keys: tuple[mx.array, mx.array]
    queries: tuple[mx.array, mx.array]


class Attention(nn.Module):
    """Multi-head attention within a window. Source: transformers' ``MimiAttention``."""

    def __init__(self, config: MimiConfig):
        super().__init__()
        width = config.num_attention_heads * config.head_dim
        self.heads = config.num_attention_heads
        self.head_dim = config.head_dim
        self.past = config.sliding_window - 1
        # q, k and v in one matmul; the layer scale is in o_proj's weight (both by weights.py)
        self.qkv_proj = nn.Linear(config.hidden_size, 3 * width, bias=False)
        self.o_proj = nn.Linear(width, config.hidden_size, bias=False)

    def init_state(self, batch_size: int) -> mx.array:
        shape = (batch_size, 2, self.heads, self.past, self.head_dim)
        return mx.zeros(shape, self.qkv_proj.weight.dtype)

    def step(
        self, x: mx.array, residual: mx.array, state: mx.array, at: Positions
    ) -> tuple[mx.array, mx.array]:
        """Attend from ``x [B, L, hidden]``, add to ``residual``."""
        batch, length, _ = x.shape
        qkv = self.qkv_proj(x).reshape(batch, length, 3, self.heads, self.head_dim)
        qkv = qkv.transpose(0, 2, 3, 1, 4)  # [B, 3, heads, L, head_dim]
        q, kv = qkv[:, 0], mx.concatenate([state, qkv[:, 1:]], axis=3)
        y = mx.fast.scaled_dot_product_attention(
            rotate(q, *at.queries),
            rotate(kv[:, 0], *at.keys),
            kv[:, 1],
            scale=self.head_dim**-0.5,
            mask=at.mask,
        )
        y = y.swapaxes(1, 2).reshape(batch, length, -1)
        kept = kv[..., length:, :]
        if length > self.past:  # a copy, so that it does not keep the whole step alive
            kept = mx.contiguous(kept)
        return mx.addmm(residual, y, self.o_proj.weight.T), kept


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
        self.fc1 = nn.Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.fc2 = nn.Linear(config.intermediate_size, config.hidden_size, bias=False)

    def __call__(self, x: mx.array, residual: mx.array) -> mx.array:
        return mx.addmm(residual, nn.gelu(self.fc1(x)), self.fc2.weight.T)


class Transformer(nn.Module):
    """``[B, L, hidden]`` to the same shape at 25 Hz, each position from the window before it.

    Source: Moshi paper (arXiv 2410.00037), section 3.3.1; transformers' ``MimiTransformerModel``.
    """

    def __init__(self, config: MimiConfig):
        super().__init__()
        self.layers = [TransformerLayer(config) for _ in range(config.num_hidden_layers)]
        self.window = config.sliding_window
        self._rotation = Rotation(config.head_dim, config.rope_theta)

    def init_state(self, batch_size: int) -> TransformerState:
        layers = [layer.init_state(batch_size) for layer in self.layers]
        return TransformerState(layers, mx.zeros((batch_size,), mx.int32))

    def step(self, x: mx.array, state: TransformerState) -> tuple[mx.array, TransformerState]:
        length = x.shape[1]
        at = self.positions(length, state.count)
        layers = []
        for layer, layer_state in zip(self.layers, state.layers, strict=True):
            x, layer_state = layer.step(x, layer_state, at)
            layers.append(layer_state)
        count = mx.minimum(state.count + length, self.window - 1)
        return x, TransformerState(layers, count)

    def __call__(self, x: mx.array) -> mx.array:
        return self.step(x, self.init_state(x.shape[0]))[0]

    def positions(self, length: int, count: mx.array) -> Positions:
        """The mask and the rotation of a step of ``length`` positions after ``count`` real ones."""
        past = self.window - 1
        total = past + length
        distance = np.arange(past, total)[:, None] - np.arange(total)  # [L, T]
        allowed = mx.array((distance >= 0) & (distance < self.window))
        real = mx.array(np.arange(total)) >= past - count[:, None, None, None]  # [B, 1, 1, T]
        cos, sin = self._rotation.tables(total)
        return Positions(allowed & real, (cos, sin), (cos[past:], sin[past:]))


class Rotation:
    """Tables of rotary embedding for the half-split layout (``traditional=False`` in MLX).

    Made on the host in float64, once for the longest step so far: a step only slices them.
    """

    def __init__(self, head_dim: int, theta: float):
        self._frequencies = theta ** (-np.arange(0, head_dim, 2) / head_dim)
        self._tables = self._make(0)

    def tables(self, length: int) -> tuple[mx.array, mx.array]:
        """cos and signed sin, ``[length, 2, head_dim / 2]``, for positions 0 to length - 1."""
        if self._tables[0].shape[0] < length:
            self._tables = self._make(length)
        cos, sin = self._tables
        return cos[:length], sin[:length]

    def _make(self, length: int) -> tuple[mx.array, mx.array]:
        angles = np.arange(length)[:, None, None] * self._frequencies  # [length, 1, half]
        sin = np.sin(angles) * np.array([[-1.0], [1.0]])  # [length, 2, half]
        cos = np.broadcast_to(np.cos(angles), sin.shape)
        return mx.array(cos.astype(np.float32)), mx.array(sin.astype(np.float32))


def rotate(x: mx.array, cos: mx.array, sin: mx.array) -> mx.array:
    """Rotate ``x [B, heads, T, head_dim]`` by tables of T positions.

    Compiled, this is one kernel: swapping the halves is a view.
    """
    halves = x.reshape(*x.shape[:-1], 2, -1)
    return (halves * cos + halves[..., ::-1, :] * sin).reshape(x.shape)
