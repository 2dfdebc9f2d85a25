"""The call shapes of transformers' ``MimiModel``, over :class:`Mimi`.

Source: transformers 5.23 and 5.24, ``MimiModel``. What it computes, this computes; departures are
named.
"""

from pathlib import Path
from typing import Any, Literal, TypeVar, overload

import mlx.core as mx

from ..arrays import Array, ArrayLike
from ..mimi import Mimi
from ..model.codec import Only
from ..model.config import MimiConfig, shown
from ..model.ops.device import Device
from ..streaming import validation
from ..streaming.streams import DecoderStream, EncoderStream
from . import lengths, placement
from .outputs import MimiDecoderOutput, MimiEncoderOutput, MimiOutput, Outputs, one_stream

Output = TypeVar("Output", bound=Outputs)


class MimiModel:
    """transformers' interface to a :class:`Mimi`, which is its field ``mimi``.

    Shapes: B rows, T samples, K codebooks, F frames.

    Streaming: ``encode(..., use_streaming=True)`` and ``decode(..., use_cache=True)`` begin a
    stream and return it as the caches to give to the next call. A call returns a new cache and
    leaves the one it was given as it was. Pieces equal the whole, whichever way they are cut:
    samples of an unfinished frame wait in the encoder's cache, so F can be 0; the decoder's cache
    is the state of all of it. (In transformers a piece that is not of whole frames fails or gives
    other codes, and decoding breaks at every seam, for the cache is of the attention alone.) Every
    call with ``return_dict=False`` gives a tuple.
    """

    def __init__(self, mimi: Mimi):
        validation.kind_of("mimi", mimi, Mimi, "Use MimiModel.from_pretrained.")
        self.mimi = mimi

    @classmethod
    def from_pretrained(
        cls,
        name_or_path: str | Path,
        only: Only = None,
        device: Device | None = None,
        *,
        revision: str | None = None,
        dtype: Any = None,
        local_files_only: bool = False,
    ) -> "MimiModel":
        """Load a model; the arguments are those of :meth:`Mimi.from_pretrained`.

        ``dtype`` is float32 or ``"auto"``, by any library's name: there is nothing else.
        """
        placement.check_float32(dtype)
        more: Any = {"revision": revision, "local_files_only": local_files_only}
        return cls(Mimi.from_pretrained(name_or_path, only, device, **more))

    def to(self, device: Any = None, dtype: Any = None, non_blocking: bool = False) -> "MimiModel":
        """Nothing; what would change the device or the type is a ValueError."""
        placement.check(device, dtype, self.mimi.runner.device)
        return self

    def eval(self) -> "MimiModel":
        """Nothing: this model only ever infers."""
        return self

    def train(self, mode: bool = True) -> "MimiModel":
        """Nothing, if ``mode`` is False; else a ValueError."""
        if mode:
            raise ValueError(
                f"train({shown(mode)}); this model only infers. For gradients use mimi.codec, an "
                "mlx.nn.Module, of this model's field mimi."
            )
        return self

    def __repr__(self) -> str:
        return f"MimiModel({self.mimi!r})"

    @property
    def config(self) -> MimiConfig:
        """The sizes of this model."""
        return self.mimi.config

    @overload
    def encode(
        self,
        input_values: ArrayLike,
        padding_mask: ArrayLike | None = None,
        num_quantizers: int | None = None,
        encoder_past_key_values: EncoderStream | None = None,
        padding_cache: EncoderStream | None = None,
        use_streaming: bool | None = None,
        return_dict: Literal[True] | None = None,
        *,
        encoder_cache: EncoderStream | None = None,
    ) -> MimiEncoderOutput: ...

    @overload
    def encode(
        self,
        input_values: ArrayLike,
        padding_mask: ArrayLike | None = None,
        num_quantizers: int | None = None,
        encoder_past_key_values: EncoderStream | None = None,
        padding_cache: EncoderStream | None = None,
        use_streaming: bool | None = None,
        return_dict: bool | None = None,
        *,
        encoder_cache: EncoderStream | None = None,
    ) -> MimiEncoderOutput | tuple: ...

    def encode(
        self,
        input_values: ArrayLike,
        padding_mask: ArrayLike | None = None,
        num_quantizers: int | None = None,
        encoder_past_key_values: EncoderStream | None = None,
        padding_cache: EncoderStream | None = None,
        use_streaming: bool | None = None,
        return_dict: bool | None = None,
        *,
        encoder_cache: EncoderStream | None = None,
    ) -> MimiEncoderOutput | tuple:
        """Encode samples ``[B, 1, T]`` to ``audio_codes [B, K, F]``, int32.

        Args:
            input_values: float32 samples in [-1, 1], the next piece of a stream if there is one.
            padding_mask: Not read, as in transformers: padding is encoded like other silence.
                :meth:`get_audio_codes_mask` tells which frames are real.
            num_quantizers: K; None means all codebooks. The same in every call of a stream.
            encoder_past_key_values: The stream that an earlier call returned.
            padding_cache: The same one; give it back under any of its names, or all.
            encoder_cache: The same one, as transformers 5.24 calls it.
            use_streaming: True begins a stream or, as None does too, goes on with the one given.
                False ends the one given: its ragged last frame, if any, is completed.

        Raises:
            ValueError: The shape, type, values, K or the caches are not as above.
        """
        given = one_stream(EncoderStream, encoder_past_key_values, encoder_cache, padding_cache)
        if given is None and not use_streaming:
            codes = self.mimi.encode(input_values, num_quantizers)
            return _given(return_dict, MimiEncoderOutput(codes))
        count = validation.num_codebooks(num_quantizers, self.config)
        rows = validation.pcm(input_values).shape[0]
        stream: EncoderStream | None
        stream = given.clone() if given else self.mimi.encoder_stream(rows, count)
        codes = stream.push(input_values)
        if codes.shape[1] != count:
            raise ValueError(
                f"num_quantizers is {num_quantizers}; this stream began with {codes.shape[1]}. "
                f"Give num_quantizers={codes.shape[1]} in every call."
            )
        if use_streaming is False:
            codes, stream = mx.concatenate([codes, stream.flush()], axis=-1), None
            mx.eval(codes)
        return _given(return_dict, MimiEncoderOutput(codes, stream, stream))

    @overload
    def decode(
        self,
        audio_codes: ArrayLike,
        padding_mask: ArrayLike | None = None,
        decoder_past_key_values: DecoderStream | None = None,
        use_cache: bool | None = None,
        return_dict: Literal[True] | None = None,
        *,
        decoder_cache: DecoderStream | None = None,
    ) -> MimiDecoderOutput: ...

    @overload
    def decode(
        self,
        audio_codes: ArrayLike,
        padding_mask: ArrayLike | None = None,
        decoder_past_key_values: DecoderStream | None = None,
        use_cache: bool | None = None,
        return_dict: bool | None = None,
        *,
        decoder_cache: DecoderStream | None = None,
    ) -> MimiDecoderOutput | tuple: ...

    def decode(
        self,
        audio_codes: ArrayLike,
        padding_mask: ArrayLike | None = None,
        decoder_past_key_values: DecoderStream | None = None,
        use_cache: bool | None = None,
        return_dict: bool | None = None,
        *,
        decoder_cache: DecoderStream | None = None,
    ) -> MimiDecoderOutput | tuple:
        """Decode codes ``[B, K, F]`` to ``audio_values [B, 1, 1920 F]``, float32.

        Args:
            audio_codes: Integers from 0 to ``codebook_size`` - 1.
            padding_mask: ``[..., T]``; the result is cut to T samples. Its values are not read.
            decoder_past_key_values: The stream that an earlier call returned.
            use_cache: True begins a stream.
            decoder_cache: The same stream, as transformers 5.24 calls it.

        Raises:
            ValueError: The shape, type, values or the cache are not as above.
        """
        stream = one_stream(DecoderStream, decoder_past_key_values, decoder_cache)
        if stream:
            stream = stream.clone()
        elif use_cache:
            rows = validation.codes(audio_codes, self.config).shape[0]
            stream = self.mimi.decoder_stream(rows)
        pcm = stream.push(audio_codes) if stream else self.mimi.decode(audio_codes)
        if padding_mask is not None:
            pcm = pcm[..., : lengths.samples(padding_mask)]
            mx.eval(pcm)
        return _given(return_dict, MimiDecoderOutput(pcm, stream))

    @overload
    def forward(
        self,
        input_values: ArrayLike,
        padding_mask: ArrayLike | None = None,
        num_quantizers: int | None = None,
        audio_codes: ArrayLike | None = None,
        encoder_past_key_values: EncoderStream | None = None,
        decoder_past_key_values: DecoderStream | None = None,
        return_dict: Literal[True] | None = None,
        *,
        encoder_cache: EncoderStream | None = None,
        decoder_cache: DecoderStream | None = None,
    ) -> MimiOutput: ...

    @overload
    def forward(
        self,
        input_values: ArrayLike,
        padding_mask: ArrayLike | None = None,
        num_quantizers: int | None = None,
        audio_codes: ArrayLike | None = None,
        encoder_past_key_values: EncoderStream | None = None,
        decoder_past_key_values: DecoderStream | None = None,
        return_dict: bool | None = None,
        *,
        encoder_cache: EncoderStream | None = None,
        decoder_cache: DecoderStream | None = None,
    ) -> MimiOutput | tuple: ...

    def forward(
        self,
        input_values: ArrayLike,
        padding_mask: ArrayLike | None = None,
        num_quantizers: int | None = None,
        audio_codes: ArrayLike | None = None,
        encoder_past_key_values: EncoderStream | None = None,
        decoder_past_key_values: DecoderStream | None = None,
        return_dict: bool | None = None,
        *,
        encoder_cache: EncoderStream | None = None,
        decoder_cache: DecoderStream | None = None,
    ) -> MimiOutput | tuple:
        """Encode samples ``[B, 1, T]`` and decode them again: ``audio_codes``, ``audio_values``.

        The arguments are those of :meth:`encode` and :meth:`decode`, which begin streams. Given
        ``audio_codes`` are decoded, and nothing is encoded. Without ``padding_mask``, and without
        a stream, the result is cut to T samples.
        """
        encoder = one_stream(EncoderStream, encoder_past_key_values, encoder_cache)
        decoder = one_stream(DecoderStream, decoder_past_key_values, decoder_cache)
        # A stream's piece gives the samples of the frames that it completed: more or fewer than T.
        if padding_mask is None and encoder is None and decoder is None:
            padding_mask = input_values
        if audio_codes is None:
            encoded = self.encode(input_values, None, num_quantizers, encoder)
            audio_codes, encoder = encoded.audio_codes, encoded.encoder_past_key_values
        decoded = self.decode(audio_codes, padding_mask, decoder)
        output = MimiOutput(audio_codes, decoded.audio_values, encoder, decoded.decoder_cache)
        return _given(return_dict, output)

    __call__ = forward

    def get_encoded_length(self, input_length: int | Array) -> int | Array:
        """Frames of this many samples, the ragged last one counted; a number or an array."""
        return lengths.encoded(input_length, self.config.frame_size)

    def get_audio_codes_mask(
        self, padding_mask: Array, padding_side: Literal["right", "left"] = "right"
    ) -> mx.array:
        """Which frames ``[B, F]`` are real by a mask ``[B, T]``; F is the longest row's."""
        return lengths.codes_mask(padding_mask, padding_side, self.config.frame_size)


def _given(return_dict: bool | None, output: Output) -> Output | tuple:
    """An output or, when ``return_dict`` is False, its tuple."""
    return output.to_tuple() if return_dict is False else output
