"""Attention, with float32's digits on every device and the same for any number of queries."""

import mlx.core as mx

from . import tf32
from .device import cuts_every_size, cuts_matmul, packs

_VECTOR = 16  # columns that OpenBLAS computes together; what is left over it rounds otherwise

# So few queries, in heads of these sizes, Metal's kernel attends without the matrix units that cut.
_FEW_QUERIES, _HEAD_DIMS = 8, (64, 96, 128)


def attention(q: mx.array, k: mx.array, v: mx.array, scale: float, mask: mx.array) -> mx.array:
    """Attention of queries ``[B, heads, L, head_dim]`` where ``mask [B, 1, L, T]`` is true.

    Keys and values are ``[B, heads, T, head_dim]``; the result is as the queries.
    """
    if packs():
        return _in_whole_vectors(q, k, v, scale, mask)
    few = q.shape[2] <= _FEW_QUERIES and q.shape[3] in _HEAD_DIMS
    if not cuts_matmul() or (few and not cuts_every_size()):
        return mx.fast.scaled_dot_product_attention(q, k, v, scale=scale, mask=mask)
    scores = mx.where(mask, tf32.matmul(q * scale, k.swapaxes(-1, -2)), -mx.inf)
    return tf32.matmul(mx.softmax(scores, axis=-1), v)


def _in_whole_vectors(
    q: mx.array, k: mx.array, v: mx.array, scale: float, mask: mx.array
) -> mx.array:
    length = q.shape[2]
    columns = mx.pad((q * scale).swapaxes(-1, -2), [(0, 0)] * 3 + [(0, -length % _VECTOR)])
    scores = (k @ columns)[..., :length].swapaxes(-1, -2)
    return mx.softmax(mx.where(mask, scores, -mx.inf), axis=-1) @ v
