"""A ring of samples between an audio callback and the loop that works on them."""

import numpy as np


class Ring:
    """Samples from one thread to another, without a lock: one writes, one reads.

    Nobody waits. A writer that is ahead by more than ``capacity`` samples makes the reader skip
    the oldest, which it counts. The memory holds twice as many, so that what the reader copies is
    not overwritten meanwhile.
    """

    def __init__(self, capacity: int):
        self._memory = np.zeros(2 * capacity, np.float32)
        self.capacity = capacity
        self.written = 0  # samples so far; only the writer changes it
        self.taken = 0  # samples read or skipped so far; only the reader changes it
        self.dropped = 0  # those of them that were skipped

    @property
    def waiting(self) -> int:
        """Samples that a read would give now."""
        return min(self.written - self.taken, self.capacity)

    def write(self, samples: np.ndarray) -> None:
        """Add samples ``[T]``."""
        size = len(self._memory)
        for start in range(0, len(samples), size):
            piece = samples[start : start + size]
            at = self.written % size
            before_end = min(len(piece), size - at)
            self._memory[at : at + before_end] = piece[:before_end]
            self._memory[: len(piece) - before_end] = piece[before_end:]
            self.written += len(piece)

    def read_into(self, out: np.ndarray) -> int:
        """Move the oldest samples to ``out [T]``; how many there were, at most T."""
        lost = self.written - self.taken - self.capacity
        if lost > 0:
            self.taken += lost
            self.dropped += lost
        size = len(self._memory)
        count = min(len(out), self.written - self.taken)
        at = self.taken % size
        before_end = min(count, size - at)
        out[:before_end] = self._memory[at : at + before_end]
        out[before_end:count] = self._memory[: count - before_end]
        self.taken += count
        return count

    def skip(self) -> None:
        """Take all samples that wait, for nothing. They do not count as dropped."""
        self.taken = self.written

    def read(self) -> np.ndarray:
        """Take all samples that wait ``[T]``."""
        out = np.empty(self.capacity, np.float32)
        return out[: self.read_into(out)]
