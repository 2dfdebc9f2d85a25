"""Streams that nobody made: what the drop-ins with a hidden state have behind ``*_step``."""

from typing import Literal

import mlx.core as mx

from ..arrays import ArrayLike, is_one_of
from ..mimi import Mimi
from ..model.config import shown
from ..streaming import validation
from ..streaming.streams import DecoderStream, EncoderStream

HalfName = Literal["encoder", "decoder"]


def halves(half: HalfName | None) -> tuple[HalfName, ...]:
    """The half that is named, or both; there is no other, or it is a ValueError."""
    if half is not None and not is_one_of(half, ("encoder", "decoder")):
        raise ValueError(
            f"half is {shown(half)}; it must be 'encoder', 'decoder' or None, for both. Choose one."
        )
    return (half,) if half else ("encoder", "decoder")


class Steps:
    """A stream each way, which begins with its first piece and has as many rows as that.

    What is refused raises a ValueError, as the streams' ``push`` does, and changes nothing.
    """

    def __init__(self, mimi: Mimi, num_codebooks: int):
        self.mimi = mimi
        self.num_codebooks = validation.num_codebooks(num_codebooks, mimi.config)
        self._streams: dict[HalfName, EncoderStream | DecoderStream] = {}

    def encode(self, pcm: ArrayLike) -> mx.array:
        """The next samples ``[B, 1, T]`` to codes ``[B, K, F]`` of what they complete."""
        stream = self._streams.get("encoder")
        if stream is None:
            rows = validation.pcm(pcm).shape[0]
            stream = self.mimi.encoder_stream(rows, self.num_codebooks)
        codes = stream.push(pcm)
        self._streams["encoder"] = stream
        return codes

    def decode(self, codes: ArrayLike) -> mx.array:
        """The next codes ``[B, K, F]`` to samples ``[B, 1, 1920 F]``."""
        stream = self._streams.get("decoder")
        if stream is None:
            rows = validation.codes(codes, self.mimi.config).shape[0]
            stream = self.mimi.decoder_stream(rows)
        pcm = stream.push(codes)
        self._streams["decoder"] = stream
        return pcm

    def reset(self, half: HalfName | None = None) -> None:
        """Begin anew both ways, or one way, with any number of rows."""
        for name in halves(half):
            self._streams.pop(name, None)
