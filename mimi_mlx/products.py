"""Products of float32 and of halves, in the form that is fast for a live frame and exact.

A frame has one or two rows. OpenBLAS reads a wide weight nearly twice as fast when the weight
comes first; on Metal the order does not matter, and the plain form is one kernel, but some GPUs
compute it in fewer bits (exact.py).
"""

import mlx.core as mx

from . import exact

# Whether the weight comes first where that pays. Not on macOS, neither on the CPU nor on the GPU.
WEIGHT_FIRST = not mx.metal.is_available()

_FEW_ROWS = 4
_WIDE = 2048


def matmul(x: mx.array, weight: mx.array) -> mx.array:
    """``x [..., L, in] @ weight.T``, by a weight ``[out, in]``."""
    if weight_first(x.size // x.shape[-1], x.shape[-1]):
        return (weight @ x.swapaxes(-1, -2)).swapaxes(-1, -2)
    if _is_reduced(x):
        return exact.matmul(x, weight.T)
    return x @ weight.T


def add_matmul(residual: mx.array, x: mx.array, weight: mx.array) -> mx.array:
    """``residual + x @ weight.T``, in one kernel."""
    if weight_first(x.size // x.shape[-1], x.shape[-1]):
        return residual + matmul(x, weight)
    return add_columns(residual, x, weight.T)


def add_columns(base: mx.array, x: mx.array, columns: mx.array) -> mx.array:
    """``base + x @ columns``, in one kernel, by columns ``[in, out]``."""
    if _is_reduced(x):
        return base + exact.matmul(x, columns)
    return mx.addmm(base, x, columns)


def weight_first(rows: int, width: int) -> bool:
    """Whether a product of so many rows in all is to be taken with the weight first."""
    return WEIGHT_FIRST and rows <= _FEW_ROWS and width >= _WIDE


def _is_reduced(x: mx.array) -> bool:
    """Whether the device would cut ``x``. Halves have no more bits than it keeps."""
    return x.dtype == mx.float32 and x.size > x.shape[-1] and exact.matmul_is_reduced()
