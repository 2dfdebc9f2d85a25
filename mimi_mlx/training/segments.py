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
    """``[B]``, true where a segment begins its clip and its context is none."""
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
        self.context = min(CONTEXT, frames)  # no clip has fewer
        self._seed = seed

    def batch(self, step: int) -> SegmentBatch:
        """The batch of a step."""
        draw = np.random.default_rng([self._seed, step])
        rows = [self._row(draw) for _ in range(self._rows)]
        context, codes, begins, target = (np.stack(x) for x in zip(*rows, strict=True))
        return SegmentBatch(mx.array(context), mx.array(codes), mx.array(begins), mx.array(target))

    def _row(self, draw: np.random.Generator) -> tuple[np.ndarray, ...]:
        """A segment. Near a clip's beginning, every other one is its beginning itself.

        The others there have the clip's end before the little that is before them: a stream goes
        on, too, and so nothing in a short clip is left out.
        """
        at = int(draw.integers(self._starts[-1]))
        which = int(np.searchsorted(self._starts, at, side="right"))
        clip, start = self._clips[which], at - int(self._starts[which - 1] if which else 0)
        variant = int(draw.integers(VARIANTS))
        if start < self.context and draw.integers(2):
            start = 0
        about = variant, self._frame_size
        codes, samples = read(clip, start, self._frames, *about)
        missing = max(0, self.context - start)
        context, _ = read(clip, start + missing - self.context, self.context - missing, *about)
        if missing:
            end, _ = read(clip, clip.frames - missing, missing, *about)
            context = np.concatenate([end, context], axis=1)
        return context, codes, np.array(start == 0), samples
