"""Keeping the speaker's queue short but never empty, though two devices' clocks differ."""

from collections import deque
from typing import NamedTuple

# Frames over which the least that was left in the queue is looked at: 4 s, and 1 s for a cut.
_WINDOW, _RECENT = 50, 12

# How much faster to play for each second that is too many: 10 ms give 500 ppm, and after 20 s
# two thirds of them are gone. Nobody hears 2000 ppm, a thirtieth of a semitone. In samples of one
# frame that is at most:
_GAIN, _MOST, _MOST_SAMPLES = 0.05, 2e-3, 4

# Seconds too many from which on some sound is left out at once.
_TOO_MANY = 0.05

# After the queue ran empty, twice as much is kept, at most this; half of that after a minute.
_MOST_MARGIN, _HALF_LIFE = 0.12, 60.0


class Change(NamedTuple):
    """What to do to a frame before it joins the queue."""

    cut: float = 0.0  # seconds to leave out
    stretch: int = 0  # samples by which to make it longer, or if negative shorter: a few


class DriftControl:
    """Decides, frame by frame, how the speaker's queue gets the length that it should have.

    What counts is the least that was left after the device took its part: a whole frame comes at
    once, so the queue itself goes up and down by 80 ms. That least should be ``margin`` seconds,
    enough for what the computation's time differs by.
    """

    def __init__(self, margin: float, frame_size: int, sample_rate: int):
        self._least_margin = margin
        self._frame_size = frame_size
        self._frame_seconds = frame_size / sample_rate
        self._left: deque[float] = deque(maxlen=_WINDOW)
        self._owed = 0.0  # samples to leave out, of which less than one is due
        self.margin = margin  # seconds that should be left
        self.trim = 0.0  # how much faster than the codec the speaker is fed; 1e-6 is 1 ppm

    def next(self, left: float) -> Change:
        """What to do to the next frame; ``left`` is the least seconds since the last one."""
        decay = 0.5 ** (self._frame_seconds / _HALF_LIFE)
        self.margin = max(self._least_margin, self.margin * decay)
        self._left.append(left)
        excess = min(list(self._left)[-_RECENT:]) - self.margin
        if len(self._left) >= _RECENT and excess > _TOO_MANY:
            cut = min(excess, 0.8 * self._frame_seconds)
            self._left = deque((left - cut for left in self._left), _WINDOW)
            return Change(cut=cut)
        if len(self._left) == _WINDOW:
            excess = min(self._left) - self.margin
            self.trim = min(_MOST, max(-_MOST, _GAIN * excess))
        self._owed += self.trim * self._frame_size
        stretch = -min(_MOST_SAMPLES, max(-_MOST_SAMPLES, int(self._owed)))
        self._owed += stretch
        return Change(stretch=stretch)

    def ran_dry(self) -> None:
        """The queue ran empty: more has to be kept in it."""
        self.margin = min(_MOST_MARGIN, 2 * self.margin)
        self._left.clear()  # the queue begins anew
