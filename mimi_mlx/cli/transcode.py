"""The work of encode, decode and roundtrip: from one end to the other, in constant memory.

Each loop does so many frames at once, and tells ``advance`` of the seconds of audio that are done,
which may raise to end it; the result is the count of frames.
"""

import argparse
import itertools
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from ..audio.reader import SoundReader
from ..audio.resampler import Resampler, pieces, resampled
from ..audio.writer import SoundWriter
from ..codefile import Writer
from ..files import PIPE, is_pipe
from ..mimi import Mimi
from .code_io import CodeReader

# Frames at once, between two moves of the bar: 10 s of audio, in steps of the best length.
BLOCK = 128

# Samples at the edge of a gap that are faded: 5 ms at 24 kHz.
_FADE = 120

Advance = Callable[[float], None]


def frames_at_once(args: argparse.Namespace) -> int:
    """Frames in a piece of work: one if a pipe may be live, so that each goes out at once.

    It does not depend on when or in what portions data arrives, and so neither does the result.
    """
    return 1 if args.output == PIPE or is_pipe(args.input) else BLOCK


def encode(
    mimi: Mimi,
    source: SoundReader,
    num_codebooks: int,
    at_once: int,
    writer: Writer,
    advance: Advance,
) -> int:
    """Encode all of a source, and close the writer."""
    stream = mimi.encoder_stream(num_codebooks=num_codebooks)
    samples = 0
    blocks = resampled(source, mimi.sample_rate)
    for pcm in pieces(blocks, at_once * mimi.frame_size):
        writer.write(np.array(stream.push(pcm)))
        samples += len(pcm)
        advance(len(pcm) / mimi.sample_rate)
    writer.close(samples, last=np.array(stream.flush()))
    return -(-samples // mimi.frame_size)


def roundtrip(
    mimi: Mimi,
    source: SoundReader,
    num_codebooks: int,
    at_once: int,
    writer: SoundWriter,
    advance: Advance,
) -> int:
    """There and back: what is written has the source's rate and number of samples."""
    encoder, decoder = mimi.encoder_stream(num_codebooks=num_codebooks), mimi.decoder_stream()
    back = Resampler(mimi.sample_rate, source.sample_rate)
    samples = 0
    blocks = resampled(source, mimi.sample_rate)
    for pcm in pieces(blocks, at_once * mimi.frame_size):
        decoded = np.array(decoder.push(encoder.push(pcm)))[0, 0]
        writer.write(back.push(decoded))
        samples += len(pcm)
        advance(len(pcm) / mimi.sample_rate)
    ragged = np.array(decoder.push(encoder.flush()))[0, 0, : samples % mimi.frame_size]
    writer.write(back.push(ragged))
    writer.write(back.flush(source.given))
    return -(-samples // mimi.frame_size)


class NothingGood(Exception):
    """A damaged file has no good frame; raised, so that no sound file is left."""


class TailBuffer:
    """Holds back a clip's last frame, which may have to be cut, until it is known to be whole.

    It is if more comes; and if nothing comes for a while, since a cut frame and the end, which
    says so, come together.
    """

    def __init__(self) -> None:
        self._waiting = np.zeros(0, np.float32)
        self._fade_in = False

    def begin(self, writer: SoundWriter) -> None:
        """Where samples go."""
        self._writer = writer

    def push(self, pcm: np.ndarray, frame_size: int) -> None:
        """Take samples ``[T]`` of whole frames."""
        self.release()
        if self._fade_in:
            pcm[:_FADE] *= np.linspace(0, 1, len(pcm[:_FADE]), dtype=np.float32)
            self._fade_in = False
        self._writer.write(pcm[:-frame_size])
        self._waiting = pcm[-frame_size:]

    def silence(self, frames: int, frame_size: int) -> None:
        """Take lost frames; what is at both their ends is faded, so that nothing clicks."""
        end = self._waiting[-_FADE:]
        end *= np.linspace(1, 0, len(end), dtype=np.float32)
        self._fade_in = False
        for start in range(0, frames, BLOCK):
            self.push(np.zeros(min(BLOCK, frames - start) * frame_size, np.float32), frame_size)
        self._fade_in = True

    def release(self) -> None:
        """Give what is held back."""
        if self._waiting.size:
            self._writer.write(self._waiting)
            self._waiting = self._waiting[:0]

    def finish(self, missing: int) -> None:
        """The clip ended so many samples before its last frame does."""
        self._waiting = self._waiting[: max(0, len(self._waiting) - missing)]
        self.release()


class Decoded(NamedTuple):
    """What was decoded."""

    frames: int
    silent: int  # lost frames, in whose place is silence
    left_out: int  # lost frames in whose place is nothing
    samples: int


def decode(
    mimi: Mimi,
    source: CodeReader,
    at_once: int,
    buffer: TailBuffer,
    advance: Advance,
    most_silence: float = 0.0,
) -> Decoded:
    """Decode all of a source; up to so many seconds of lost frames in it become silence.

    The decoder's state goes on over a gap: what follows then comes out closest to what it was.

    Raises:
        NothingGood: It is damaged, and has no good frame.
        ValueError: It has no frame.
    """
    stream, size = mimi.decoder_stream(), mimi.frame_size
    frames = silent = 0
    are_codes = True
    parts = _in_place(source, int(most_silence * mimi.frame_rate))
    for are_codes, run in itertools.groupby(parts, lambda part: isinstance(part, np.ndarray)):
        if are_codes:
            for codes in pieces(run, at_once):
                buffer.push(np.array(stream.push(codes))[0, 0], size)
                frames += codes.shape[1]
                advance(codes.shape[1] / mimi.frame_rate)
        else:
            for lost in run:
                buffer.silence(lost, size)
                silent += lost
                advance(lost / mimi.frame_rate)
    if not frames and source.damage:
        raise NothingGood(f"{source.damage}; there is nothing to decode. Encode the clip again.")
    if not frames:
        raise ValueError(
            "the codes have no frames; there is nothing to decode. Encode the clip again."
        )
    total, samples = source.span
    # The last frame is cut where the clip ends, if it is there or silent.
    missing = total * size - samples if source.position == total or not are_codes else 0
    buffer.finish(missing)
    done = frames + silent
    return Decoded(frames, silent, total - done, done * size - missing)


def _in_place(source: CodeReader, most: int) -> Iterator[Any]:
    """Codes, and between them numbers of frames that are lost, at most so many in all.

    A gap that is longer than what is left of these is passed over: a stranger's file may claim any
    number. So is one without a good frame before or after it.
    """
    position = 0
    for codes in source:
        lost = source.position - codes.shape[1] - position
        if 0 < lost <= most:
            most -= lost
            yield lost
        yield codes
        position = source.position
    if position and 0 < (lost := source.span[0] - position) <= most:
        yield lost
