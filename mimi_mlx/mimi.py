"""The codec: waveform to codes and back, as pure steps and as whole clips."""

import contextlib
import functools
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import mlx.core as mx
import mlx.nn as nn
import numpy as np

from .model.config import LATENTS_PER_FRAME, MimiConfig
from .model.conv import Downsample, Upsample
from .model.ops import heap
from .model.quantizer import SplitResidualVectorQuantizer
from .model.seanet import SeanetDecoder, SeanetEncoder
from .model.transformer import Transformer, TransformerState
from .streaming import offline
from .streaming import runner as stepper
from .streaming import streams as streaming
from .streaming import validation as check


class EncoderState(NamedTuple):
    """What an encoder remembers of its past. Every leaf's first axis is the batch."""

    seanet: list
    transformer: TransformerState
    downsample: tuple[mx.array, mx.array]


class DecoderState(NamedTuple):
    """What a decoder remembers of its past. Every leaf's first axis is the batch."""

    upsample: mx.array
    transformer: TransformerState
    seanet: list


class Mimi(nn.Module):
    """Kyutai's streaming neural audio codec: 24 kHz speech to 12.5 frames of codes a second.

    Shapes: B rows of a batch, T samples, F frames, K codebooks. Audio is float32 in [-1, 1].
    The weights never change; a stream's memory is a value outside the model.

    Source: Défossez et al., Moshi (arXiv 2410.00037), section 3.3; transformers' ``MimiModel``.
    """

    def __init__(
        self,
        config: MimiConfig,
        only: Literal["encoder", "decoder"] | None = None,
        device: mx.DeviceType | None = None,
    ):
        super().__init__()
        self._config = config
        self._device = device
        self._steps_in_thread = stepper.PerThread()
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

    @classmethod
    def from_pretrained(
        cls,
        name: str | Path,
        only: Literal["encoder", "decoder"] | None = None,
        device: mx.DeviceType | None = None,
    ) -> "Mimi":
        """Load a model with its weights.

        Args:
            name: A Hub id such as ``"kyutai/mimi"``, a folder, a ``.safetensors`` file, or
                ``"tiny"``, the small model inside this package.
            only: Load one half alone, in the memory that it needs.
            device: ``mx.cpu`` or ``mx.gpu`` to run on; None means MLX's default device. MLX has
                one default for all threads; if this is another, it is switched while a call
                runs, and no other thread should use MLX meanwhile.

        Raises:
            ValueError: There is no such checkpoint, it cannot be reached, or it is not Mimi's.
        """
        from .checkpoint import hub  # they build on this module
        from .checkpoint import load as weights

        config, files = hub.find(name)
        return weights.load_packed(files, config, only, device)

    def pack(self) -> None:
        """Lay weights out as this machine reads them fastest; codes and sound stay as they are.

        On Linux memory that is freed from then on stays in the process (heap.py).
        """
        with self.on_device():
            for module in self.children().values():
                if hasattr(module, "pack"):
                    module.pack()
            stepper.evaluate(self.parameters())
        heap.keep_freed()

    # The pure steps: everything else is a loop over these two.

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
        self, pcm: mx.array, state: EncoderState, num_codebooks: int | None = None
    ) -> tuple[mx.array, EncoderState]:
        """Encode the next samples ``[B, 1, T]`` to codes ``[B, K, F]``, int32.

        Pure and lazy: nothing is evaluated, ``state`` is not altered. T is a multiple of
        ``frame_size``, except in a stream's last step, whose last frame is then ragged.
        """
        latent, state = self._latent_step(pcm, state)
        return self.quantizer.encode(latent, num_codebooks or self.num_codebooks), state

    def decode_step(self, codes: mx.array, state: DecoderState) -> tuple[mx.array, DecoderState]:
        """Decode the next codes ``[B, K, F]`` to samples ``[B, 1, 1920 F]``. Pure and lazy."""
        return self._waveform_step(self.quantizer.decode(codes), state)

    def _latent_step(self, pcm: mx.array, state: EncoderState) -> tuple[mx.array, EncoderState]:
        x, seanet = self.encoder.step(pcm.swapaxes(1, 2), state.seanet)  # [B, L, hidden]
        x, transformer = self.encoder_transformer.step(x, state.transformer)
        x, downsample = self.downsample.step(x, state.downsample)  # [B, F, hidden]
        return x, EncoderState(seanet, transformer, downsample)

    def _waveform_step(self, x: mx.array, state: DecoderState) -> tuple[mx.array, DecoderState]:
        x, upsample = self.upsample.step(x, state.upsample)  # [B, L, hidden]
        x, transformer = self.decoder_transformer.step(x, state.transformer)
        x, seanet = self.decoder.step(x, state.seanet)  # [B, 1920 F, 1]
        return x.swapaxes(1, 2), DecoderState(upsample, transformer, seanet)

    # Whole clips

    def encode(
        self,
        pcm: mx.array | np.ndarray,
        num_codebooks: int | None = None,
        lengths: Sequence[int] | None = None,
    ) -> mx.array:
        """Whole clips ``[B, 1, T]`` (or ``[1, T]``, ``[T]``) to codes ``[B, K, ceil(T / 1920)]``.

        Args:
            pcm: float32 samples in [-1, 1] at ``sample_rate``.
            num_codebooks: K, 1 to ``num_codebooks`` of the model; None means all of them.
            lengths: Samples of each row that are real. Each row's codes are then what they would
                be alone, and -1 past its end.

        Raises:
            ValueError: The shape, type, values or ``num_codebooks`` are not as above.
        """
        self._need("encoder", "encode")
        count = check.num_codebooks(num_codebooks, self._config)
        pcm = check.clip(pcm)
        if lengths is None:
            return stepper.Stepper(self, "encoder", pcm.shape[0], count).advance(pcm)
        lengths = check.lengths(lengths, pcm.shape[0], pcm.shape[2])
        step = functools.partial(self.encode_step, num_codebooks=count)
        with self.on_device():
            state = self.init_encoder_state(pcm.shape[0])
            return offline.ragged(step, pcm, lengths, state, self.frame_size)

    def decode(
        self, codes: mx.array | np.ndarray, length: int | Sequence[int] | None = None
    ) -> mx.array:
        """Decode whole clips ``[B, K, F]`` (or ``[K, F]``) to samples ``[B, 1, 1920 F]``, float32.

        Args:
            codes: Integers from 0 to ``codebook_size`` - 1; a row may end early in frames of -1,
                which become silence.
            length: Cut the result to this many samples; one number for each row leaves the
                longest, and silence past the end of the others.

        Raises:
            ValueError: The shape, type, values or ``length`` are not as above.
        """
        self._need("decoder", "decode")
        codes = check.codes_or_ends(codes, self._config)
        if codes.shape[2] == 0:
            raise ValueError("codes has no frames; a clip has at least one. Leave it out.")
        rows, _, frames = codes.shape
        ends = (codes[:, 0] >= 0).sum(axis=1) * self.frame_size  # [B]
        if length is not None:
            given = [length] * rows if isinstance(length, int) else length
            ends = np.minimum(ends, check.lengths(given, rows, frames * self.frame_size))
        pcm = stepper.Stepper(self, "decoder", rows).advance(np.maximum(codes, 0))
        with self.on_device():
            return offline.cut(pcm, ends)

    def encode_to_latent(self, pcm: mx.array | np.ndarray, quantize: bool = False) -> mx.array:
        """The latents ``[B, hidden_size, F]`` of whole clips, before or after quantisation.

        With ``quantize`` they are what :meth:`decode_latent` makes of all codebooks' codes.
        Otherwise the result is lazy, so that ``mx.grad`` can differentiate it.
        """
        self._need("encoder", "encode_to_latent")
        if quantize:
            return self.decode_latent(self.encode(pcm))
        pcm = check.pcm(pcm)
        with self.on_device():
            state = self.init_encoder_state(pcm.shape[0])
            steps = stepper.lazy(self._latent_step, pcm, state, self.frame_size)
            return mx.concatenate([latent for latent, _ in steps], axis=1).swapaxes(1, 2)

    def decode_latent(self, codes: mx.array | np.ndarray) -> mx.array:
        """The latents ``[B, hidden_size, F]`` that codes ``[B, K, F]`` stand for."""
        codes = check.codes(codes, self._config)
        with self.on_device():
            latents = self.quantizer.decode(mx.array(codes)).swapaxes(1, 2)
            stepper.evaluate(latents)
            return latents

    def decode_from_latent(self, latent: mx.array | np.ndarray) -> mx.array:
        """Decode latents ``[B, hidden_size, F]`` to samples ``[B, 1, 1920 F]``, float32.

        They need not be of codes; ``decode_from_latent(decode_latent(codes))`` is
        ``decode(codes)``. The result is lazy, so that ``mx.grad`` can differentiate it.

        Raises:
            ValueError: The shape or type is not as above.
        """
        self._need("decoder", "decode_from_latent")
        latent = check.latent(latent, self._config)

        def step(x: mx.array, state: DecoderState) -> tuple[mx.array, DecoderState]:
            return self._waveform_step(x.swapaxes(1, 2), state)

        with self.on_device():
            state = self.init_decoder_state(latent.shape[0])
            steps = stepper.lazy(step, latent, state, 1)
            return mx.concatenate([pcm for pcm, _ in steps], axis=-1)

    # Streams

    def encoder_stream(
        self, batch_size: int = 1, num_codebooks: int | None = None
    ) -> streaming.EncoderStream:
        """A stream that takes samples as they come and gives every frame that is complete."""
        self._need("encoder", "encoder_stream")
        return streaming.EncoderStream(self, batch_size, num_codebooks)

    def decoder_stream(self, batch_size: int = 1) -> streaming.DecoderStream:
        """A stream that takes frames as they come and gives their samples at once."""
        self._need("decoder", "decoder_stream")
        return streaming.DecoderStream(self, batch_size)

    def load_stream(
        self, path: str | os.PathLike
    ) -> streaming.EncoderStream | streaming.DecoderStream:
        """A new stream that goes on from where the one that ``save`` wrote to a file was.

        Raises:
            ValueError: The file is not a saved stream, or it is another model's.
        """
        return streaming.load(self, path)

    # Properties

    @property
    def config(self) -> MimiConfig:
        """The sizes of this model."""
        return self._config

    @property
    def sample_rate(self) -> int:
        """Samples a second: 24000."""
        return self._config.sampling_rate

    @property
    def frame_rate(self) -> float:
        """Frames a second: 12.5."""
        return self._config.frame_rate

    @property
    def frame_size(self) -> int:
        """Samples a frame: 1920."""
        return self._config.frame_size

    @property
    def num_codebooks(self) -> int:
        """Codebooks that this model has: the K of codes unless fewer are asked for."""
        return self._config.num_quantizers

    @property
    def codebook_size(self) -> int:
        """Entries in a codebook: codes are from 0 to this less 1."""
        return self._config.codebook_size

    @property
    def fingerprint(self) -> str:
        """16 hexadecimal digits that differ between models with different codebooks."""
        return self.quantizer.fingerprint

    @property
    def steps_in_thread(self) -> stepper.PerThread:
        """What streams of this model share within a thread: its compiled steps."""
        return self._steps_in_thread

    def on_device(self) -> contextlib.AbstractContextManager:
        """Run what is inside on this model's device; afterwards MLX's default is as it was.

        MLX has one default device for all threads, so it is switched only where it must be.
        """
        if self._device is None or mx.default_device() == self._device:
            return contextlib.nullcontext()
        return mx.stream(self._device)

    def _need(self, half: str, method: str) -> None:
        if half not in self:
            other = "decoder" if half == "encoder" else "encoder"
            raise ValueError(
                f"{method}: this model was loaded with only={other!r} and has no {half}. "
                f"Load it without only={other!r}."
            )
