"""The codec as the live loop's worker runs it: a frame at a time, with the clock beside it."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from ..mimi import Mimi
from .meters import level


class CodedFrame(NamedTuple):
    """One frame that was encoded, decoded or both, and when, in seconds of the clock."""

    codes: np.ndarray  # int32 [K]
    pcm: np.ndarray  # [T]: a whole frame, but for the last one of a file; none if not decoded
    level: float  # of what went in, in dBFS, if it was sound
    start: float
    encoded: float
    end: float


class FrameCodec:
    """An encoder and a decoder that remember; half a model is enough for one of them.

    All calls are for the worker's thread. The ``clock`` gives seconds.
    """

    def __init__(
        self,
        mimi: Mimi,
        num_codebooks: int,
        clock: Callable[[], float],
        encodes: bool,
        decodes: bool,
    ):
        self.clock = clock
        self.frame_seconds = mimi.frame_size / mimi.sample_rate
        self._encoder = mimi.encoder_stream(num_codebooks=num_codebooks) if encodes else None
        self._decoder = mimi.decoder_stream() if decodes else None
        self._frame_size = mimi.frame_size
        # Compile the steps, so that the first frame takes no longer than the others.
        codes = np.zeros(num_codebooks, np.int32)
        if self._encoder:
            codes = self._encode(np.zeros(self._frame_size, np.float32))
            self._encoder.reset()
        if self._decoder:
            self._decode(codes)
            self._decoder.reset()

    def encode(self, frame: np.ndarray, decode: bool) -> CodedFrame:
        """Encode ``[T]``: a frame, or less of one if it is the last; and decode it if asked to."""
        start = self.clock()
        codes = self._encode(frame)
        encoded = self.clock()
        pcm = self._decode(codes)[: len(frame)] if decode else frame[:0]
        return CodedFrame(codes, pcm, level(frame), start, encoded, self.clock())

    def decode(self, codes: np.ndarray) -> CodedFrame:
        """Decode ``[K]``."""
        start = self.clock()
        pcm = self._decode(codes)
        return CodedFrame(codes, pcm, 0.0, start, start, self.clock())

    def _encode(self, frame: np.ndarray) -> np.ndarray:
        assert self._encoder is not None
        codes = self._encoder.push(frame)
        if len(frame) < self._frame_size:
            codes = self._encoder.flush()
        return np.array(codes)[0, :, 0]

    def _decode(self, codes: np.ndarray) -> np.ndarray:
        assert self._decoder is not None
        return np.array(self._decoder.push(codes[:, None]))[0, 0]
