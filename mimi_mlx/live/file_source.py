"""A sound file in place of the microphone."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from ..audio.reader import FileReader
from ..audio.resampler import pieces, resampled

# Seconds that it may lag behind the clock; after a longer stall it goes on from there.
_LAG = 0.4


class FileSource:
    """Gives a file's frames when a microphone would have them, or as fast as they are wanted.

    Nothing of the file is left out; its last frame may be shorter.

    Args:
        mono: Mix several channels down to one.
        sample_rate: Of the frames, in Hz.
        frame_size: Samples a frame.
        clock: Seconds.
        fast: Do not wait for the clock.

    Raises:
        ValueError: The file cannot be read; also later, while it is read.
    """

    jitter = 0.0  # seconds by which frames come earlier and later

    def __init__(
        self,
        path: str | Path,
        mono: bool,
        sample_rate: int,
        frame_size: int,
        clock: Callable[[], float],
        fast: bool = False,
    ):
        self._file = FileReader(path, mono)
        self._frames = pieces(resampled(self._file, sample_rate), frame_size)
        self._seconds = frame_size / sample_rate
        self._clock, self._fast = clock, fast
        self._due: float | None = None  # when the next frame is whole
        self._given = 0
        self.rate = self._file.sample_rate
        self.ended = False

    def frames(self) -> list[np.ndarray]:
        """The next frame, if it is time for it."""
        now = self._clock()
        if self._due is None:
            self._due = now + self._seconds
        if self.ended or (now < self._due and not self._fast):
            return []
        frame = next(self._frames, None)
        if frame is None:
            self.ended = True
            return []
        self._due = max(self._due, now - _LAG) + self._seconds
        self._given += 1
        return [frame]

    @property
    def clock_offset(self) -> float | None:
        """Where in the file a microphone would be, less the clock, in seconds."""
        if self._due is None:
            return None
        return (self._given + 1) * self._seconds - self._due

    def close(self) -> None:
        """Close the file."""
        self._file.__exit__()
