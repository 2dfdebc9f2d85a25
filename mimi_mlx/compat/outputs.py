"""What the calls of transformers' ``MimiModel`` give, and the caches that they take back.

transformers 5.24 calls caches ``encoder_cache`` and ``decoder_cache``, 5.23 called them
``encoder_past_key_values`` and ``decoder_past_key_values``: here they have both names.
"""

from dataclasses import dataclass
from typing import Any, TypeVar

import mlx.core as mx

from ..streaming.streams import DecoderStream, EncoderStream
from .features import Fields

Stream = TypeVar("Stream", EncoderStream, DecoderStream)

_RENAMED = {
    "encoder_cache": "encoder_past_key_values",
    "decoder_cache": "decoder_past_key_values",
}

_CACHES = {
    EncoderStream: ("encoder_past_key_values", "encoder_cache", "padding_cache"),
    DecoderStream: ("decoder_past_key_values", "decoder_cache"),
}


class Outputs(Fields):
    """Fields by name, by key, or by position among those that are not None."""

    def to_tuple(self) -> tuple:
        """The fields that are not None."""
        return tuple(getattr(self, name) for name in self.keys())

    def __getitem__(self, key: str | int | slice) -> Any:
        if isinstance(key, str):
            return super().__getitem__(_RENAMED.get(key, key))
        return self.to_tuple()[key]

    def __contains__(self, key: object) -> bool:
        return isinstance(key, str) and _RENAMED.get(key, key) in self.keys()

    def __len__(self) -> int:
        return len(self.keys())


@dataclass(frozen=True, eq=False)
class MimiEncoderOutput(Outputs):
    """What :meth:`MimiModel.encode` gave."""

    audio_codes: mx.array
    encoder_past_key_values: EncoderStream | None = None
    padding_cache: EncoderStream | None = None

    @property
    def encoder_cache(self) -> EncoderStream | None:
        """``encoder_past_key_values``."""
        return self.encoder_past_key_values


@dataclass(frozen=True, eq=False)
class MimiDecoderOutput(Outputs):
    """What :meth:`MimiModel.decode` gave."""

    audio_values: mx.array
    decoder_past_key_values: DecoderStream | None = None

    @property
    def decoder_cache(self) -> DecoderStream | None:
        """``decoder_past_key_values``."""
        return self.decoder_past_key_values


@dataclass(frozen=True, eq=False)
class MimiOutput(Outputs):
    """What the forward pass gave."""

    audio_codes: Any  # an mx.array, or what was given
    audio_values: mx.array
    encoder_past_key_values: EncoderStream | None = None
    decoder_past_key_values: DecoderStream | None = None

    @property
    def encoder_cache(self) -> EncoderStream | None:
        """``encoder_past_key_values``."""
        return self.encoder_past_key_values

    @property
    def decoder_cache(self) -> DecoderStream | None:
        """``decoder_past_key_values``."""
        return self.decoder_past_key_values


def one_stream(kind: type[Stream], *given: Stream | None) -> Stream | None:
    """The one stream that was given back, under any of the names of its half's caches.

    Raises:
        ValueError: It is none of that kind, or there are two.
    """
    streams = dict(zip(_CACHES[kind], given, strict=False))
    for name, stream in streams.items():
        if stream is not None and not isinstance(stream, kind):
            raise ValueError(
                f"{name} is a {type(stream).__name__}; it must be the {kind.__name__} that an "
                "earlier call returned under that name. Give that, or None."
            )
    names = [name for name, stream in streams.items() if stream is not None]
    if len({id(streams[name]) for name in names}) > 1:
        raise ValueError(
            f"{' and '.join(names)} are of different calls; they must be of one call, the "
            "stream's last. Give back all of them as they came, or one of them."
        )
    return streams[names[0]] if names else None
