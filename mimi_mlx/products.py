"""Products with weights, in the form that is fast for a live frame of one or two rows.

MLX's CPU backend calls OpenBLAS for them, and OpenBLAS packs a large matrix before it reads it:
slower, for so few rows, than the product itself. A small matrix is read where it lies. So without
Metal a product of few rows is taken in parts; on Metal the plain form is one kernel, but on some
GPUs of too few bits (exact.py).
"""

import mlx.core as mx

from . import exact

# Whether products of few rows are taken in parts. Not on macOS, neither on the CPU nor on the GPU.
IN_PARTS = not mx.metal.is_available()

_FEW_ROWS = 4
_WIDE = 1024  # narrower weights are no faster in parts
_UNPACKED = 10**6  # multiplications up to which OpenBLAS does not pack
_BLOCK = 64  # outputs that lie together in a packed weight: what OpenBLAS computes at once


def packed(weight: mx.array) -> mx.array:
    """A weight ``[out, in]`` as it is read fastest: in blocks, ``[out / 64, in, 64]``, or as it is.

    A narrow weight, of at most some 1000 inputs, is slow to read in any other way.
    """
    if not IN_PARTS or weight.ndim == 3 or weight.shape[0] % _BLOCK:
        return weight
    return mx.contiguous(weight.reshape(-1, _BLOCK, weight.shape[1]).swapaxes(1, 2))


def matmul(x: mx.array, weight: mx.array) -> mx.array:
    """``x [..., in] @ weight.T``; the weight may be :func:`packed`."""
    if weight.ndim == 2 and not in_parts(x.size // x.shape[-1], x.shape[-1]):
        return _times(x, weight.T)
    rows = x.reshape(-1, x.shape[-1])
    if weight.ndim == 3:
        y = _times(rows, weight).swapaxes(0, 1)  # [rows, out / 64, 64]
    else:
        y = _times(_parts(weight, len(rows)), rows.T).flatten(0, 1).T  # [rows, out]
    return y.reshape(*x.shape[:-1], -1)


def _parts(weight: mx.array, rows: int) -> mx.array:
    """A weight ``[out, in]`` in as few parts as are small, ``[parts, out / parts, in]``: a view."""
    out = weight.shape[0]
    small = (n for n in range(1, out + 1) if out % n == 0 and rows * weight.size // n <= _UNPACKED)
    return weight.reshape(next(small, out), -1, weight.shape[1])


def add_matmul(residual: mx.array, x: mx.array, weight: mx.array) -> mx.array:
    """``residual + x @ weight.T``, in one kernel."""
    if weight.ndim == 3 or in_parts(x.size // x.shape[-1], x.shape[-1]):
        return residual + matmul(x, weight)
    return _add_times(residual, x, weight.T)


def packed_columns(matrices: mx.array) -> mx.array:
    """Matrices ``[K, D, N]`` as their products are fastest, ``[K, N / 64, D, 64]``, or as is."""
    if not IN_PARTS or matrices.ndim == 4 or matrices.shape[-1] % _BLOCK:
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
    if matrices.ndim == 3:
        return mx.take_along_axis(matrices[None], index[:, :, None], axis=3)
    which = mx.arange(len(matrices))[:, None]
    return matrices[which, index // _BLOCK, :, index % _BLOCK].swapaxes(2, 3)


def scores(bias: mx.array, x: mx.array, matrix: mx.array) -> mx.array:
    """``bias + x [L, D] @ matrix [D, N]``; the matrix may be packed."""
    if matrix.ndim == 2:
        return _add_times(bias, x, matrix)
    y = _add_times(bias.reshape(-1, 1, _BLOCK), x, matrix)  # [N / 64, L, 64]
    return y.swapaxes(0, 1).flatten(1)


def in_parts(rows: int, width: int) -> bool:
    """Whether a product of so many rows in all is to be taken in parts."""
    return IN_PARTS and rows <= _FEW_ROWS and width >= _WIDE


def _times(x: mx.array, y: mx.array) -> mx.array:
    """``x @ y``, with all bits of float32."""
    return exact.matmul(x, y) if _is_reduced(x) else x @ y


def _add_times(base: mx.array, x: mx.array, y: mx.array) -> mx.array:
    """``base + x @ y``, with all bits of float32."""
    return base + exact.matmul(x, y) if _is_reduced(x) else mx.addmm(base, x, y)


def _is_reduced(x: mx.array) -> bool:
    """Whether the device would cut ``x``: not one row, and not halves, which have no more bits."""
    return x.dtype == mx.float32 and x.size > x.shape[-1] and exact.matmul_is_reduced()
