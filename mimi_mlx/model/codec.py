"""The network: waveform to codes and back, as pure steps over states that are values."""

from typing import Any, Literal, NamedTuple

import mlx.core as mx
import mlx.nn as nn

from .config import LATENTS_PER_FRAME, MimiConfig
from .conv import Downsample, Upsample
from .quantizer import SplitResidualVectorQuantizer
from .seanet import SeanetDecoder, SeanetEncoder
from .transformer import Transformer, TransformerState

Only = Literal["encoder", "decoder"] | None
"""The one half of the codec that there is; None is both."""


class EncoderState(NamedTuple):
    """What an encoder remembers of its past. Every leaf's first axis is the batch."""

    seanet: list[Any]
    transformer: TransformerState
    downsample: tuple[mx.array, mx.array]


class DecoderState(NamedTuple):
    """What a decoder remembers of its past. Every leaf's first axis is the batch."""

    upsample: mx.array
    transformer: TransformerState
    seanet: list[Any]


class Codec(nn.Module):
    """Mimi as a network: parameters, states, and steps that are pure and lazy.

    Nothing here is evaluated and no state is altered; shapes and values are trusted. Its
    parameters are frozen: call ``unfreeze()`` to train.

    Args:
        config: Its sizes.
        only: Make one half alone.

    Source: Défossez et al., Moshi (arXiv 2410.00037), section 3.3; transformers' ``MimiModel``.
    """

    def __init__(self, config: MimiConfig, only: Only = None):
        super().__init__()
        self.config = config
        if only != "decoder":
            self.encoder = SeanetEncoder(config)
            self.encoder_transformer = Transformer(config)
            self.downsample = Downsample(config.hidden_size, LATENTS_PER_FRAME)
        self.quantizer = SplitResidualVectorQuantizer(config)
        if only != "encoder":
            self.upsample = Upsample(config.hidden_size, LATENTS_PER_FRAME)
            self.decoder_transformer = Transformer(config)
            self.decoder = SeanetDecoder(config)
        self.freeze()

    @property
    def fingerprint(self) -> str:
        """16 hexadecimal digits that differ between models with different codebooks.

        A model that was cut to its first codebooks has those of the whole one.
        """
        return self.quantizer.fingerprint

    def init_encoder_state(self, batch_size: int = 1) -> EncoderState:
        """The state of an encoder that has heard nothing."""
        return EncoderState(
            self.encoder.init_state(batch_size),
            self.encoder_transformer.init_state(batch_size),
            self.downsample.init_state(batch_size),
        )

    def init_decoder_state(self, batch_size: int = 1) -> DecoderState:
        """The state of a decoder that has said nothing."""
        return DecoderState(
            self.upsample.init_state(batch_size),
            self.decoder_transformer.init_state(batch_size),
            self.decoder.init_state(batch_size),
        )

    def encode_step(
        self, pcm: mx.array, state: EncoderState, num_codebooks: int
    ) -> tuple[mx.array, EncoderState]:
        """The next samples ``[B, 1, T]`` to codes ``[B, K, F]``, int32.

        T is a multiple of the frame size, except in a stream's last step, whose last frame is
        then ragged.
        """
        latent, state = self.latent_step(pcm, state)
        return self.quantizer.encode(latent, num_codebooks), state

    def decode_step(self, codes: mx.array, state: DecoderState) -> tuple[mx.array, DecoderState]:
        """The next codes ``[B, K, F]`` to samples ``[B, 1, 1920 F]``."""
        return self.waveform_step(self.quantizer.decode(codes), state)

    def latent_step(self, pcm: mx.array, state: EncoderState) -> tuple[mx.array, EncoderState]:
        """The next samples ``[B, 1, T]`` to latents ``[B, F, hidden_size]``, not quantised."""
        x, seanet = self.encoder.step(pcm.swapaxes(1, 2), state.seanet)  # [B, L, hidden]
        x, transformer = self.encoder_transformer.step(x, state.transformer)
        x, downsample = self.downsample.step(x, state.downsample)  # [B, F, hidden]
        return x, EncoderState(seanet, transformer, downsample)

    def waveform_step(self, x: mx.array, state: DecoderState) -> tuple[mx.array, DecoderState]:
        """The next latents ``[B, F, hidden_size]`` to samples ``[B, 1, 1920 F]``."""
        x, upsample = self.upsample.step(x, state.upsample)  # [B, L, hidden]
        x, transformer = self.decoder_transformer.step(x, state.transformer)
        x, seanet = self.decoder.step(x, state.seanet)  # [B, 1920 F, 1]
        return x.swapaxes(1, 2), DecoderState(upsample, transformer, seanet)

    def pack(self) -> None:
        """Lay out the weights that see one or two rows a frame as the device reads them fastest.

        These are all that run at 12.5 and 25 Hz. Codes and sound stay as they are.
        """
        slow: list[Any] = [self.quantizer]
        if "encoder" in self:
            slow += [*self.encoder.layers[-3:], self.encoder_transformer, self.downsample]
        if "decoder" in self:
            slow += [self.decoder_transformer, *self.decoder.layers[:3]]
        for module in slow:
            for layer in module.modules():
                if hasattr(layer, "pack"):
                    layer.pack()
