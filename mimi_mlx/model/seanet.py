"""SEANet: waveform to 25 Hz latents and back, by strided convolutions and residual blocks."""

from typing import Any

import mlx.core as mx
import mlx.nn as nn

from .config import MimiConfig
from .conv import CausalConv1d, CausalConvTranspose1d, CausalTapConv1d
from .ops.activations import ELU


class Sequential(list):
    """Layers one behind the other, as one step. The state is a list of theirs.

    A list, so that a layer is named as in the checkpoint: ``layers.3.block.1``.
    """

    def init_state(self, batch_size: int) -> list[Any]:
        """The state of each layer; ``()`` for one without memory."""
        return [layer.init_state(batch_size) if hasattr(layer, "step") else () for layer in self]

    def step(self, x: mx.array, state: list[Any]) -> tuple[mx.array, list[Any]]:
        """One step of each layer in turn."""
        after = []
        for layer, before in zip(self, state, strict=True):
            x, past = layer.step(x, before) if hasattr(layer, "step") else (layer(x), before)
            after.append(past)
        return x, after


class ResnetBlock(nn.Module):
    """``x + block(x)`` over ``[B, T, C]``: a dilated convolution, then one of kernel 1.

    Source: transformers' ``MimiResnetBlock``.
    """

    def __init__(self, config: MimiConfig, channels: int, dilation: int):
        super().__init__()
        hidden = channels // config.compress
        self.block = Sequential(
            [
                ELU(),
                CausalTapConv1d(channels, hidden, config.residual_kernel_size, dilation),
                ELU(),
                CausalTapConv1d(hidden, channels, 1),
            ]
        )

    def init_state(self, batch_size: int) -> list[Any]:
        """The tails of its convolutions."""
        return self.block.init_state(batch_size)

    def step(self, x: mx.array, state: list[Any]) -> tuple[mx.array, list[Any]]:
        """``x [B, T, C]`` and what the block makes of it."""
        y, state = self.block.step(x, state)
        return x + y, state


class SeanetEncoder(nn.Module):
    """Waveform ``[B, T, 1]`` to latents ``[B, ceil(T / 960), hidden_size]``.

    Source: Moshi paper (arXiv 2410.00037), section 3.3.1; transformers' ``MimiEncoder``.
    """

    def __init__(self, config: MimiConfig):
        super().__init__()
        channels = config.num_filters
        self.layers = Sequential([CausalConv1d(1, channels, config.kernel_size)])
        for ratio in reversed(config.upsampling_ratios):
            self.layers += _residual_blocks(config, channels)
            self.layers += [ELU(), CausalConv1d(channels, 2 * channels, 2 * ratio, stride=ratio)]
            channels *= 2
        last = CausalTapConv1d(channels, config.hidden_size, config.last_kernel_size)
        self.layers += [ELU(), last]

    def init_state(self, batch_size: int) -> list[Any]:
        """The tails of all convolutions."""
        return self.layers.init_state(batch_size)

    def step(self, x: mx.array, state: list[Any]) -> tuple[mx.array, list[Any]]:
        """The next samples ``[B, T, 1]`` to latents; T is a multiple of 960 but at a clip's end."""
        return self.layers.step(x, state)


class SeanetDecoder(nn.Module):
    """Latents ``[B, L, hidden_size]`` to waveform ``[B, 960 L, 1]``.

    Source: Moshi paper (arXiv 2410.00037), section 3.3.1; transformers' ``MimiDecoder``.
    """

    def __init__(self, config: MimiConfig):
        super().__init__()
        channels = config.num_filters * 2 ** len(config.upsampling_ratios)
        self.layers = Sequential([CausalConv1d(config.hidden_size, channels, config.kernel_size)])
        for ratio in config.upsampling_ratios:
            self.layers += [ELU(), CausalConvTranspose1d(channels, channels // 2, ratio)]
            channels //= 2
            self.layers += _residual_blocks(config, channels)
        self.layers += [ELU(), CausalTapConv1d(channels, 1, config.last_kernel_size)]

    def init_state(self, batch_size: int) -> list[Any]:
        """The tails and overlaps of all convolutions."""
        return self.layers.init_state(batch_size)

    def step(self, x: mx.array, state: list[Any]) -> tuple[mx.array, list[Any]]:
        """The next latents ``[B, L, hidden_size]`` to their samples."""
        return self.layers.step(x, state)


def _residual_blocks(config: MimiConfig, channels: int) -> list[ResnetBlock]:
    growth = config.dilation_growth_rate
    return [ResnetBlock(config, channels, growth**i) for i in range(config.num_residual_layers)]
