"""A long run of both streams, frame by frame: do time, memory or sound drift?"""

import collections
import contextlib
import os
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np

from ..mimi import Mimi
from ..model.config import LATENTS_PER_FRAME

_SETTLED = 1000  # frames after which memory is no longer expected to grow
TIMED = 1000  # steps at each end whose times are compared

Voice = Callable[[Mimi, int], np.ndarray]
Outputs = tuple[np.ndarray, np.ndarray, float, float]
"""Of one frame: codes, samples, and the seconds that each took."""


def voice(mimi: Mimi, index: int) -> np.ndarray:
    """One frame of an endless voice: gliding harmonics, syllables and breath. ``[frame_size]``."""
    size = mimi.frame_size
    t = (index * size + np.arange(size)) / mimi.sample_rate
    phase = 2 * np.pi * 130 * t + 50 * np.sin(2 * np.pi * 0.61 * t)
    harmonics = sum(np.sin(k * phase) / k for k in range(1, 9))
    loudness = 0.5 + 0.5 * np.sin(2 * np.pi * 2.3 * t) * np.sin(2 * np.pi * 0.17 * t)
    breath = np.random.default_rng(index).standard_normal(size)
    return (0.1 * harmonics * loudness + 0.01 * breath).astype(np.float32)


def run(
    mimi: Mimi,
    hours: float,
    num_codebooks: int,
    report: Callable[[str], Any] = print,
    voice: Voice = voice,
    compared: int = 100,
    warmup: int | None = None,
    every: float = 10.0,
) -> dict[str, Any]:
    """Encode and decode ``hours`` of synthetic speech frame by frame, and say what was seen.

    At the end, or after Ctrl-C, the last frames are made again by streams that start ``warmup``
    frames before them.

    Args:
        mimi: The model, with both halves.
        hours: Of audio, more than 0.
        report: Takes each line of progress.
        voice: Gives the frame of an index, ``[frame_size]``.
        compared: How many frames are made again.
        warmup: None means 30 s, or all that a state remembers if that is more.
        every: Seconds between two lines of progress.

    Returns:
        ``frames``, ``interrupted``; ``memory_mb`` of the process and ``memory_growth_mb`` since
        frame 1000; ``encode_ms`` and ``decode_ms``, each with ``p10``, ``median`` and ``p95`` of
        the ``first`` and the ``last`` 1000 steps; ``codes_equal``, whether the last frames' codes
        are those of the later streams; ``waveform_error``, the greatest difference of their
        samples over the RMS.

    Raises:
        ValueError: ``hours`` are less than a frame.
    """
    frames = round(hours * 3600 * mimi.frame_rate)
    if frames < 1:
        raise ValueError(f"hours is {hours}; a soak takes at least one frame. Give more than 0.")
    seen = _Seen(compared, min(_SETTLED, frames // 2), report, every)
    with contextlib.suppress(KeyboardInterrupt):
        for outputs in _both_ways(mimi, num_codebooks, voice, range(frames)):
            seen.add(outputs)
    figures = seen.figures()
    if warmup is None:
        # Each layer looks a window back at what the layer before it made; convolutions add less
        # than a second. The decoder hears what the encoder remembers.
        latents = mimi.config.num_hidden_layers * (mimi.config.sliding_window - 1)
        half = latents / LATENTS_PER_FRAME + mimi.frame_rate
        warmup = round(max(30 * mimi.frame_rate, 2 * half))
    indices = range(max(0, seen.count - compared - warmup), seen.count)
    later = collections.deque(_both_ways(mimi, num_codebooks, voice, indices), compared)
    codes, pcm, *_ = zip(*seen.recent, strict=True)
    later_codes, later_pcm, *_ = zip(*later, strict=True)
    difference = np.abs(np.array(pcm) - np.array(later_pcm)).max()
    rms = np.sqrt(np.mean(np.square(pcm, dtype=np.float64)))
    return {
        "frames": seen.count,
        "interrupted": seen.count < frames,
        **figures,
        "warmup_seconds": warmup / mimi.frame_rate,
        "codes_equal": bool(np.array_equal(codes, later_codes)),
        "waveform_error": float(difference / rms),
    }


def _both_ways(
    mimi: Mimi, num_codebooks: int, voice: Voice, indices: Iterable[int]
) -> Iterator[Outputs]:
    """Frames through an encoder's and a decoder's stream, one behind the other."""
    encoder, decoder = mimi.encoder_stream(num_codebooks=num_codebooks), mimi.decoder_stream()
    for index in indices:
        samples = voice(mimi, index)
        start = time.perf_counter()
        codes = encoder.push(samples)
        middle = time.perf_counter()
        pcm = decoder.push(codes)
        end = time.perf_counter()
        yield np.array(codes), np.array(pcm), middle - start, end - middle


class _Seen:
    """What a run showed so far, in memory that does not grow."""

    def __init__(self, compared: int, settled: int, report: Callable[[str], Any], every: float):
        self.count = 0
        self.recent: collections.deque[Outputs] = collections.deque(maxlen=compared)
        self._times = np.ones((2, TIMED, 2))  # first and last steps; seconds to encode, to decode
        self._settled = settled
        self._memory = 0
        self._report, self._every = report, every
        self._started = self._reported = time.perf_counter()

    def add(self, outputs: Outputs) -> None:
        """Take one frame's."""
        self.recent.append(outputs)
        begun = 0 if self.count < TIMED else 1  # the first ones are the last so far
        self._times[begun:, self.count % TIMED] = outputs[2:]
        self.count += 1
        settled = self.count == self._settled
        if settled or time.perf_counter() - self._reported > self._every:
            self._reported = time.perf_counter()
            encode, decode = np.median(self._times[1, : self.count], axis=0) * 1e3
            self._report(
                f"{self.count} frames in {self._reported - self._started:.0f} s, encode "
                f"{encode:.2f} ms, decode {decode:.2f} ms, memory {resident_bytes() / 1e6:.1f} MB"
            )
        if settled:  # NumPy has loaded what a line of progress needs
            self._memory = resident_bytes()

    def figures(self) -> dict[str, Any]:
        """Memory and times."""
        memory = resident_bytes()
        grown = memory - self._memory if self.count >= self._settled else 0
        found: dict[str, Any] = {"memory_mb": memory / 1e6, "memory_growth_mb": grown / 1e6}
        quantiles = np.percentile(self._times[:, : self.count] * 1e3, [10, 50, 95], axis=1)
        for way, parts in zip(("encode_ms", "decode_ms"), quantiles.T.tolist(), strict=True):
            first, last = (dict(zip(("p10", "median", "p95"), x, strict=True)) for x in parts)
            found[way] = {"first": first, "last": last}
        return found


def resident_bytes() -> int:
    """The memory of this process that is in RAM, MLX's cache of free buffers left out."""
    mx.clear_cache()
    statm = Path("/proc/self/statm")
    if statm.exists():
        return int(statm.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return int(subprocess.check_output(["ps", "-o", "rss=", "-p", str(os.getpid())])) * 1024
