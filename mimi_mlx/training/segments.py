"""Random segments of clips, each with what came before it."""

from collections.abc import Sequence
from typing import NamedTuple

import mlx.core as mx
import numpy as np

from .clips import VARIANTS, CodedClip, read

CONTEXT = 25
"""Frames (2 s) before a segment that are decoded first, so that it begins in a stream's middle."""


class SegmentBatch(NamedTuple):
    """Segments of B clips: S frames each, behind ``CONTEXT`` frames."""

    context: mx.array
    """Codes ``[B, K, CONTEXT]``."""
    codes: mx.array
    """``[B, K, S]``."""
    begins: mx.array
    """``[B]``, true where a segment begins its clip and has no context."""
    target: mx.array
    """``[B, 1920 S]``."""


class Segments:
    """Random segments of clips; the same numbers for the same seed and step.

    Args:
        clips: Each is drawn as often as it has segments.
        frames: Of a segment.
        batch_size: Segments in a batch.
        seed: Of what is drawn.
        frame_size: Samples a frame.

    Raises:
        ValueError: No clip has so many frames, whatever its file's header says.
    """

    def __init__(
        self, clips: Sequence[CodedClip], frames: int, batch_size: int, seed: int, frame_size: int
    ):
        self._clips = [clip for clip in clips if clip.frames >= frames]
        if not self._clips:
            raise ValueError(
                f"none of {len(clips)} sound files holds a segment of {frames} frames. Give fewer "
                "--seconds, or other sound."
            )
        self._starts = np.cumsum([clip.frames - frames + 1 for clip in self._clips])
        self._frames, self._rows, self._frame_size = frames, batch_size, frame_size
        # Frames between a beginning and the context would else be in no segment.
        self.context = min(CONTEXT, frames)
        self._seed = seed

    def batch(self, step: int) -> SegmentBatch:
        """The batch of a step. A segment that has not all its context before it begins a clip."""
        draw = np.random.default_rng([self._seed, step])
        rows = [self._row(draw) for _ in range(self._rows)]
        context, codes, begins, target = (np.stack(x) for x in zip(*rows, strict=True))
        return SegmentBatch(mx.array(context), mx.array(codes), mx.array(begins), mx.array(target))

    def _row(self, draw: np.random.Generator) -> tuple[np.ndarray, ...]:
        at = int(draw.integers(self._starts[-1]))
        which = int(np.searchsorted(self._starts, at, side="right"))
        start = at - int(self._starts[which - 1] if which else 0)
        variant = int(draw.integers(VARIANTS))
        start = start if start >= self.context else 0
        codes, samples = read(self._clips[which], start, self._frames, variant, self._frame_size)
        if start:
            first, clip = start - self.context, self._clips[which]
            context, _ = read(clip, first, self.context, variant, self._frame_size)
        else:
            context = np.zeros((len(codes), self.context), np.int32)
        return context, codes, np.array(start == 0), samples
