"""A stream that nobody made: what the drop-ins with a hidden state have behind ``*_step``."""

from collections.abc import Callable

import mlx.core as mx
import numpy as np

from ..streaming.streams import DecoderStream, EncoderStream


class Steps:
    """A stream that begins with its first piece, and has as many rows as that.

    Args:
        begin: Makes the stream, given its batch size.
    """

    def __init__(self, begin: Callable[[int], EncoderStream | DecoderStream]):
        self._begin = begin
        self._stream: EncoderStream | DecoderStream | None = None

    def push(self, piece: mx.array | np.ndarray) -> mx.array:
        """What the stream gives for its next piece ``[B, ...]``.

        Raises:
            ValueError: As the stream's ``push`` does. What went before is not changed by it.
        """
        stream = self._stream or self._begin(piece.shape[0])
        result = stream.push(piece)
        self._stream = stream
        return result

    def reset(self) -> None:
        """Begin anew, with any number of rows."""
        self._stream = None
