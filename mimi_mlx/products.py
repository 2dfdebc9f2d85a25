"""Matmuls by weights ``[out, in]``, in the form that is fast for a live frame.

A frame has one or two rows. OpenBLAS reads a wide weight nearly twice as fast when the weight
comes first; on Metal the order does not matter, and the plain form is one kernel.
"""

import mlx.core as mx

# Whether the weight comes first where that pays. Not on macOS, neither on the CPU nor on the GPU.
WEIGHT_FIRST = not mx.metal.is_available()

_FEW_ROWS = 4
_WIDE = 2048


def matmul(x: mx.array, weight: mx.array) -> mx.array:
    """``x [..., L, in] @ weight.T``."""
    if weight_first(x.size // x.shape[-1], x.shape[-1]):
        return (weight @ x.swapaxes(-1, -2)).swapaxes(-1, -2)
    return x @ weight.T


def add_matmul(residual: mx.array, x: mx.array, weight: mx.array) -> mx.array:
    """``residual + x @ weight.T``, in one kernel."""
    if weight_first(x.size // x.shape[-1], x.shape[-1]):
        return residual + matmul(x, weight)
    return mx.addmm(residual, x, weight.T)


def weight_first(rows: int, width: int) -> bool:
    """Whether a product of so many rows in all is to be taken with the weight first."""
    return WEIGHT_FIRST and rows <= _FEW_ROWS and width >= _WIDE
