"""The front door: whole clips, latents and streams of a model that is loaded and ready to run."""

import contextlib
import os
from collections.abc import Sequence
from pathlib import Path

import mlx.core as mx
import numpy as np

from .checkpoint import hub
from .checkpoint.load import load
from .model.codec import Codec, DecoderState, EncoderState, Only
from .model.config import MimiConfig
from .streaming import streams, validation
from .streaming.runner import Array, Half, Runner


class Mimi:
    """Kyutai's streaming neural audio codec: 24 kHz speech to 12.5 frames of codes a second.

    Shapes: B rows of a batch, T samples, F frames, K codebooks. Audio is float32 in [-1, 1].
    The weights never change; a stream's memory is a value outside the model.

    Attributes:
        codec: The network, an ``mlx.nn.Module``: ``parameters()``, ``freeze()``, gradients.
        runner: What runs its steps.

    Args:
        codec: A network with its weights, which are laid out for the device here and now.
        device: As for :meth:`from_pretrained`.

    Source: Défossez et al., Moshi (arXiv 2410.00037), section 3.3; transformers' ``MimiModel``.
    """

    def __init__(self, codec: Codec, device: mx.DeviceType | None = None):
        self.codec = codec
        self.runner = Runner(codec, device)

    @classmethod
    def from_pretrained(
        cls, name: str | Path, only: Only = None, device: mx.DeviceType | None = None
    ) -> "Mimi":
        """Load a model with its weights.

        On Linux's CPU, memory that is freed from then on stays in the process, up to 256 MB.

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
        config, files = hub.find(name)
        return cls(load(files, config, only, device), device)

    # The pure steps: everything else is a loop over these two.

    def init_encoder_state(self, batch_size: int = 1) -> EncoderState:
        """The state of an encoder that has heard nothing.

        Raises:
            ValueError: There is no row, or more than the memory holds, or there is no encoder.
        """
        self._need("encoder", "init_encoder_state")
        half = self.runner.encoder(self.num_codebooks)
        return self.runner.lazy_state(half, validation.batch_size(batch_size))

    def init_decoder_state(self, batch_size: int = 1) -> DecoderState:
        """The state of a decoder that has said nothing.

        Raises:
            ValueError: There is no row, or more than the memory holds, or there is no decoder.
        """
        self._need("decoder", "init_decoder_state")
        half = self.runner.decoder()
        return self.runner.lazy_state(half, validation.batch_size(batch_size))

    def encode_step(
        self, pcm: mx.array, state: EncoderState, num_codebooks: int | None = None
    ) -> tuple[mx.array, EncoderState]:
        """Encode the next samples ``[B, 1, T]`` to codes ``[B, K, F]``, int32.

        Pure and lazy: nothing is evaluated, ``state`` is not altered. T is a multiple of
        ``frame_size``, except in a stream's last step, whose last frame is then ragged.

        Raises:
            ValueError: The model has not so many codebooks.
        """
        count = validation.num_codebooks(num_codebooks, self.config)
        return self.codec.encode_step(pcm, state, count)

    def decode_step(self, codes: mx.array, state: DecoderState) -> tuple[mx.array, DecoderState]:
        """Decode the next codes ``[B, K, F]`` to samples ``[B, 1, 1920 F]``. Pure and lazy."""
        return self.codec.decode_step(codes, state)

    # Whole clips

    def encode(
        self, pcm: Array, num_codebooks: int | None = None, lengths: Sequence[int] | None = None
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
        half = self.runner.encoder(validation.num_codebooks(num_codebooks, self.config))
        pcm = validation.clip(pcm)
        if lengths is None:
            return self.runner.run(half, pcm)
        return self.runner.ragged(
            half, pcm, validation.lengths(lengths, pcm.shape[0], pcm.shape[2])
        )

    def decode(self, codes: Array, length: int | Sequence[int] | None = None) -> mx.array:
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
        codes = validation.codes_or_ends(codes, self.config)
        if codes.shape[2] == 0:
            raise ValueError("codes has no frames; a clip has at least one. Leave it out.")
        rows, _, frames = codes.shape
        ends = (codes[:, 0] >= 0).sum(axis=1) * self.frame_size  # [B]
        if length is not None:
            given = [length] * rows if isinstance(length, int) else length
            ends = np.minimum(ends, validation.lengths(given, rows, frames * self.frame_size))
        return self.runner.cut(self.runner.run(self.runner.decoder(), np.maximum(codes, 0)), ends)

    def encode_to_latent(self, pcm: Array, quantize: bool = False) -> mx.array:
        """The latents ``[B, hidden_size, F]`` of whole clips, before or after quantisation.

        Args:
            pcm: float32 samples ``[B, 1, T]``, ``[1, T]`` or ``[T]`` in [-1, 1].
            quantize: Give what :meth:`decode_latent` makes of all codebooks' codes. Otherwise
                the result is lazy, so that ``mx.grad`` can differentiate it.

        Raises:
            ValueError: The shape or type is not as above.
        """
        self._need("encoder", "encode_to_latent")
        if quantize:
            return self.decode_latent(self.encode(pcm))

        def step(pcm: mx.array, state: EncoderState) -> tuple[mx.array, EncoderState]:
            latent, state = self.codec.latent_step(pcm, state)
            return latent.swapaxes(1, 2), state

        half = Half(step, self.codec.init_encoder_state, self.frame_size, 0)
        return self.runner.lazy(half, validation.pcm(pcm))

    def decode_latent(self, codes: Array) -> mx.array:
        """The latents ``[B, hidden_size, F]`` that codes ``[B, K, F]`` or ``[K, F]`` stand for.

        Raises:
            ValueError: The shape, type or values are not those of codes.
        """
        found = validation.codes(codes, self.config)
        return self.runner.evaluate(
            lambda: self.codec.quantizer.decode(mx.array(found)).swapaxes(1, 2)
        )

    def decode_from_latent(self, latent: Array) -> mx.array:
        """Decode latents ``[B, hidden_size, F]`` to samples ``[B, 1, 1920 F]``, float32.

        They need not be of codes; ``decode_from_latent(decode_latent(codes))`` is
        ``decode(codes)``. The result is lazy, so that ``mx.grad`` can differentiate it.

        Raises:
            ValueError: The shape or type is not as above.
        """
        self._need("decoder", "decode_from_latent")

        def step(x: mx.array, state: DecoderState) -> tuple[mx.array, DecoderState]:
            return self.codec.waveform_step(x.swapaxes(1, 2), state)

        half = Half(step, self.codec.init_decoder_state, 1, 0)
        return self.runner.lazy(half, validation.latent(latent, self.config))

    # Streams

    def encoder_stream(
        self, batch_size: int = 1, num_codebooks: int | None = None
    ) -> streams.EncoderStream:
        """A stream that takes samples as they come and gives every frame that is complete.

        Args:
            batch_size: Rows, each a stream of its own that takes part in one step.
            num_codebooks: K; None means all of the model's.

        Raises:
            ValueError: There is no row, or more than the memory holds, or the model has not so
                many codebooks or no encoder.
        """
        self._need("encoder", "encoder_stream")
        return streams.EncoderStream(self.runner, batch_size, num_codebooks)

    def decoder_stream(self, batch_size: int = 1) -> streams.DecoderStream:
        """A stream that takes frames as they come and gives their samples at once.

        Args:
            batch_size: Rows, each a stream of its own that takes part in one step.

        Raises:
            ValueError: There is no row, or more than the memory holds, or the model has no
                decoder.
        """
        self._need("decoder", "decoder_stream")
        return streams.DecoderStream(self.runner, batch_size)

    def load_stream(self, path: str | os.PathLike) -> streams.EncoderStream | streams.DecoderStream:
        """A new stream that goes on from where the one that ``save`` wrote to a file was.

        Raises:
            ValueError: There is no such file, it is damaged or not a saved stream, or it is another
                model's.
        """
        return streams.load(self.runner, path)

    # Properties

    @property
    def config(self) -> MimiConfig:
        """The sizes of this model."""
        return self.codec.config

    @property
    def sample_rate(self) -> int:
        """Samples a second: 24000."""
        return self.config.sampling_rate

    @property
    def frame_rate(self) -> float:
        """Frames a second: 12.5."""
        return self.config.frame_rate

    @property
    def frame_size(self) -> int:
        """Samples a frame: 1920."""
        return self.config.frame_size

    @property
    def num_codebooks(self) -> int:
        """Codebooks that this model has: the K of codes unless fewer are asked for."""
        return self.config.num_quantizers

    @property
    def codebook_size(self) -> int:
        """Entries in a codebook: codes are from 0 to this less 1."""
        return self.config.codebook_size

    @property
    def fingerprint(self) -> str:
        """16 hexadecimal digits that differ between models with different codebooks.

        A model that was cut to its first codebooks has those of the whole one.
        """
        return self.codec.fingerprint

    def on_device(self) -> contextlib.AbstractContextManager[None]:
        """Run what is inside on this model's device; afterwards MLX's default is as it was."""
        return self.runner.on_device()

    def _need(self, half: str, method: str) -> None:
        if half not in self.codec:
            other = "decoder" if half == "encoder" else "encoder"
            raise ValueError(
                f"{method}: this model was loaded with only={other!r} and has no {half}. "
                f"Load it without only={other!r}."
            )
