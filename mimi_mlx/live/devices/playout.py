"""The queue before the speaker: filled frame by frame, emptied by the device's callback."""

import math

import numpy as np

from .ring import Ring
from .stretch import rise


class Playout:
    """At most ``capacity`` samples at the device's rate on their way to it; else the oldest go.

    :meth:`pull` is the callback's: it copies, and where there is nothing it fades what was last
    heard, within ``fade`` samples, and counts. Everything else is the loop's.
    """

    def __init__(self, capacity: int, fade: int):
        self.ring = Ring(capacity)
        self._falling = rise(fade)[::-1].copy()
        self._scratch = np.empty(fade, np.float32)
        self._faded = fade  # how much of the fade has been heard
        self._last = 0.0
        self._least = math.inf
        self.dry = True  # there was nothing left, or nothing has come yet
        self.expecting = False  # whether being dry counts: not while nothing could come
        self.pulled = False  # whether the device has begun to take samples
        self.hushing = False  # whether what waits is to be dropped: the next pull does it
        self.hushed = 0  # samples that had been taken when that was done, the last time
        self.underruns = 0  # how many times it ran dry while it was expecting
        # When which sample is heard: seconds of the clock, and its number among all pushed.
        self.mark: tuple[float, int] | None = None

    def pull(self, out: np.ndarray, heard: float) -> None:
        """Fill ``out [T]``, whose first sample is heard at ``heard`` seconds of the clock."""
        self.pulled = True
        number = self.ring.taken
        count = self.ring.read_into(out)
        out[count:] = 0
        if self._faded < len(self._falling):
            self._fade(out)
        if self.hushing:
            self._hush(out, count)
        elif count == len(out):
            self._last = float(out[-1])
            self._least = min(self._least, self.ring.waiting)
            self.mark = (heard, number)
        elif not self.dry:
            self._last = float(out[count - 1]) if count else self._last
            self._faded = 0
            self._fade(out[count:])
            self.dry, self.mark = True, None
            self.underruns += self.expecting

    def take_least(self) -> float:
        """The fewest samples that were left after a pull since the last call; inf: no pull."""
        least, self._least = self._least, math.inf
        return least

    def push(self, samples: np.ndarray, margin: int) -> bool:
        """Add samples ``[T]``, at least a fade; whether they came too late for what was expected.

        If the queue was empty, ``margin`` samples of silence come before them.
        """
        late = self.dry and self.expecting
        if self.dry:
            fade = len(self._falling)
            samples = samples.copy()
            samples[:fade] *= self._falling[::-1]
            samples = np.concatenate([np.zeros(margin, np.float32), samples])
            self._least = math.inf
        self.ring.write(samples)
        self.dry = False
        self.expecting = True
        return late

    def _hush(self, out: np.ndarray, count: int) -> None:
        """Fade what was taken, of which there are so many samples, and drop all that waits."""
        fading = min(count, len(self._falling))
        if fading:
            self._last, self._faded = float(out[fading - 1]), fading
        out[:fading] *= self._falling[:fading]
        out[fading:count] = 0
        self.hushed = self.ring.taken - count + fading
        self.ring.skip()
        self.dry, self.mark = True, None
        self.expecting = self.hushing = False

    def _fade(self, out: np.ndarray) -> None:
        """Add what is left of the fade from the last sample, as far as there is room."""
        count = min(len(out), len(self._falling) - self._faded)
        part = self._falling[self._faded : self._faded + count]
        np.multiply(part, self._last, out=self._scratch[:count])
        out[:count] += self._scratch[:count]
        self._faded += count
