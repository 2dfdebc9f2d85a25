"""The call shapes of transformers' ``MimiModel``, over :class:`Mimi`.

Source: transformers 5.23, ``MimiModel``. What it computes, this computes; departures are named.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import mlx.core as mx
import numpy as np

from ..arrays import Array, is_one_of, numbers, whole
from ..mimi import Mimi
from ..model.codec import Only
from ..model.config import MimiConfig, shown
from ..streaming import validation
from ..streaming.streams import DecoderStream, EncoderStream
from .features import Fields


@dataclass(frozen=True, eq=False)
class MimiOutput(Fields):
    """What a call gave: by name, by key, or by position among the fields that are not None."""

    audio_codes: mx.array | None = None
    audio_values: mx.array | None = None
    encoder_past_key_values: EncoderStream | None = None
    padding_cache: EncoderStream | None = None
    decoder_past_key_values: DecoderStream | None = None

    def to_tuple(self) -> tuple:
        """The fields that are not None."""
        return tuple(getattr(self, name) for name in self.keys())

    def __getitem__(self, key: str | int | slice) -> Any:
        return super().__getitem__(key) if isinstance(key, str) else self.to_tuple()[key]

    def __len__(self) -> int:
        return len(self.keys())


class MimiModel:
    """transformers' interface to a :class:`Mimi`, which is its field ``mimi``.

    Shapes: B rows, T samples, K codebooks, F frames.

    Streaming: ``encode(..., use_streaming=True)`` and ``decode(..., use_cache=True)`` begin a
    stream and return it as the caches to give to the next call. A call returns a new cache and
    leaves the one it was given as it was. Pieces equal the whole, whichever way they are cut:
    samples of an unfinished frame wait in the encoder's cache, so F can be 0; the decoder's cache
    is the state of all of it. (In transformers a piece that is not of whole frames fails or gives
    other codes, and decoding breaks at every seam, for the cache is of the attention alone.)

    Every call with ``return_dict=False`` gives a tuple.
    """

    def __init__(self, mimi: Mimi):
        if not isinstance(mimi, Mimi):
            raise ValueError(
                f"MimiModel got a {type(mimi).__name__}; it wraps a loaded Mimi. "
                "Use MimiModel.from_pretrained, or give it Mimi.from_pretrained's result."
            )
        self.mimi = mimi

    @classmethod
    def from_pretrained(
        cls,
        name_or_path: str | Path,
        only: Only = None,
        device: mx.DeviceType | None = None,
    ) -> "MimiModel":
        """Load a model; the arguments are those of :meth:`Mimi.from_pretrained`."""
        return cls(Mimi.from_pretrained(name_or_path, only, device))

    def __repr__(self) -> str:
        return f"MimiModel({self.mimi!r})"

    @property
    def config(self) -> MimiConfig:
        """The sizes of this model."""
        return self.mimi.config

    def encode(
        self,
        input_values: Array,
        padding_mask: Array | None = None,
        num_quantizers: int | None = None,
        encoder_past_key_values: EncoderStream | None = None,
        padding_cache: EncoderStream | None = None,
        use_streaming: bool | None = None,
        return_dict: bool | None = None,
    ) -> MimiOutput | tuple:
        """Encode samples ``[B, 1, T]`` to ``audio_codes [B, K, F]``, int32.

        Args:
            input_values: float32 samples in [-1, 1], the next piece of a stream if there is one.
            padding_mask: Not read, as in transformers: padding is encoded like other silence.
                :meth:`get_audio_codes_mask` tells which frames are real.
            num_quantizers: K; None means all codebooks. The same in every call of a stream.
            encoder_past_key_values: The stream that an earlier call returned.
            padding_cache: The same one; give it back under either name or both.
            use_streaming: True begins a stream or, as None does too, goes on with the one given.
                False ends the one given: its ragged last frame, if any, is completed.

        Raises:
            ValueError: The shape, type, values, K or the caches are not as above.
        """
        given = _one_stream(encoder_past_key_values, padding_cache)
        if given is None and not use_streaming:
            return _result(return_dict, audio_codes=self.mimi.encode(input_values, num_quantizers))
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
        return _result(
            return_dict, audio_codes=codes, encoder_past_key_values=stream, padding_cache=stream
        )

    def decode(
        self,
        audio_codes: Array,
        padding_mask: Array | None = None,
        decoder_past_key_values: DecoderStream | None = None,
        use_cache: bool | None = None,
        return_dict: bool | None = None,
    ) -> MimiOutput | tuple:
        """Decode codes ``[B, K, F]`` to ``audio_values [B, 1, 1920 F]``, float32.

        Args:
            audio_codes: Integers from 0 to ``codebook_size`` - 1.
            padding_mask: ``[..., T]``; the result is cut to T samples. Its values are not read.
            decoder_past_key_values: The stream that an earlier call returned.
            use_cache: True begins a stream.

        Raises:
            ValueError: The shape, type, values or the cache are not as above.
        """
        _check_stream("decoder_past_key_values", decoder_past_key_values, DecoderStream)
        stream = decoder_past_key_values
        if stream:
            stream = stream.clone()
        elif use_cache:
            rows = validation.codes(audio_codes, self.config).shape[0]
            stream = self.mimi.decoder_stream(rows)
        pcm = stream.push(audio_codes) if stream else self.mimi.decode(audio_codes)
        if padding_mask is not None:
            shape = numbers("padding_mask", padding_mask).shape
            if not shape:
                raise ValueError(
                    "padding_mask has no axes; its last one is time. Give an array [B, T]."
                )
            pcm = pcm[..., : shape[-1]]
            mx.eval(pcm)
        return _result(return_dict, audio_values=pcm, decoder_past_key_values=stream)

    def forward(
        self,
        input_values: Array,
        padding_mask: Array | None = None,
        num_quantizers: int | None = None,
        audio_codes: Array | None = None,
        encoder_past_key_values: EncoderStream | None = None,
        decoder_past_key_values: DecoderStream | None = None,
        return_dict: bool | None = None,
    ) -> MimiOutput | tuple:
        """Encode samples ``[B, 1, T]`` and decode them again: ``audio_codes``, ``audio_values``.

        The arguments are those of :meth:`encode` and :meth:`decode`, which begin streams. Given
        ``audio_codes`` are decoded, and nothing is encoded. Without ``padding_mask``, and without
        a stream, the result is cut to T samples.
        """
        encoder = encoder_past_key_values
        # A stream's piece gives the samples of the frames that it completed: more or fewer than T.
        if padding_mask is None and encoder is None and decoder_past_key_values is None:
            padding_mask = input_values
        if audio_codes is None:
            encoded = self.encode(input_values, None, num_quantizers, encoder)
            assert isinstance(encoded, MimiOutput) and encoded.audio_codes is not None
            audio_codes, encoder = encoded.audio_codes, encoded.encoder_past_key_values
        decoded = self.decode(audio_codes, padding_mask, decoder_past_key_values)
        assert isinstance(decoded, MimiOutput)
        return _result(
            return_dict,
            audio_codes=audio_codes,
            audio_values=decoded.audio_values,
            encoder_past_key_values=encoder,
            decoder_past_key_values=decoded.decoder_past_key_values,
        )

    __call__ = forward

    def get_encoded_length(self, input_length: int | Array) -> int | Array:
        """Frames of this many samples, the ragged last one counted; a number or an array."""
        one, size = whole(input_length), self.config.frame_size
        lengths = numbers("input_length", input_length) if one is None else np.array(0)
        if lengths.dtype.kind not in "iu" or (lengths < 0).any() or (one or 0) < 0:
            raise ValueError(
                f"input_length is {shown(input_length)}; it must be whole numbers of samples, 0 or "
                "more. Give the lengths of the clips."
            )
        if one is not None:
            return -(-one // size)
        frames = -(-lengths.astype(np.int64) // size)
        return mx.array(frames) if isinstance(input_length, mx.array) else frames

    def get_audio_codes_mask(
        self, padding_mask: Array, padding_side: Literal["right", "left"] = "right"
    ) -> mx.array:
        """Which frames ``[B, F]`` are real by a mask ``[B, T]``; F is the longest row's."""
        mask = numbers("padding_mask", padding_mask)
        if mask.ndim != 2:
            raise ValueError(
                f"padding_mask has shape {mask.shape}; it must be [B, T]. "
                "Give the feature extractor's padding_mask."
            )
        if not is_one_of(padding_side, ("right", "left")):
            raise ValueError(
                f"padding_side is {shown(padding_side)}; it must be 'right' or 'left'. Choose one."
            )
        frames = np.asarray(self.get_encoded_length((mask != 0).sum(axis=1)))
        at = np.arange(int(frames.max()))
        real: np.ndarray = (at if padding_side == "right" else at[::-1]) < frames[:, None]
        return mx.array(real)


def _one_stream(keys: EncoderStream | None, padding: EncoderStream | None) -> EncoderStream | None:
    """The stream that an encoder's two caches are."""
    _check_stream("encoder_past_key_values", keys, EncoderStream)
    _check_stream("padding_cache", padding, EncoderStream)
    if keys is not None and padding is not None and keys is not padding:
        raise ValueError(
            "encoder_past_key_values and padding_cache are of different calls; they must be of one "
            "call, the stream's last. Give back both as they came, or one of them."
        )
    return keys if padding is None else padding


def _check_stream(name: str, given: Any, kind: type) -> None:
    if given is not None and not isinstance(given, kind):
        raise ValueError(
            f"{name} is a {type(given).__name__}; it must be the {kind.__name__} that an earlier "
            "call returned under that name. Give that, or None."
        )


def _result(return_dict: bool | None, **given: Any) -> MimiOutput | tuple:
    """An output or, when ``return_dict`` is False, its tuple."""
    output = MimiOutput(**given)
    return output.to_tuple() if return_dict is False else output
