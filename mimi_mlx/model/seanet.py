"""SEANet: waveform to 25 Hz latents and back, by strided convolutions and residual blocks."""

from typing import Any

import mlx.core as mx
import mlx.nn as nn

from .config import MimiConfig
from .conv import CausalConv1d, CausalConvTranspose1d, CausalTapConv1d
from .ops import linear as matmul
from .ops.activations import ELU


class ResnetBlock(nn.Module):
    """``x + block(x)`` over ``[B, T, C]``: a dilated convolution, then one of kernel 1.

    Source: transformers' ``MimiResnetBlock``.
    """

    def __init__(self, config: MimiConfig, channels: int, dilation: int):
        super().__init__()
        hidden = channels // config.compress
        self.block = [
            ELU(),
            CausalTapConv1d(channels, hidden, config.residual_kernel_size, dilation),
            ELU(),
            CausalTapConv1d(hidden, channels, 1),
        ]

    def init_state(self, batch_size: int) -> list:
        return init_states(self.block, batch_size)

    def step(self, x: mx.array, state: list) -> tuple[mx.array, list]:
        y, state = step_through(self.block, x, state)
        return x + y, state

    def __call__(self, x: mx.array) -> mx.array:
        return self.step(x, self.init_state(x.shape[0]))[0]


class SeanetEncoder(nn.Module):
    """Waveform ``[B, T, 1]`` to latents ``[B, ceil(T / 960), hidden_size]``.

    Source: Moshi paper (arXiv 2410.00037), section 3.3.1; transformers' ``MimiEncoder``.
    """

    def __init__(self, config: MimiConfig):
        super().__init__()
        channels = config.num_filters
        self.layers = [CausalConv1d(1, channels, config.kernel_size)]
        for ratio in reversed(config.upsampling_ratios):
            self.layers += _residual_blocks(config, channels)
            self.layers += [ELU(), CausalConv1d(channels, 2 * channels, 2 * ratio, stride=ratio)]
            channels *= 2
        last = CausalTapConv1d(channels, config.hidden_size, config.last_kernel_size)
        self.layers += [ELU(), last]

    def pack(self) -> None:
        """Lay out the weights that see two inputs a frame as this machine reads them fastest."""
        *_, down, _, last = self.layers
        matmul.pack(down.conv, last.conv)

    def init_state(self, batch_size: int) -> list:
        return init_states(self.layers, batch_size)

    def step(self, x: mx.array, state: list) -> tuple[mx.array, list]:
        return step_through(self.layers, x, state)

    def __call__(self, x: mx.array) -> mx.array:
        return self.step(x, self.init_state(x.shape[0]))[0]


class SeanetDecoder(nn.Module):
    """Latents ``[B, L, hidden_size]`` to waveform ``[B, 960 L, 1]``.

    Source: Moshi paper (arXiv 2410.00037), section 3.3.1; transformers' ``MimiDecoder``.
    """

    def __init__(self, config: MimiConfig):
        super().__init__()
        channels = config.num_filters * 2 ** len(config.upsampling_ratios)
        self.layers = [CausalConv1d(config.hidden_size, channels, config.kernel_size)]
        for ratio in config.upsampling_ratios:
            self.layers += [ELU(), CausalConvTranspose1d(channels, channels // 2, ratio)]
            channels //= 2
            self.layers += _residual_blocks(config, channels)
        self.layers += [ELU(), CausalTapConv1d(channels, 1, config.last_kernel_size)]

    def pack(self) -> None:
        """Lay out the weights that see two inputs a frame as this machine reads them fastest."""
        first, _, up, *_ = self.layers
        matmul.pack(first.conv, up.conv)

    def init_state(self, batch_size: int) -> list:
        return init_states(self.layers, batch_size)

    def step(self, x: mx.array, state: list) -> tuple[mx.array, list]:
        return step_through(self.layers, x, state)

    def __call__(self, x: mx.array) -> mx.array:
        return self.step(x, self.init_state(x.shape[0]))[0]


def _residual_blocks(config: MimiConfig, channels: int) -> list[nn.Module]:
    growth = config.dilation_growth_rate
    return [ResnetBlock(config, channels, growth**i) for i in range(config.num_residual_layers)]


def init_states(layers: list[nn.Module], batch_size: int) -> list[Any]:
    """The state of each layer; ``()`` for a layer without memory."""
    return [layer.init_state(batch_size) if hasattr(layer, "step") else () for layer in layers]


def step_through(layers: list[nn.Module], x: mx.array, states: list) -> tuple[mx.array, list]:
    """One step of each layer in turn."""
    after = []
    for layer, state in zip(layers, states, strict=True):
        if hasattr(layer, "step"):
            x, state = layer.step(x, state)
        else:
            x = layer(x)
        after.append(state)
    return x, after
