"""Products with weights, fast for a live frame and the same in a long step.

On a GPU each is MLX's one kernel, but where a GPU has too few bits (tf32.py). MLX's CPU backend
calls OpenBLAS, and OpenBLAS packs a large matrix before it reads it: slower, for one or two rows,
than the product itself. A small matrix is read where it lies, so there a weight is kept in blocks
of that size, and long steps take their products from the same blocks: every number is then a sum
of the same terms in the same order, whether a step has one frame or many, for one row or a batch.
"""

import math

import mlx.core as mx

from . import tf32
from .device import cuts_conv, cuts_every_size, cuts_matmul, packs

BLOCK = 64
"""Outputs of a block."""

_UNPACKED = 10**6  # multiplications up to which OpenBLAS reads a matrix where it lies
_DEPTH = 512  # inputs of a block, at most
_ROWS = _UNPACKED // (BLOCK * _DEPTH)  # that are multiplied by a block at once, at most


def is_packed(weight: mx.array) -> bool:
    """Whether a weight, or all codebooks, are in blocks."""
    return weight.ndim == 4


def packed(weight: mx.array) -> mx.array:
    """A weight ``[out, ...]`` in blocks, ``[out / 64, parts, in / parts, 64]``, or as it is.

    All its inputs are one axis then, in as few equal parts as are at most 512 long.
    """
    out = weight.shape[0]
    if not packs() or is_packed(weight) or out % BLOCK:
        return weight
    weight = weight.reshape(-1, BLOCK, weight.size // out)
    depth = next(d for d in range(_DEPTH, 0, -1) if weight.shape[-1] % d == 0)
    return mx.contiguous(weight.reshape(*weight.shape[:2], -1, depth).transpose(0, 2, 3, 1))


def inputs(weight: mx.array) -> int:
    """The inputs of a weight ``[out, ...]``, which may be packed."""
    return math.prod(weight.shape[1:3] if is_packed(weight) else weight.shape[1:])


def matmul(x: mx.array, weight: mx.array, residual: mx.array | None = None) -> mx.array:
    """``x [..., in] @ weight.T``, and ``residual`` added to it if there is one.

    The weight may be :func:`packed`; if it is not, the sum is in the same kernel.
    """
    if not is_packed(weight):
        return times(x, weight.T) if residual is None else add_times(residual, x, weight.T)
    y = _by_blocks(x.reshape(-1, x.shape[-1]), weight).reshape(*x.shape[:-1], -1)
    return y if residual is None else residual + y


def convolve(x: mx.array, weight: mx.array, stride: int) -> mx.array:
    """``mx.conv1d``, or a matmul of its windows if the weight is packed or the device cuts them.

    ``x [B, T, C]`` and ``weight [out, kernel, C]`` give float32 ``[B, windows, out]``, computed in
    the weight's type.
    """
    x = x.astype(weight.dtype)
    if not is_packed(weight):
        if not cuts_conv():
            return mx.conv1d(x, weight, stride).astype(mx.float32)
        weight = weight.flatten(1)
    batch, length, channels = x.shape
    width = inputs(weight)
    count = (length - width // channels) // stride + 1
    windows = mx.as_strided(x, (batch, count, width), (length * channels, stride * channels, 1))
    return matmul(windows, weight).astype(mx.float32)


def times(x: mx.array, y: mx.array) -> mx.array:
    """``x @ y``, with all bits of float32."""
    return tf32.matmul(x, y) if _is_cut(x) else x @ y


def add_times(base: mx.array, x: mx.array, y: mx.array) -> mx.array:
    """``base + x @ y``, with all bits of float32."""
    return base + tf32.matmul(x, y) if _is_cut(x) else mx.addmm(base, x, y)


def _is_cut(x: mx.array) -> bool:
    """Whether the device would cut ``x``, but not halves, which have no more bits."""
    if x.dtype != mx.float32 or not cuts_matmul():
        return False
    return x.size > x.shape[-1] or cuts_every_size()


def _by_blocks(x: mx.array, weight: mx.array) -> mx.array:
    """``x [rows, in]`` by a packed weight, ``[rows, out]``: many rows in runs of equal length."""
    rows, runs = len(x), -(-len(x) // _ROWS)
    if missing := -rows % runs:
        x = mx.pad(x, [(0, missing), (0, 0)])
    parts = x.reshape(runs, -1, *weight.shape[1:3]).transpose(2, 0, 1, 3)
    y = parts @ weight[:, :, None]  # [out / 64, parts, runs, rows / runs, 64]
    y = y.sum(axis=1) if y.shape[1] > 1 else y.squeeze(1)
    return y.flatten(1, 2)[:, :rows].swapaxes(0, 1).flatten(1)
