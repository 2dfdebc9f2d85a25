"""Causal convolutions that carry their past: the tail and the overlap. Channels last.

Every module here has ``step(x, state) -> (y, state)``; calling it is one step from a fresh state.
A step whose length is not a multiple of the stride can only be a stream's last: the convolution
then completes its own last window. That is what transformers does with the end of a clip.
"""

import mlx.core as mx
import mlx.nn as nn
import numpy as np

from .ops import blank
from .ops import linear as matmul
from .ops import matmul as products
from .ops import tf32 as exact


class CausalConv1d(nn.Module):
    """A convolution that sees only the past: ``[B, T, C_in]`` to ``[B, ceil(T / stride), C_out]``.

    The state is the tail, the last ``kernel_size - stride`` inputs.

    Source: transformers' ``MimiConv1d`` with ``pad_mode="constant"``.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, stride: int = 1):
        super().__init__()
        self.conv = blank.weight(out_channels, kernel_size, in_channels, bias=out_channels)
        self.in_channels = in_channels
        self.stride = stride
        self.tail = kernel_size - stride

    def init_state(self, batch_size: int) -> mx.array:
        """The tail before the first sample: zeros, ``[B, tail, C_in]``."""
        return mx.zeros((batch_size, self.tail, self.in_channels))

    def step(self, x: mx.array, state: mx.array) -> tuple[mx.array, mx.array]:
        missing = -x.shape[1] % self.stride
        x = mx.concatenate([state, x], axis=1)
        # A tail owns its memory: a plain slice would keep the whole step's input alive.
        state = mx.contiguous(x[:, x.shape[1] - self.tail :])
        if missing:
            x = mx.pad(x, ((0, 0), (0, missing), (0, 0)))
        return convolve(x, self.conv.weight, self.stride) + self.conv.bias, state

    def __call__(self, x: mx.array) -> mx.array:
        return self.step(x, self.init_state(x.shape[0]))[0]


class CausalTapConv1d(nn.Module):
    """A causal convolution of few taps and stride 1: ``[B, T, C_in]`` to ``[B, T, C_out]``.

    One matmul for all taps, then the sum of them, each as late as its tap; compiled, the sum is
    one kernel with the bias and what follows. Unfolding would copy the input once for each tap.
    The state is the tail, the last ``(kernel_size - 1) * dilation`` inputs.

    Source: transformers' ``MimiConv1d`` with ``pad_mode="constant"``.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, dilation: int = 1):
        super().__init__()
        # weight [kernel_size * C_out, C_in], the taps outermost (weights.py lays it out)
        self.conv = blank.weight(kernel_size * out_channels, in_channels, bias=out_channels)
        self.in_channels = in_channels  # a quantised weight does not show them
        self.dilation = dilation
        self.tail = (kernel_size - 1) * dilation

    def init_state(self, batch_size: int) -> mx.array:
        """The tail before the first input: zeros, ``[B, tail, C_in]``."""
        return mx.zeros((batch_size, self.tail, self.in_channels))

    def step(self, x: mx.array, state: mx.array) -> tuple[mx.array, mx.array]:
        if not self.tail:
            return matmul.plus(self.conv.bias, self.conv, x), state
        length, channels = x.shape[1], self.conv.bias.size
        x = mx.concatenate([state, x], axis=1)
        taps = matmul.times(self.conv, x)  # [B, tail + T, kernel_size * C_out]
        y = self.conv.bias
        for tap, late in enumerate(range(0, self.tail + 1, self.dilation)):
            at = tap * channels
            y = y + taps[:, late : late + length, at : at + channels]
        return y, mx.contiguous(x[:, length:])

    def __call__(self, x: mx.array) -> mx.array:
        return self.step(x, self.init_state(x.shape[0]))[0]


