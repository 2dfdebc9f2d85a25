"""Causal convolutions that carry their past: the tail and the overlap. Channels last.

Every module here has ``init_state(batch_size)`` and ``step(x, state) -> (y, state)``; a whole clip
is one step from a fresh state. A step whose length is not a multiple of the stride can only be a
stream's last: the convolution then completes its own last window. That is what transformers does
with the end of a clip.
"""

import mlx.core as mx
import mlx.nn as nn

from .ops.linear import Conv1d, Linear, Weight


class CausalConv1d(nn.Module):
    """A convolution that sees only the past: ``[B, T, C_in]`` to ``[B, ceil(T / stride), C_out]``.

    The state is the tail, the last ``kernel_size - stride`` inputs.

    Source: transformers' ``MimiConv1d`` with ``pad_mode="constant"``.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, stride: int = 1):
        super().__init__()
        self.conv = Conv1d(in_channels, out_channels, kernel_size, stride, bias=True)
        self.in_channels = in_channels
        self.stride = stride
        self.tail = kernel_size - stride

    def init_state(self, batch_size: int) -> mx.array:
        """The tail before the first sample: zeros, ``[B, tail, C_in]``."""
        return mx.zeros((batch_size, self.tail, self.in_channels))

    def step(self, x: mx.array, state: mx.array) -> tuple[mx.array, mx.array]:
        """Convolve the tail and ``x [B, T, C_in]``; the new state is the tail of both."""
        missing = -x.shape[1] % self.stride
        x = mx.concatenate([state, x], axis=1)
        # A tail owns its memory: a plain slice would keep the whole step's input alive.
        state = mx.contiguous(x[:, x.shape[1] - self.tail :])
        if missing:
            x = mx.pad(x, [(0, 0), (0, missing), (0, 0)])
        return self.conv(x), state


class CausalTapConv1d(nn.Module):
    """A causal convolution of few taps and stride 1: ``[B, T, C_in]`` to ``[B, T, C_out]``.

    One matmul for all taps, then the sum of them, each as late as its tap; compiled, the sum is
    one kernel with the bias and what follows. Unfolding would copy the input once for each tap.
    The state is the tail, the last ``(kernel_size - 1) * dilation`` inputs.

    Source: transformers' ``MimiConv1d`` with ``pad_mode="constant"``.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, dilation: int = 1):
        super().__init__()
        # weight [kernel_size * C_out, C_in], the taps outermost (checkpoint/load.py lays it out)
        self.conv = Linear(in_channels, kernel_size * out_channels, bias=out_channels)
        self.in_channels = in_channels
        self.dilation = dilation
        self.tail = (kernel_size - 1) * dilation

    def init_state(self, batch_size: int) -> mx.array:
        """The tail before the first input: zeros, ``[B, tail, C_in]``."""
        return mx.zeros((batch_size, self.tail, self.in_channels))

    def step(self, x: mx.array, state: mx.array) -> tuple[mx.array, mx.array]:
        """Convolve the tail and ``x [B, T, C_in]``; the new state is the tail of both."""
        if not self.tail:
            return self.conv(x, self.conv.bias), state
        length, channels = x.shape[1], self.conv.bias.size
        x = mx.concatenate([state, x], axis=1)
        taps = self.conv(x)  # [B, tail + T, kernel_size * C_out]
        y = self.conv.bias
        for tap, late in enumerate(range(0, self.tail + 1, self.dilation)):
            at = tap * channels
            y = y + taps[:, late : late + length, at : at + channels]
        return y, mx.contiguous(x[:, length:])


