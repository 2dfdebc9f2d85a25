"""From frames as the network brings them to one frame each time the playout needs one.

docs/live-protocol.md has the rules in full. A frame's delay is counted in calls of ``take``, so
that the playout's clock is the only one, and drift against the sender's is a change of delay.
"""

from collections import deque
from dataclasses import dataclass

import numpy as np

from .packet import SEQUENCES

CAPACITY = 64  # frames from the next to be played to the newest: 5 s
FADE = (0.7, 0.35, 0.0)  # the gains that concealed frames in a row end with; then 0

_LONG_SILENCE = 25  # calls, 2 s: after as many without a frame, playing begins anew
_TOLERATED = 3  # frames above the target; more are cut at once
_EARLY = 2  # calls between a frame's coming and its turn; if even the latest had them, drop one
_PACE = 12  # calls, about a second, between two frames dropped
_REMEMBERED = 2 * CAPACITY  # sequence numbers, to tell a second copy from a late frame
_WINDOW = 125  # calls, 10 s; the window before is remembered too


@dataclass
class LinkStats:
    """What a link has counted, in frames unless it says otherwise."""

    sent: int = 0
    errors: int = 0  # refused, or could not be sent; and reads of the socket that failed
    received: int = 0  # came in time
    lost: int = 0  # never came in time; those in ``late`` are among them
    late: int = 0  # came after their time, and were not used
    duplicate: int = 0  # came again
    foreign: int = 0  # datagrams that were not the peer's: anything at all
    concealed: int = 0  # made up, for a lost frame or to wait for one that is late
    dropped: int = 0  # came in time, and were left out to catch up
    depth: int = 0  # wait to be played now
    kbps: float = 0.0  # of one direction, headers of packet, UDP and IP included; 0 without a frame