class Downsample(nn.Module):
    """Halve the rate of ``[B, L, C]``: ``[B, ceil(L / 2), C]``, repeating the clip's edges.

    The state is the tail of two inputs and, for each row, whether it has begun: before its first
    input a row's tail is that input repeated.

    Source: transformers' ``MimiConv1d`` with ``pad_mode="replicate"``.
    """

    def __init__(self, channels: int, stride: int):
        super().__init__()
        self.conv = blank.weight(channels, 2 * stride, channels)
        self.channels = channels
        self.stride = stride

    def init_state(self, batch_size: int) -> tuple[mx.array, mx.array]:
        """An empty tail ``[B, stride, C]``, and ``started [B, 1, 1]``: false."""
        tail = mx.zeros((batch_size, self.stride, self.channels))
        return tail, mx.zeros((batch_size, 1, 1), mx.bool_)

    def step(
        self, x: mx.array, state: tuple[mx.array, mx.array]
    ) -> tuple[mx.array, tuple[mx.array, mx.array]]:
        tail, started = state
        missing = -x.shape[1] % self.stride
        x = mx.concatenate([mx.where(started, tail, x[:, :1]), x], axis=1)
        state = (
            mx.contiguous(x[:, x.shape[1] - self.stride :]),
            mx.array(np.ones(started.shape, bool)),
        )
        if missing:
            x = mx.pad(x, ((0, 0), (0, missing), (0, 0)), mode="edge")
        return convolve(x, self.conv.weight, self.stride), state

    def __call__(self, x: mx.array) -> mx.array:
        return self.step(x, self.init_state(x.shape[0]))[0]

    def pack(self) -> None:
        """Lay the weight out as this machine reads it fastest."""
        matmul.pack(self.conv)


class CausalConvTranspose1d(nn.Module):
    """A transposed convolution of kernel 2 stride: ``[B, T, C_in]`` to ``[B, stride T, C_out]``.

    Each input makes two stretches of ``stride`` outputs; the second overlaps the next input's
    first. The state is the last input's second stretch, without bias: ``[B, 1, stride * C_out]``.
    One matmul and one addition: on Metal, ``mx.conv_transpose1d`` would unfold an input stuffed
    with zeros.

    Source: transformers' ``MimiConvTranspose1d``.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int):
        super().__init__()
        # weight [2 * stride * C_out, C_in], the kernel's taps outermost (weights.py lays it out)
        self.conv = blank.weight(2 * stride * out_channels, in_channels, bias=out_channels)
        self.stride = stride

    def init_state(self, batch_size: int) -> mx.array:
        return mx.zeros((batch_size, 1, self.stride * self.conv.bias.size))

    def step(self, x: mx.array, state: mx.array) -> tuple[mx.array, mx.array]:
        batch, length, _ = x.shape
        first, second = mx.split(matmul.times(self.conv, x), 2, axis=-1)  # [B, T, stride * C_out]
        y = first + mx.concatenate([state, second[:, :-1]], axis=1)
        y = y.reshape(batch, length * self.stride, -1) + self.conv.bias
        return y, mx.contiguous(second[:, -1:])

    def __call__(self, x: mx.array) -> mx.array:
        return self.step(x, self.init_state(x.shape[0]))[0]


class Upsample(nn.Module):
    """Double the rate of ``[B, F, C]``, each channel alone: ``[B, 2 F, C]``.

    A depthwise transposed convolution of kernel ``2 * stride``, as two multiply-adds. The state is
    the last input, ``[B, 1, C]``.

    Source: transformers' ``MimiConvTranspose1d`` with ``groups == channels``.
    """

    def __init__(self, channels: int, stride: int):
        super().__init__()
        # weight [2, stride, C]: the taps of this input, then those of the one before
        self.conv = blank.weight(2, stride, channels)

    def init_state(self, batch_size: int) -> mx.array:
        return mx.zeros((batch_size, 1, self.conv.weight.shape[-1]))

    def step(self, x: mx.array, state: mx.array) -> tuple[mx.array, mx.array]:
        batch, length, channels = x.shape
        now, before = self.conv.weight
        past = mx.concatenate([state, x[:, :-1]], axis=1)
        y = x[:, :, None] * now + past[:, :, None] * before  # [B, F, stride, C]
        return y.reshape(batch, length * now.shape[0], channels), mx.contiguous(x[:, -1:])

    def __call__(self, x: mx.array) -> mx.array:
        return self.step(x, self.init_state(x.shape[0]))[0]


def convolve(x: mx.array, weight: mx.array, stride: int) -> mx.array:
    """``mx.conv1d``, or a matmul of its windows if the weight is packed or the device cuts them.

    Computed in the weight's type; what comes out is float32.
    """
    x = x.astype(weight.dtype)
    if not products.is_packed(weight):
        if not exact.conv_is_reduced():
            return mx.conv1d(x, weight, stride).astype(mx.float32)
        weight = weight.flatten(1)
    batch, length, channels = x.shape
    width = products.inputs(weight)
    count = (length - width // channels) // stride + 1
    windows = mx.as_strided(x, (batch, count, width), (length * channels, stride * channels, 1))
    return products.matmul(windows, weight).astype(mx.float32)
