"""Products with weights and attention, fast for a live frame and the same in a long step.

On a GPU each is MLX's one kernel, but where a GPU has too few bits (exact.py). MLX's CPU backend
calls OpenBLAS, and OpenBLAS packs a large matrix before it reads it: slower, for one or two rows,
than the product itself. A small matrix is read where it lies, so there a weight is kept in blocks
of that size, and long steps take their products from the same blocks: every number is then a sum
of the same terms in the same order, whether a step has one frame or many, for one row or a batch.
"""

import math

import mlx.core as mx

from . import tf32 as exact

# Whether weights are packed: where there is no GPU.
PACKS = not mx.is_available(mx.gpu)

_UNPACKED = 10**6  # multiplications up to which OpenBLAS reads a matrix where it lies
_BLOCK = 64  # outputs of a block
_DEPTH = 512  # inputs of a block, at most
_ROWS = _UNPACKED // (_BLOCK * _DEPTH)  # that are multiplied by a block at once, at most
_VECTOR = 16  # columns that OpenBLAS computes together; what is left over it rounds otherwise


def is_packed(weight: mx.array) -> bool:
    """Whether a weight, or all codebooks, are in blocks."""
    return weight.ndim == 4


def packed(weight: mx.array) -> mx.array:
    """A weight ``[out, ...]`` in blocks, ``[out / 64, parts, in / parts, 64]``, or as it is.

    All its inputs are one axis then, in as few equal parts as are at most 512 long.
    """
    out = weight.shape[0]
    if not PACKS or is_packed(weight) or out % _BLOCK:
        return weight
    weight = weight.reshape(-1, _BLOCK, weight.size // out)
    depth = next(d for d in range(_DEPTH, 0, -1) if weight.shape[-1] % d == 0)
    return mx.contiguous(weight.reshape(*weight.shape[:2], -1, depth).transpose(0, 2, 3, 1))


def inputs(weight: mx.array) -> int:
    """The inputs of a weight ``[out, ...]``, which may be packed."""
    return math.prod(weight.shape[1:3] if is_packed(weight) else weight.shape[1:])


def matmul(x: mx.array, weight: mx.array) -> mx.array:
    """``x [..., in] @ weight.T``; the weight may be :func:`packed`."""
    if is_packed(weight):
        return _by_blocks(x.reshape(-1, x.shape[-1]), weight).reshape(*x.shape[:-1], -1)
    return _times(x, weight.T)


def add_matmul(residual: mx.array, x: mx.array, weight: mx.array) -> mx.array:
    """``residual + x @ weight.T``, in one kernel if the weight is not packed."""
    if is_packed(weight):
        return residual + matmul(x, weight)
    return _add_times(residual, x, weight.T)


def attention(q: mx.array, k: mx.array, v: mx.array, scale: float, mask: mx.array) -> mx.array:
    """Attention of ``q [B, heads, L, head_dim]`` where ``mask [B, 1, L, T]`` is true."""
    if not PACKS:
        return exact.attention(q, k, v, scale, mask)
    length = q.shape[2]
    columns = mx.pad((q * scale).swapaxes(-1, -2), [(0, 0)] * 3 + [(0, -length % _VECTOR)])
    scores = (k @ columns)[..., :length].swapaxes(-1, -2)
    return mx.softmax(mx.where(mask, scores, -mx.inf), axis=-1) @ v


def packed_columns(matrices: mx.array) -> mx.array:
    """Matrices ``[K, D, N]`` as their products are fastest, ``[K, N / 64, D, 64]``, or as is."""
    if not PACKS or is_packed(matrices) or matrices.shape[-1] % _BLOCK:
        return matrices
    blocks = matrices.reshape(*matrices.shape[:2], -1, _BLOCK)
    return mx.contiguous(blocks.swapaxes(1, 2))


def columns(matrix: mx.array, index: mx.array) -> mx.array:
    """Columns ``index [L]`` of a matrix ``[D, N]``, which may be packed: ``[L, D]``."""
    if matrix.ndim == 2:
        return mx.take(matrix, index, axis=1).T
    return matrix[index // _BLOCK, :, index % _BLOCK]


def columns_of_each(matrices: mx.array, index: mx.array) -> mx.array:
    """Columns ``index [B, K, F]`` of matrices ``[K, D, N]``, packed or not: ``[B, K, D, F]``."""
    if is_packed(matrices):
        which = mx.arange(len(matrices))[:, None]
        return matrices[which, index // _BLOCK, :, index % _BLOCK].swapaxes(2, 3)
    return mx.take_along_axis(matrices[None], index[:, :, None], axis=3)


def scores(bias: mx.array, x: mx.array, matrix: mx.array) -> mx.array:
    """``bias + x [L, D] @ matrix [D, N]``; the matrix may be packed."""
    if matrix.ndim == 2:
        return _add_times(bias, x, matrix)
    y = _add_times(bias.reshape(-1, 1, _BLOCK), x, matrix)  # [N / 64, L, 64]
    return y.swapaxes(0, 1).flatten(1)


def _by_blocks(x: mx.array, weight: mx.array) -> mx.array:
    """``x [rows, in]`` by a packed weight, ``[rows, out]``: many rows in runs of equal length."""
    rows, runs = len(x), -(-len(x) // _ROWS)
    if missing := -rows % runs:
        x = mx.pad(x, ((0, missing), (0, 0)))
    parts = x.reshape(runs, -1, *weight.shape[1:3]).transpose(2, 0, 1, 3)
    y = parts @ weight[:, :, None]  # [out / 64, parts, runs, rows / runs, 64]
    y = y.sum(axis=1) if y.shape[1] > 1 else y.squeeze(1)
    return y.flatten(1, 2)[:, :rows].swapaxes(0, 1).flatten(1)


def _times(x: mx.array, y: mx.array) -> mx.array:
    """``x @ y``, with all bits of float32."""
    return exact.matmul(x, y) if _is_reduced(x) else x @ y


def _add_times(base: mx.array, x: mx.array, y: mx.array) -> mx.array:
    """``base + x @ y``, with all bits of float32."""
    return base + exact.matmul(x, y) if _is_reduced(x) else mx.addmm(base, x, y)


def _is_reduced(x: mx.array) -> bool:
    """Whether the device would cut ``x``: not one row, and not halves, which have no more bits."""
    return x.dtype == mx.float32 and x.size > x.shape[-1] and exact.matmul_is_reduced()
