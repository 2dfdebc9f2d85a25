"""The codec's two ways as values: all that it takes to run one."""

from collections.abc import Callable
from typing import Any, NamedTuple

import mlx.core as mx

from ..model.codec import Codec, DecoderState, EncoderState
from .rows import State, select

Step = Callable[..., tuple[mx.array, State]]


class Half(NamedTuple):
    """One of the codec's two ways, as a value: all that it takes to run it."""

    step: Step
    """``(x, state, *arguments) -> (y, state)``, pure and lazy; time is the last axis of both."""
    init_state: Callable[[int], State]
    """The state of so many rows that have heard nothing."""
    unit: int
    """Elements of ``x`` along time that make a frame."""
    nothing: int
    """What is given for a row that takes no part: -1 for codes, silence for samples."""
    arguments: tuple[Any, ...] = ()


def encoder(codec: Codec, num_codebooks: int) -> Half:
    """From samples ``[B, 1, T]`` to codes ``[B, num_codebooks, F]``."""
    unit = codec.config.frame_size
    return Half(codec.encode_step, codec.init_encoder_state, unit, -1, (num_codebooks,))


def decoder(codec: Codec) -> Half:
    """From codes ``[B, K, F]`` to samples ``[B, 1, 1920 F]``."""
    return Half(codec.decode_step, codec.init_decoder_state, 1, 0)


def mixed_decoder(codec: Codec) -> Half:
    """:func:`decoder` of rows with different numbers of codebooks: codes are -1 past their own."""

    def step(codes: mx.array, state: DecoderState) -> tuple[mx.array, DecoderState]:
        return codec.waveform_step(codec.quantizer.decode_mixed(codes), state)

    return Half(step, codec.init_decoder_state, 1, 0)


def latent_encoder(codec: Codec) -> Half:
    """From samples ``[B, 1, T]`` to latents ``[B, hidden_size, F]``."""

    def step(pcm: mx.array, state: EncoderState) -> tuple[mx.array, EncoderState]:
        latent, state = codec.latent_step(pcm, state)
        return latent.swapaxes(1, 2), state

    return Half(step, codec.init_encoder_state, codec.config.frame_size, 0)


def latent_decoder(codec: Codec) -> Half:
    """From latents ``[B, hidden_size, F]`` to samples ``[B, 1, 1920 F]``."""

    def step(x: mx.array, state: DecoderState) -> tuple[mx.array, DecoderState]:
        return codec.waveform_step(x.swapaxes(1, 2), state)

    return Half(step, codec.init_decoder_state, 1, 0)


def bound(half: Half, masked: bool) -> Step:
    """The half's step with its arguments; ``masked``, of rows where ``mask [B]`` is true."""

    def step(x: mx.array, state: State) -> tuple[mx.array, State]:
        return half.step(x, state, *half.arguments)

    def masked_step(x: mx.array, state: State, mask: mx.array) -> tuple[mx.array, State]:
        y, after = step(x, state)
        nothing = mx.array(half.nothing, y.dtype)
        return mx.where(mask[:, None, None], y, nothing), select(mask, after, state)

    return masked_step if masked else step
