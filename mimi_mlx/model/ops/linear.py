"""The doors of products with a weight: float32, reduced, quantised or packed, all the same outside.

What enters is cast to the weight's type and what leaves is float32 again, so that residual streams,
norms and states are float32 whatever the weights are. With float32 weights nothing is cast, and
neither with quantised ones, whose scales are float32.

They begin as zeros, which a checkpoint fills: mlx.nn's own constructors draw random weights, which
would move the caller's random generator and leave one behind in every thread that loads a model.
"""

import mlx.core as mx
import mlx.nn as nn

from .matmul import convolve, matmul, packed


class Linear(nn.Module):
    """``x [.., inputs] @ weight.T``, ``weight [outputs, inputs]``, to float32 ``[.., outputs]``.

    Args:
        inputs: Of the weight.
        outputs: Of the weight.
        bias: Channels of a ``bias`` that is kept here and added by the layer around, which first
            sums several of these outputs for each channel.
    """

    scales: mx.array  # these four are a quantised weight's alone (checkpoint/precision.py)
    biases: mx.array
    group_size: int
    bits: int

    def __init__(self, inputs: int, outputs: int, bias: int = 0):
        super().__init__()
        self.weight = mx.zeros((outputs, inputs))
        if bias:
            self.bias = mx.zeros((bias,))

    def __call__(self, x: mx.array, residual: mx.array | None = None) -> mx.array:
        """The product, added to ``residual`` if there is one: one kernel if it is float32."""
        if "scales" in self:
            quantised = self.weight, self.scales, self.biases
            y = mx.quantized_matmul(x, *quantised, group_size=self.group_size, bits=self.bits)
        elif self.weight.dtype == mx.float32:
            return matmul(x, self.weight, residual)
        else:
            y = matmul(x.astype(self.weight.dtype), self.weight).astype(mx.float32)
        return y if residual is None else residual + y

    def pack(self) -> None:
        """Lay a float32 weight out as the device reads it fastest for one or two rows."""
        _pack(self)


class Conv1d(nn.Module):
    """A convolution without padding, ``[B, T, C_in]`` to float32 ``[B, windows, C_out]``.

    Args:
        in_channels: C_in.
        out_channels: C_out.
        kernel_size: Of the weight ``[C_out, kernel_size, C_in]``.
        stride: From one window to the next.
        bias: Whether there is one.
    """

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: int, stride: int, bias: bool
    ):
        super().__init__()
        self.weight = mx.zeros((out_channels, kernel_size, in_channels))
        self.stride = stride
        if bias:
            self.bias = mx.zeros((out_channels,))

    def __call__(self, x: mx.array) -> mx.array:
        y = convolve(x, self.weight, self.stride)
        return y + self.bias if "bias" in self else y

    def pack(self) -> None:
        """Lay a float32 weight out as the device reads it fastest for one or two windows."""
        _pack(self)


class Weight(nn.Module):
    """A ``weight`` of any shape, for a layer that multiplies by it element by element."""

    def __init__(self, *shape: int):
        super().__init__()
        self.weight = mx.zeros(shape)


def _pack(layer: Linear | Conv1d) -> None:
    if "scales" not in layer and layer.weight.dtype == mx.float32:
        layer.weight = packed(layer.weight)