class Downsample(nn.Module):
    """Halve the rate of ``[B, L, C]``: ``[B, ceil(L / 2), C]``, repeating the clip's edges.

    The state is the tail of two inputs and, for each row, whether it has begun: before its first
    input a row's tail is that input repeated.

    Source: transformers' ``MimiConv1d`` with ``pad_mode="replicate"``.
    """

    def __init__(self, channels: int, stride: int):
        super().__init__()
        self.conv = Conv1d(channels, channels, 2 * stride, stride, bias=False)
        self.channels = channels
        self.stride = stride

    def init_state(self, batch_size: int) -> tuple[mx.array, mx.array]:
        """An empty tail ``[B, stride, C]``, and ``started [B, 1, 1]``: false."""
        tail = mx.zeros((batch_size, self.stride, self.channels))
        return tail, mx.zeros((batch_size, 1, 1), mx.bool_)

    def step(
        self, x: mx.array, state: tuple[mx.array, mx.array]
    ) -> tuple[mx.array, tuple[mx.array, mx.array]]:
        """Convolve the tail and ``x [B, L, C]``; the new state is the tail of both, begun."""
        tail, started = state
        missing = -x.shape[1] % self.stride
        x = mx.concatenate([mx.where(started, tail, x[:, :1]), x], axis=1)
        begun = mx.array([[[True]]] * len(x))  # a constant, where mx.ones would be computed
        state = mx.contiguous(x[:, x.shape[1] - self.stride :]), begun
        if missing:
            x = mx.pad(x, [(0, 0), (0, missing), (0, 0)], mode="edge")
        return self.conv(x), state


class CausalConvTranspose1d(nn.Module):
    """A transposed convolution of kernel 2 stride: ``[B, T, C_in]`` to ``[B, stride T, C_out]``.

    Each input makes two stretches of ``stride`` outputs; the second overlaps the next input's
    first. The state is the last input's second stretch, without bias: ``[B, 1, stride * C_out]``.
    One matmul and one addition, where ``mx.conv_transpose1d`` would unfold an input stuffed with
    zeros.

    Source: transformers' ``MimiConvTranspose1d``.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int):
        super().__init__()
        # weight [2 * stride * C_out, C_in], the taps outermost (checkpoint/load.py lays it out)
        self.conv = Linear(in_channels, 2 * stride * out_channels, bias=out_channels)
        self.stride = stride

    def init_state(self, batch_size: int) -> mx.array:
        """No overlap before the first input: zeros."""
        return mx.zeros((batch_size, 1, self.stride * self.conv.bias.size))

    def step(self, x: mx.array, state: mx.array) -> tuple[mx.array, mx.array]:
        """Add each input's first stretch to the overlap of the one before it."""
        batch, length, _ = x.shape
        first, second = mx.split(self.conv(x), 2, axis=-1)  # [B, T, stride * C_out]
        y = first + mx.concatenate([state, second[:, :-1]], axis=1)
        y = y.reshape(batch, length * self.stride, -1) + self.conv.bias
        return y, mx.contiguous(second[:, -1:])


class Upsample(nn.Module):
    """Double the rate of ``[B, F, C]``, each channel alone: ``[B, 2 F, C]``.

    A depthwise transposed convolution of kernel ``2 * stride``, as two multiply-adds. The state is
    the last input, ``[B, 1, C]``.

    Source: transformers' ``MimiConvTranspose1d`` with ``groups == channels``.
    """

    def __init__(self, channels: int, stride: int):
        super().__init__()
        # [2, stride, C]: the taps of this input, then those of the one before
        self.conv = Weight(2, stride, channels)

    def init_state(self, batch_size: int) -> mx.array:
        """The input before the first: zeros."""
        return mx.zeros((batch_size, 1, self.conv.weight.shape[-1]))

    def step(self, x: mx.array, state: mx.array) -> tuple[mx.array, mx.array]:
        """Each output from its input ``x [B, F, C]`` and the one before it."""
        batch, length, channels = x.shape
        now, before = self.conv.weight
        past = mx.concatenate([state, x[:, :-1]], axis=1)
        y = x[:, :, None] * now + past[:, :, None] * before  # [B, F, stride, C]
        return y.reshape(batch, length * now.shape[0], channels), mx.contiguous(x[:, -1:])
