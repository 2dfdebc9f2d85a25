"""The front door: whole clips, latents and streams of a model that is loaded and ready to run."""

import contextlib
import os
from pathlib import Path

import mlx.core as mx
import numpy as np

from .arrays import ArrayLike
from .checkpoint import hub, mlx_format
from .checkpoint.load import load
from .model.codec import Codec, DecoderState, EncoderState, Only
from .model.config import MimiConfig
from .model.ops.device import Device, named
from .streaming import halves, streams, validation
from .streaming.runner import Runner


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

    def __init__(self, codec: Codec, device: Device | None = None):
        validation.kind_of("codec", codec, Codec, "Use Mimi.from_pretrained.")
        self.codec = codec
        self.runner = Runner(codec, device)
        self._source = ""

    @classmethod
    def from_pretrained(
        cls,
        name: str | Path,
        only: Only = None,
        device: Device | None = None,
        *,
        revision: str | None = None,
        local_files_only: bool = False,
    ) -> "Mimi":
        """Load a model with its weights.

        On Linux's CPU, memory that is freed from then on stays in the process, up to 256 MB.

        Args:
            name: A Hub id such as ``"kyutai/mimi"``, a folder, a ``.safetensors`` file, or
                ``"tiny"``, the small model inside this package.
            only: Load one half alone, in the memory that it needs.
            device: ``"cpu"`` or ``"gpu"`` (or ``mx.cpu``, ``mx.gpu``) to run on; None means MLX's
                default device. MLX has one default for all threads; if this is another, it is
                switched while a call runs, and no other thread should use MLX meanwhile.
            revision: A branch, tag or commit of a Hub id; None means its main branch.
            local_files_only: Take a Hub id from the Hub's cache, or not at all.

        Raises:
            ValueError: There is no such checkpoint, it cannot be reached, or it is not Mimi's.
        """
        validation.only(only)
        device = named(device)
        config, files = hub.find(name, revision, local_files_only=local_files_only)
        mimi = cls(load(files, config, only, device), device)
        mimi._source = f"{os.fspath(name)!r}, {mlx_format.recipe(files) or 'float32'}, "
        return mimi

    def __repr__(self) -> str:
        lacks = [f"no {half}, " for half in ("encoder", "decoder") if half not in self.codec]
        has = f"{self.num_codebooks} codebooks, {''.join(lacks)}{self.runner.device}"
        return f"Mimi({self._source}{has})"

    # The pure steps: everything else is a loop over these two.

    def init_encoder_state(self, batch_size: int = 1) -> EncoderState:
        """The state of an encoder that has heard nothing.

        Raises:
            ValueError: There is no row, or more than the memory holds, or there is no encoder.
        """
        validation.has_half(self.codec, "encoder", "init_encoder_state")
        half = self.runner.encoder(self.num_codebooks)
        return self.runner.lazy_state(half, validation.batch_size(batch_size))

    def init_decoder_state(self, batch_size: int = 1) -> DecoderState:
        """The state of a decoder that has said nothing.

        Raises:
            ValueError: There is no row, or more than the memory holds, or there is no decoder.
        """
        validation.has_half(self.codec, "decoder", "init_decoder_state")
        half = self.runner.decoder()
        return self.runner.lazy_state(half, validation.batch_size(batch_size))

    def encode_step(
        self, pcm: ArrayLike, state: EncoderState, num_codebooks: int | None = None
    ) -> tuple[mx.array, EncoderState]:
        """Encode the next samples ``[B, 1, T]`` to codes ``[B, K, F]``, int32.

        Pure and lazy: nothing is evaluated, ``state`` is not altered. T is a multiple of
        ``frame_size``, except in a stream's last step, whose last frame is then ragged.

        Raises:
            ValueError: Another shape or type, a state of other rows or of no encoder, or the model
                has not so many codebooks.
        """
        validation.has_half(self.codec, "encoder", "encode_step")
        count = validation.num_codebooks(num_codebooks, self.config)
        given = validation.step(validation.pcm(pcm), state, EncoderState)
        return self.codec.encode_step(given, state, count)

    def decode_step(self, codes: ArrayLike, state: DecoderState) -> tuple[mx.array, DecoderState]:
        """Decode the next codes ``[B, K, F]`` to samples ``[B, 1, 1920 F]``. Pure and lazy.

        An MLX array's values are not read: what is no code becomes the nearest one.

        Raises:
            ValueError: Another shape or type, or a state of other rows or of no decoder.
        """
        validation.has_half(self.codec, "decoder", "decode_step")
        given = validation.step(validation.step_codes(codes, self.config), state, DecoderState)
        return self.codec.decode_step(given, state)

    # Whole clips
    def encode(
        self, pcm: ArrayLike, num_codebooks: int | None = None, lengths: ArrayLike | None = None
    ) -> mx.array:
        """Whole clips ``[B, 1, T]`` (or ``[1, T]``, ``[T]``) to codes ``[B, K, ceil(T / 1920)]``.

        Args:
            pcm: Samples in [-1, 1] at ``sample_rate``: floats, which become float32, of MLX, NumPy,
                torch or a list.
            num_codebooks: K, 1 to ``num_codebooks`` of the model; None means all of them.
            lengths: Samples of each row that are real. Each row's codes are then what they would
                be alone, and -1 past its end.

        Raises:
            ValueError: The shape, type, values or ``num_codebooks`` are not as above.
        """
        validation.has_half(self.codec, "encoder", "encode")
        half = self.runner.encoder(validation.num_codebooks(num_codebooks, self.config))
        clip = validation.clip(pcm)
        if lengths is None:
            return self.runner.run(half, clip)
        ends = validation.lengths(lengths, clip.shape[0], clip.shape[2])
        return self.runner.ragged(half, clip, ends)

    def decode(self, codes: ArrayLike, length: ArrayLike | None = None) -> mx.array:
        """Decode whole clips ``[B, K, F]`` (or ``[K, F]``) to samples ``[B, 1, 1920 F]``, float32.

        Args:
            codes: Integers from 0 to ``codebook_size`` - 1; a row may end early in frames of -1,
                which become silence.
            length: Cut the result to this many samples; one number for each row leaves the
                longest, and silence past the end of the others.

        Raises:
            ValueError: The shape, type, values or ``length`` are not as above.
        """
        validation.has_half(self.codec, "decoder", "decode")
        found = validation.codes_or_ends(codes, self.config)
        validation.has_frames(found)
        rows, _, frames = found.shape
        ends = (found[:, 0] >= 0).sum(axis=1) * self.frame_size  # [B]
        if length is not None:
            ends = np.minimum(ends, validation.ends(length, rows, frames * self.frame_size))
        return self.runner.cut(self.runner.run(self.runner.decoder(), np.maximum(found, 0)), ends)

    def encode_to_latent(self, pcm: ArrayLike, quantize: bool = False) -> mx.array:
        """The latents ``[B, hidden_size, F]`` of whole clips, before or after quantisation.

        Args:
            pcm: float32 samples ``[B, 1, T]``, ``[1, T]`` or ``[T]`` in [-1, 1].
            quantize: Give what :meth:`decode_latent` makes of all codebooks' codes. Otherwise
                the result is lazy, so that ``mx.grad`` can differentiate it.

        Raises:
            ValueError: The shape or type is not as above.
        """
        validation.has_half(self.codec, "encoder", "encode_to_latent")
        if quantize:
            return self.decode_latent(self.encode(pcm))

        clip = validation.pcm(pcm)
        validation.has_samples(clip)
        return self.runner.lazy(halves.latent_encoder(self.codec), clip)

    def decode_latent(self, codes: ArrayLike) -> mx.array:
        """The latents ``[B, hidden_size, F]`` that codes ``[B, K, F]`` or ``[K, F]`` stand for.

        Raises:
            ValueError: The shape, type or values are not those of codes.
        """
        found = validation.codes(codes, self.config)
        validation.has_frames(found)
        return self.runner.evaluate(
            lambda: self.codec.quantizer.decode(mx.array(found)).swapaxes(1, 2)
        )

    def decode_from_latent(self, latent: ArrayLike) -> mx.array:
        """Decode latents ``[B, hidden_size, F]`` to samples ``[B, 1, 1920 F]``, float32.

        They need not be of codes; ``decode_from_latent(decode_latent(codes))`` is
        ``decode(codes)``. The result is lazy, so that ``mx.grad`` can differentiate it.

        Raises:
            ValueError: The shape or type is not as above.
        """
        validation.has_half(self.codec, "decoder", "decode_from_latent")

        given = validation.latent(latent, self.config)
        return self.runner.lazy(halves.latent_decoder(self.codec), given)

    # Streams

    def encoder_stream(
        self, batch_size: int = 1, num_codebooks: int | None = None
    ) -> streams.EncoderStream:
        """A stream that takes samples as they come and gives every frame that is complete.

        Args:
            batch_size: Rows, each a stream of its own that takes part in one step.
            num_codebooks: K; None means all of the model's.

        Raises:
            ValueError: There is no row, more than the memory holds, no encoder, or no such K.
        """
        validation.has_half(self.codec, "encoder", "encoder_stream")
        return streams.EncoderStream(self.runner, batch_size, num_codebooks)

    def decoder_stream(self, batch_size: int = 1) -> streams.DecoderStream:
        """A stream that takes frames as they come and gives their samples at once.

        Args:
            batch_size: Rows, each a stream of its own that takes part in one step.

        Raises:
            ValueError: There is no row, more than the memory holds, or no decoder.
        """
        validation.has_half(self.codec, "decoder", "decoder_stream")
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
        """16 hexadecimal digits of the codebooks; of a model that was cut, those of the whole."""
        return self.codec.fingerprint

    def on_device(self) -> contextlib.AbstractContextManager[None]:
        """Run what is inside on this model's device; afterwards MLX's default is as it was."""
        return self.runner.on_device()