class JitterBuffer:
    """Holds frames back for as long as it takes to have each in time, and no longer.

    Its memory is bounded whatever is put in: at most ``CAPACITY`` frames.
    """

    def __init__(self, counts: LinkStats) -> None:
        self.counts = counts
        self._codes: np.ndarray | None = None  # the last codes played
        self._faded = 0  # calls in a row that gave nothing received
        self._calls = 0
        self._frames: dict[int, np.ndarray] = {}
        self.restart()

    def restart(self) -> None:
        """Another stream begins: drop the frames of the one before, and forget its delays."""
        self.counts.dropped += len(self._frames)
        self._frames.clear()
        self._seen: deque[int] = deque(maxlen=_REMEMBERED)
        self._lateness = Lateness()
        # Unwrapped sequence numbers; there is no newest before the first frame.
        self._next, self._newest = 0, -1
        self._filling = self._fresh = True
        self._filled = 0  # calls since a frame came, while filling
        self._empty = 0  # calls in a row that waited for the next frame
        self._owed = False  # a frame came late: wait once

    @property
    def depth(self) -> int:
        """Frames from the next to be played to the newest that came, lost ones included."""
        first = self._next
        if self._filling:
            first = min(self._frames, default=self._newest + 1)
        return self._newest + 1 - first

    @property
    def target(self) -> int:
        """The depth to fill to before playing begins."""
        return self._lateness.target

    def put(self, sequence: int, codes: np.ndarray) -> bool:
        """Take in codes ``[K]`` and their number modulo 2 ** 32; whether they can be used."""
        if self._newest < 0:
            self._next = sequence + SEQUENCES
            self._newest = self._next - 1
        number = self._unwrapped(sequence)
        if number in self._seen:
            self.counts.duplicate += 1
            return False
        self._seen.append(number)
        self._lateness.add(self._calls - number)
        if self._fresh and self._newest - CAPACITY < number < self._next:
            self._next = number  # the first frames came out of order
        if number < self._next:
            self.counts.late += 1
            self._owed = True
            return False
        if number - self._next >= CAPACITY:
            self._skip_to(number)
            self._filling, self._filled = True, 0
        self.counts.received += 1
        self._frames[number] = codes
        self._newest = max(self._newest, number)
        return True

    def take(self) -> tuple[np.ndarray | None, float]:
        """The next frame to play: codes ``[K]`` and the gain that it ends with.

        A frame that is missing is concealed: the last codes again, fading, then with gain 0.
        (None, 0.0) as long as nothing has been played; such calls are not counted, and may come
        at any rate.
        """
        if self._filling:
            self._fill()
        if self._filling and self._codes is None:
            return None, 0.0
        number = None
        if not self._filling:
            self._settle()
            self._catch_up()
            number = self._choose()
        self._calls += 1
        if not self._filling:
            self._lateness.tick()  # what is known of delays outlasts a silence
            self.counts.concealed += number is None
        if number is None:
            self._faded += 1
            return self._codes, FADE[min(self._faded, len(FADE)) - 1]
        self._codes = self._frames.pop(number)
        self._next = number + 1
        self._fresh, self._faded = False, 0
        return self._codes, 1.0

    def _fill(self) -> None:
        """Begin to play when the target is reached, or when that has taken its time."""
        if not self._frames:
            return
        self._filled += self._codes is not None
        if max(self.depth, self._filled) >= self.target:
            self._skip_to(min(self._frames))
            self._filling = self._owed = False

    def _settle(self) -> None:
        """Go on after a wait: frames that did not come meanwhile were concealed by it."""
        if self.depth == 0:
            return
        while self._empty and self._next not in self._frames:
            self._skip_to(self._next + 1)
            self._empty -= 1
        self._empty = 0

    def _catch_up(self) -> None:
        """Leave frames out where the delay is greater than it need be."""
        if self.depth > self.target + _TOLERATED:
            oldest = self._newest + 1 - self.target
            self._skip_to(min(number for number in self._frames if number >= oldest))
        elif self._calls % _PACE == 0 and self.depth >= _EARLY and self._is_early():
            self._skip_to(self._next + 1)

    def _choose(self) -> int | None:
        """The number of the frame to play now, or None: conceal."""
        if self.depth == 0:
            # Lost or late, which only the next packet can tell: wait.
            if self._empty == _LONG_SILENCE:
                self._filling, self._filled = True, 0
            self._empty += 1
            return None
        if self._owed:
            self._owed = False
            if self.depth < self._lateness.MOST:
                return None
        if self._next in self._frames:
            return self._next
        self._skip_to(self._next + 1)
        return None

    def _skip_to(self, number: int) -> None:
        """Go on at a frame, without those before it."""
        passed = [key for key in self._frames if key < number]
        for key in passed:
            del self._frames[key]
        self.counts.dropped += len(passed)
        self.counts.lost += number - self._next - len(passed)
        self._next = number
        self._newest = max(self._newest, number - 1)

    def _is_early(self) -> bool:
        """Whether even the latest of the last frames came a whole frame before it had to."""
        latest = self._lateness.latest
        return latest is not None and self._calls - self._next - latest >= _EARLY

    def _unwrapped(self, sequence: int) -> int:
        """A sequence number as one that goes on past 2 ** 32, near the newest."""
        half = SEQUENCES // 2
        return self._newest + (sequence - self._newest + half) % SEQUENCES - half


class Lateness:
    """Remembers how late frames came, in calls of the playout, on a scale without a zero."""

    LEAST, MOST = 2, 12  # frames: the range of ``target``

    def __init__(self) -> None:
        # Frames to hold before playing begins: one more than the frames came apart.
        self.target = self.LEAST
        self._ticks = 0
        self._now: list[int] = []  # the least and the greatest of this window, or nothing
        self._before: list[int] = []  # of the window before

    def add(self, lateness: int) -> None:
        """A frame came: the number of calls before it, less the frame's own number."""
        self._now = _range([*self._now, lateness])

    def tick(self) -> None:
        """One more call of the playout, while frames come."""
        self._ticks += 1
        if self._ticks % _WINDOW == 0:
            seen = _range([*self._before, *self._now])
            if seen:
                self.target = min(max(1 + seen[1] - seen[0], self.LEAST), self.MOST)
            self._now, self._before = [], self._now

    @property
    def latest(self) -> int | None:
        """The greatest lateness of the last 10 to 20 s; None if that is not known yet."""
        known = self._before + self._now if self._ticks >= _WINDOW else []
        return max(known, default=None)


def _range(values: list[int]) -> list[int]:
    return [min(values), max(values)] if values else []
