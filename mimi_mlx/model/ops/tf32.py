"""Products of float32 on GPUs that round what they multiply to 11 bits.

The matrix units of M5 GPUs cut float32 to 11 bits by default (``MLX_ENABLE_TF32``), in matmuls of
2 or more rows and in attention of more than 8 queries, so that codes would depend on how many
frames a step has. What the device does is measured, and where it does that, products are made of
parts that have 11 bits from the start. Nothing of this runs elsewhere.

MLX's convolutions of this model's sizes use no matrix units; that is measured too. Quantised
weights are multiplied as MLX does it: they have fewer bits anyway.
"""

import functools

import mlx.core as mx

# A number of 13 bits. Cut or rounded to 11, it is 1.
_SHORT = 1 + 2**-12

# What a product of two such numbers is at least, if neither was cut.
_WHOLE = 1 + 1.5 * 2**-12

# Up to so many rows it is cheaper to multiply each alone, which MLX does without matrix units.
_FEW_ROWS = 4

# Attention of so few queries uses no matrix units either, with heads of these sizes.
_FEW_QUERIES, _HEAD_DIMS = 8, (64, 96, 128)


def measure() -> None:
    """Measure the current device now, rather than when a step is first made."""
    matmul_is_reduced()
    conv_is_reduced()


def matmul_is_reduced() -> bool:
    """Whether the current device rounds what a matmul multiplies; a CPU never does."""
    return _on_gpu() and _gpu_reduces_matmul()


def conv_is_reduced() -> bool:
    """Whether the current device rounds what ``mx.conv1d`` multiplies; a CPU never does."""
    return _on_gpu() and _gpu_reduces_conv()


def matmul(x: mx.array, y: mx.array) -> mx.array:
    """``x [.., L, in] @ y [.., in, out]`` with some 22 bits."""
    rows = x.size // x.shape[-1]
    if y.ndim == 2 and rows <= _FEW_ROWS:
        lines = mx.split(x.reshape(rows, -1), rows)
        return mx.concatenate([line @ y for line in lines]).reshape(*x.shape[:-1], -1)
    (high, low), (y_high, y_low) = _split(x), _split(y)
    return high @ y_high + (high @ y_low + low @ y_high)  # low @ y_low is past float32's digits


def attention(q: mx.array, k: mx.array, v: mx.array, scale: float, mask: mx.array) -> mx.array:
    """Attention of ``q [B, heads, L, head_dim]``: MLX's, or one of exact products."""
    few = q.shape[2] <= _FEW_QUERIES and q.shape[3] in _HEAD_DIMS
    if few or not matmul_is_reduced():
        return mx.fast.scaled_dot_product_attention(q, k, v, scale=scale, mask=mask)
    scores = mx.where(mask, matmul(q * scale, k.swapaxes(-1, -2)), -mx.inf)
    return matmul(mx.softmax(scores, axis=-1), v)


def _split(x: mx.array) -> tuple[mx.array, mx.array]:
    """``x`` as a number of 11 bits and the rest, which has 12: their sum is ``x``, exactly."""
    # Gradients go through the rest alone: a view of bits has none.
    bits = mx.view(mx.stop_gradient(x), mx.uint32)
    high = mx.view((bits + 0x1000) & 0xFFFFE000, mx.float32)  # the nearest, ties away from 0
    return high, x - high


def _on_gpu() -> bool:
    return mx.default_device().type == mx.DeviceType.gpu


@functools.cache
def _gpu_reduces_matmul() -> bool:
    product = mx.full((64, 512), _SHORT) @ mx.full((512, 512), _SHORT)
    return product[0, 0].item() / 512 < _WHOLE


@functools.cache
def _gpu_reduces_conv() -> bool:
    product = mx.conv1d(mx.full((1, 256, 64), _SHORT), mx.full((128, 8, 64), _SHORT), stride=4)
    return product[0, 0, 0].item() / 512 < _WHOLE
