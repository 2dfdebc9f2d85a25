"""What encode, decode and roundtrip share: long work in steps, with a bar, and its summary."""

import sys
import time

import numpy as np
from tqdm import tqdm

from ..mimi import Mimi

# Frames between two moves of the bar: 4.8 s of audio.
_BLOCK = 60


class Progress:
    """A bar of seconds of audio done, on a terminal, when there is enough to do; and the time."""

    def __init__(self, what: str, seconds: float):
        self._what, self._seconds = what, seconds

    def __enter__(self) -> "Progress":
        self._bar = tqdm(
            total=self._seconds,
            desc=self._what,
            bar_format="{desc} {percentage:3.0f}%|{bar}| {n:.0f} of {total:.0f} s of audio, "
            "{remaining} left",
            delay=0.5,
            leave=False,
            disable=None,
        )
        self._start = time.perf_counter()
        return self

    def __exit__(self, *error: object) -> None:
        self._bar.close()
        self.speed = self._seconds / (time.perf_counter() - self._start)
        """Seconds of audio done in a second."""

    def advance(self, seconds: float) -> None:
        """So much more audio is done."""
        # The last frame may reach past the clip's end.
        self._bar.update(min(seconds, self._bar.total - self._bar.n))


def encode(mimi: Mimi, pcm: np.ndarray, num_codebooks: int, progress: Progress) -> np.ndarray:
    """Codes ``[1, K, F]`` of samples ``[T]``."""
    stream = mimi.encoder_stream(num_codebooks=num_codebooks)
    size = _BLOCK * mimi.frame_size
    codes = []
    for start in range(0, len(pcm), size):
        codes.append(np.array(stream.push(pcm[start : start + size])))
        progress.advance(codes[-1].shape[-1] / mimi.frame_rate)
    codes.append(np.array(stream.flush()))
    return np.concatenate(codes, axis=-1)


def decode(mimi: Mimi, codes: np.ndarray, progress: Progress) -> np.ndarray:
    """Samples ``[1920 F]`` of codes ``[1, K, F]``."""
    stream = mimi.decoder_stream()
    pcm = []
    for start in range(0, codes.shape[-1], _BLOCK):
        pcm.append(np.array(stream.push(codes[..., start : start + _BLOCK]))[0, 0])
        progress.advance(len(pcm[-1]) / mimi.sample_rate)
    return np.concatenate(pcm)


def kbps(mimi: Mimi, num_codebooks: int) -> float:
    """Thousands of bits that a second of codes takes."""
    return num_codebooks * mimi.config.bits_per_code * mimi.frame_rate / 1000


def summarise(mimi: Mimi, output: str, codes: np.ndarray, seconds: float, speed: float) -> None:
    """One line on stderr about work that is done."""
    count, frames = codes.shape[1:]
    print(
        f"{output}: {seconds:.2f} s, {frames} frames of {count} codes, "
        f"{kbps(mimi, count):.3g} kbps, {speed:.1f} times as fast as real time",
        file=sys.stderr,
    )
