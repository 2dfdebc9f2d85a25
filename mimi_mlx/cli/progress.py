"""What encode, decode and roundtrip share: long work in pieces, with a bar, and its summary."""

import argparse
import sys
import threading
import time
from collections.abc import Callable

import mlx.core as mx
import numpy as np
from tqdm import tqdm

from ..audio.reader import SoundReader
from ..audio.resampler import pieces, resampled
from ..files import PIPE
from ..mimi import Mimi
from .code_io import Sink

BLOCK = 128
"""Frames at once, between two moves of the bar: 10 s of audio, in steps of the best length."""


def frames_at_once(args: argparse.Namespace) -> int:
    """Frames in a piece of work: one if a pipe may be live, so that each goes out at once.

    It does not depend on when or in what portions data arrives, and so neither does the result.
    """
    return 1 if PIPE in (args.input, args.output) else BLOCK


def device(name: str | None) -> mx.DeviceType | None:
    """What ``--device`` names; None is MLX's default."""
    if name is None:
        return None
    if name == "gpu" and not mx.is_available(mx.gpu):
        raise ValueError("--device is gpu; MLX has none on this machine. Leave --device out.")
    return getattr(mx, name)


def seconds(source: SoundReader) -> float | None:
    """Seconds of audio that a source says it has, if it does."""
    return None if source.samples is None else source.samples / source.sample_rate


class Progress:
    """A bar of seconds of audio done, on a terminal, when there is enough to do; and the time.

    Args:
        what: The name of the work.
        seconds: Of audio, in all; None if nobody knows, and then there is no bar.
    """

    def __init__(self, what: str, seconds: float | None):
        self._what, self._seconds = what, seconds
        self.done = 0.0
        """Seconds of audio done."""
        self._lock = threading.Lock()

    def __enter__(self) -> "Progress":
        self._bar = tqdm(
            total=self._seconds,
            desc=self._what,
            bar_format="{desc} {percentage:3.0f}%|{bar}| {n:.0f} of {total:.0f} s of audio"
            "{postfix}, {remaining} left",
            delay=0.5,
            leave=False,
            disable=True if self._seconds is None else None,
        )
        self._start = time.perf_counter()
        return self

    def __exit__(self, *error: object) -> None:
        self._bar.close()

    def advance(self, seconds: float) -> None:
        """So much more audio is done. Any thread may call it."""
        with self._lock:
            self.done += seconds
            if not self._bar.disable:
                # The last frame may reach past the clip's end.
                self._bar.set_postfix_str(f"{self.speed:.1f} x real time", refresh=False)
                self._bar.update(min(seconds, self._bar.total - self._bar.n))

    @property
    def speed(self) -> float:
        """Seconds of audio done in a second."""
        return self.done / self.elapsed

    @property
    def elapsed(self) -> float:
        """Seconds since the work began."""
        return time.perf_counter() - self._start


def encode(
    mimi: Mimi,
    source: SoundReader,
    num_codebooks: int,
    at_once: int,
    sink: Sink,
    advance: Callable[[float], None],
) -> int:
    """Encode all of a source, so many frames at once, in constant memory; the count of frames.

    ``advance`` is told of the seconds that are done, and may raise to end the work.
    """
    stream = mimi.encoder_stream(num_codebooks=num_codebooks)
    samples = 0
    blocks = resampled(source, mimi.sample_rate)
    for pcm in pieces(blocks, at_once * mimi.frame_size):
        sink.write(np.array(stream.push(pcm)))
        samples += len(pcm)
        advance(len(pcm) / mimi.sample_rate)
    sink.finish(np.array(stream.flush()), source, samples)
    return -(-samples // mimi.frame_size)


def say(line: str) -> None:
    """One line on stderr, above the bar if there is one."""
    with tqdm.external_write_mode(file=sys.stderr):
        print("mimi-mlx:", " ".join(line.split()), file=sys.stderr)


def summarise(
    mimi: Mimi, output: str, shape: tuple[int, int], seconds: float, speed: float
) -> None:
    """One line on stderr about work that is done: ``shape`` is ``[K, F]`` of its codes."""
    count, frames = shape
    print(
        f"{'stdout' if output == PIPE else output}: {seconds:.2f} s, {frames} frames of {count} "
        f"codes, {mimi.config.kbps(count):.3g} kbps, {speed:.1f} times as fast as real time",
        file=sys.stderr,
    )
