"""The doors of layers whose weights may be reduced: float16, bfloat16, or quantised.

What enters is cast to the weights' type and what leaves is float32 again, so that residual streams,
norms and states are float32 whatever the weights are. With float32 weights nothing is cast, and
neither with quantised ones, whose scales are float32.
"""

import mlx.core as mx
import mlx.nn as nn

from . import matmul as products


def times(layer: nn.Module, x: mx.array) -> mx.array:
    """``x [.., inputs]`` through a layer's ``weight [outputs, inputs]``: float32, no bias added."""
    if "scales" not in layer:
        return products.matmul(x.astype(layer.weight.dtype), layer.weight).astype(mx.float32)
    quantised = layer.weight, layer.scales, layer.biases
    return mx.quantized_matmul(x, *quantised, group_size=layer.group_size, bits=layer.bits)


def plus(base: mx.array, layer: nn.Module, x: mx.array) -> mx.array:
    """``base`` and what :func:`times` gives: one kernel where the weights are float32."""
    if "scales" in layer or layer.weight.dtype != mx.float32:
        return base + times(layer, x)
    return products.add_matmul(base, x, layer.weight)


def pack(*layers: nn.Module) -> None:
    """Lay float32 weights out as this machine reads them fastest."""
    for layer in layers:
        if "scales" not in layer and layer.weight.dtype == mx.float32:
            layer.weight = products.packed(layer.weight)
