"""Products of float32 on GPUs that cut what they multiply to 11 bits.

The matrix units of M5 GPUs do that by default (``MLX_ENABLE_TF32``), in matmuls of 2 or more rows
and in attention of more than 8 queries, so that codes would depend on how many frames a step has.
NVIDIA's since Ampere do it in any product. What the device does is measured (device.py), and where
it does that, products are made of parts that have 11 bits from the start. Nothing of this runs
elsewhere.

Metal's convolutions of this model's sizes use no matrix units; that is measured too. Quantised
weights are multiplied as MLX does it: they have fewer bits anyway.
"""

import mlx.core as mx

from .device import cuts_every_size

# Up to so many rows it is cheaper to multiply each alone, which MLX does without matrix units.
_FEW_ROWS = 4


def matmul(x: mx.array, y: mx.array) -> mx.array:
    """``x [.., L, in] @ y [.., in, out]`` with some 22 bits."""
    rows = x.size // x.shape[-1]
    if y.ndim == 2 and rows <= _FEW_ROWS and not cuts_every_size():
        lines = mx.split(x.reshape(rows, -1), rows)
        return mx.concatenate([line @ y for line in lines]).reshape(*x.shape[:-1], -1)
    (high, low), (y_high, y_low) = _split(x), _split(y)
    return high @ y_high + (high @ y_low + low @ y_high)  # low @ y_low is past float32's digits


def _split(x: mx.array) -> tuple[mx.array, mx.array]:
    """``x`` as a number of 11 bits and the rest, which has 12: their sum is ``x``, exactly."""
    # Gradients go through the rest alone: a view of bits has none.
    bits = mx.view(mx.stop_gradient(x), mx.uint32)
    high = mx.view((bits + 0x1000) & 0xFFFFE000, mx.float32)  # the nearest, ties away from 0
    return high, x - high
