"""EnCodec's discriminator: it tells decoded sound from real, and the decoder learns to deceive it.

Source: Défossez et al., EnCodec (arXiv 2210.13438), section 3.4 and its figure 2.
"""

import functools
from collections.abc import Sequence

import mlx.core as mx
import mlx.nn as nn
import numpy as np

WINDOWS = (2048, 1024, 512, 256, 128)
"""Samples of the windows; each has a discriminator of its own."""

_DILATIONS = (1, 2, 4)
_KERNEL = (3, 8)  # windows and bins
_LAST_KERNEL = (3, 3)
_SLOPE = 0.2  # of the LeakyReLU where its input is negative
_LEAST = 1e-6  # mean absolute value that a layer's features count as at least

Judgement = list[mx.array]
"""What one discriminator made of waveforms, layer by layer: features, and last of all the logits.

Features are ``[B, windows, bins, channels]``. Logits ``[B, windows, bins, 1]`` are above 0 where it
takes the waveform for a real one.
"""


class NormalisedConv2d(nn.Module):
    """A convolution over windows and bins with weight normalisation, ``[B, T, F, C]``, padded.

    A stride in frequency and a dilation in time are laid out: a stride of 2 is none over pairs of
    bins, and dilated by d are d interleaved sequences of windows, each not dilated. As options of
    ``mx.conv2d`` their gradients take 10 to 100 times as long on a CPU.

    Source: Salimans and Kingma, Weight normalization (arXiv 1602.07868). Weights begin as large as
    in He et al., Delving deep into rectifiers (arXiv 1502.01852).
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: tuple[int, int],
        key: mx.array,
        stride: int = 1,
        dilation: int = 1,
    ):
        super().__init__()
        bound = (6 / (in_channels * kernel[0] * kernel[1])) ** 0.5
        shape = (out_channels, *kernel, in_channels)
        self.direction = mx.random.uniform(-bound, bound, shape, key=key)
        self.gain = self._length()
        self.bias = mx.zeros(out_channels)
        self.stride = stride
        self.dilation = dilation

    def _length(self) -> mx.array:
        return mx.sqrt(mx.square(self.direction).sum(axis=(1, 2, 3)))

    def __call__(self, x: mx.array) -> mx.array:
        """To ``[B, T, F / stride, C_out]``; F is a multiple of the stride."""
        (batch, length, _, channels), (out, *kernel, _) = x.shape, self.direction.shape
        weight = self.direction * (self.gain / self._length())[:, None, None, None]
        weight = weight.reshape(out, kernel[0], -1, self.stride * channels)
        around = kernel[1] - self.stride
        edges = [(0, -length % self.dilation), (around // 2, around - around // 2)]
        x = mx.pad(x, [(0, 0), *edges, (0, 0)])
        x = x.reshape(batch, -1, self.dilation, x.shape[2] // self.stride, self.stride * channels)
        y = mx.conv2d(x.swapaxes(1, 2).flatten(0, 1), weight, padding=(kernel[0] // 2, 0))
        y = y.reshape(batch, self.dilation, -1, *y.shape[2:]).swapaxes(1, 2).flatten(1, 2)
        return y[:, :length] + self.bias


class StftDiscriminator(nn.Module):
    """Judges waveforms ``[B, T]`` by their complex STFT with windows of one length.

    Real and imaginary parts are channels. A convolution of kernel 3 x 8, three more of them, which
    are dilated 1, 2 and 4 times in time and have stride 2 in frequency, and one of kernel 3 x 3.

    Args:
        window: Samples, a multiple of 16; windows are a quarter of that apart.
        channels: Of each convolution.
        key: Of the random numbers that the weights begin as.
    """

    def __init__(self, window: int, channels: int, key: mx.array):
        super().__init__()
        self.window = window
        first, *middle, last = mx.random.split(key, 2 + len(_DILATIONS))
        self.layers = [NormalisedConv2d(2, channels, _KERNEL, first)]
        self.layers += [
            NormalisedConv2d(channels, channels, _KERNEL, key, stride=2, dilation=dilation)
            for dilation, key in zip(_DILATIONS, middle, strict=True)
        ]
        self.last = NormalisedConv2d(channels, 1, _LAST_KERNEL, last)

    def __call__(self, x: mx.array) -> Judgement:
        x = spectra(x, self.window)
        found = []
        for layer in self.layers:
            x = layer(x)
            x = mx.maximum(x, _SLOPE * x)
            found.append(x)
        return [*found, self.last(x)]


class MultiScaleDiscriminator(nn.Module):
    """A discriminator for each of ``WINDOWS``: waveforms ``[B, T]`` to a judgement of each.

    Args:
        channels: Of each convolution.
        seed: Of the random numbers that the weights begin as.
        windows: Samples of each.
    """

    def __init__(self, channels: int = 32, seed: int = 0, windows: Sequence[int] = WINDOWS):
        super().__init__()
        keys = mx.random.split(mx.random.key(seed), len(windows))
        self.scales = [
            StftDiscriminator(window, channels, key)
            for window, key in zip(windows, keys, strict=True)
        ]

    def __call__(self, x: mx.array) -> list[Judgement]:
        return [scale(x) for scale in self.scales]


def spectra(x: mx.array, window: int) -> mx.array:
    """Complex STFT of ``x [B, T]``, real and imaginary parts last: ``[B, windows, window / 2, 2]``.

    Windows are Hann's, a quarter of their length apart; none reaches past an end. Noise of variance
    1 has bins of variance 1. Differs from the paper: the last bin is left out, so that strides
    divide the others.
    """
    hop = window // 4
    blocks = x[:, : x.shape[1] // hop * hop].reshape(len(x), -1, hop)
    count = blocks.shape[1] - 3
    frames = mx.concatenate([blocks[:, i : i + count] for i in range(4)], axis=-1)
    spectrum = mx.fft.rfft(frames * _taper(window), axis=-1)[..., :-1]
    return mx.stack([spectrum.real, spectrum.imag], axis=-1)


@functools.cache
def _taper(window: int) -> mx.array:
    taper = np.hanning(window + 1)[:-1]  # periodic
    return mx.array((taper / np.sqrt(np.square(taper).sum())).astype(np.float32))


def discriminator_loss(real: list[Judgement], decoded: list[Judgement]) -> mx.array:
    """The hinge loss of what judges: 2 if all logits are 0, 0 if all are right by 1 or more."""
    wrong = [
        mx.maximum(0, 1 - r[-1]).mean() + mx.maximum(0, 1 + d[-1]).mean()
        for r, d in zip(real, decoded, strict=True)
    ]
    return mx.stack(wrong).mean()


def adversarial_loss(decoded: list[Judgement]) -> mx.array:
    """The hinge loss of what is judged: 0 if all of it is taken for real by 1 or more."""
    return mx.stack([mx.maximum(0, 1 - judged[-1]).mean() for judged in decoded]).mean()


def feature_loss(real: list[Judgement], decoded: list[Judgement]) -> mx.array:
    """How far the features of decoded sound are from those of the real, relative to the latter.

    The mean absolute difference over the mean absolute value of each layer, and their mean. No
    gradient goes to ``real``.
    """
    distances = []
    for r, d in zip(real, decoded, strict=True):
        for target, found in zip(r[:-1], d[:-1], strict=True):
            target = mx.stop_gradient(target)
            size = mx.maximum(mx.abs(target).mean(), _LEAST)
            distances.append(mx.abs(target - found).mean() / size)
    return mx.stack(distances).mean()
